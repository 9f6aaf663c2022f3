//! What goes to the client: h2's frames, and between them the DATA of streams that are carried past it.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::{self, HEAD, Head, PAYLOAD};
use super::windows::Place;
use super::{State, ticket};

/// What h2 sends, and what is put between.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) ready: BytesMut,
    /// The beginning of a frame's head, or of the head of a response.
    pub(super) begun: BytesMut,
    /// Bytes of the frame that is passing.
    pub(super) left: usize,
    pub(super) block_open: bool,
    /// DATA of h2's that the connection's window does not let pass yet. Whatever else h2 sends overtakes it.
    pub(super) held: VecDeque<Held>,
    /// Whether the frame that is passing is the last of them.
    pub(super) aside: bool,
}

pub(super) struct Held {
    pub(super) head: Head,
    pub(super) payload: BytesMut,
}

/// Why nothing can be written.
pub(super) enum Blocked {
    /// For now.
    Wait,
    /// The stream is no more.
    Gone,
}

impl State {
    /// Takes what h2 writes; how many bytes, which is all unless too much is held.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            let out = &mut self.outgoing;
            let passing = out.left.min(rest.len());
            match out.held.back_mut() {
                Some(held) if out.aside => held.payload.put_slice(&rest[..passing]),
                _ => out.ready.put_slice(&rest[..passing]),
            }
            out.left -= passing;
            rest.advance(passing);
            if out.left == 0 {
                out.aside = false;
                self.release();
            }
            if rest.is_empty() || !self.write_begun(&mut rest) {
                return bytes.len() - rest.len();
            }
        }
    }

    /// The same at the beginning of a frame; whether there may be more.
    fn write_begun(&mut self, rest: &mut &[u8]) -> bool {
        let out = &mut self.outgoing;
        let held = out.held.iter().map(|held| held.payload.len());
        if held.sum::<usize>() >= self.most {
            return false;
        }
        let known = out.begun.first_chunk().map(Head::read);
        let whole = HEAD + known.map_or(0, |head| head.length);
        let missing = rest.len().min(whole - out.begun.len());
        out.begun.put_slice(&rest[..missing]);
        rest.advance(missing);
        if out.begun.len() < whole {
            return true;
        }
        let head = out.begun.first_chunk().map(Head::read);
        match (known, head) {
            // The payload is wanted, too.
            (None, Some(head)) if head.is_block() && head.length > 0 => {}
            (None, Some(head)) => {
                out.begun = BytesMut::new();
                self.pass(head);
            }
            (Some(head), _) => self.pass_block(head),
            (None, None) => {}
        }
        true
    }

    /// Begins a frame of h2's.
    fn pass(&mut self, head: Head) {
        let out = &mut self.outgoing;
        out.left = head.length;
        let mut of_stream = out
            .held
            .iter()
            .filter(|held| held.head.stream == head.stream);
        out.aside = match head.kind {
            frame::DATA if head.length > 0 => {
                self.windows.believe(head.length);
                !out.held.is_empty() || self.windows.connection() < head.length
            }
            // The end of a stream does not overtake what is held of it, nor does a reset that comes after that end.
            frame::DATA => of_stream.next().is_some(),
            frame::RST_STREAM => of_stream.any(|held| held.head.ends_stream()),
            _ => false,
        };
        if out.aside {
            let payload = BytesMut::with_capacity(head.length);
            return out.held.push_back(Held { head, payload });
        }
        match head.kind {
            frame::DATA => self.windows.passed(head.stream, head.length),
            frame::RST_STREAM => out.held.retain(|held| held.head.stream != head.stream),
            _ => {}
        }
        head.write(&mut out.ready);
        out.block_open = head.leaves_block_open(out.block_open);
        if head.ends_stream() {
            self.windows.close(head.stream);
        }
    }

    /// Passes the head of a response, without its ticket.
    fn pass_block(&mut self, head: Head) {
        let begun = mem::take(&mut self.outgoing.begun);
        let block = &begun[HEAD..];
        let (block, number) = ticket::cut(block).map_or((block, None), |(b, n)| (b, Some(n)));
        let length = block.len();
        self.pass(Head { length, ..head });
        self.outgoing.ready.put_slice(block);
        self.outgoing.left = 0;
        if let Some(ticket) = number.and_then(|number| self.tickets.get_mut(&number)) {
            ticket.stream = Some(head.stream);
            ticket.body.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Lets pass of the DATA that is held what the connection's window allows by now.
    pub(super) fn release(&mut self) {
        let out = &mut self.outgoing;
        if out.left > 0 || out.block_open {
            return;
        }
        while let Some(held) = out.held.front_mut() {
            let is_data = held.head.kind == frame::DATA;
            let room = if is_data {
                self.windows.connection()
            } else {
                usize::MAX
            };
            let length = held.payload.len().min(room);
            if length == 0 && !held.payload.is_empty() {
                return;
            }
            let part = held.head.part(length, length == held.payload.len());
            part.write(&mut out.ready);
            out.ready.put(held.payload.split_to(length));
            if is_data {
                self.windows.passed(part.stream, length);
            }
            if held.payload.is_empty() {
                out.held.pop_front();
            }
            if part.ends_stream() {
                self.windows.close(part.stream);
            }
        }
        self.window_is_free();
    }

    /// Those may send who waited for window.
    fn window_is_free(&mut self) {
        if self.windows.connection() > 0 && mem::take(&mut self.awaits_window) {
            self.wake_carriers();
        }
    }

    /// Writes of a chunk what may be sent now, as DATA.
    pub(super) fn write_data(&mut self, place: Place, chunk: &mut Bytes) -> Result<(), Blocked> {
        while chunk.has_remaining() {
            let room = self.room(place)?;
            let length = chunk.remaining().min(room).min(PAYLOAD);
            let out = &mut self.outgoing.ready;
            out.reserve(HEAD + length);
            Head::data(place.stream, length).write(out);
            out.put_slice(&chunk.split_to(length));
            self.windows.sent(place, length);
        }
        Ok(())
    }

    /// How much of a stream may be sent now; if that is nothing, its carrier is woken when it has changed.
    pub(super) fn room(&mut self, place: Place) -> Result<usize, Blocked> {
        let room = self.windows.room(place).ok_or(Blocked::Gone)?;
        let out = &self.outgoing;
        // What h2 has begun goes first.
        if !out.held.is_empty() || self.windows.connection() == 0 {
            self.awaits_window = true;
            return Err(Blocked::Wait);
        }
        let in_frame = out.left > 0 || out.block_open || !out.begun.is_empty();
        if in_frame || out.ready.len() >= self.most {
            self.awaits_socket = true;
            return Err(Blocked::Wait);
        }
        if room == 0 {
            Err(Blocked::Wait)
        } else {
            Ok(room)
        }
    }
}
