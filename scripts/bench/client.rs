//! The load client: N readers on one transport and a publisher, in one thread with one epoll. The same
//! code drives triwire and the bare loop.

mod connection;
mod http1;
mod http2;
mod long_poll;
mod publisher;
mod sse;
pub mod websocket;

use std::mem;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;

use self::connection::Connection;
pub use self::connection::Target;
use self::publisher::Publisher;
use crate::Result;
use crate::clock::{self, SECOND};
use crate::note::Note;
use crate::socket::Buffers;
use crate::tally::Tally;

const TOPIC: &str = "bench";
/// How long readers may take to become ready, and events to arrive everywhere.
const PATIENCE: u64 = 20 * SECOND;
/// How long nothing comes for those that read again when they have all that they will get.
const QUIET: u64 = 3 * SECOND;
/// Readiness taken from the kernel at once: few enough that a publish is not late.
const EVENTS_A_TURN: usize = 128;

/// Told which of a connection's streams said what.
type Each<'a> = dyn FnMut(usize, Note) -> Result<()> + 'a;

/// One connection's protocol.
trait Wire {
    /// What the client sends first.
    fn hello(&self) -> Vec<u8>;
    /// Takes bytes, tells `each` what the streams said, and puts into `answer` what must be sent.
    fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>, each: &mut Each) -> Result<()>;
}

/// Bytes on the readers' sockets and the reads that brought them.
#[derive(Clone, Copy, Default)]
pub struct Reads {
    pub bytes: u64,
    pub count: u64,
}

/// All connections of one run.
pub struct Load {
    epoll: OwnedFd,
    ready: Vec<Event>,
    buffers: Buffers,
    target: Target,
    connections: Vec<Option<Connection>>,
    publisher: Publisher,
    pub tally: Tally,
    pub reads: Reads,
    /// Stopped readers' connections that the server closed.
    pub closed: usize,
    /// Events that were due and never sent, because the server had not answered the earlier ones.
    pub unsent: u64,
}

impl Load {
    /// No readers yet. Events have `payload` bytes.
    pub fn new(target: Target, payload: usize) -> Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let publisher = Publisher::new(target.publishing, payload);
        Ok(Load {
            epoll,
            ready: Vec::with_capacity(EVENTS_A_TURN),
            buffers: Buffers::new(),
            target,
            connections: Vec::new(),
            publisher,
            tally: Tally::new(),
            reads: Reads::default(),
            closed: 0,
            unsent: 0,
        })
    }

    /// Opens connections of so many streams each, at most `at_once` together, until all readers are ready.
    pub fn open(&mut self, connections: usize, streams: usize, at_once: usize) -> Result<()> {
        let mut left = connections;
        while left > 0 {
            let batch = left.min(at_once);
            for _ in 0..batch {
                let (first, token) = (self.tally.add(streams), self.connections.len() as u64);
                let connection =
                    Connection::open(&self.target, streams, first, &self.epoll, token)?;
                self.connections.push(Some(connection));
            }
            left -= batch;
            if !self.turn_until(PATIENCE, |load| load.tally.all_ready())? {
                return Err(format!("only {} readers became ready", self.tally.ready).into());
            }
        }
        Ok(())
    }

    /// Closes all readers' connections.
    pub fn close(&mut self) {
        self.connections.clear();
        self.tally.clear();
    }

    /// Publishes so many events a second, whether or not the earlier ones have arrived.
    pub fn publish_at(&mut self, rate: f64, seconds: f64) -> Result<()> {
        let start = clock::now();
        for index in 0..(rate * seconds).round() as u64 {
            let due = start + (index as f64 / rate * SECOND as f64) as u64;
            while clock::now() < due {
                self.turn(due)?;
            }
            self.publisher
                .publish(self.tally.publish(), due, &self.epoll)?;
        }
        self.settle()
    }

    /// Publishes as fast as it goes with `window` events on their way: not yet answered, or not yet with all.
    pub fn publish_windowed(&mut self, window: u64, seconds: f64) -> Result<()> {
        let end = clock::now() + (seconds * SECOND as f64) as u64;
        loop {
            let now = clock::now();
            if now >= end {
                return self.settle();
            }
            while self.tally.published() - self.done() < window {
                self.publisher
                    .publish(self.tally.publish(), now, &self.epoll)?;
            }
            self.turn(end)?;
        }
    }

    /// Waits until every event is answered and with every running reader, or for so long that it is lost. What has
    /// found no free connection by then is given up.
    fn settle(&mut self) -> Result<()> {
        self.turn_until(PATIENCE, |load| load.done() == load.tally.published())?;
        let unsent = self.publisher.give_up();
        self.tally.withdraw(unsent);
        self.unsent += unsent;
        if self.turn_until(PATIENCE, |load| {
            load.publisher.answered == load.tally.published()
        })? {
            return Ok(());
        }
        let (answered, published) = (self.publisher.answered, self.tally.published());
        Err(format!("{answered} of {published} publishes were answered").into())
    }

    fn done(&self) -> u64 {
        self.tally.complete.min(self.publisher.answered)
    }

    /// The first `connections` stop reading.
    pub fn stop(&mut self, connections: usize, streams: usize) -> Result<()> {
        for connection in self.connections[..connections].iter_mut().flatten() {
            connection.socket.unwatch(&self.epoll)?;
            connection.may_close = true;
            for stream in 0..streams {
                self.tally.stop(connection.first + stream);
            }
        }
        Ok(())
    }

    /// The stopped ones read again, until all are up to date or nothing more comes.
    pub fn resume(&mut self, connections: usize) -> Result<()> {
        for (token, connection) in self.connections[..connections].iter_mut().enumerate() {
            let connection = connection
                .as_mut()
                .expect("it is not read, so nobody saw it closed");
            connection.socket.watch(&self.epoll, token as u64)?;
        }
        loop {
            let before = self.reads.count;
            let up_to_date = self.turn_until(QUIET, |load| load.tally.stopped().lost == 0)?;
            if up_to_date || self.reads.count == before {
                return Ok(());
            }
        }
    }

    /// Reads what comes for so long.
    pub fn idle(&mut self, seconds: f64) -> Result<()> {
        self.turn_until((seconds * SECOND as f64) as u64, |_| false)
            .map(drop)
    }

    fn turn_until(&mut self, patience: u64, done: impl Fn(&Load) -> bool) -> Result<bool> {
        let end = clock::now() + patience;
        while !done(self) {
            if clock::now() >= end {
                return Ok(false);
            }
            self.turn(end)?;
        }
        Ok(true)
    }

    /// Waits for what comes, but not beyond the time `until`, and takes it.
    fn turn(&mut self, until: u64) -> Result<()> {
        let mut ready = mem::take(&mut self.ready);
        ready.clear();
        let timeout = clock::timespec(until.saturating_sub(clock::now()));
        match epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &ready {
            let token = event.data.u64();
            if token >= publisher::FIRST_TOKEN {
                self.publisher
                    .serve(token, &mut self.buffers, &self.epoll)?;
            } else {
                self.serve(token)?;
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn serve(&mut self, token: u64) -> Result<()> {
        let slot = &mut self.connections[token as usize];
        let Some(connection) = slot else {
            return Ok(());
        };
        match connection.serve(&mut self.buffers, &mut self.tally, &mut self.reads) {
            Ok(()) => Ok(connection.socket.rewatch(&self.epoll, token)?),
            Err(error) if connection.may_close => {
                eprintln!("stopped reader {}: {error}", connection.first);
                *slot = None;
                self.closed += 1;
                Ok(())
            }
            Err(error) => Err(format!("reader {}: {error}", connection.first).into()),
        }
    }
}
