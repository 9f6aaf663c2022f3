//! Event streams on HTTP/2 past h2: once it has sent the head of a response, the DATA frames of an event stream are
//! written between its own frames, from the bytes that all readers share.
//!
//! h2 keeps a queue, a window and two wakers a stream and touches all of them for every frame. A stream of events needs
//! a window. Everything else stays h2's: what comes in, headers, resets, pings, every other response, and the end of
//! each stream.
//!
//! Which stream a response is, hyper does not tell. So its head has a ticket, a header field that what stands between
//! h2 and the client takes out again, and then knows the stream by the frame that it was in.

mod carry;
mod frame;
mod incoming;
mod outgoing;
mod socket;
mod ticket;
mod windows;

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use httpdate::fmt_http_date;
use hyper::Response;
use hyper::header::{self, Entry};

use self::incoming::Incoming;
use self::outgoing::Outgoing;
use self::socket::Bypassed;
use self::windows::Windows;
use crate::body::{Body, Stream};
use crate::bundle::Spawner;

/// What a connection's streams, its socket and its service share.
#[derive(Clone)]
pub(super) struct Bypass(Arc<Mutex<State>>);

struct State {
    windows: Windows,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Above so many bytes in `outgoing.ready` nothing new is written.
    most: usize,
    /// Heads of responses that h2 has not sent yet.
    tickets: HashMap<u32, Ticket>,
    next_ticket: u32,
    carried: HashMap<u32, Carried>,
    /// Whether streams wait for the socket.
    awaits_socket: bool,
    /// Whether streams wait for the connection's window, or for what h2 has begun to send.
    awaits_window: bool,
    /// h2, when too much of its own waits for the connection's window.
    writer: Option<Waker>,
    spawner: Spawner,
}

/// A response whose stream is to be known.
#[derive(Default)]
struct Ticket {
    stream: Option<u32>,
    body: Option<Waker>,
}

/// A stream that is carried past h2.
#[derive(Default)]
struct Carried {
    is_over: bool,
    body: Option<Waker>,
    carrier: Option<Waker>,
}

impl Bypass {
    /// Streams run in the bundle of `spawner`; above `most` bytes unsent they wait; `streams` is how many a client may
    /// open at once.
    pub(super) fn new(spawner: Spawner, most: usize, streams: u32) -> Bypass {
        Bypass(Arc::new(Mutex::new(State {
            windows: Windows::new(2 * streams as usize),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            most,
            tickets: HashMap::new(),
            next_ticket: 0,
            carried: HashMap::new(),
            awaits_socket: false,
            awaits_window: false,
            writer: None,
            spawner,
        })))
    }

    /// The socket with the streams in it.
    pub(super) fn around<S>(&self, io: S) -> Bypassed<S> {
        Bypassed {
            io: Arc::new(Mutex::new(io)),
            bypass: self.clone(),
        }
    }

    /// Has the body of a response carried past h2, if it is a stream.
    pub(super) fn take(&self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let Body::Stream(events) = body else {
            return Response::from_parts(head, body);
        };
        let mut state = self.state();
        let number = ticket::number(state.next_ticket);
        state.next_ticket = state.next_ticket.wrapping_add(1);
        state.tickets.insert(number, Ticket::default());
        drop(state);
        // hyper would add it after the ticket, which has to be last.
        let date = || fmt_http_date(SystemTime::now()).try_into();
        if let (Entry::Vacant(entry), Ok(date)) = (head.headers.entry(header::DATE), date()) {
            entry.insert(date);
        }
        ticket::add(&mut head.headers, number);
        let holder = Holder {
            bypass: self.clone(),
            owner: Owner::Whole(number, events),
        };
        Response::from_parts(head, Body::Stream(Box::new(holder)))
    }

    /// Has h2 read on once those have run that it has been given, with which this runs.
    fn go_on(&self, spawner: &Spawner) {
        let bypass = self.clone();
        spawner.spawn(async move {
            let mut state = bypass.state();
            state.incoming.requests = 0;
            state
                .incoming
                .reader
                .take()
                .into_iter()
                .for_each(Waker::wake);
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// The body that hyper has of such a response.
struct Holder {
    bypass: Bypass,
    owner: Owner,
}

enum Owner {
    /// It is not known yet as which stream.
    Whole(u32, Box<dyn Stream>),
    /// Left to h2.
    Left(Box<dyn Stream>),
    /// Given away, to be carried as this stream.
    Away(u32),
    Over,
}

impl Stream for Holder {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Owner::Whole(number, events) = mem::replace(&mut self.owner, Owner::Over) {
            self.owner = self.bypass.give(number, events, cx);
        }
        match &mut self.owner {
            Owner::Whole(..) => Poll::Pending,
            Owner::Left(events) => events.poll_chunk(cx),
            Owner::Away(stream) => {
                let mut state = self.bypass.state();
                match state.carried.get_mut(stream) {
                    Some(carried) if !carried.is_over => {
                        carried.body = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    _ => Poll::Ready(None),
                }
            }
            Owner::Over => Poll::Ready(None),
        }
    }
}

impl Bypass {
    /// Gives a stream to be carried, once h2 has sent the head of the response.
    fn give(&self, number: u32, events: Box<dyn Stream>, cx: &Context<'_>) -> Owner {
        let mut state = self.state();
        let Some(ticket) = state.tickets.get_mut(&number) else {
            return Owner::Left(events);
        };
        let Some(stream) = ticket.stream else {
            ticket.body = Some(cx.waker().clone());
            return Owner::Whole(number, events);
        };
        state.tickets.remove(&number);
        let Some(place) = state.windows.place(stream) else {
            return Owner::Left(events);
        };
        state.carried.insert(stream, Carried::default());
        let carrying = carry::carry(self.clone(), place, events);
        state.spawner.spawn(carrying);
        Owner::Away(stream)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut state = self.bypass.state();
        match self.owner {
            Owner::Whole(number, _) => drop(state.tickets.remove(&number)),
            Owner::Away(stream) => {
                state.wake(stream);
                state.carried.remove(&stream);
                // Nothing more of it is sent, whether or not h2 has said so yet.
                state.windows.close(stream);
            }
            Owner::Left(_) | Owner::Over => {}
        }
    }
}

impl State {
    /// Wakes who carries a stream: because there is room, its head is sent, or it is gone.
    fn wake(&self, stream: u32) {
        if let Some(carried) = self.carried.get(&stream) {
            carried.carrier.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Has who carries a stream woken.
    fn tie(&mut self, stream: u32, carrier: &Waker) {
        if let Some(carried) = self.carried.get_mut(&stream) {
            carried.carrier = Some(carrier.clone());
        }
    }

    /// A stream has ended: h2 tells the client.
    fn end(&mut self, stream: u32) {
        if let Some(carried) = self.carried.get_mut(&stream) {
            carried.is_over = true;
            carried.body.take().into_iter().for_each(Waker::wake);
        }
    }

    fn wake_carriers(&self) {
        let carriers = self.carried.values().filter_map(|c| c.carrier.as_ref());
        carriers.for_each(Waker::wake_by_ref);
    }
}
