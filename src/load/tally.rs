//! What every reader must see: each event once, in the log's order, and how long after it was due.

use super::Result;
use super::histogram::Histogram;
use super::note::{Id, Note, decimal};

/// All readers' accounts.
pub struct Tally {
    readers: Vec<Reader>,
    /// From when an event was due to when it came, in nanoseconds, of the running readers.
    pub latency: Histogram,
    /// Events due before this are warm-up and leave no latency.
    pub measure_from: u64,
    /// What comes later than so many nanoseconds after it was due is counted as late.
    pub late_after: u64,
    /// Readers that are ready; the running ones among all.
    ready: usize,
    running: usize,
    /// For each event the running readers that have it, and how many events all of them have.
    delivered: Vec<u32>,
    /// For events without ids, which came to any reader as the first, the second and so on; 0 for none yet.
    places: Vec<u64>,
    placed: u64,
    complete: u64,
    /// Events that came to readers, all together.
    pub deliveries: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    doubled: u64,
    reordered: u64,
    late: u64,
    /// Readers that have had an event.
    begun: usize,
}

/// One reader's account. Events that are published on several connections may enter the log in another order
/// than they were numbered, so each number is remembered.
struct Reader {
    running: bool,
    ready: bool,
    last: Id,
    /// The first event for it.
    first: u64,
    /// A bit for each event from `first` on.
    seen: Vec<u64>,
    received: u64,
    missed: u64,
    gaps: u64,
    times: Times,
}

/// When it happened to a reader; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Its connection was asked for, the last time.
    pub asked: u64,
    /// The answer began.
    pub answered: u64,
    /// The stream was ready.
    pub ready: u64,
    /// Its first event came.
    pub first_event: u64,
    /// The last event came that was due before the stream was ready: it has all that it missed.
    pub caught_up: u64,
}

/// What went wrong, in the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Events that never came.
    pub lost: u64,
    /// Events that came again.
    pub doubled: u64,
    /// Events that came after a later one.
    pub reordered: u64,
    /// Events that came too late.
    pub late: u64,
}

/// The stopped readers' own account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopped {
    /// Events that no gap notice told them of.
    pub lost: u64,
    /// Events that gap notices told them of.
    pub told: u64,
    /// How many notices.
    pub gaps: u64,
}

/// What an event's payload is made of: its number, when it was due, and this.
#[derive(Clone, Copy, Debug)]
pub enum Payload {
    /// Text of so many bytes, at least 30.
    Text(usize),
    /// A table of so many rows of two columns, as JSON.
    Rows(usize),
}

impl Payload {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Payload::Text(_) => "text/plain",
            Payload::Rows(_) => "application/json",
        }
    }

    /// The payload of an event.
    pub fn make(self, number: u64, due: u64) -> Vec<u8> {
        let mark = format!("{number:010}{due:020}");
        match self {
            Payload::Text(length) => {
                let mut text = mark.into_bytes();
                text.resize(length.max(text.len()), b'.');
                text
            }
            Payload::Rows(rows) => {
                let mut table = format!(r#"[["{mark}",73.85]"#).into_bytes();
                for row in 1..rows {
                    let (flag, cents) = (row % 2 == 0, 1_000 + row * 37 % 9_000);
                    let row = format!(",[{flag},{}.{:02}]", cents / 100, cents % 100);
                    table.extend_from_slice(row.as_bytes());
                }
                table.push(b']');
                table
            }
        }
    }
}

/// An event's number and when it was due.
fn parse(payload: &[u8]) -> Option<(u64, u64)> {
    let mark = payload.strip_prefix(br#"[[""#).unwrap_or(payload);
    let (number, due) = mark.get(..30)?.split_at(10);
    Some((decimal(number)?, decimal(due)?))
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            readers: Vec::new(),
            latency: Histogram::default(),
            measure_from: u64::MAX,
            late_after: u64::MAX,
            ready: 0,
            running: 0,
            delivered: Vec::new(),
            places: Vec::new(),
            placed: 0,
            complete: 0,
            deliveries: 0,
            payload_bytes: 0,
            doubled: 0,
            reordered: 0,
            late: 0,
            begun: 0,
        }
    }
}

impl Tally {
    /// Adds readers that will see what is published from event `first` on, and answers the first one's number.
    pub(super) fn add(&mut self, count: usize, first: u64, asked: u64) -> usize {
        let before = self.readers.len();
        let times = Times {
            asked,
            ..Times::default()
        };
        self.readers.extend((0..count).map(|_| Reader {
            running: true,
            ready: false,
            last: Id::default(),
            first,
            seen: Vec::new(),
            received: 0,
            missed: 0,
            gaps: 0,
            times,
        }));
        self.running += count;
        before
    }

    /// Forgets all readers; what they had is settled.
    pub(super) fn clear(&mut self) {
        self.readers.clear();
        (self.ready, self.running, self.begun) = (0, 0, 0);
    }

    /// From now on this reader is neither waited for nor timed.
    pub(super) fn stop(&mut self, reader: usize) {
        self.readers[reader].running = false;
        self.running -= 1;
    }

    /// This reader's connection is gone and asked for again; answers its cursor.
    pub(super) fn again(&mut self, reader: usize, asked: u64) -> Id {
        let account = &mut self.readers[reader];
        self.ready -= usize::from(account.ready);
        account.ready = false;
        account.times.asked = asked;
        account.last
    }

    /// Readers whose streams are ready.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Whether all streams are ready.
    pub fn all_ready(&self) -> bool {
        self.ready == self.readers.len()
    }

    /// Whether every reader has had an event.
    pub fn all_begun(&self) -> bool {
        self.begun == self.readers.len()
    }

    /// When things happened to each reader.
    pub fn times(&self) -> impl Iterator<Item = Times> {
        self.readers.iter().map(|reader| reader.times)
    }

    /// A new event's number.
    pub(super) fn publish(&mut self) -> u64 {
        self.delivered.push(0);
        self.places.push(0);
        self.published() - 1
    }

    /// The last events were not published after all.
    pub(super) fn withdraw(&mut self, events: u64) {
        let left = self.delivered.len() - events as usize;
        self.delivered.truncate(left);
        self.places.truncate(left);
    }

    /// Events that were published.
    pub fn published(&self) -> u64 {
        self.delivered.len() as u64
    }

    /// Events that all running readers have; all of them when nobody reads.
    pub(super) fn complete(&self) -> u64 {
        if self.running == 0 {
            return self.published();
        }
        self.complete
    }

    /// Takes what a reader received at the time `now`.
    pub(super) fn note(&mut self, reader: usize, note: Note, now: u64) -> Result<()> {
        let account = &mut self.readers[reader];
        match note {
            Note::Open => account.times.answered = now,
            Note::Ready if account.ready => return Err("ready twice".into()),
            Note::Ready => {
                account.ready = true;
                account.times.ready = now;
                if account.times.answered < account.times.asked {
                    account.times.answered = now;
                }
                self.ready += 1;
            }
            _ if !account.ready => return Err("not ready at first".into()),
            Note::Gap { missed } => {
                account.gaps += 1;
                account.missed += missed;
            }
            Note::Event { id, payload } => return self.event(reader, id, payload, now),
        }
        Ok(())
    }

    fn event(&mut self, reader: usize, id: Option<Id>, payload: &[u8], now: u64) -> Result<()> {
        let (number, due) = parse(payload).ok_or("a payload that nobody published")?;
        if number >= self.published() {
            return Err("an event that nobody published".into());
        }
        let id = id.unwrap_or_else(|| self.place(number as usize));
        let delivered = &mut self.delivered[number as usize];
        let account = &mut self.readers[reader];
        self.deliveries += 1;
        self.payload_bytes += payload.len() as u64;
        if !account.mark(number) {
            self.doubled += 1;
            return Ok(());
        }
        // What came twice is not also out of order.
        self.reordered += u64::from(id <= account.last);
        account.last = account.last.max(id);
        if account.times.first_event == 0 {
            account.times.first_event = now;
            self.begun += 1;
        }
        if due < account.times.ready {
            account.times.caught_up = now;
        }
        if !account.running {
            return Ok(());
        }
        *delivered += 1;
        self.complete += u64::from(*delivered as usize == self.running);
        if due >= self.measure_from {
            let latency = now.saturating_sub(due);
            self.latency.record(latency);
            self.late += u64::from(latency > self.late_after);
        }
        Ok(())
    }

    /// Stands for an id: all readers must have the events in the order in which they came first to any.
    fn place(&mut self, number: usize) -> Id {
        let place = &mut self.places[number];
        if *place == 0 {
            self.placed += 1;
            *place = self.placed;
        }
        Id(*place, 0)
    }

    /// The running readers' faults.
    pub fn faults(&self) -> Faults {
        let running = self.readers.iter().filter(|reader| reader.running);
        Faults {
            lost: running.map(|reader| reader.open(self.published())).sum(),
            doubled: self.doubled,
            reordered: self.reordered,
            late: self.late,
        }
    }

    /// The stopped readers' account.
    pub fn stopped(&self) -> Stopped {
        let mut sum = Stopped::default();
        for reader in self.readers.iter().filter(|reader| !reader.running) {
            sum.lost += reader.open(self.published()).saturating_sub(reader.missed);
            sum.told += reader.missed;
            sum.gaps += reader.gaps;
        }
        sum
    }
}

impl Reader {
    /// Notes a number; false if it was seen before, or is not for this reader.
    fn mark(&mut self, number: u64) -> bool {
        let Some(index) = number.checked_sub(self.first) else {
            return false;
        };
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        self.received += u64::from(new);
        new
    }

    /// Events that were published for this reader and have not come.
    fn open(&self, published: u64) -> u64 {
        published - self.first - self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two readers and so many events, none of which has come.
    fn tally(events: u64) -> Tally {
        let mut tally = Tally::default();
        tally.add(2, 0, 1);
        tally.measure_from = 0;
        tally.late_after = 1_000;
        for reader in 0..2 {
            tally.note(reader, Note::Ready, 2).expect("it is the first");
        }
        for _ in 0..events {
            tally.publish();
        }
        tally
    }

    fn deliver(tally: &mut Tally, reader: usize, number: u64, id: u64, now: u64) {
        let payload = Payload::Text(64).make(number, 100);
        let id = Some(Id(id, 0));
        let payload = &payload;
        let note = Note::Event { id, payload };
        tally.note(reader, note, now).expect("it was published");
    }

    /// Lost, doubled, reordered, late.
    fn faults(tally: &Tally) -> [u64; 4] {
        let faults = tally.faults();
        [faults.lost, faults.doubled, faults.reordered, faults.late]
    }

    #[test]
    fn each_fault_is_counted_as_itself() {
        let (a, b, c) = ((0, 5), (1, 6), (2, 7));
        type Came<'a> = &'a [(u64, u64)];
        let table: [(Came, [u64; 4]); 5] = [
            (&[a, b, c], [0, 0, 0, 0]),
            (&[a, c], [1, 0, 0, 0]),
            (&[a, b, b, c], [0, 1, 0, 0]),
            (&[b, a, c], [0, 0, 1, 0]),
            // Another's numbers in the log's order are in order.
            (&[(1, 5), (0, 6), (2, 7)], [0, 0, 0, 0]),
        ];
        for (came, want) in table {
            let mut tally = tally(3);
            for (number, id) in [a, b, c] {
                deliver(&mut tally, 0, number, id, 200);
            }
            for &(number, id) in came {
                deliver(&mut tally, 1, number, id, 200);
            }
            assert_eq!(faults(&tally), want, "{came:?}");
        }
    }

    #[test]
    fn late_is_later_than_allowed() {
        let mut tally = tally(2);
        deliver(&mut tally, 0, 0, 5, 1_100);
        deliver(&mut tally, 0, 1, 6, 1_101);
        assert_eq!(faults(&tally), [2, 0, 0, 1]);
        assert_eq!(tally.latency.total(), 2);
    }

    #[test]
    fn what_a_gap_notice_told_is_not_lost_in_silence() {
        let mut tally = tally(10);
        tally.stop(1);
        deliver(&mut tally, 1, 9, 9, 200);
        let gap = Note::Gap { missed: 7 };
        tally.note(1, gap, 200).expect("it is ready");
        let stopped = tally.stopped();
        assert_eq!((stopped.lost, stopped.told, stopped.gaps), (2, 7, 1));
    }

    #[test]
    fn payloads_say_what_they_are() {
        for payload in [
            Payload::Text(30),
            Payload::Text(500),
            Payload::Rows(1),
            Payload::Rows(9),
        ] {
            let made = payload.make(7, 123);
            assert_eq!(parse(&made), Some((7, 123)), "{payload:?}");
        }
        let table = Payload::Rows(3).make(0, 0);
        let rows: Vec<(serde_json::Value, f64)> = serde_json::from_slice(&table).expect("JSON");
        assert_eq!(rows.len(), 3);
        assert_eq!(Payload::Text(500).make(1, 1).len(), 500);
        assert_eq!(parse(b"short"), None);
    }
}
