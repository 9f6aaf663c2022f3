//! Definitions that all replicas have alike: each change of one is said by way of the relay, and made on every replica in
//! the relay's order. Whoever comes later makes them again, from the last time that somebody has said all there is.

mod settle;
mod whole;

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use self::settle::Settled;
use self::whole::{Part, Whole};
use super::sql::Plan;
use super::{Live, Op, tables};
use crate::event::EventId;
use crate::log::{Party, Word};
use crate::problem::Problem;

/// What live SQL is called among the parts of a replica.
const PARTY: &str = "live";

/// Bytes of a part of all that there is: brokers have limits of their own.
const PART: usize = 256 << 10;

/// How often it is asked what there is, and how long an answer is waited for each time.
const ASKS: usize = 3;
const ANSWERED: Duration = Duration::from_secs(1);

/// What is said of a definition in addition to what was asked, when all is said anew, in bytes.
const AROUND: usize = 512;

/// All is said anew when this part of what the relay retains has come since it was said last, or a little later.
const ANEW: u64 = 4;

/// What is said.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// A change.
    Change(Op),
    /// All that there is, in parts.
    Whole(Part),
    /// Nothing: whoever hears it has heard all that was said before.
    Settle,
    /// What there is, that is asked: by one who can not know all of it.
    Ask,
}

/// What a replica knows of what is said.
pub(super) struct Shared {
    heard: Mutex<Heard>,
    /// What was read of queries whose changes are on their way.
    plans: Mutex<HashMap<String, (usize, Arc<Plan>)>>,
    /// One question whether all is here after the other, and what came of the last.
    settling: tokio::sync::Mutex<Settled>,
    /// How many of them were begun.
    settles: AtomicU64,
    is_saying: AtomicBool,
    /// Words that said nothing.
    unclear: AtomicU64,
}

struct Heard {
    /// All that the relay has is not here yet: changes are made when it is known what they change.
    is_behind: bool,
    /// Something was lost, and nobody has said yet what there is.
    is_doubted: bool,
    /// It is asked what there is, and nobody has answered.
    is_asked: bool,
    /// The changes since then, while any of these is so: what is said to be there may be from before them.
    since: Vec<Change>,
    /// The place of the last change.
    last: EventId,
    /// Parts that have come, by who says them.
    parts: HashMap<String, Vec<Part>>,
    /// Entries that had passed when all was last said, and now.
    whole_at: u64,
    entries: u64,
    /// After how many more it is said anew: each replica has its own patience, so that one does it.
    patience: u64,
}

/// A change, where it was said, and by whom.
#[derive(Clone)]
struct Change {
    place: EventId,
    by: String,
    op: Op,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared {
            heard: Mutex::new(Heard {
                is_behind: true,
                is_doubted: false,
                is_asked: false,
                since: Vec::new(),
                last: EventId::ZERO,
                parts: HashMap::new(),
                whole_at: 0,
                entries: 0,
                patience: fastrand::u64(..1 << 20),
            }),
            plans: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
            settles: AtomicU64::new(0),
            is_saying: AtomicBool::new(false),
            unclear: AtomicU64::new(0),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nothing panics under this lock")
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<String, (usize, Arc<Plan>)>> {
        self.plans.lock().expect("nothing panics under this lock")
    }
}

impl Live {
    /// From now on definitions are those of all replicas; before anything is read from the relay.
    pub fn share(self: &Arc<Live>) {
        self.log
            .join(PARTY, Arc::new(Hearing(Arc::downgrade(self))));
    }

    /// Whether definitions are those of several replicas.
    pub(super) fn is_shared(&self) -> bool {
        self.log.is_following()
    }

    /// Says a change, and waits until it is made here; `plan` is what was read of its query.
    pub(super) async fn say(&self, op: Op, plan: Option<Arc<Plan>>) -> Result<(), Problem> {
        let size = serde_json::to_vec(&op).map_or(0, |json| json.len());
        let most = self.log.word_bytes().saturating_sub(AROUND);
        if size > most {
            let detail = format!(
                "it is {size} bytes with its names, and {most} can be shared with other servers (relay-entry-bytes)"
            );
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                detail,
            ));
        }
        let sql = op.sql().map(str::to_owned);
        if let (Some(sql), Some(plan)) = (&sql, plan) {
            let mut plans = self.shared.plans();
            plans.entry(sql.clone()).or_insert((0, plan)).0 += 1;
        }
        let done = self.say_it(&Said::Change(op)).await;
        if let Some(sql) = sql {
            let mut plans = self.shared.plans();
            if let Some((users, _)) = plans.get_mut(&sql) {
                *users -= 1;
                if *users == 0 {
                    plans.remove(&sql);
                }
            }
        }
        done
    }

    async fn say_it(&self, said: &Said) -> Result<(), Problem> {
        let word = serde_json::to_string(said).expect("texts and numbers");
        self.log.say(PARTY, word).await
    }

    /// What was read of a query whose change was said here.
    fn read_already(&self, op: &Op) -> Option<Arc<Plan>> {
        let plans = self.shared.plans();
        plans.get(op.sql()?).map(|(_, plan)| plan.clone())
    }

    fn hear(self: &Arc<Live>, place: EventId, by: &str, text: &str) -> Result<(), Problem> {
        let said: Said = serde_json::from_str(text).map_err(|error| {
            let before = self.shared.unclear.fetch_add(1, Ordering::Relaxed);
            // One line, and not one for each of a million.
            if before.is_power_of_two() || before == 0 {
                tracing::warn!(
                    "what is said of definitions at {place} is passed over, maybe another version of triwire said it: {error}"
                );
            }
            Problem::bad_request("word", format!("it says nothing: {error}"))
        })?;
        match said {
            Said::Settle => Ok(()),
            Said::Ask => {
                if self.log.life() != Some(by) {
                    self.say_whole(false);
                }
                Ok(())
            }
            Said::Whole(part) => {
                self.hear_part(by, part);
                Ok(())
            }
            Said::Change(op) => {
                let by = by.to_owned();
                let change = Change { place, by, op };
                let mut heard = self.shared.heard();
                if heard.is_behind {
                    heard.since.push(change);
                    heard.last = place;
                    return Ok(());
                }
                if heard.is_doubted || heard.is_asked {
                    heard.since.push(change.clone());
                }
                drop(heard);
                let made = self.make(&change);
                // Not before: whoever says meanwhile all that there is must not say that this is in it.
                self.shared.heard().last = place;
                made
            }
        }
    }

    fn make(self: &Arc<Live>, Change { place, by, op }: &Change) -> Result<(), Problem> {
        let made = self.check(op).and_then(|()| {
            let plan = self.read_already(op);
            self.apply(op, plan, *place, by)
        });
        // One that there is already is refused everywhere.
        if let (Op::Declare(asked), Err(problem)) = (op, &made)
            && problem.status != StatusCode::CONFLICT
        {
            tables::is_missing(asked.name(), problem);
        }
        made
    }

    fn hear_part(self: &Arc<Live>, by: &str, part: Part) {
        let mut heard = self.shared.heard();
        let is_last = part.is_last();
        let is_answer = heard.is_asked && self.log.life() != Some(by);
        let is_wanted = heard.is_behind || is_answer || heard.is_doubted && part.anew;
        if is_last {
            heard.whole_at = heard.entries;
        }
        if !is_wanted {
            heard.parts.remove(by);
            return;
        }
        let parts = heard.parts.entry(by.to_owned()).or_default();
        if parts.last().is_some_and(|last| !part.follows(last))
            || parts.is_empty() && !part.is_first()
        {
            parts.clear();
        }
        if parts.is_empty() && !part.is_first() {
            return;
        }
        parts.push(part);
        if !is_last {
            return;
        }
        let parts = heard.parts.remove(by).unwrap_or_default();
        heard.parts.clear();
        heard.is_behind = false;
        heard.is_doubted = false;
        heard.is_asked = false;
        let since = mem::take(&mut heard.since);
        drop(heard);
        let whole = Whole::of(parts);
        let of = whole.of;
        self.adopt(whole);
        self.make_all(since.into_iter().filter(|change| change.place > of));
    }

    /// Makes changes whose outcome nobody waits for.
    fn make_all(self: &Arc<Live>, changes: impl Iterator<Item = Change>) {
        for change in changes {
            // What could not be made then can not be made now.
            let _ = self.make(&change);
        }
    }

    /// All that the relay has is here: what there is, is what was said so far, unless somebody has taken out what was said
    /// before and nobody has said it all since.
    fn heard_all(self: &Arc<Live>, is_whole: bool) {
        let mut heard = self.shared.heard();
        let mut gathered = Vec::new();
        if mem::take(&mut heard.is_behind) {
            gathered = mem::take(&mut heard.since);
            if !is_whole {
                // An answer may have been on its way before the last of them.
                heard.since.clone_from(&gathered);
                self.ask(&mut heard);
            }
        }
        drop(heard);
        self.make_all(gathered.into_iter());
        self.say_again();
    }

    fn ask(self: &Arc<Live>, heard: &mut Heard) {
        if !mem::replace(&mut heard.is_asked, true) {
            tokio::spawn(ask(Arc::downgrade(self)));
        }
    }

    /// Something that was said is lost: if only here, then another may know it; if nobody does, what there is here is said.
    fn doubt(self: &Arc<Live>, is_here_alone: bool) {
        let mut heard = self.shared.heard();
        if heard.is_behind {
            return;
        }
        // What has changed since the first loss stays: it is not in what was said after that one.
        heard.is_doubted = true;
        if is_here_alone {
            self.ask(&mut heard);
        }
        drop(heard);
        self.say_whole(true);
    }

    fn passed(self: &Arc<Live>, entries: u64, retained: u64) {
        let mut heard = self.shared.heard();
        heard.entries = entries;
        let patience = retained / ANEW + heard.patience % (retained / ANEW / 2).max(1);
        let is_due = entries - heard.whole_at > patience;
        drop(heard);
        if is_due {
            self.say_whole(false);
        }
    }

    /// Says all that there is, if that is known; what it is, is seen before anything else is heard.
    fn say_whole(self: &Arc<Live>, anew: bool) {
        let heard = self.shared.heard();
        let (of, is_known) = (heard.last, !heard.is_behind && !heard.is_asked);
        drop(heard);
        if !is_known {
            return;
        }
        if self.shared.is_saying.swap(true, Ordering::AcqRel) {
            return;
        }
        let parts = self.whole(of).parts(anew, self.log.word_bytes().min(PART));
        let live = self.clone();
        tokio::spawn(async move {
            for part in parts {
                if let Err(problem) = live.say_it(&Said::Whole(part)).await {
                    tracing::debug!("what is defined could not be said anew: {problem}");
                    break;
                }
            }
            live.shared.is_saying.store(false, Ordering::Release);
        });
    }

    /// Says anew what nobody has heard since something was lost.
    pub(super) fn say_again(self: &Arc<Live>) {
        let is_doubted = self.shared.heard().is_doubted;
        if is_doubted {
            self.say_whole(true);
        }
    }

    /// Nobody has answered: what there is here is all that is known.
    fn asked_in_vain(&self) {
        let mut heard = self.shared.heard();
        heard.is_asked = false;
        if !heard.is_doubted {
            heard.since.clear();
        }
    }
}

/// Asks what there is, until there is an answer or it is clear that nobody has one.
async fn ask(live: Weak<Live>) {
    let mut asks = 0;
    while let Some(live) = live.upgrade()
        && live.shared.heard().is_asked
    {
        if asks == ASKS {
            return live.asked_in_vain();
        }
        // What is not heard here is asked again.
        if live.say_it(&Said::Ask).await.is_ok() {
            asks += 1;
        }
        drop(live);
        tokio::time::sleep(ANSWERED).await;
    }
}

/// Hears for it.
struct Hearing(Weak<Live>);

impl Hearing {
    fn with<T>(&self, what: impl FnOnce(&Arc<Live>) -> T) -> Option<T> {
        self.0.upgrade().as_ref().map(what)
    }
}

impl Party for Hearing {
    fn hear(&self, word: &Word) -> Result<(), Problem> {
        let place = word.place.id().unwrap_or(EventId::ZERO);
        self.with(|live| live.hear(place, word.by, word.text))
            .unwrap_or(Ok(()))
    }

    fn passed(&self, entries: u64, retained: u64) {
        self.with(|live| live.passed(entries, retained));
    }

    fn caught_up(&self, is_whole: bool) {
        self.with(|live| live.heard_all(is_whole));
    }

    fn lost(&self, is_here_alone: bool) {
        self.with(|live| live.doubt(is_here_alone));
    }
}
