//! The load: N readers on one transport and a publisher, in one thread with one epoll. The same code drives every
//! wire and every server, so that what differs is theirs. A stranger: it knows the protocols and nothing of the
//! server's code.
//!
//! [`Load`] is all connections of one run; [`tally`] is what every reader must see; [`process`] is what the kernel
//! says of the server meanwhile. What both sides of a bare comparison need stands open: [`socket`], [`frame`], [`head`].

pub mod clock;
mod connection;
pub mod frame;
pub mod head;
pub mod histogram;
mod http1;
mod http2;
mod long_poll;
pub mod note;
pub mod partial;
pub mod peaks;
pub mod process;
mod publisher;
pub mod server;
pub mod socket;
mod sse;
pub mod tally;
pub mod websocket;

use std::error::Error;
use std::fmt;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;

use self::clock::SECOND;
use self::connection::Connection;
pub use self::note::Dialect;
use self::note::{Id, Note};
use self::publisher::Publisher;
use self::socket::{Buffers, Endpoint, Traffic};
pub use self::tally::Payload;
use self::tally::Tally;
use crate::client::Transport;

/// What went wrong, in words.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How long readers may take to become ready, and events to arrive everywhere.
const PATIENCE: u64 = 20 * SECOND;
/// How long nothing comes for those that read again when they have all that they will get.
const QUIET: u64 = 3 * SECOND;
/// How long an interruption may go unnoticed.
const GLANCE: u64 = SECOND / 10;
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

/// Whom it is done to.
#[derive(Clone)]
pub struct Target {
    /// How readers read.
    pub transport: &'static Transport,
    /// Where.
    pub readers: Endpoint,
    /// Where events are published, on HTTP/1.1.
    pub publishing: Endpoint,
    /// How the server words its streams.
    pub dialect: Dialect,
    /// What is published and read; nobody else should.
    pub topic: String,
}

/// Where readers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With what is published from now on.
    Head,
    /// With the oldest that the server has.
    Start,
}

/// What a connection's readers ask for.
struct Ask {
    authority: String,
    topic: String,
    /// A cursor for each stream.
    after: Vec<Option<Id>>,
}

impl Ask {
    /// The path of a stream.
    fn path(&self, stream: usize) -> String {
        self.on("/events", stream)
    }

    /// The path of a poll.
    fn poll(&self) -> String {
        self.on("/poll", 0)
    }

    fn on(&self, path: &str, stream: usize) -> String {
        let topic = &self.topic;
        match self.after[stream] {
            Some(after) => format!("{path}?topic={topic}&after={after}"),
            None => format!("{path}?topic={topic}"),
        }
    }
}

/// Why a load ended before it was done, though nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody does not want to wait any longer.
    Interrupted,
    /// The time that was given is over.
    Overdue,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ended::Interrupted => "interrupted",
            Ended::Overdue => "the time for it was over",
        })
    }
}

impl Error for Ended {}

/// All connections of one run.
pub struct Load {
    epoll: OwnedFd,
    ready: Vec<Event>,
    buffers: Buffers,
    target: Target,
    connections: Vec<Option<Connection>>,
    publisher: Publisher,
    interrupt: Arc<AtomicBool>,
    /// What every reader saw.
    pub tally: Tally,
    /// What connections carried that are no more.
    gone: Traffic,
    /// How long nothing comes when nothing more will.
    patience: u64,
    /// When it must be over.
    deadline: u64,
    /// Stopped readers' connections that the server closed.
    pub closed: usize,
    /// Events that were due and never sent, because the server had not answered the earlier ones.
    pub unsent: u64,
}

impl Load {
    /// No readers yet. It ends with [`Ended::Interrupted`] soon after `interrupt` is set.
    ///
    /// # Errors
    /// When the kernel gives no epoll.
    pub fn new(target: Target, payload: Payload, interrupt: Arc<AtomicBool>) -> Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let publisher = Publisher::new(target.publishing.clone(), &target.topic, payload);
        Ok(Load {
            epoll,
            ready: Vec::with_capacity(EVENTS_A_TURN),
            buffers: Buffers::default(),
            target,
            connections: Vec::new(),
            publisher,
            interrupt,
            tally: Tally::default(),
            gone: Traffic::default(),
            patience: PATIENCE,
            deadline: u64::MAX,
            closed: 0,
            unsent: 0,
        })
    }

    /// After so long it ends with [`Ended::Overdue`], whatever it waits for.
    pub fn end_within(&mut self, left: Duration) {
        self.deadline = clock::now().saturating_add(left.as_nanos() as u64);
    }

    /// What comes later than this is late, and what has not come so long after the last that came is lost.
    pub fn set_patience(&mut self, late: Duration) {
        let late = late.as_nanos() as u64;
        self.tally.late_after = late;
        self.patience = late + SECOND;
    }

    /// Opens connections of so many streams each, at most `at_once` together, until all readers are ready.
    ///
    /// # Errors
    /// When not all become ready in time, or one is refused.
    pub fn open(
        &mut self,
        connections: usize,
        streams: usize,
        at_once: usize,
        from: From,
    ) -> Result<()> {
        let (first_event, after) = match from {
            From::Head => (self.tally.published(), None),
            From::Start => (0, Some(Id(0, 0))),
        };
        let mut left = connections;
        while left > 0 {
            let batch = left.min(at_once);
            for _ in 0..batch {
                let first = self.tally.add(streams, first_event, clock::now());
                let token = self.connections.len() as u64;
                let connection = self.connection(first, vec![after; streams], token)?;
                self.connections.push(Some(connection));
            }
            left -= batch;
            self.until_ready()?;
        }
        Ok(())
    }

    fn connection(&self, first: usize, after: Vec<Option<Id>>, token: u64) -> Result<Connection> {
        let ask = Ask {
            authority: self.target.readers.authority.clone(),
            topic: self.target.topic.clone(),
            after,
        };
        Connection::open(&self.target, ask, first, &self.epoll, token)
    }

    fn until_ready(&mut self) -> Result<()> {
        if self.turn_until(PATIENCE, |load| load.tally.all_ready())? {
            return Ok(());
        }
        Err(format!("only {} readers became ready", self.tally.ready()).into())
    }

    /// Waits until every reader has had an event.
    ///
    /// # Errors
    /// When one has none in time.
    pub fn until_begun(&mut self) -> Result<()> {
        if self.turn_until(PATIENCE, |load| load.tally.all_begun())? {
            return Ok(());
        }
        Err("not every reader got the event that was there".into())
    }

    /// Closes all readers' connections.
    pub fn close(&mut self) {
        self.gone = self.traffic();
        self.connections.clear();
        self.tally.clear();
    }

    /// Cuts all connections at once, and asks for each again with the cursors of its readers.
    ///
    /// # Errors
    /// When there is no descriptor or port for one.
    pub fn cut(&mut self) -> Result<()> {
        self.gone = self.traffic();
        let cut = mem::take(&mut self.connections);
        let places: Vec<_> = cut.iter().flatten().map(|c| (c.first, c.streams)).collect();
        drop(cut);
        for (first, streams) in places {
            let now = clock::now();
            let readers = first..first + streams;
            let cursors = readers.map(|reader| Some(self.tally.again(reader, now)));
            let cursors = cursors.collect();
            let token = self.connections.len() as u64;
            let connection = self.connection(first, cursors, token)?;
            self.connections.push(Some(connection));
        }
        Ok(())
    }

    /// What all readers' connections carried so far.
    pub fn traffic(&self) -> Traffic {
        let open = self.connections.iter().flatten();
        open.fold(self.gone, |sum, one| sum.and(&one.socket.traffic()))
    }

    /// What it took to open the connections that are open, all together.
    pub fn openings(&self) -> Traffic {
        let open = self.connections.iter().flatten();
        let opened = open.filter_map(|connection| connection.opening.as_ref());
        opened.fold(Traffic::default(), |sum, one| sum.and(one))
    }

    /// For each open connection the nanoseconds until it was secured.
    pub fn securing(&self) -> impl Iterator<Item = u64> {
        let open = self.connections.iter().flatten();
        open.map(|one| one.secured.saturating_sub(one.asked))
    }

    /// How many connections readers have.
    pub fn connections(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Publishes so many events a second, whether or not the earlier ones have arrived, and waits until all have.
    ///
    /// # Errors
    /// When a connection breaks, or a publish is not answered.
    pub fn publish_at(&mut self, rate: f64, seconds: f64) -> Result<()> {
        self.publish_from(clock::now(), rate, seconds)?;
        self.settle()
    }

    /// The same on a schedule that began at `start`, without waiting for what is on its way.
    ///
    /// # Errors
    /// When a connection breaks.
    pub fn publish_from(&mut self, start: u64, rate: f64, seconds: f64) -> Result<()> {
        for index in 0..(rate * seconds).round() as u64 {
            let due = start + (index as f64 / rate * SECOND as f64) as u64;
            self.publish_on(due)?;
        }
        Ok(())
    }

    /// Publishes one event when it is due, and takes what comes until then.
    fn publish_on(&mut self, due: u64) -> Result<()> {
        loop {
            self.turn(due)?;
            if clock::now() >= due {
                break;
            }
        }
        let number = self.tally.publish();
        self.publisher.publish(number, due, &self.epoll)
    }

    /// Publishes as fast as it goes with `window` events on their way: not yet answered, or not yet with all.
    ///
    /// # Errors
    /// When a connection breaks, or a publish is not answered.
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
    ///
    /// # Errors
    /// When a publish is not answered.
    pub fn settle(&mut self) -> Result<()> {
        loop {
            let before = self.tally.deliveries;
            let all =
                self.turn_until(self.patience, |load| load.done() == load.tally.published())?;
            if all || self.tally.deliveries == before {
                break;
            }
        }
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
        self.tally.complete().min(self.publisher.answered)
    }

    /// The first `connections` stop reading.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn stop(&mut self, connections: usize) -> Result<()> {
        for connection in self.connections[..connections].iter_mut().flatten() {
            connection.socket.unwatch(&self.epoll)?;
            connection.may_close = true;
            for stream in 0..connection.streams {
                self.tally.stop(connection.first + stream);
            }
        }
        Ok(())
    }

    /// The stopped ones read again, until all are up to date or nothing more comes.
    ///
    /// # Errors
    /// When another connection breaks.
    pub fn resume(&mut self, connections: usize) -> Result<()> {
        for (token, connection) in self.connections[..connections].iter_mut().enumerate() {
            let connection = connection
                .as_mut()
                .expect("it is not read, so nobody saw it closed");
            connection.socket.watch(&self.epoll, token as u64)?;
        }
        loop {
            let before = self.traffic().reads;
            let up_to_date = self.turn_until(QUIET, |load| load.tally.stopped().lost == 0)?;
            if up_to_date || self.traffic().reads == before {
                return Ok(());
            }
        }
    }

    /// Reads what comes for so long.
    ///
    /// # Errors
    /// When a connection breaks.
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
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(Ended::Interrupted.into());
        }
        if clock::now() > self.deadline {
            return Err(Ended::Overdue.into());
        }
        let mut ready = mem::take(&mut self.ready);
        ready.clear();
        let timeout = clock::timespec(until.saturating_sub(clock::now()).min(GLANCE));
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
        match connection.serve(&mut self.buffers, &mut self.tally) {
            Ok(()) => Ok(connection.socket.rewatch(&self.epoll, token)?),
            Err(_) if connection.may_close => {
                self.gone = self.gone.and(&connection.socket.traffic());
                *slot = None;
                self.closed += 1;
                Ok(())
            }
            Err(error) => Err(format!("reader {}: {error}", connection.first).into()),
        }
    }
}
