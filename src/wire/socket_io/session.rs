//! One session: what its client has asked and not been answered, what is on its way to it, and its reader.
//!
//! It lives as long as the library's own socket, which carries its [`Ticket`]; requests and WebSockets come and go.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use serde::Serialize;
use serde_json::value::RawValue;
use socketioxide::extract::AckSender;
use socketioxide::socket::Sid;
use socketioxide::{SendError, SocketError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::SocketIo;
use super::reading::Reading;
use crate::body::{Lease, Unsent};
use crate::event::Framing;
use crate::log::Next;
use crate::wire::Carrier;

/// What a request or a packet costs beside its bytes, about.
pub(super) const OVERHEAD: usize = 256;

/// A session.
pub(super) struct Session {
    pub(super) hall: Arc<SocketIo>,
    sid: OnceLock<Sid>,
    /// Gone when the session is over.
    reading: Mutex<Option<Reading>>,
    /// Who tells the client what the reader reads.
    teller: AtomicWaker,
    /// What the client has asked: above its limit nothing more is taken from it.
    pub(super) asked: Arc<Unsent>,
    /// What is queued for the client: above its limit nothing is carried out or read from the log for it.
    unsent: Arc<Unsent>,
    /// The same by packets, in the order in which they leave.
    queued: Mutex<VecDeque<Lease>>,
    turns: Semaphore,
    /// How often the client has come to the namespace.
    visits: AtomicU64,
    is_over: AtomicBool,
    /// Whether a WebSocket has been opened for it, be it only to be tried.
    is_piped: AtomicBool,
    /// Why it is being closed from this side.
    farewell: OnceLock<Farewell>,
    /// The WebSocket's reading side.
    ear: AtomicWaker,
}

/// Why a session is closed from this side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

impl Farewell {
    const DRAIN: Farewell = Farewell {
        code: CloseCode::Away,
        reason: "draining; resume by cursor",
    };
    const FULL: Farewell = Farewell {
        code: CloseCode::Error,
        reason: "an answer could not be queued",
    };
    pub(super) const PROTOCOL: Farewell = Farewell {
        code: CloseCode::Protocol,
        reason: "against Engine.IO",
    };
    pub(super) const SIZE: Farewell = Farewell {
        code: CloseCode::Size,
        reason: "message over the limit (event-bytes times six, or document-bytes, and 4 KiB)",
    };
}

/// What the library's socket has of a session. When it is dropped, the session is over.
pub(super) struct Ticket(pub(super) Arc<Session>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What an acknowledgement says.
#[derive(Debug)]
pub(super) enum Said {
    /// No argument.
    Nothing,
    /// One.
    One(Box<RawValue>),
    /// Two.
    Two(Box<RawValue>, Box<RawValue>),
}

impl Said {
    fn length(&self) -> usize {
        match self {
            Said::Nothing => 0,
            Said::One(one) => one.get().len(),
            Said::Two(one, two) => one.get().len() + two.get().len(),
        }
    }

    fn by(&self, ack: AckSender) -> Result<(), SendError> {
        match self {
            // What is no array of a known length would be one argument.
            Said::Nothing => ack.send(&[(); 0]),
            Said::One(one) => ack.send(&[one]),
            Said::Two(one, two) => ack.send(&[one, two]),
        }
    }
}

impl Session {
    /// Begins one, and the telling of what it will read.
    pub(super) fn new(hall: Arc<SocketIo>, carrier: &Carrier) -> Arc<Session> {
        let reading = Reading::new(&hall.log, carrier);
        let session = Arc::new(Session {
            sid: OnceLock::new(),
            reading: Mutex::new(Some(reading)),
            teller: AtomicWaker::new(),
            asked: Unsent::new(hall.limits.room),
            unsent: Unsent::new(hall.limits.room),
            queued: Mutex::default(),
            turns: Semaphore::new(hall.limits.requests),
            visits: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_piped: AtomicBool::new(false),
            farewell: OnceLock::new(),
            ear: AtomicWaker::new(),
            hall,
        });
        tokio::spawn(tell(session.clone()));
        session
    }

    /// Says by which name the library knows it.
    pub(super) fn is_known_as(&self, sid: Sid) {
        let _ = self.sid.set(sid);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.turns.close();
        // Not under its lock: leaving a topic takes others.
        let reading = self.reading().take();
        drop(reading);
        self.queued().clear();
        self.teller.wake();
        self.hall.forget(self.sid.get().copied());
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.reading.lock().expect("nothing panics under this lock")
    }

    fn queued(&self) -> MutexGuard<'_, VecDeque<Lease>> {
        self.queued.lock().expect("nothing panics under this lock")
    }
}

/// What the client asks.
impl Session {
    /// Takes note of a request of so many bytes, until the lease is dropped.
    pub(super) fn ask(&self, bytes: usize) -> Lease {
        self.asked.reserve(bytes + OVERHEAD)
    }

    /// Waits for the turn of a request that counts for so many, and for room for its answer; `None` when the client has
    /// left.
    pub(super) async fn turn(&self, weight: usize) -> Option<SemaphorePermit<'_>> {
        let weight = weight.min(self.hall.limits.requests) as u32;
        let turn = self.turns.acquire_many(weight).await.ok()?;
        self.room().await;
        (!self.is_over()).then_some(turn)
    }

    /// Waits until something more may be queued, or the session is over.
    async fn room(&self) {
        poll_fn(|cx| match self.is_over() {
            true => Poll::Ready(()),
            false => self.unsent.poll_room(cx),
        })
        .await;
    }

    /// Has more or less read for it, and the client told of that before anything that comes by it.
    pub(super) fn read(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Reading) -> Said,
        ack: Option<AckSender>,
    ) {
        let mut reading = self.reading();
        let Some(reading) = reading.as_mut() else {
            return;
        };
        let said = change(reading);
        self.acknowledge(&said, ack);
        self.teller.wake();
    }

    /// Which visit to the namespace this is.
    pub(super) fn visit(&self) -> u64 {
        self.visits.load(Ordering::Acquire)
    }

    /// The client has come to the namespace, and begins with nothing.
    pub(super) fn begin_visit(&self) {
        self.visits.fetch_add(1, Ordering::AcqRel);
        self.read_nothing();
    }

    fn read_nothing(&self) {
        if let Some(reading) = self.reading().as_mut() {
            reading.clear();
        }
    }
}

/// What the client is told.
impl Session {
    /// Queues an acknowledgement, or closes the session: none is ever dropped.
    pub(super) fn acknowledge(self: &Arc<Self>, said: &Said, ack: Option<AckSender>) {
        if let Some(ack) = ack {
            self.queue(said.length(), || said.by(ack));
        }
    }

    /// Queues an event of one argument in JSON.
    fn emit(self: &Arc<Self>, name: &str, json: &[u8]) {
        let Some(socket) = self.sid.get().and_then(|sid| self.hall.socket(*sid)) else {
            // It has left the namespace.
            return self.read_nothing();
        };
        let Ok(json) = serde_json::from_slice::<&RawValue>(json) else {
            return;
        };
        self.queue(json.get().len(), || socket.emit(name, &[json]));
    }

    fn queue(self: &Arc<Self>, bytes: usize, send: impl FnOnce() -> Result<(), SendError>) {
        // Held over both, so that the leases are in the order of the packets.
        let mut queued = self.queued();
        match send() {
            Ok(()) => queued.push_back(self.unsent.reserve(bytes + OVERHEAD)),
            Err(SendError::Socket(SocketError::Closed)) => {}
            Err(_) => {
                drop(queued);
                self.close(Farewell::FULL);
            }
        }
    }

    /// Takes note that a packet of Engine.IO which begins like this has left.
    pub(super) fn left(&self, start: &[u8]) {
        // An event or an acknowledgement; all others are the library's own.
        if start.starts_with(b"42") || start.starts_with(b"43") {
            let lease = self.queued().pop_front();
            drop(lease);
        }
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Next>> {
        self.teller.register(cx.waker());
        match self.reading().as_mut() {
            Some(reading) => reading.poll_next(cx).map(Some),
            None => Poll::Ready(None),
        }
    }
}

/// Its end.
impl Session {
    /// Whether a WebSocket may be opened for it: one, ever.
    pub(super) fn may_be_piped(&self) -> bool {
        !self.is_piped.swap(true, Ordering::AcqRel)
    }

    /// Closes it from this side.
    pub(super) fn close(&self, farewell: Farewell) {
        if self.farewell.set(farewell).is_err() {
            return;
        }
        match self.is_piped.load(Ordering::Acquire) {
            true => self.ear.wake(),
            false => self.hang_up(),
        }
    }

    /// Tells the library that a session which polls is over.
    pub(super) fn hang_up(&self) {
        if let Some(sid) = self.sid.get() {
            self.hall.hang_up(*sid);
        }
    }

    /// Why it is being closed, if it is; if not, the WebSocket's reading side is woken when it is.
    pub(super) fn poll_farewell(&self, cx: &Context<'_>) -> Option<Farewell> {
        self.ear.register(cx.waker());
        self.farewell()
    }

    pub(super) fn farewell(&self) -> Option<Farewell> {
        self.farewell.get().copied()
    }
}

/// Tells the client what the reader reads, as long as there is room: what there is none for waits in the log.
async fn tell(session: Arc<Session>) {
    loop {
        session.room().await;
        match poll_fn(|cx| session.poll_next(cx)).await {
            Some(Next::Event(event)) => session.emit("change", &event.framed(Framing::Json)),
            Some(Next::Gap(gap)) => session.emit("gap", gap.json(None).as_bytes()),
            Some(Next::End(_)) => {
                // Behind all who wait for their turn: what was asked is answered before.
                let all = session.turn(usize::MAX).await;
                drop(all);
                return session.close(Farewell::DRAIN);
            }
            None => return,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.sid.get().map(Sid::as_str))
    }
}

/// Writes a value as it goes into an acknowledgement.
pub(super) fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("what is written here has text for keys")
}
