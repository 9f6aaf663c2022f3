//! Servers that others publish on, as processes of a test's own.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::support::server::{BINARY, new_dir};

/// What the step of `scripts/test` says.
const ASKED: &str = "TRIWIRE_TEST_BRIDGES";

/// The user whom each of them knows, but for Redis, which knows the password alone.
pub const USER: &str = "user";
pub const PASSWORD: &str = "a-se:cret";

/// The same in a URL.
pub const WHO: &str = "user:a-se%3Acret";

/// Whom RabbitMQ knows beside, and the virtual host that is that one's alone, in which only queues `q…` may be read.
pub const OTHER: &str = "other";
pub const VHOST: &str = "shop/eu";

/// How long one may take to start: RabbitMQ takes ten seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Broker {
    pub port: u16,
    /// Where it takes TLS, with the certificates of `dir`.
    pub secure: u16,
    pub dir: PathBuf,
    program: &'static str,
    args: Vec<String>,
    variables: Vec<(&'static str, String)>,
    running: Vec<Child>,
}

impl Broker {
    pub fn redis() -> Option<Broker> {
        let mut broker = Broker::new("redis-server")?;
        broker.certificates();
        let (port, secure) = (broker.port.to_string(), broker.secure.to_string());
        let dir = broker.dir.display().to_string();
        let (cert, key) = broker.pair();
        broker.args = ["--bind", "127.0.0.1", "--port", &port, "--dir", &dir]
            .into_iter()
            .chain([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--requirepass",
                PASSWORD,
                "--tls-port",
                &secure,
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &cert,
                "--tls-auth-clients",
                "no",
            ])
            .map(str::to_owned)
            .collect();
        broker.start();
        Some(broker)
    }

    pub fn nats() -> Option<Broker> {
        Broker::nats_with(|_| Vec::new())
    }

    /// One that takes nobody without TLS.
    pub fn natss() -> Option<Broker> {
        Broker::nats_with(|broker| {
            broker.certificates();
            let (cert, key) = broker.pair();
            ["--tls", "--tlscert", &cert, "--tlskey", &key]
                .map(str::to_owned)
                .into()
        })
    }

    fn nats_with(more: impl FnOnce(&Broker) -> Vec<String>) -> Option<Broker> {
        let mut broker = Broker::new("nats-server")?;
        let port = broker.port.to_string();
        broker.args = ["--addr", "127.0.0.1", "--port", &port]
            .into_iter()
            .chain(["--user", USER, "--pass", PASSWORD])
            .map(str::to_owned)
            .chain(more(&broker))
            .collect();
        broker.start();
        Some(broker)
    }

    pub fn mosquitto() -> Option<Broker> {
        let mut broker = Broker::new("mosquitto")?;
        broker.certificates();
        let dir = broker.dir.display().to_string();
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c", &format!("{dir}/users"), USER, PASSWORD])
            .status();
        assert!(made.expect("it is installed with mosquitto").success());
        // As root it would become another user, to whom nothing of this belongs.
        let conf = format!(
            "user root\nallow_anonymous false\npassword_file {dir}/users\npersistence true\npersistence_location {dir}/\n\
             listener {} 127.0.0.1\n\
             listener {} 127.0.0.1\ncertfile {dir}/certs/server.pem\nkeyfile {dir}/certs/server.key\n",
            broker.port, broker.secure
        );
        fs::write(broker.dir.join("conf"), conf).expect("a file can be written");
        broker.args = vec!["-c".to_owned(), format!("{dir}/conf")];
        broker.start();
        Some(broker)
    }

    /// RabbitMQ with nothing of the machine's own: its directories, its ports, and its own register of Erlang's nodes.
    pub fn rabbitmq() -> Option<Broker> {
        let mut broker = Broker::new("/usr/lib/rabbitmq/bin/rabbitmq-server")?;
        broker.certificates();
        let (dir, port, secure) = (broker.dir.display(), broker.port, broker.secure);
        let conf = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{secure}\n\
             ssl_options.certfile = {dir}/certs/server.pem\nssl_options.keyfile = {dir}/certs/server.key\n\
             ssl_options.cacertfile = {dir}/certs/ca.pem\nssl_options.verify = verify_none\n\
             load_definitions = {dir}/definitions.json\nloopback_users = none\n"
        );
        let definitions = serde_json::json!({
            "users": [
                { "name": USER, "password": PASSWORD, "tags": "administrator" },
                { "name": OTHER, "password": PASSWORD, "tags": "" },
            ],
            "vhosts": [{ "name": "/" }, { "name": VHOST }],
            "permissions": [
                { "user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" },
                { "user": OTHER, "vhost": VHOST, "configure": ".*", "write": ".*", "read": "^q" },
            ],
        });
        fs::write(broker.dir.join("definitions.json"), definitions.to_string())
            .expect("a file can be written");
        fs::write(broker.dir.join("rabbitmq.conf"), conf).expect("a file can be written");
        fs::write(broker.dir.join("enabled"), "[].").expect("a file can be written");
        let at = |name: &str| format!("{dir}/{name}");
        let (nodes, between) = (free_port().to_string(), free_port().to_string());
        broker.variables = vec![
            ("HOME", at("")),
            ("ERL_EPMD_PORT", nodes.clone()),
            ("RABBITMQ_NODENAME", format!("triwire-{port}@localhost")),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", between),
            ("RABBITMQ_BASE", at("")),
            ("RABBITMQ_MNESIA_BASE", at("mnesia")),
            ("RABBITMQ_LOG_BASE", at("log")),
            ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", at("generated")),
            ("RABBITMQ_PID_FILE", at("pid")),
        ];
        // Else the node would start one that stays when it has gone.
        let mut register = Command::new("epmd");
        register.args(["-address", "127.0.0.1", "-port", &nodes]);
        broker.spawn(register);
        until_listening(nodes.parse().expect("a port"), &mut || true);
        broker.start();
        Some(broker)
    }

    fn new(program: &'static str) -> Option<Broker> {
        static SAID: Once = Once::new();
        if std::env::var(ASKED).is_err() {
            // Not by a macro, whose words a test that succeeds keeps to itself.
            SAID.call_once(|| {
                let words = "not run: nobody asks for servers by TRIWIRE_TEST_BRIDGES; scripts/test bridges does\n";
                let _ = std::io::stdout().write_all(words.as_bytes());
            });
            return None;
        }
        Some(Broker {
            port: free_port(),
            secure: free_port(),
            dir: new_dir(),
            program,
            args: Vec::new(),
            variables: Vec::new(),
            running: Vec::new(),
        })
    }

    fn certificates(&self) {
        let certs = self.dir.join("certs");
        let made = Command::new(BINARY)
            .arg("certs")
            .arg("--certs")
            .arg(certs)
            .output();
        assert!(made.expect("the binary starts").status.success());
    }

    /// The files of its certificate and its key.
    fn pair(&self) -> (String, String) {
        let file = |name: &str| format!("{}/certs/{name}", self.dir.display());
        (file("server.pem"), file("server.key"))
    }

    /// The CA of its certificate, for a URL.
    pub fn cacert(&self) -> String {
        format!("cacert={}/certs/ca.pem", self.dir.display())
    }

    /// On the same port, with what it had.
    pub fn start(&mut self) {
        let mut command = Command::new(self.program);
        command.args(&self.args).envs(self.variables.clone());
        self.spawn(command);
        let child = self.running.last_mut().expect("it was just started");
        let mut runs = || child.try_wait().expect("it can be waited for").is_none();
        until_listening(self.port, &mut runs);
    }

    fn spawn(&mut self, mut command: Command) {
        let log = fs::File::create(self.dir.join("output")).expect("a file can be made");
        let pipes = command
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be shared"))
            .stdout(log)
            // A script may start others: they end with it.
            .process_group(0);
        self.running.push(pipes.spawn().expect("it is installed"));
    }

    /// Ends it as who ends it does: what it has to keep it keeps.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// As if its power were cut.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, signal: &str) {
        let Some(mut child) = self.running.pop() else {
            return;
        };
        let _ = Command::new("kill")
            .args(["-s", signal, "--", &format!("-{}", child.id())])
            .stderr(Stdio::null())
            .status();
        child.wait().expect("it can be waited for");
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(began.elapsed() < PATIENCE, "{} stays", self.program);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        while !self.running.is_empty() {
            self.kill();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One that nobody has now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn until_listening(port: u16, runs: &mut dyn FnMut() -> bool) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(runs(), "it has ended");
        assert!(began.elapsed() < PATIENCE, "nobody listens on {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
