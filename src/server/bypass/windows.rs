//! Flow control (RFC 9113, 5.2 and 6.9) for two who send on one connection and know nothing of each other.
//!
//! The connection's window is what the client gives less what both have sent. h2 believes that it has all of it, and
//! is told of a wider one only when its belief is too small; what it then sends too much is held back. A stream's
//! window is h2's until the stream is carried past h2, and then the stream's own.

use std::collections::HashMap;

use slab::Slab;

use super::frame::{FIRST_WINDOW, WINDOW};

/// Windows of one connection.
pub(super) struct Windows {
    connection: i64,
    /// What h2 believes that to be: never less.
    believed: i64,
    /// What a stream's window is at first.
    initial: i64,
    streams: Slab<Stream>,
    /// Where they are, by their identifiers.
    places: HashMap<u32, usize>,
    /// The highest stream that the client has opened.
    last: u32,
    /// How many streams are remembered: more are h2's alone.
    limit: usize,
}

/// A stream that the client has opened: all that is looked at for each frame of it.
struct Stream {
    id: u32,
    window: i64,
}

/// A stream and where it is found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) stream: u32,
    key: usize,
}

/// What to do about a WINDOW_UPDATE of the client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// h2 is to see it as it is.
    Pass,
    /// h2 is to see this step instead, and nothing if it is 0.
    Step(u32),
}

impl Windows {
    pub(super) fn new(limit: usize) -> Windows {
        Windows {
            connection: FIRST_WINDOW.into(),
            believed: FIRST_WINDOW.into(),
            initial: FIRST_WINDOW.into(),
            streams: Slab::new(),
            places: HashMap::new(),
            last: 0,
            limit,
        }
    }

    /// The client has said what a stream's window is at first; it changes those that are open, too.
    pub(super) fn set_initial(&mut self, size: u32) {
        let change = i64::from(size) - self.initial;
        self.initial = size.into();
        self.streams
            .iter_mut()
            .for_each(|(_, stream)| stream.window += change);
    }

    /// The client has sent the head of a request, or trailers.
    pub(super) fn open(&mut self, stream: u32) {
        if stream > self.last {
            self.last = stream;
            if self.streams.len() < self.limit {
                let window = self.initial;
                let key = self.streams.insert(Stream { id: stream, window });
                self.places.insert(stream, key);
            }
        }
    }

    /// A stream is over.
    pub(super) fn close(&mut self, stream: u32) {
        if let Some(key) = self.places.remove(&stream) {
            self.streams.remove(key);
        }
    }

    /// How much may be sent on all streams together.
    pub(super) fn connection(&self) -> usize {
        usize::try_from(self.connection).unwrap_or(0)
    }

    /// h2 believes to have sent so much.
    pub(super) fn believe(&mut self, bytes: usize) {
        self.believed -= bytes as i64;
    }

    /// So much of what h2 sends of a stream has been let pass.
    pub(super) fn passed(&mut self, stream: u32, bytes: usize) {
        self.connection -= bytes as i64;
        if let Some(stream) = self.stream(stream) {
            stream.window -= bytes as i64;
        }
    }

    fn stream(&mut self, stream: u32) -> Option<&mut Stream> {
        let key = self.places.get(&stream)?;
        self.streams.get_mut(*key)
    }

    /// Where a stream is, until it is over.
    pub(super) fn place(&self, stream: u32) -> Option<Place> {
        let key = *self.places.get(&stream)?;
        Some(Place { stream, key })
    }

    /// How much of a stream may be sent past h2; `None` when it is over.
    pub(super) fn room(&self, place: Place) -> Option<usize> {
        let stream = self.streams.get(place.key)?;
        let room = usize::try_from(self.connection.min(stream.window)).unwrap_or(0);
        (stream.id == place.stream).then_some(room)
    }

    /// So much of it was sent.
    pub(super) fn sent(&mut self, place: Place, bytes: usize) {
        self.connection -= bytes as i64;
        if let Some(stream) = self.streams.get_mut(place.key) {
            stream.window -= bytes as i64;
        }
    }

    /// The client has widened the connection's window.
    pub(super) fn widen(&mut self, step: u32) -> Update {
        if step == 0 {
            return Update::Pass;
        }
        if self.connection + i64::from(step) > i64::from(WINDOW) {
            // So that h2 finds it too wide, as it is.
            return Update::Step(WINDOW);
        }
        self.connection += i64::from(step);
        let more = (self.connection - self.believed).max(0);
        self.believed += more;
        Update::Step(u32::try_from(more).unwrap_or(WINDOW))
    }

    /// The client has widened a stream's window; whether that stream is `past` h2.
    pub(super) fn widen_stream(&mut self, stream: u32, step: u32, past: bool) -> Update {
        let Some(stream) = self.stream(stream) else {
            return Update::Pass;
        };
        let wider = stream.window + i64::from(step);
        match (past, wider > i64::from(WINDOW)) {
            _ if step == 0 => return Update::Pass,
            (true, true) => return Update::Step(WINDOW),
            (false, true) => return Update::Pass,
            _ => stream.window = wider,
        }
        if past { Update::Step(0) } else { Update::Pass }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(windows: &Windows, stream: u32) -> Option<usize> {
        windows.room(windows.place(stream)?)
    }

    fn sent(windows: &mut Windows, stream: u32, bytes: usize) {
        let place = windows.place(stream).expect("it is open");
        windows.sent(place, bytes);
    }

    #[test]
    fn both_have_what_the_client_gives() {
        let mut windows = Windows::new(10);
        windows.open(1);
        assert_eq!(windows.widen_stream(1, 1 << 20, true), Update::Step(0));
        assert_eq!(room(&windows, 1), Some(65_535));
        assert_eq!(windows.widen(100_000), Update::Step(100_000));
        sent(&mut windows, 1, 150_000);
        assert_eq!(windows.connection(), 15_535);
        // h2 still believes in 165,535, and hears nothing before that is too little.
        assert_eq!(windows.widen(150_000), Update::Step(0));
        windows.open(3);
        windows.believe(60_000);
        windows.passed(3, 60_000);
        assert_eq!(room(&windows, 3), Some(5_535));
        assert_eq!(windows.connection(), 105_535);
        assert_eq!(windows.widen(60_001), Update::Step(60_001));
        windows.close(3);
        assert_eq!(room(&windows, 3), None);
        windows.open(3);
        assert_eq!(room(&windows, 3), None, "a stream is opened once");
    }

    #[test]
    fn windows_may_be_negative_and_never_too_wide() {
        let mut windows = Windows::new(1);
        windows.widen(1 << 30);
        windows.open(1);
        windows.open(3);
        assert_eq!(room(&windows, 3), None, "beyond the limit it is h2's alone");
        sent(&mut windows, 1, 60_000);
        windows.set_initial(0);
        assert_eq!(room(&windows, 1), Some(0));
        windows.widen_stream(1, 60_001, true);
        assert_eq!(room(&windows, 1), Some(1));
        assert_eq!(windows.widen(WINDOW), Update::Step(WINDOW));
        assert_eq!(windows.widen_stream(1, WINDOW, true), Update::Step(WINDOW));
        assert_eq!(windows.widen_stream(1, 0, true), Update::Pass);
        assert_eq!(windows.widen_stream(5, 1, false), Update::Pass);
    }
}
