//! What every reader must see: each event once, in the log's order, and how long after it was due.

use crate::Result;
use crate::histogram::Histogram;
use crate::note::{Id, Note, decimal};

/// All readers' accounts.
pub struct Tally {
    readers: Vec<Reader>,
    pub latency: Histogram,
    /// Events due before this are warm-up and leave no latency.
    pub measure_from: u64,
    /// Readers that are ready; the running ones among all.
    pub ready: usize,
    running: usize,
    /// For each event the running readers that have it, and how many events all of them have.
    delivered: Vec<u32>,
    /// For events without ids, which came to any reader as the first, the second and so on; 0 for none yet.
    places: Vec<u64>,
    placed: u64,
    pub complete: u64,
    pub deliveries: u64,
    doubled: u64,
    reordered: u64,
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
}

/// What went wrong, in the end.
#[derive(Default)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
}

/// The stopped readers' own account: `lost` are events that no gap notice told them of.
#[derive(Default)]
pub struct Stopped {
    pub lost: u64,
    pub told: u64,
    pub gaps: u64,
}

/// An event's payload: its number and when it was due, filled up to `length`.
pub fn payload(number: u64, due: u64, length: usize) -> Vec<u8> {
    let mut payload = format!("{number:010}{due:020}").into_bytes();
    payload.resize(length.max(30), b'.');
    payload
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            readers: Vec::new(),
            latency: Histogram::new(),
            measure_from: u64::MAX,
            ready: 0,
            running: 0,
            delivered: Vec::new(),
            places: Vec::new(),
            placed: 0,
            complete: 0,
            deliveries: 0,
            doubled: 0,
            reordered: 0,
        }
    }

    /// Adds readers that will see what is published from now on, and answers the first one's number.
    pub fn add(&mut self, count: usize) -> usize {
        let first_event = self.published();
        let first = self.readers.len();
        self.readers.extend((0..count).map(|_| Reader {
            running: true,
            ready: false,
            last: Id::default(),
            first: first_event,
            seen: Vec::new(),
            received: 0,
            missed: 0,
            gaps: 0,
        }));
        self.running += count;
        first
    }

    /// Forgets all readers; what they had is settled.
    pub fn clear(&mut self) {
        self.readers.clear();
        (self.ready, self.running) = (0, 0);
    }

    /// From now on this reader is neither waited for nor timed.
    pub fn stop(&mut self, reader: usize) {
        self.readers[reader].running = false;
        self.running -= 1;
    }

    pub fn all_ready(&self) -> bool {
        self.ready == self.readers.len()
    }

    /// A new event's number.
    pub fn publish(&mut self) -> u64 {
        self.delivered.push(0);
        self.places.push(0);
        self.published() - 1
    }

    /// The last events were not published after all.
    pub fn withdraw(&mut self, events: u64) {
        let left = self.delivered.len() - events as usize;
        self.delivered.truncate(left);
        self.places.truncate(left);
    }

    pub fn published(&self) -> u64 {
        self.delivered.len() as u64
    }

    /// Takes what a reader received at the time `now`.
    pub fn note(&mut self, reader: usize, note: Note, now: u64) -> Result<()> {
        let account = &mut self.readers[reader];
        match note {
            Note::Ready if account.ready => return Err("ready twice".into()),
            Note::Ready => {
                account.ready = true;
                self.ready += 1;
            }
            _ if !account.ready => return Err("not ready at first".into()),
            Note::Gap { missed } => {
                account.gaps += 1;
                account.missed += missed;
            }
            Note::Event { id, payload } => return self.event(reader, id, payload, now),
            // What it means, its dialect has said.
            Note::Open => {}
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
        self.reordered += u64::from(id <= account.last);
        account.last = id;
        if !account.mark(number) {
            self.doubled += 1;
            return Ok(());
        }
        if !account.running {
            return Ok(());
        }
        *delivered += 1;
        self.complete += u64::from(*delivered as usize == self.running);
        if due >= self.measure_from {
            self.latency.record(now.saturating_sub(due));
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

fn parse(payload: &[u8]) -> Option<(u64, u64)> {
    let (number, due) = payload.get(..30)?.split_at(10);
    Some((decimal(number)?, decimal(due)?))
}
