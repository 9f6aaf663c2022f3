//! docs/deploy says what works: its commands start a server, which ends as they say and is found healthy.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::server::{BINARY, LISTENERS, Server, new_dir};

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What comes after a key of the unit.
fn setting(unit: &str, key: &str) -> String {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

/// The list of the instruction of the Dockerfile that has these words; it may go over several lines.
fn list(dockerfile: &str, instruction: &str) -> Vec<String> {
    let whole = dockerfile.replace("\\\n", "");
    let line = whole.lines().find(|line| line.contains(instruction));
    let line = line.unwrap_or_else(|| panic!("no {instruction}"));
    let start = line.find('[').expect("a list");
    serde_json::from_str(&line[start..]).expect("a list in JSON")
}

/// Starts what a command starts, on free ports of the same addresses, with directories of its own.
fn start(command: &[String]) -> (Server, PathBuf) {
    assert_eq!(command[0], "serve");
    let mut args = Vec::new();
    let mut words = command[1..].iter();
    while let Some(word) = words.next() {
        // What every server of the tests is told.
        if matches!(word.as_str(), "--certs" | "--log-format") {
            words.next();
        } else {
            args.push(word.clone());
        }
    }
    let data = new_dir();
    if let Some(at) = args.iter().position(|arg| *arg == "--data") {
        args[at + 1] = data.display().to_string();
    }
    for listener in LISTENERS {
        if let Some(at) = args.iter().position(|arg| *arg == format!("--{listener}"))
            && args[at + 1] != "off"
        {
            let (address, port) = args[at + 1]
                .rsplit_once(':')
                .expect("an address and a port");
            assert_ne!(port, "0");
            args[at + 1] = format!("{address}:0");
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    (Server::start(&args), data)
}

fn ends_in_peace(mut server: Server, data: &Path) {
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    fs::remove_dir_all(data).expect("it was made");
}

fn seconds(time: &str) -> u64 {
    let number = time.strip_suffix('s').expect("seconds");
    number.parse().expect("a number")
}

#[test]
fn the_service_starts_and_has_the_time_to_drain() {
    let unit = read("docs/deploy/triwire.service");
    let line = setting(&unit, "ExecStart");
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    assert_eq!(words[0], "/usr/local/bin/triwire");
    let (server, data) = start(&words[1..]);
    ends_in_peace(server, &data);
    let drain = words
        .iter()
        .position(|word| word == "--drain")
        .expect("--drain");
    let longest = seconds(&setting(&unit, "TimeoutStopSec"));
    assert!(
        longest > seconds(&words[drain + 1]),
        "systemd kills before the drain is over"
    );
}

/// Where there is no systemd there is nobody to ask.
#[test]
fn systemd_knows_every_line_of_the_service() {
    let dir = new_dir();
    let unit = read("docs/deploy/triwire.service").replace("/usr/local/bin/triwire", BINARY);
    let path = dir.join("triwire.service");
    fs::write(&path, unit).expect("a file");
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output();
    match verify {
        Ok(said) => {
            let text = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success() && text.is_empty(), "{text}");
        }
        Err(error) => {
            eprintln!("systemd-analyze is not here, so the unit was not verified: {error}")
        }
    }
    fs::remove_dir_all(dir).expect("it was made");
}

#[test]
fn the_image_starts_and_is_found_healthy() {
    let dockerfile = read("docs/deploy/Dockerfile");
    let (server, data) = start(&list(&dockerfile, "CMD [\"serve"));
    let ready: &Value = &server.ready["listeners"];
    for listener in LISTENERS {
        let address = ready[listener].as_str().expect("all are on");
        assert!(address.starts_with("0.0.0.0:"), "{address}");
    }
    let check = list(&dockerfile, "CMD [\"bash");
    let ask = |port: u16| {
        let words = check
            .iter()
            .map(|word| word.replace("/8080", &format!("/{port}")));
        let words: Vec<String> = words.collect();
        let run = Command::new(&words[0]).args(&words[1..]).output();
        run.expect("bash runs").status.success()
    };
    let port = server.addr("http1").port();
    assert!(ask(port), "it is healthy");
    ends_in_peace(server, &data);
    assert!(!ask(port), "nobody listens there any more");
}

/// In containers and on Kubernetes: without the relay, which is not here.
#[test]
fn the_servers_of_compose_and_kubernetes_start() {
    for (file, key, count) in [
        ("compose.yaml", "command: ", 2),
        ("docs/deploy/kubernetes/triwire.yaml", "args: ", 1),
    ] {
        let text = read(file);
        let lines = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key))
            .filter(|list| list.starts_with("[\"serve\""));
        let mut found = 0;
        for list in lines {
            let mut words: Vec<String> = serde_json::from_str(list).expect("a list of strings");
            if let Some(at) = words.iter().position(|word| word == "--relay") {
                words.drain(at..at + 2);
            }
            let (server, data) = start(&words);
            let listeners = server.ready["listeners"].as_object();
            assert_eq!(listeners.map(|on| on.len()), Some(1), "{file}");
            found += 1;
            ends_in_peace(server, &data);
        }
        assert_eq!(found, count, "{file}");
    }
}

/// A file that is copied and left out by .dockerignore would be found out only where images are built.
#[test]
fn what_the_image_is_built_from_is_there() {
    let ignored = read(".dockerignore");
    let admitted: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let mut copied: Vec<PathBuf> = Vec::new();
    for line in read("docs/deploy/Dockerfile").lines() {
        if let Some(words) = line
            .strip_prefix("COPY ")
            .filter(|words| !words.starts_with("--from"))
        {
            let mut sources: Vec<&str> = words.split(' ').collect();
            sources.pop();
            copied.extend(sources.into_iter().map(PathBuf::from));
        }
    }
    assert_eq!(
        copied,
        admitted.iter().map(PathBuf::from).collect::<Vec<_>>()
    );
    for source in copied {
        assert!(root().join(&source).exists(), "{}", source.display());
    }
}
