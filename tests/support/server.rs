//! A real server: the binary on free ports, with certificates of its own, ended when it is dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const LISTENERS: [&str; 6] = ["http1", "h2c", "ws", "http2", "http1s", "wss"];

pub const BINARY: &str = env!("CARGO_BIN_EXE_triwire");

/// How long a fact may take to come true before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a fact: the machine has better things to do meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

pub struct Server {
    child: Child,
    pub dir: PathBuf,
    pub ready: Value,
    stderr: Arc<Mutex<String>>,
    keep_dir: bool,
}

impl Server {
    /// Starts `triwire serve` with all six listeners on free ports, no metrics, and `args` besides.
    pub fn start(args: &[&str]) -> Server {
        Server::start_in(new_dir(), args)
    }

    /// The same with the certificates of another server's directory.
    pub fn start_in(dir: PathBuf, args: &[&str]) -> Server {
        Server::spawn(Command::new(BINARY), dir, args)
    }

    /// Starts it where a process may have no more open descriptors than these.
    pub fn start_with_descriptors(most: u32, args: &[&str]) -> Server {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("ulimit -n {most}; exec \"$0\" \"$@\""),
            BINARY,
        ]);
        Server::spawn(shell, new_dir(), args)
    }

    /// Starts it by a command that ends with the binary.
    pub fn start_by(command: Command, args: &[&str]) -> Server {
        Server::spawn(command, new_dir(), args)
    }

    fn spawn(mut command: Command, dir: PathBuf, args: &[&str]) -> Server {
        command.arg("serve").arg("--certs").arg(dir.join("certs"));
        command.args(["--log-format", "json"]);
        for name in LISTENERS {
            if !args.contains(&format!("--{name}").as_str()) {
                command.args([format!("--{name}"), "127.0.0.1:0".into()]);
            }
        }
        if !args.contains(&"--metrics-every") {
            command.args(["--metrics-every", "off"]);
        }
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let (lines, seen) = (child.stderr.take().expect("piped"), stderr.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut seen = seen.lock().expect("not poisoned");
                seen.push_str(&line);
                seen.push('\n');
            }
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("stdout can be read");
        if line.is_empty() {
            let status = child.wait().expect("it has ended");
            panic!(
                "the server ended with {status}: {}",
                stderr.lock().expect("not poisoned")
            );
        }
        // Nothing else may ever be there, and nobody must block on it.
        std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = stdout.read_to_string(&mut rest);
            assert_eq!(rest, "", "more than one line on stdout");
        });
        Server {
            child,
            dir,
            ready: serde_json::from_str(&line).expect("the ready line is JSON"),
            stderr,
            keep_dir: false,
        }
    }

    /// Where a listener is bound.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        let text = self.ready["listeners"][listener].as_str();
        text.unwrap_or_else(|| panic!("{listener} is on"))
            .parse()
            .expect("an address")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("certs/ca.pem")
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("not poisoned").clone()
    }

    /// `/stats`, by a plain HTTP/1.1 request on `http1`.
    pub fn stats(&self) -> Value {
        self.get("/stats")
    }

    /// What is in JSON at a path, by a plain HTTP/1.1 request on `http1`.
    pub fn get(&self, path: &str) -> Value {
        let (head, body) = self.request(&format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path} is JSON: {e}: {body}"))
    }

    /// Sends raw bytes to `http1` and returns head and body (which must end with the connection).
    pub fn request(&self, text: &str) -> (String, String) {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(self.addr("http1")).expect("http1 accepts");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream
            .write_all(text.as_bytes())
            .expect("the request can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer ends");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_owned(), body.to_owned())
    }

    /// Publishes text on a topic and returns the id.
    pub fn publish(&self, topic: &str, text: &str) -> String {
        let request = format!(
            "POST /publish/{topic} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let (head, body) = self.request(&request);
        assert!(head.starts_with("HTTP/1.1 201"), "{head}\n{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Asks `/stats` until `fact` holds of it, and returns it.
    pub fn until(&self, what: &str, fact: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats();
            if fact(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "not in time: {what}: {stats:#}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server does not end: {}",
                self.stderr()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends it at once, and keeps its directory for the next.
    pub fn kill(mut self) -> PathBuf {
        self.keep_dir = true;
        self.signal("KILL");
        self.wait();
        self.dir.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.keep_dir {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Sends a process `INT`, `KILL` or another.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

/// A new empty directory.
pub fn new_dir() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "triwire-test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let dir = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory can be made");
    dir
}

/// Both ends' buffers at their largest: they grow as the kernel sees fit, also for a reader that takes nothing.
pub fn most_that_the_kernel_takes() -> usize {
    let largest = |name: &str| {
        let sizes = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
        let sizes = sizes.expect("the kernel says");
        let largest = sizes.split_whitespace().last();
        largest.and_then(|size| size.parse::<usize>().ok())
    };
    let sizes = ["tcp_rmem", "tcp_wmem"].map(largest);
    sizes.map(|size| size.expect("three numbers")).iter().sum()
}
