//! Rows between the engine, which tells them when it has them, and a client, which takes them when it can. What waits
//! is bounded: the engine works for nobody who has not taken what came before.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::live::engine::{FlowTold as Told, Reader};
use crate::problem::Problem;

/// Bytes that may wait before no more are wanted; what comes at once is taken whole.
const ROOM: usize = 64 * 1024;

/// What a row costs beside its bytes.
const ROW: usize = 64;

/// How rows are gathered: so many, or those that have come by so long after the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Rows, at most.
    pub count: usize,
    /// Time, at most.
    pub time: Duration,
    /// Bytes with a comma after each row, at most; a row that is larger goes alone.
    pub bytes: usize,
}

/// What there is to take.
#[derive(Debug)]
pub enum Taken {
    /// Rows, at least one.
    Rows(Vec<Bytes>),
    /// Nothing before then, unless more comes.
    Wait(Option<Instant>),
    /// Nothing any more.
    Ended(Result<(), Problem>),
}

/// What is told and not taken yet.
#[derive(Default)]
pub struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    rows: VecDeque<Bytes>,
    /// What they hold.
    held: usize,
    /// What they are on a line.
    bytes: usize,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// When the first of all was told.
    first: Option<Instant>,
    ended: Option<Result<(), Problem>>,
    /// Whether the engine has been told that there is no room.
    refused: bool,
    taker: Option<Waker>,
}

impl Outbox {
    /// Takes what is due by now. Who gets none is woken when there may be some.
    pub fn take(&self, cx: &Context<'_>, batching: Batching, now: Instant) -> Taken {
        let mut state = self.state();
        let due = state.since.map(|since| since + batching.time);
        let is_due = due.is_some_and(|due| due <= now);
        // Without room nothing more comes, however many rows are wanted at once.
        if is_due || state.ended.is_some() || state.fills(batching) || state.is_full() {
            let rows = state.pop(batching, now);
            if !rows.is_empty() {
                return Taken::Rows(rows);
            }
            if let Some(outcome) = &state.ended {
                return Taken::Ended(outcome.clone());
            }
        }
        if !state
            .taker
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            state.taker = Some(cx.waker().clone());
        }
        Taken::Wait(due)
    }

    /// Whether there is room for an engine that found none: it does not ask by itself.
    pub fn has_room_again(&self) -> bool {
        let mut state = self.state();
        let again = state.refused && state.has_room();
        state.refused &= !again;
        again
    }

    /// Throws away what waits, and takes no more.
    pub fn end(&self, outcome: Result<(), Problem>) {
        let mut state = self.state();
        let (first, taker) = (state.first, state.taker.take());
        *state = State {
            first,
            ended: Some(outcome),
            ..State::default()
        };
        drop(state);
        taker.into_iter().for_each(Waker::wake);
    }

    /// When the first row was told.
    pub fn first_told(&self) -> Option<Instant> {
        self.state().first
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.ended.is_none() && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.held >= ROOM
    }

    /// Whether there is as much as is wanted at once.
    fn fills(&self, batching: Batching) -> bool {
        self.rows.len() >= batching.count || self.bytes >= batching.bytes
    }

    fn pop(&mut self, batching: Batching, now: Instant) -> Vec<Bytes> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Some(row) = self.rows.front() {
            let more = row.len() + 1;
            let is_full = rows.len() >= batching.count || bytes + more > batching.bytes;
            if is_full && !rows.is_empty() {
                break;
            }
            bytes += more;
            rows.extend(self.rows.pop_front());
        }
        self.bytes -= bytes;
        self.held -= bytes + rows.len() * ROW;
        // Those that are left came with the ones that go, or later.
        self.since = (!self.rows.is_empty()).then_some(now);
        rows
    }

    fn push(&mut self, rows: Vec<Bytes>) {
        if rows.is_empty() {
            return;
        }
        let now = Instant::now();
        self.since.get_or_insert(now);
        self.first.get_or_insert(now);
        for row in rows {
            self.bytes += row.len() + 1;
            self.held += row.len() + 1 + ROW;
            self.rows.push_back(row);
        }
    }
}

impl Reader for Outbox {
    fn has_room(&self) -> bool {
        let mut state = self.state();
        state.refused = !state.has_room();
        !state.refused
    }

    fn tell(&self, told: Told) {
        let told = match told {
            Told::Rows(rows) => Told::Rows(rows.into_iter().map(on_one_line).collect()),
            ended => ended,
        };
        let mut state = self.state();
        if state.ended.is_some() {
            return;
        }
        match told {
            Told::Rows(rows) => state.push(rows),
            Told::Ended(outcome) => state.ended = Some(outcome),
        }
        let taker = state.taker.take();
        drop(state);
        taker.into_iter().for_each(Waker::wake);
    }
}

/// U+0085, U+2028 and U+2029 end a line for some readers of lines (Python's `splitlines`), though not for JSON, in which
/// they can stand in strings only: there an escape means the same.
pub fn on_one_line(json: Bytes) -> Bytes {
    let is_lead = |byte: &u8| matches!(byte, 0xC2 | 0xE2);
    if !json.iter().any(is_lead) {
        return json;
    }
    let mut out = Vec::with_capacity(json.len());
    let mut rest = &json[..];
    while !rest.is_empty() {
        let (length, escape): (_, &[u8]) = match rest {
            [0xC2, 0x85, ..] => (2, b"\\u0085"),
            [0xE2, 0x80, 0xA8, ..] => (3, b"\\u2028"),
            [0xE2, 0x80, 0xA9, ..] => (3, b"\\u2029"),
            _ => (1, &rest[..1]),
        };
        out.extend_from_slice(escape);
        rest = &rest[length..];
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::task::noop_waker;

    use super::*;

    fn rows(count: usize, length: usize) -> Told {
        Told::Rows(vec![Bytes::from(vec![b'1'; length]); count])
    }

    fn take(outbox: &Outbox, batching: Batching, now: Instant) -> Taken {
        let waker = noop_waker();
        outbox.take(&Context::from_waker(&waker), batching, now)
    }

    /// How many rows are to be had.
    fn taken(outbox: &Outbox, batching: Batching, now: Instant) -> usize {
        match take(outbox, batching, now) {
            Taken::Rows(rows) => rows.len(),
            Taken::Wait(_) => 0,
            Taken::Ended(outcome) => panic!("it has not ended: {outcome:?}"),
        }
    }

    fn by(count: usize, bytes: usize) -> Batching {
        Batching {
            count,
            time: Duration::from_secs(200),
            bytes,
        }
    }

    #[test]
    fn rows_go_when_there_are_enough_or_have_waited() {
        let outbox = Outbox::default();
        let three = by(3, 1000);
        let before = Instant::now();
        assert!(matches!(take(&outbox, three, before), Taken::Wait(None)));
        outbox.tell(rows(2, 3));
        let Taken::Wait(Some(due)) = take(&outbox, three, before) else {
            panic!("two are not enough");
        };
        assert!(due >= before + three.time);
        outbox.tell(rows(2, 3));
        assert_eq!(taken(&outbox, three, before), 3);
        // Its time begins when the others have gone.
        assert_eq!(
            taken(
                &outbox,
                three,
                before + three.time - Duration::from_nanos(1)
            ),
            0
        );
        assert_eq!(taken(&outbox, three, before + three.time), 1);
    }

    #[test]
    fn a_line_is_cut_by_its_bytes_and_a_large_row_goes_alone() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.tell(rows(3, 9));
        outbox.tell(rows(1, 99));
        outbox.tell(rows(1, 9));
        for want in [2, 1, 1] {
            assert_eq!(taken(&outbox, by(100, 20), now), want);
        }
        // Not a whole line of bytes, and no time over.
        assert_eq!(taken(&outbox, by(100, 20), now), 0);
        outbox.tell(Told::Ended(Ok(())));
        assert_eq!(taken(&outbox, by(100, 20), now), 1);
        assert!(matches!(
            take(&outbox, by(100, 20), now),
            Taken::Ended(Ok(()))
        ));
    }

    #[test]
    fn what_waits_is_bounded() {
        let outbox = Outbox::default();
        assert!(outbox.has_room());
        outbox.tell(rows(1000, 0));
        assert!(outbox.has_room(), "empty rows cost little");
        outbox.tell(rows(1, ROOM));
        assert!(!outbox.has_room());
        assert!(!outbox.has_room_again());
        while taken(&outbox, by(100, 1), Instant::now()) > 0 {}
        assert!(outbox.has_room_again());
        // More rows are wanted at once than there is room for.
        let most = ROOM / (ROW + 8 + 1) + 1;
        outbox.tell(rows(most, 8));
        assert!(!outbox.has_room());
        assert_eq!(taken(&outbox, by(10_000, 1 << 20), Instant::now()), most);
        assert!(outbox.has_room_again());
        assert!(!outbox.has_room_again(), "once is enough");
        assert!(outbox.has_room());
        outbox.end(Err(Problem::bad_request("gone", "gone")));
        assert!(!outbox.has_room());
        outbox.tell(rows(1, 1));
        outbox.tell(Told::Ended(Ok(())));
        assert!(matches!(
            take(&outbox, by(1, 1), Instant::now()),
            Taken::Ended(Err(_))
        ));
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let outbox = Arc::new(Outbox::default());
        let waits = |outbox: Arc<Outbox>| {
            tokio::spawn(std::future::poll_fn(move |cx| {
                let batching = Batching {
                    count: 1,
                    time: Duration::from_secs(3600),
                    bytes: 1000,
                };
                match outbox.take(cx, batching, Instant::now()) {
                    Taken::Wait(_) => std::task::Poll::Pending,
                    taken => std::task::Poll::Ready(taken),
                }
            }))
        };
        let told = waits(outbox.clone());
        tokio::task::yield_now().await;
        outbox.tell(rows(1, 1));
        assert!(matches!(told.await, Ok(Taken::Rows(_))));
        let ended = waits(outbox.clone());
        tokio::task::yield_now().await;
        outbox.end(Ok(()));
        assert!(matches!(ended.await, Ok(Taken::Ended(Ok(())))));
    }

    #[test]
    fn nothing_ends_a_line() {
        for (text, want) in [
            ("[\"a\u{85}b\"]", "[\"a\\u0085b\"]"),
            ("[\"\u{2028}\u{2029}\"]", "[\"\\u2028\\u2029\"]"),
            (
                "[\"é\u{20AC}\u{2027}\u{202A}\"]",
                "[\"é\u{20AC}\u{2027}\u{202A}\"]",
            ),
            ("[]", "[]"),
        ] {
            let line = on_one_line(Bytes::from(text));
            assert_eq!(line, want);
            let meant =
                |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
            assert_eq!(meant(&line), meant(text.as_bytes()));
        }
    }
}
