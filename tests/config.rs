//! Settings: which source wins, that everything wrong is said at once and where, and that the
//! documentation has a row for each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use triwire::config::Config;
use triwire::config::Limits;
use triwire::config::LogFormat;
use triwire::config::listeners::Bind;
use triwire::config::table;

/// A start: its flags, its variables, its file.
#[derive(Default)]
struct Start {
    flags: Vec<&'static str>,
    variables: HashMap<&'static str, &'static str>,
    file: Option<PathBuf>,
}

impl Start {
    fn flags(mut self, line: &'static str) -> Self {
        self.flags.extend(line.split_whitespace());
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.insert(name, value);
        self
    }

    /// Writes the file; each test has a directory of its own.
    fn file(mut self, test: &str, text: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let path = directory.join("triwire.toml");
        std::fs::write(&path, text).expect("a file can be written");
        self.file = Some(path);
        self
    }

    fn resolve(&self) -> Result<Config, Vec<String>> {
        let path = self
            .file
            .as_ref()
            .map(|path| path.to_str().expect("a path in UTF-8"));
        let named = path.map(|path| ["--config", path]);
        let named = named.iter().flatten().copied();
        let line = ["serve"]
            .into_iter()
            .chain(self.flags.iter().copied())
            .chain(named);
        let command = Config::command(clap::Command::new("serve"));
        let matches = command.try_get_matches_from(line).expect("clap takes it");
        let env = |name: &str| self.variables.get(name).map(|value| (*value).to_owned());
        Config::resolve(&matches, &env)
    }

    /// The lines, without the directory of the file.
    fn mistakes(&self) -> Vec<String> {
        let lines = self.resolve().expect_err("a mistake");
        let directory = self.file.as_ref().map(|path| {
            format!(
                "{}/",
                path.parent().expect("it is in a directory").display()
            )
        });
        let directory = directory.unwrap_or_else(|| "\0".to_owned());
        lines
            .into_iter()
            .map(|line| line.replace(&directory, ""))
            .collect()
    }
}

fn flags(line: &'static str) -> Start {
    Start::default().flags(line)
}

#[test]
fn nothing_said_gives_the_defaults() {
    let config = Start::default().resolve().unwrap();
    assert_eq!(config, Config::default());
    let ports = config.listeners.each().map(|(_, bind)| bind);
    assert_eq!(
        ports,
        [8080, 8081, 8082, 8443, 8444, 8445].map(Bind::Loopback)
    );
    assert_eq!(config.certs, PathBuf::from("certs"));
    assert_eq!(config.log_format, LogFormat::Human);
    assert_eq!(config.metrics_every, Some(Duration::from_secs(1)));
    assert_eq!((config.name.as_deref(), config.shards), (None, None));
    assert!(!config.access.open && !config.no_h2c_upgrade && !config.no_websocket_http2);
    assert!(config.access.allow_origin.is_empty() && config.access.allow_host.is_empty());
    assert!(config.access.api_key.is_empty());
    assert_eq!(
        (config.store.as_ref(), config.postgres.connections),
        (None, 16)
    );
    let (timing, limits) = (&config.timing, &config.limits);
    let seconds = [
        timing.drain,
        timing.stall,
        timing.dead,
        timing.heartbeat,
        timing.ping,
    ];
    assert_eq!(seconds.map(|time| time.as_secs()), [10, 600, 120, 15, 20]);
    let seconds = [
        timing.pong,
        timing.request_head,
        timing.request_body,
        timing.poll_timeout,
    ];
    assert_eq!(seconds.map(|time| time.as_secs()), [20, 10, 30, 60]);
    assert_eq!(
        [timing.retry_min, timing.retry_max].map(|time| time.as_millis()),
        [1500, 3000]
    );
    assert_eq!(timing.idempotency_for.as_secs(), 300);
    let bytes = [
        limits.head_bytes,
        limits.event_bytes,
        limits.batch_bytes,
        limits.poll_bytes,
    ];
    assert_eq!(bytes, [16 << 10, 256 << 10, 4 << 20, 256 << 10]);
    let bytes = [
        limits.topic_bytes,
        limits.log_bytes,
        limits.http1_unsent,
        limits.http2_unsent,
    ];
    assert_eq!(bytes, [64 << 20, 512 << 20, 256 << 10, 1 << 20]);
    let numbers = [
        limits.streams,
        limits.reader_topics,
        limits.topic_events,
        limits.topics,
    ];
    assert_eq!(numbers, [1024, 256, 100_000, 10_000]);
    let numbers = [
        limits.batch_events,
        limits.idempotency_keys,
        limits.poll_events,
    ];
    assert_eq!(numbers, [10_000, 100_000, 1000]);
}

#[test]
fn flag_then_variable_then_file_then_default() {
    let drain = |start: Start| start.resolve().unwrap().timing.drain.as_secs();
    let file = || Start::default().file("precedence", "drain = '3s'");
    assert_eq!(drain(Start::default()), 10);
    assert_eq!(drain(file()), 3);
    assert_eq!(drain(file().variable("TRIWIRE_DRAIN", "2s")), 2);
    assert_eq!(
        drain(file().variable("TRIWIRE_DRAIN", "")),
        3,
        "empty is not set"
    );
    assert_eq!(
        drain(file().variable("TRIWIRE_DRAIN", "2s").flags("--drain 1s")),
        1
    );
}

#[test]
fn a_variable_names_the_file_unless_the_flag_does() {
    let start = Start::default().variable("TRIWIRE_CONFIG", "/nowhere/else.toml");
    let lines = start.mistakes();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("TRIWIRE_CONFIG: \"/nowhere/else.toml\" cannot be read: "));
    let config = start.file("variable", "drain = '3s'").resolve().unwrap();
    assert_eq!(config.timing.drain.as_secs(), 3);
    let lines = flags("--config /nowhere.toml --drain 5").mistakes();
    assert!(
        lines[0].starts_with("--config: \"/nowhere.toml\" cannot be read: "),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("--drain: \"5\" has no unit"),
        "{lines:?}"
    );
}

#[test]
fn every_setting_is_a_flag_a_variable_and_a_key_and_fills_a_field_of_its_own() {
    let mut seen = vec![Config::default()];
    for setting in table::settings() {
        let (value, by_flag) = another(setting);
        assert!(
            !seen.contains(&by_flag),
            "{}: another row fills its field",
            setting.key
        );
        let variable = setting.variable().leak();
        let by_variable = Start::default().variable(variable, value).resolve();
        assert_eq!(by_variable.as_ref(), Ok(&by_flag), "{}", setting.key);
        for key in [setting.key.to_owned(), setting.key.replace('-', "_")] {
            let start = Start::default().file("every", &format!("{key} = {value:?}"));
            assert_eq!(start.resolve().as_ref(), Ok(&by_flag), "{key}");
        }
        seen.push(by_flag);
    }
}

/// A value that a setting takes and that is not its default, and what it makes of the rest.
fn another(setting: &table::Setting) -> (&'static str, Config) {
    let values = [
        "off",
        "json",
        "2s",
        "77",
        "48KiB",
        "65MiB",
        "300MiB",
        "true",
        "https://example.org",
        "postgres://u:secret@h/d",
        "redis://u:secret@h",
        "20_000",
    ];
    let result = |value: &'static str| {
        let flag = format!("{}={value}", setting.flag()).leak();
        Some((value, flags(flag).resolve().ok()?))
    };
    let mut results = values.into_iter().filter_map(result);
    results
        .find(|(_, config)| *config != Config::default())
        .expect(setting.key)
}

#[test]
fn the_file_takes_numbers_booleans_texts_and_arrays() {
    let text = "
        http1 = 9090
        h2c = 'off'
        topics = 1_000
        event_bytes = 4096
        open = true
        no-h2c-upgrade = false
        allow-origin = ['https://A.example:443', 'http://b.example:3000']
        allow-host = 'a.example, b.example'
        connections = 50
        metrics-every = 'off'
    ";
    let config = Start::default().file("values", text).resolve().unwrap();
    assert_eq!(config.listeners.http1, Bind::Loopback(9090));
    assert_eq!(config.listeners.h2c, Bind::Off);
    assert_eq!(
        (config.limits.topics, config.limits.event_bytes),
        (1000, 4096)
    );
    assert!(config.access.open && !config.no_h2c_upgrade);
    assert_eq!(
        config.access.allow_origin,
        ["https://a.example", "http://b.example:3000"]
    );
    assert_eq!(config.access.allow_host, ["a.example", "b.example"]);
    assert_eq!(
        (config.limits.connections, config.metrics_every),
        (Some(50), None)
    );
}

#[test]
fn switches_and_lists_of_a_stronger_source_replace_the_weaker() {
    let file = || Start::default().file("replace", "open = true\nallow-host = ['a', 'b']");
    assert!(file().resolve().unwrap().access.open);
    assert!(!file().flags("--open=false").resolve().unwrap().access.open);
    assert!(
        flags("--open")
            .variable("TRIWIRE_OPEN", "no")
            .resolve()
            .unwrap()
            .access
            .open
    );
    let hosts = |start: Start| start.resolve().unwrap().access.allow_host;
    assert_eq!(
        hosts(file().variable("TRIWIRE_ALLOW_HOST", "c, d")),
        ["c", "d"]
    );
    assert_eq!(
        hosts(file().flags("--allow-host e --allow-host f,e")),
        ["e", "f"]
    );
}

#[test]
fn a_database_is_shown_nowhere() {
    let url = "postgres://me:hush@here:5432/docs";
    for start in [
        Start::default().variable("TRIWIRE_STORE", url),
        Start::default().file("store", &format!("store = {url:?}")),
        flags("--store postgres://me:hush@here:5432/docs"),
    ] {
        let config = start.resolve().unwrap();
        assert_eq!(config.store.as_ref().map(|store| store.reveal()), Some(url));
        assert!(!format!("{config:?}").contains("hush"));
    }
    for wrong in ["mysql://me:hush@here/docs", "hush", "postgres://"] {
        let lines = Start::default().variable("TRIWIRE_STORE", wrong).mistakes();
        let expected = "TRIWIRE_STORE: is none; write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        assert_eq!(lines, [expected]);
    }
    let twice = flags("--store postgres://me:hush@a --store postgres://me:hush@b").mistakes();
    assert!(!twice.concat().contains("hush"), "{twice:?}");
}

#[test]
fn keys_are_listed_and_shown_nowhere() {
    let (one, two) = ("0123456789abcdef", "fedcba9876543210");
    let revealed = |start: Start| {
        let config = start.resolve().unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains(one) && !shown.contains(two), "{shown}");
        let keys = config.access.api_key.iter();
        keys.map(|key| key.reveal().to_owned()).collect::<Vec<_>>()
    };
    let both = Start::default().variable("TRIWIRE_API_KEY", "0123456789abcdef, fedcba9876543210");
    assert_eq!(revealed(both), [one, two]);
    let text = "api-key = ['0123456789abcdef', 'fedcba9876543210']";
    assert_eq!(revealed(Start::default().file("keys", text)), [one, two]);
    let flag = Start::default()
        .file("keys", text)
        .flags("--api-key fedcba9876543210");
    assert_eq!(revealed(flag), [two]);

    let wrong = flags("--api-key 0123456789abcdef,tooshort")
        .variable("TRIWIRE_API_KEY", "tooshort, with a blank");
    let advice =
        "is none; write 16 to 255 visible ASCII characters without commas, any number of keys";
    assert_eq!(
        wrong.mistakes(),
        [
            format!("TRIWIRE_API_KEY: key 1 of 2 {advice}"),
            format!("--api-key: key 2 of 2 {advice}"),
        ]
    );
}

#[test]
fn all_mistakes_of_all_sources_come_at_once() {
    let text = "drain = 10\nheartbeet = '5s'\nwss = 'nowhere'\nallow-origin = ['*', 'x']\n";
    let start = Start::default()
        .file("all", text)
        .flags("--http1 80801 --wss off --log-bytes 1MiB --h2c 0.0.0.0:9000")
        .variable("TRIWIRE_DRAIN", "soon")
        .variable("TRIWIRE_PORT", "tcp://10.0.0.1:80");
    let expected = [
        "triwire.toml: heartbeet: is not a setting; did you mean heartbeat?",
        "--http1: \"80801\" has no valid port; a port is 0 to 65535",
        "triwire.toml: wss: \"nowhere\" is not an address; \
         write ADDR:PORT, [::1]:PORT, PORT, localhost:PORT or off",
        "triwire.toml: allow-origin: \"*\" would let in every page there is; \
         name each origin, such as https://example.org",
        "triwire.toml: allow-origin: \"x\" is not an origin; \
         write scheme://host or scheme://host:port",
        "triwire.toml: drain: \"10\" has no unit; write 10ms, 10s, 10min or 10h",
        "TRIWIRE_DRAIN: \"soon\" is not a time; write one like 200ms, 15s, 2min or 1h",
        "--log-bytes: is less than topic-bytes (64MiB by default); \
         all topics together must hold what one may",
        "--h2c: 0.0.0.0:9000 can be reached from other machines; \
         bind localhost, or add --open, which lets anybody publish and subscribe",
    ];
    assert_eq!(start.mistakes(), expected);
}

#[test]
fn what_the_file_must_not_say() {
    for (text, line) in [
        (
            "drain = ['1s', '2s']",
            "drain: takes one value, not 2; write 0s to 1h",
        ),
        (
            "drain = []",
            "drain: takes one value, not 0; write 0s to 1h",
        ),
        (
            "open = 'maybe'",
            "open: \"maybe\" is neither true nor false",
        ),
        (
            "topics = 1.5",
            "topics: \"1.5\" is not a number; write 1 to 10_000_000",
        ),
        (
            "name = ''",
            "name: \"\" is not a name; write 1 to 64 printable ASCII characters",
        ),
    ] {
        let lines = Start::default().file("file", text).mistakes();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with(&format!("triwire.toml: {line}")),
            "{lines:?}"
        );
    }
}

#[test]
fn zero_and_absurd_values_are_refused_with_the_range() {
    for (line, range) in [
        ("--event-bytes 0", "64B to 64MiB"),
        ("--head-bytes 4KiB", "8KiB to 1MiB"),
        ("--topics 0", "1 to 10_000_000"),
        ("--streams 1000000", "1 to 100_000"),
        ("--connections 0", "1 to 1_000_000, or auto"),
        ("--shards many", "1 to 1_024, or auto"),
        ("--pong 0s", "50ms to 1h"),
        ("--metrics-every 49ms", "50ms to 1h, or off"),
        ("--stall 25h", "100ms to 24h"),
        ("--topic-bytes 99999999999999999999GiB", "1KiB to 1024GiB"),
        ("--groups-memory 0", "1MiB to 256GiB"),
        ("--log-format xml", "human or json"),
        ("--certs=", "is not a directory"),
        (
            "--open --open",
            "takes one value, not 2; write true or false",
        ),
        (
            "--drain 1s --drain 2s",
            "takes one value, not 2; write 0s to 1h",
        ),
        ("--allow-host a:80", "write a, which allows every port"),
    ] {
        let lines = flags(line).mistakes();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("--") && lines[0].ends_with(range),
            "{line}: {lines:?}"
        );
    }
}

#[test]
fn listeners_neither_collide_nor_are_all_off() {
    for (line, mistake) in [
        (
            "--http1 8081",
            "--http1: 127.0.0.1:8081 is taken by h2c (localhost:8081 by default)",
        ),
        (
            "--wss 127.0.0.1:8080",
            "--wss: 127.0.0.1:8080 is taken by http1 (localhost:8080 by default)",
        ),
        (
            "--http1 [::1]:99 --ws 99",
            "--ws: [::1]:99 is taken by http1 (--http1)",
        ),
        (
            "--open --ws 0.0.0.0:8080",
            "--ws: 0.0.0.0:8080 is taken by http1",
        ),
        (
            "--http1 off --h2c off --ws off --http2 off --http1s off --wss off",
            "all six listeners are off; turn one on",
        ),
    ] {
        let lines = flags(line).mistakes();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(mistake), "{line}: {lines:?}");
    }
    let free = flags("--http1 0 --h2c 0 --ws 127.0.0.1:0 --http2 [::1]:0 --http1s 0 --wss off");
    assert_eq!(
        free.resolve().unwrap().listeners.ws.to_string(),
        "127.0.0.1:0"
    );
    assert!(
        flags("--http1 127.0.0.1:9 --ws 127.0.0.2:9 --wss [::1]:9")
            .resolve()
            .is_ok()
    );
}

#[test]
fn values_that_make_no_sense_together() {
    for (line, mistake) in [
        (
            "--event-bytes 2MiB --topic-bytes 1MiB",
            "--topic-bytes: is less than event-bytes (--event-bytes)",
        ),
        (
            "--topic-bytes 1GiB",
            "--topic-bytes: is more than log-bytes (512MiB by default)",
        ),
        (
            "--retry-min 4s",
            "--retry-min: is more than retry-max (3s by default)",
        ),
        (
            "--retry-max 1s",
            "--retry-max: is less than retry-min (1500ms by default)",
        ),
        (
            "--table-bytes 1GiB --tables-bytes 512MiB",
            "--tables-bytes: is less than table-bytes (--table-bytes)",
        ),
        (
            "--query-memory 64MiB",
            "--query-memory: is less than tables-bytes (256MiB by default)",
        ),
        (
            "--document-bytes 5MiB",
            "--document-bytes: is more than page-bytes (4MiB by default)",
        ),
    ] {
        let lines = flags(line).mistakes();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(mistake), "{line}: {lines:?}");
    }
}

#[test]
fn what_others_can_reach_must_be_open() {
    for bind in [
        "0.0.0.0:8080",
        "[::]:8080",
        "192.168.1.5:8080",
        "[2001:db8::1]:0",
    ] {
        let start = Start::default().variable("TRIWIRE_HTTP1", bind);
        let lines = start.mistakes();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with(&format!("TRIWIRE_HTTP1: {bind} can be reached")),
            "{lines:?}"
        );
        assert!(lines[0].contains("--open, which lets anybody publish and subscribe"));
        assert!(start.flags("--open").resolve().is_ok());
    }
    assert!(
        flags("--http1 127.1.2.3:8080 --ws [::1]:9")
            .resolve()
            .is_ok()
    );
}

#[test]
fn limits_that_follow_from_others() {
    let limits = Config::default().limits;
    assert_eq!(limits.websocket_bytes(), 6 * 256 * 1024 + 4096);
    assert_eq!(
        [20_000, 10_000_000, 3, u64::MAX].map(|all| limits.connections_within(all)),
        [18_000, 100_000, 2, 100_000]
    );
    let limits = Limits {
        connections: Some(5),
        ..limits
    };
    assert_eq!(limits.connections_within(1000), 5);
    let config = Config::default();
    assert_eq!(config.name_or("box\"1\n"), "box1");
    assert_eq!(
        flags("--name eu-1").resolve().unwrap().name_or("box"),
        "eu-1"
    );
}

#[test]
fn help_is_short_for_h_and_complete_for_help() {
    let help = |flag: &str| {
        let command = Config::command(clap::Command::new("serve"));
        command
            .try_get_matches_from(["serve", flag])
            .expect_err("help ends")
            .to_string()
    };
    let (short, long) = (help("-h"), help("--help"));
    for setting in table::settings() {
        let flag = setting.flag();
        let named = |end: &str| short.contains(&format!("{flag}{end}"));
        assert_eq!(named(" <") || named("[="), setting.shown, "-h: {flag}");
        assert!(
            long.contains(&flag) && long.contains(setting.help),
            "--help: {flag}"
        );
    }
    let unknown = Config::command(clap::Command::new("serve"))
        .try_get_matches_from(["serve", "--http3", "1"]);
    assert_eq!(
        unknown.unwrap_err().kind(),
        clap::error::ErrorKind::UnknownArgument
    );
}

#[test]
fn the_documentation_has_a_row_for_each_setting_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for (at, setting) in table::settings().enumerate() {
        let default = if setting.default.is_empty() {
            "-"
        } else {
            setting.default
        };
        let (flag, variable) = (setting.flag(), setting.variable());
        let start = format!(
            "| `{}` | `{flag}` | `{variable}` | {default} | {} |",
            setting.key,
            setting.allowed()
        );
        let row = rows.get(at).copied().unwrap_or_default();
        let rest = row
            .strip_prefix(&start)
            .unwrap_or_else(|| panic!("row {at}:\n{row}\nshould start\n{start}"));
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        assert!(
            matches!(cells[..], [reached, why, ""] if !reached.is_empty() && !why.is_empty()),
            "{row}"
        );
    }
    assert_eq!(rows.len(), table::settings().count());
}
