//! A healthy client beside the hostile ones: it publishes numbers and reads them, and asks how the server is. What
//! is done to the server meanwhile must not be noticed here.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Peer;
use super::process::waited;
use crate::support::server::Server;

/// Between two numbers.
const PACE: Duration = Duration::from_millis(10);
/// Who waits for longer waits for a peer, and not for a processor: the hostile ones hold out until they are let go. What
/// other work on the machine takes is taken off as far as the kernel tells of it.
const LONGEST: Duration = Duration::from_secs(5);
const END: &str = "end";

/// Two connections of HTTP/1.1, on `http1`.
pub struct Witness {
    stop: Sender<()>,
    publisher: JoinHandle<(u64, Duration)>,
    reader: JoinHandle<Vec<String>>,
}

impl Witness {
    pub fn start(server: &Server) -> Witness {
        let mut reader = Peer::connect(server, "http1");
        reader.say("GET /events?topic=witness HTTP/1.1\r\nhost: localhost\r\n\r\n");
        reader.until("event: ready").expect("a stream");
        let publisher = Peer::connect(server, "http1");
        let (stop, stopped) = mpsc::channel();
        let pid = server.pid();
        Witness {
            stop,
            publisher: std::thread::spawn(move || publish(publisher, &stopped, pid)),
            reader: std::thread::spawn(move || read(reader)),
        }
    }

    /// Stops, and says whether all was well.
    #[track_caller]
    pub fn saw_nothing(self) {
        drop(self.stop);
        let (count, slowest) = self.publisher.join().expect("the publisher is served");
        let read = self.reader.join().expect("the reader is served");
        let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(read, numbers, "every event, once, in order");
        assert!(count > 0, "nothing was published meanwhile");
        assert!(slowest < LONGEST, "an answer took {slowest:?}");
    }
}

/// Returns how many numbers were published, and how long the slowest answer took.
fn publish(mut peer: Peer, stopped: &mpsc::Receiver<()>, pid: u32) -> (u64, Duration) {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    loop {
        let (asked, before) = (Instant::now(), waited(pid));
        send(&mut peer, &count.to_string());
        peer.say("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(peer.answer().status, 200);
        let others = waited(pid).saturating_sub(before);
        slowest = slowest.max(asked.elapsed().saturating_sub(others));
        count += 1;
        if stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Disconnected) {
            send(&mut peer, END);
            return (count, slowest);
        }
    }
}

fn send(peer: &mut Peer, text: &str) {
    let length = text.len();
    peer.say(format!(
        "POST /publish/witness HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{text}"
    ));
    assert_eq!(peer.answer().status, 201);
}

/// Everything that the stream carried up to its end: numbers, and whatever should not be there.
fn read(mut peer: Peer) -> Vec<String> {
    peer.until("\n\n").expect("the rest of `ready`");
    let mut read = Vec::new();
    while let Some(block) = peer.until("\n\n") {
        let number = block.lines().find_map(|line| line.strip_prefix("data: "));
        match number {
            Some(END) => return read,
            Some(number) if !block.contains("event: ") => read.push(number.to_owned()),
            _ => read.push(block),
        }
    }
    read.push("the stream was cut".to_owned());
    read
}
