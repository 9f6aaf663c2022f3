//! One named query: what it is, and who watches it. It runs while somebody does and for a little while after; what it
//! yields is in `told`.

mod told;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use self::told::{Teller, Told};
use super::digest;
use super::engine::{Engine, View};
use super::queries::{Asked, Name};
use super::sql::{Class, Plan};
use crate::event::{EventId, Topic};
use crate::log::Log;
use crate::problem::Problem;

/// How long a query is kept fresh after the last who watched it: a client that polls is away between its polls.
const LINGER: Duration = Duration::from_secs(15);

/// How much later than it should another replica may tell the same.
const LATE: Duration = Duration::from_secs(2);

/// How soon a query that has failed is tried again for a newcomer: each try may take all the time that a query may.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What a query is, until it is changed.
#[derive(Clone)]
pub(super) struct Definition {
    pub asked: Asked,
    /// A query that outlived a restart may be none any more: it is kept, and says why. Nothing while it is being read.
    pub plan: Option<Result<Arc<Plan>, Problem>>,
    pub etag: String,
    /// Where it was made, if it is that of several replicas.
    pub made: EventId,
    made_at: Instant,
}

impl Definition {
    pub fn new(
        asked: Asked,
        plan: Option<Result<Arc<Plan>, Problem>>,
        made: EventId,
    ) -> Definition {
        let said = serde_json::to_vec(&asked).expect("text and a number");
        Definition {
            asked,
            plan,
            etag: digest(&said),
            made,
            made_at: Instant::now(),
        }
    }
}

/// A name, and the query that it stands for, if it stands for one: a subscription follows the name.
pub(super) struct Query {
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
    /// Subscriptions that name it.
    named: usize,
    /// Whether there was one.
    was_named: bool,
    /// Streams that read it.
    watchers: usize,
    /// When the last of them left.
    left_at: Option<Instant>,
    view: Option<View>,
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

    /// A subscription names it.
    pub(super) fn name_it(&self) {
        let mut life = self.life();
        life.named += 1;
        life.was_named = true;
    }

    /// One names it no more.
    pub(super) fn unname_it(&self) {
        self.life().named -= 1;
    }

    /// Whether a subscription has ever named it; what is known of that from elsewhere is added.
    pub(super) fn was_named(&self, was_named: bool) -> bool {
        let mut life = self.life();
        life.was_named |= was_named;
        life.was_named
    }

    /// Whether it is a temporary one that nobody names any more.
    pub(super) fn is_left(&self) -> bool {
        let life = self.life();
        let definition = life.definition.as_ref();
        life.named == 0 && definition.is_some_and(|definition| definition.asked.temporary)
    }

    /// Whether it is one that nobody names any more, or has named within this time.
    pub(super) fn is_over(&self, grace: Duration) -> bool {
        let life = self.life();
        let definition = life.definition.as_ref();
        definition.is_some_and(|definition| {
            let was_long = definition.made_at.elapsed() >= grace;
            definition.asked.temporary && life.named == 0 && (life.was_named || was_long)
        })
    }

    /// From now on it is this one. Nothing of what it was is told any more.
    pub(super) fn define(self: &Arc<Query>, definition: Definition) {
        let mut life = self.life();
        let old = life.view.take();
        self.told().forget();
        let unread = definition.plan.is_none().then(|| definition.clone());
        life.definition = Some(definition);
        if life.watchers > 0 {
            self.open(&mut life);
        }
        drop(life);
        drop(old);
        if let Some(unread) = unread {
            tokio::spawn(self.clone().plan_again(unread));
        }
    }

    /// From now on the name stands for nothing, and whoever follows it is told so.
    pub(super) fn delete(&self) {
        let mut life = self.life();
        (life.definition, life.was_named) = (None, false);
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
        if matches!(definition.plan, Some(Ok(_))) && failed_at.is_none() {
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
        if let Some(definition) = &life.definition {
            let every = Duration::from_millis(definition.asked.every_ms);
            self.told().settle(self.log.head(), every + LATE);
        }
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

    /// A stream goes on here that another replica may have told something else up to its cursor: unless nothing has changed
    /// for so long that it was told the same, all that there is is told once more.
    pub(super) fn retell(self: &Arc<Query>, cursor: EventId) {
        let every = self.life().definition.as_ref().map(|d| d.asked.every_ms);
        let (Some(every), Some(due)) = (every, self.told().due(cursor)) else {
            return;
        };
        let query = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(every)).await;
            query.tell_again(due);
        });
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
        definition.plan = Some(plan);
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
        let Some(plan) = plan else { return };
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

    /// What is said of it to who asks, as JSON; the last result only when that is asked for.
    pub(super) fn describe(&self, with_result: bool) -> Option<String> {
        let life = self.life();
        let definition = life.definition.as_ref()?;
        let cost = life.view.as_ref().map(View::cost).unwrap_or_default();
        // As it is kept fresh now, which the plan alone does not decide.
        let plan = definition.plan.as_ref();
        let planned = plan.and_then(|plan| plan.as_ref().ok());
        let planned = planned.map(|plan| class(&plan.class));
        let class = CLASSES
            .into_iter()
            .find(|(number, _)| *number == cost.class);
        let class = class.or(planned);
        let mut told = self.told();
        let last = told.last(self);
        let said = last.as_ref().map(|(_, event)| event.draft.payload.bytes());
        let said = said.and_then(|text| serde_json::from_slice::<Said>(text).ok());
        let Said { result, error } = said.unwrap_or_default();
        let error = match &definition.plan {
            Some(Err(problem)) => Some(problem.json()),
            _ => error.map(|raw| raw.get().to_owned()),
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
            "temporary": definition.asked.temporary,
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
            about["result_cursor"] = last.as_ref().map(|(id, _)| id.to_string()).into();
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
