//! What comes from the client: all of it is for h2, but for windows that it has nothing to do with.

use std::task::Waker;

use bytes::{Buf, BufMut, BytesMut};

use super::State;
use super::frame::{self, HEAD, Head};
use super::windows::Update;

/// Bytes of the preface (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// What the client sends, on its way to h2.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) preface: usize,
    /// Not understood yet: less than a frame's head, or a small frame.
    pub(super) inbox: BytesMut,
    /// What h2 may read.
    pub(super) ready: BytesMut,
    /// Bytes of the frame that is passing.
    pub(super) left: usize,
    /// Requests that h2 was given since those before were answered, or began to be.
    pub(super) requests: usize,
    /// h2, when it has been given enough of them.
    pub(super) reader: Option<Waker>,
}

/// How many requests h2 is given at a time. It keeps what it needs for as many as it ever had at once, and to answer a
/// thousand in one go would take the other connections' time.
const REQUESTS: usize = 16;

impl Incoming {
    /// Whether h2 has requests enough for now.
    pub(super) fn is_full(&self) -> bool {
        self.requests >= REQUESTS
    }
}

impl State {
    /// Understands what the client has sent, as far as it has come: all of it, or up to a request too many.
    pub(super) fn read(&mut self, all: bool) {
        loop {
            let incoming = &mut self.incoming;
            let passing = (PREFACE - incoming.preface).min(incoming.inbox.len());
            incoming.preface += passing;
            let passing = passing + incoming.left.min(incoming.inbox.len() - passing);
            incoming.left = incoming.left.saturating_sub(passing);
            incoming.ready.put(incoming.inbox.split_to(passing));
            if incoming.left > 0 || incoming.preface < PREFACE {
                return;
            }
            let Some((head, payload)) = incoming.inbox.split_first_chunk() else {
                return;
            };
            let head = Head::read(head);
            if head.is_window_update() || head.is_settings() {
                if payload.len() < head.length {
                    return;
                }
                let frame = incoming.inbox.split_to(HEAD + head.length);
                self.read_frame(head, &frame);
                continue;
            }
            match head.kind {
                frame::HEADERS if incoming.is_full() && !all => return,
                frame::HEADERS => {
                    incoming.requests += 1;
                    self.windows.open(head.stream);
                }
                frame::RST_STREAM => self.windows.close(head.stream),
                _ => {}
            }
            incoming.ready.put(incoming.inbox.split_to(HEAD));
            incoming.left = head.length;
        }
    }

    fn read_frame(&mut self, head: Head, frame: &[u8]) {
        let payload = &frame[HEAD..];
        let mut update = Update::Pass;
        if head.is_settings() {
            if let Some(size) = frame::initial_window(payload) {
                self.windows.set_initial(size);
                self.wake_carriers();
            }
        } else {
            let mut payload = payload;
            let step = payload.get_u32() & frame::WINDOW;
            update = self.read_window_update(head.stream, step);
        }
        match update {
            Update::Pass => self.incoming.ready.put_slice(frame),
            Update::Step(0) => {}
            Update::Step(step) => frame::window_update(&mut self.incoming.ready, head.stream, step),
        }
    }

    fn read_window_update(&mut self, stream: u32, step: u32) -> Update {
        if stream == 0 {
            let update = self.windows.widen(step);
            self.writer.take().into_iter().for_each(Waker::wake);
            self.release();
            return update;
        }
        let past = self.carried.contains_key(&stream);
        let update = self.windows.widen_stream(stream, step, past);
        self.wake(stream);
        update
    }
}
