//! Named queries: what each is, who watches it, and what it has told. A query runs while somebody watches it and for a
//! little while after; what it yields is appended to a topic of its own, and the latest of it is kept for newcomers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::engine::{Engine, Outcome, Rows, Sink, View};
use super::sql::{Class, Plan};
use crate::event::{Draft, Event, EventId, EventType, Payload, Topic};
use crate::log::Log;
use crate::problem::Problem;

/// How long a query is kept fresh after the last who watched it: a client that polls is away between its polls.
const LINGER: Duration = Duration::from_secs(15);

/// How soon a query that has failed is tried again for a newcomer: each try may take all the time that a query may.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How many rows of a query of rows a newcomer is told.
const NEWEST: usize = 100;
const NEWEST_BYTES: usize = 256 << 10;

/// How often a query may be told anew, in milliseconds.
pub const EVERY_MS: std::ops::RangeInclusive<u64> = 50..=3_600_000;

/// A query's name: 1 to 128 of `[A-Za-z0-9._:-]`, not `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a name as a peer gave it.
    ///
    /// # Errors
    /// A 400 that says what a name may be.
    pub fn new(text: &str) -> Result<Name, Problem> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        match fits && !matches!(text, "." | "..") {
            true => Ok(Name(text.into())),
            false => Err(Problem::bad_request(
                "query-name",
                "a query's name is 1 to 128 of A-Z a-z 0-9 . _ : -, and not . or ..",
            )),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A query as its author says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What to evaluate.
    pub sql: String,
    /// How often, at most.
    #[serde(default = "every_second")]
    pub every_ms: u64,
}

fn every_second() -> u64 {
    1000
}

impl Asked {
    /// # Errors
    /// 400 for what is not often or seldom enough.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if EVERY_MS.contains(&self.every_ms) {
            return Ok(());
        }
        let (least, most) = EVERY_MS.into_inner();
        let detail = format!("every_ms is a number of milliseconds, {least} to {most}");
        Err(Problem::bad_request("every-ms", detail))
    }
}

/// What a query is, until it is changed.
#[derive(Clone)]
pub(super) struct Definition {
    pub asked: Asked,
    /// A query that outlived a restart may be none any more: it is kept, and says why.
    pub plan: Result<Arc<Plan>, Problem>,
    pub etag: String,
}

/// A name, and the query that it stands for, if it stands for one: a subscription follows the name.
pub struct Query {
    pub(super) name: Name,
    pub(super) topic: Topic,
    log: Arc<Log>,
    engine: Arc<Engine>,
    life: Mutex<Life>,
    told: Mutex<Told>,
}

/// Locked before [`Told`], and while the engine is asked to watch: what it tells meanwhile only waits for the other.
#[derive(Default)]
struct Life {
    definition: Option<Definition>,
    /// Streams that read it.
    watchers: usize,
    /// When the last of them left.
    left_at: Option<Instant>,
    view: Option<View>,
}

#[derive(Default)]
struct Told {
    /// Counts the views: what an earlier one still tells is not heard.
    session: u64,
    /// Whether [`Told::latest`] is of the view that is open.
    is_present: bool,
    latest: Option<(EventId, Latest)>,
    failed_at: Option<Instant>,
    results: u64,
}

/// What was told last, put together for who comes now.
enum Latest {
    Event(Arc<Event>),
    Rows(Newest),
}

/// The newest rows of a query of rows, in the order in which they were appended.
#[derive(Default)]
struct Newest {
    rows: VecDeque<Bytes>,
    bare: Option<Bytes>,
    /// Made of them when somebody has come.
    event: Option<Arc<Event>>,
}

impl Query {
    pub(super) fn new(
        name: Name,
        log: Arc<Log>,
        engine: Arc<Engine>,
    ) -> Result<Arc<Query>, Problem> {
        Ok(Arc::new(Query {
            topic: Topic::of_query(name.as_str())?,
            name,
            log,
            engine,
            life: Mutex::default(),
            told: Mutex::default(),
        }))
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().expect("nothing panics under this lock")
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nothing panics under this lock")
    }

    /// What it is now.
    pub(super) fn definition(&self) -> Option<Definition> {
        self.life().definition.clone()
    }

    /// Whether the name stands for a query.
    pub(super) fn is_defined(&self) -> bool {
        self.life().definition.is_some()
    }

    /// From now on it is this one. Nothing of what it was is told any more.
    pub(super) fn define(self: &Arc<Query>, definition: Definition) {
        let mut life = self.life();
        let old = life.view.take();
        let mut told = self.told();
        *told = Told {
            session: told.session + 1,
            ..Told::default()
        };
        drop(told);
        life.definition = Some(definition);
        if life.watchers > 0 {
            self.open(&mut life);
        }
        drop(life);
        drop(old);
    }

    /// From now on the name stands for nothing, and whoever follows it is told so.
    pub(super) fn delete(&self) {
        let mut life = self.life();
        life.definition = None;
        let old = life.view.take();
        let mut told = self.told();
        told.session += 1;
        let detail = format!(
            "the query {} was deleted; one that is made under its name is told here again",
            self.name
        );
        let problem = Problem::new(StatusCode::GONE, "deleted", detail);
        self.tell_failure(&mut told, &problem);
        told.failed_at = None;
        drop(told);
        drop(life);
        drop(old);
    }

    /// So many more streams read it.
    pub(super) fn watch(self: &Arc<Query>, streams: usize) {
        let mut life = self.life();
        life.watchers += streams;
        life.left_at = None;
        let failed_at = self.told().failed_at;
        let may_try = failed_at.is_none_or(|at| at.elapsed() >= TRY_AGAIN);
        if life.watchers == 0 || !may_try || (life.view.is_some() && failed_at.is_none()) {
            return;
        }
        let Some(definition) = &life.definition else {
            return;
        };
        if definition.plan.is_ok() && failed_at.is_none() {
            return self.open(&mut life);
        }
        // What was wrong may be right by now, such as a table that was not there.
        let (query, asked) = (self.clone(), definition.clone());
        tokio::spawn(async move { query.plan_again(asked).await });
    }

    /// So many fewer streams read it.
    pub(super) fn unwatch(&self, streams: usize) {
        let mut life = self.life();
        life.watchers -= streams;
        if life.watchers == 0 {
            life.left_at = Some(Instant::now());
        }
    }

    /// Lets go of what nobody has watched for a while.
    pub(super) fn rest(&self) {
        let mut life = self.life();
        let is_over = life.left_at.is_some_and(|at| at.elapsed() >= LINGER);
        if life.watchers > 0 || !is_over {
            return;
        }
        life.left_at = None;
        let old = life.view.take();
        let mut told = self.told();
        told.session += 1;
        told.is_present &= life.definition.is_none();
        drop(told);
        drop(life);
        drop(old);
    }

    async fn plan_again(self: Arc<Query>, of: Definition) {
        let plan = self.engine.plan(of.asked.sql.clone()).await;
        let mut life = self.life();
        let Some(definition) = &mut life.definition else {
            return;
        };
        if definition.etag != of.etag {
            return;
        }
        definition.plan = plan;
        let failed = self.told().failed_at.is_some();
        let old = life.view.take_if(|_| failed);
        if life.watchers > 0 && life.view.is_none() {
            self.open(&mut life);
        }
        drop(life);
        drop(old);
    }

    fn open(self: &Arc<Query>, life: &mut Life) {
        let Some(Definition { asked, plan, .. }) = &life.definition else {
            return;
        };
        let mut told = self.told();
        told.session += 1;
        told.is_present = false;
        told.failed_at = None;
        let session = told.session;
        let plan = match plan {
            Ok(plan) => plan,
            Err(problem) => return self.tell_failure(&mut told, problem),
        };
        drop(told);
        let teller = Teller {
            query: Arc::downgrade(self),
            session,
            is_of_rows: matches!(plan.class, Class::Rows { .. }),
        };
        let every = Duration::from_millis(asked.every_ms);
        life.view = Some(self.engine.watch(plan, every, Arc::new(teller)));
    }

    /// What a newcomer is told, and the id that this had in the log: nothing after that is in it.
    pub(super) fn present(&self) -> Option<(EventId, Arc<Event>)> {
        let mut told = self.told();
        if !told.is_present {
            return None;
        }
        let (id, latest) = told.latest.as_mut()?;
        let event = match latest {
            Latest::Event(event) => event.clone(),
            Latest::Rows(newest) => newest.event(self).clone(),
        };
        Some((*id, event))
    }

    /// Appends to its topic. Under the lock of what was told, so that a newcomer gets everything once: in the present
    /// result, or as an event after it.
    fn append(&self, told: &mut Told, draft: &Draft) -> Option<EventId> {
        match self.log.append(draft.clone()) {
            Ok(id) => {
                told.results += 1;
                told.is_present = true;
                Some(id)
            }
            Err(problem) => {
                tracing::warn!("query {}: {problem}", self.name);
                None
            }
        }
    }

    /// `{"query":NAME,MEMBER:JSON TAIL}`
    fn draft(&self, member: &str, json: &[u8], tail: &str) -> Draft {
        let head = format!(r#"{{"query":"{}","{member}":"#, self.name);
        let text = [head.as_bytes(), json, tail.as_bytes(), b"}"].concat();
        Draft {
            topic: self.topic.clone(),
            event_type: EventType::default(),
            payload: Payload::json(text.into()).expect("it was made of JSON"),
        }
    }

    fn tell(&self, session: u64, is_of_rows: bool, outcome: Outcome) {
        let mut told = self.told();
        if told.session != session {
            return;
        }
        match outcome {
            Outcome::Whole(rows) => {
                let draft = self.draft("result", &rows.json(), "");
                if let Some(id) = self.append(&mut told, &draft) {
                    let event = self.log.unlogged(draft);
                    let latest = match is_of_rows {
                        true => Latest::Rows(Newest::of(rows, event)),
                        false => Latest::Event(event),
                    };
                    told.latest = Some((id, latest));
                }
            }
            Outcome::More(rows) => {
                // Additions are rows in any case: whoever adds them need not look twice.
                let rows = Rows { bare: None, ..rows };
                let draft = self.draft("result", &rows.json(), r#","mode":"append""#);
                if let Some(id) = self.append(&mut told, &draft) {
                    let mut newest = match told.latest.take() {
                        Some((_, Latest::Rows(newest))) => newest,
                        _ => Newest::default(),
                    };
                    newest.add(rows);
                    told.latest = Some((id, Latest::Rows(newest)));
                }
            }
            Outcome::Failed(problem) => self.tell_failure(&mut told, &problem),
        }
    }

    fn tell_failure(&self, told: &mut Told, problem: &Problem) {
        told.failed_at = Some(Instant::now());
        let draft = self.draft("error", problem.json().as_bytes(), "");
        if let Some(id) = self.append(told, &draft) {
            told.latest = Some((id, Latest::Event(self.log.unlogged(draft))));
        }
    }

    /// What is said of it to who asks, as JSON; the last result only when that is asked for.
    pub(super) fn describe(&self, with_result: bool) -> Option<String> {
        let life = self.life();
        let definition = life.definition.as_ref()?;
        let cost = life.view.as_ref().map(View::cost).unwrap_or_default();
        // As it is kept fresh now, which the plan alone does not decide.
        let planned = definition.plan.as_ref().ok().map(|plan| class(&plan.class));
        let class = CLASSES
            .into_iter()
            .find(|(number, _)| *number == cost.class);
        let class = class.or(planned);
        let mut told = self.told();
        let (at, latest) = match &mut told.latest {
            Some((id, Latest::Event(event))) => (Some(*id), Some(event.clone())),
            Some((id, Latest::Rows(newest))) => (Some(*id), Some(newest.event(self).clone())),
            None => (None, None),
        };
        let said = latest.as_ref().map(|event| event.draft.payload.bytes());
        let said = said.and_then(|text| serde_json::from_slice::<Said>(text).ok());
        let Said { result, error } = said.unwrap_or_default();
        let error = match &definition.plan {
            Err(problem) => Some(problem.json()),
            Ok(_) => error.map(|raw| raw.get().to_owned()),
        };
        let state = match (&error, &life.view) {
            (Some(_), _) => "failed",
            (None, Some(_)) => "running",
            (None, None) => "idle",
        };
        let mut about = json!({
            "name": self.name.as_str(),
            "sql": definition.asked.sql,
            "every_ms": definition.asked.every_ms,
            "class": class.map(|(number, _)| number),
            "kind": class.map(|(_, word)| word),
            "state": state,
            "streams": life.watchers,
            "results": told.results,
            "runs": cost.runs,
            "last_run_us": cost.last_us,
            "all_runs_us": cost.all_us,
            "etag": definition.etag,
        });
        if with_result {
            about["result_cursor"] = at.map(|id| id.to_string()).into();
        }
        let mut text = about.to_string();
        // As it was told, byte for byte.
        let mut add = |name: &str, raw: &str| {
            text.truncate(text.len() - 1);
            text.push_str(&format!(r#","{name}":{raw}}}"#));
        };
        add("error", error.as_deref().unwrap_or("null"));
        if with_result {
            add("result", result.map_or("null", RawValue::get));
        }
        Some(text)
    }
}

/// What is told: one of these.
#[derive(Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// How a query is kept fresh: a number, and a word for it.
const CLASSES: [(u8, &str); 3] = [(1, "rows"), (2, "groups"), (3, "whole")];

fn class(class: &Class) -> (u8, &'static str) {
    match class {
        Class::Rows { .. } => CLASSES[0],
        Class::Groups(_) => CLASSES[1],
        Class::Whole => CLASSES[2],
    }
}

impl Newest {
    fn of(rows: Rows, event: Arc<Event>) -> Newest {
        Newest {
            rows: rows.objects.into(),
            bare: rows.bare,
            event: Some(event),
        }
    }

    fn add(&mut self, rows: Rows) {
        (self.event, self.bare) = (None, None);
        self.rows.extend(rows.objects);
        let mut room = NEWEST_BYTES;
        let fits = |row: &&Bytes| {
            room = room.saturating_sub(row.len());
            room > 0
        };
        let newest = self.rows.iter().rev().take(NEWEST);
        let most = newest.take_while(fits).count().max(1);
        self.rows.drain(..self.rows.len().saturating_sub(most));
    }

    fn event(&mut self, of: &Query) -> &Arc<Event> {
        self.event.get_or_insert_with(|| {
            let rows = Rows {
                objects: self.rows.iter().cloned().collect(),
                bare: self.bare.clone(),
            };
            of.log.unlogged(of.draft("result", &rows.json(), ""))
        })
    }
}

/// Tells what one view of a query yields.
struct Teller {
    query: Weak<Query>,
    session: u64,
    is_of_rows: bool,
}

impl Sink for Teller {
    fn tell(&self, outcome: Outcome) {
        if let Some(query) = self.query.upgrade() {
            query.tell(self.session, self.is_of_rows, outcome);
        }
    }
}
