//! One query: what it was asked, what has become of it, and how both are said. No member of that is ever null, since the
//! clients' models refuse it; all times are in milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Context;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::outbox::{Batching, Outbox, Taken};
use crate::live::Live;
use crate::live::engine::{Progress, Run};
use crate::live::sql::dialect::{About, Flow, Heading, Statement, Times};
use crate::problem::Problem;

/// A query as its author says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// SELECT.
    pub sql: String,
    /// Anything.
    pub name: String,
    /// Anything.
    pub description: String,
    /// By which lists can be filtered.
    pub tags: Vec<String>,
}

/// A query that runs, or has.
pub struct Query {
    /// By which it is asked for.
    pub id: Arc<str>,
    /// How many were before it.
    pub number: u64,
    asked: Asked,
    shape: Shape,
    start_ms: u64,
    began: Instant,
    outbox: Arc<Outbox>,
    /// Whether somebody takes its rows.
    followed: AtomicBool,
    /// Milliseconds after it began when somebody took some last, or could have.
    taken_at: AtomicU64,
    state: Mutex<State>,
}

/// What is known of it before it runs.
struct Shape {
    header: Vec<Heading>,
    times: Times,
    about: About,
    is_live: bool,
}

enum State {
    Running(Run),
    Ended {
        ending: Ending,
        after: Duration,
        end_ms: u64,
        progress: Progress,
    },
}

/// How a query ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// All is told.
    Finished,
    /// By itself, before.
    Failed(Problem),
    /// Somebody did not want it any more; why, if there is more to say.
    Canceled(&'static str),
}

impl Query {
    /// Begins to run.
    pub(super) fn begin(number: u64, asked: Asked, flow: Flow, live: &Live) -> Query {
        let shape = Shape {
            header: flow.header.clone(),
            times: flow.times,
            about: flow.about.clone(),
            is_live: flow.is_live,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let began = Instant::now();
        let outbox = Arc::<Outbox>::default();
        let run = live.run(&Arc::new(flow), outbox.clone());
        Query {
            id: new_id().into(),
            number,
            asked,
            shape,
            start_ms: now.map_or(0, |now| now.as_millis() as u64),
            began,
            outbox,
            followed: AtomicBool::new(false),
            taken_at: AtomicU64::new(0),
            state: Mutex::new(State::Running(run)),
        }
    }

    /// Ends it; whether it had not ended before. Nothing more is evaluated, and what was not taken is gone.
    pub(super) fn end(&self, ending: Ending) -> bool {
        let mut state = self.state();
        let State::Running(run) = &*state else {
            return false;
        };
        let after = self.began.elapsed();
        let ended = State::Ended {
            ending,
            after,
            end_ms: self.start_ms + after.as_millis() as u64,
            progress: run.progress(),
        };
        let run = std::mem::replace(&mut *state, ended);
        drop(state);
        drop(run);
        self.outbox.end(Ok(()));
        true
    }

    /// Whether it may be followed, which is so once.
    pub(super) fn follow(&self) -> bool {
        self.touch();
        !self.followed.swap(true, Ordering::Relaxed)
    }

    /// Takes what is due, and lets the engine go on when there is room again.
    pub(super) fn take(&self, cx: &Context<'_>, batching: Batching) -> Taken {
        self.touch();
        let taken = self.outbox.take(cx, batching, Instant::now());
        if matches!(taken, Taken::Rows(_))
            && self.outbox.has_room_again()
            && let State::Running(run) = &*self.state()
        {
            run.wake();
        }
        taken
    }

    /// Somebody takes what comes.
    fn touch(&self) {
        let now = self.began.elapsed().as_millis() as u64;
        self.taken_at.store(now, Ordering::Relaxed);
    }

    /// For how long nobody has taken anything, and whether anybody ever has.
    pub(super) fn idle(&self) -> (Duration, bool) {
        let taken = Duration::from_millis(self.taken_at.load(Ordering::Relaxed));
        let idle = self.began.elapsed().saturating_sub(taken);
        (idle, self.followed.load(Ordering::Relaxed))
    }

    /// Whether it has this tag.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.asked.tags.iter().any(|own| own == tag)
    }

    /// How it has ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        match &*self.state() {
            State::Running(_) => None,
            State::Ended { ending, .. } => Some(ending.clone()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// All that there is to say of it.
    pub(super) fn about(&self) -> Value {
        let (status, message, end_ms, duration) = match &*self.state() {
            State::Running(_) => ("running", String::new(), 0, 0),
            State::Ended {
                ending,
                after,
                end_ms,
                ..
            } => {
                let (status, message) = ending.words();
                (status, message, *end_ms, after.as_millis() as u64)
            }
        };
        let place = |place: Option<usize>| place.map_or(json!(-1), |place| json!(place));
        let Shape { times, .. } = &self.shape;
        let Asked {
            sql,
            name,
            description,
            tags,
        } = &self.asked;
        json!({
            "id": &*self.id,
            "sql": sql,
            "name": name,
            "description": description,
            "tags": tags,
            "sinks": {},
            "status": status,
            "message": message,
            "start_time": self.start_ms,
            "end_time": end_ms,
            "duration": duration,
            "response_time": self.response_ms(),
            "analysis": self.shape.analysis(sql),
            "timeColumns": {
                "eventTime": place(times.event),
                // There is no such column; one client wants to be told so.
                "indexTime": -1,
                "windowStart": place(times.window_start),
                "windowEnd": place(times.window_end),
            },
            "result": { "header": self.shape.header() },
        })
    }

    /// The same for 1.0 clients, which want to know at once what it has cost.
    pub(super) fn about_with_metrics(&self) -> Value {
        let mut about = self.about();
        about["metrics"] = self.metrics(self.progress().told_rows);
        about
    }

    fn progress(&self) -> Progress {
        match &*self.state() {
            State::Running(run) => run.progress(),
            State::Ended { progress, .. } => *progress,
        }
    }

    /// What it has cost so far: `count` rows have been handed on.
    pub(super) fn metrics(&self, count: u64) -> Value {
        let (elapsed, progress) = match &*self.state() {
            State::Running(run) => (self.began.elapsed(), run.progress()),
            State::Ended {
                after, progress, ..
            } => (*after, *progress),
        };
        let elapsed_ms = elapsed.as_millis() as u64;
        let mut metrics = json!({
            "count": count,
            "eps": (count * 1000).checked_div(elapsed_ms).unwrap_or(count),
            "processing_time": elapsed_ms,
            "last_event_time": progress.last_event_ms,
            "response_time": self.response_ms(),
            "scanned_rows": progress.rows,
            "scanned_bytes": progress.bytes,
        });
        // No client knows it, so it is there only when there is something to say.
        if progress.late_rows > 0 {
            metrics["late_rows"] = progress.late_rows.into();
        }
        metrics
    }

    /// How long the first row was in coming; 0 before it has.
    fn response_ms(&self) -> u64 {
        let first = self.outbox.first_told();
        first.map_or(0, |first| (first - self.began).as_millis() as u64)
    }
}

impl Ending {
    fn words(&self) -> (&'static str, String) {
        match self {
            Ending::Finished => ("finished", String::new()),
            Ending::Failed(problem) => ("failed", problem.detail.to_string()),
            Ending::Canceled(why) => ("canceled", (*why).to_owned()),
        }
    }
}

impl From<Result<(), Problem>> for Ending {
    fn from(outcome: Result<(), Problem>) -> Ending {
        match outcome {
            Ok(()) => Ending::Finished,
            Err(problem) => Ending::Failed(problem),
        }
    }
}

/// What a statement is, without running it.
pub(super) fn analysis(statement: &Statement, sql: &str) -> Value {
    let kind = match statement {
        Statement::Select(flow) => {
            let Flow {
                header,
                times,
                about,
                is_live,
                ..
            } = &**flow;
            let shape = Shape {
                header: header.clone(),
                times: *times,
                about: about.clone(),
                is_live: *is_live,
            };
            return shape.analysis(sql);
        }
        Statement::Create { .. } => "CREATE",
        Statement::Drop { .. } => "DROP",
    };
    Shape::none().analysis_as(kind, sql)
}

impl Shape {
    fn none() -> Shape {
        Shape {
            header: Vec::new(),
            times: Times::default(),
            about: About::default(),
            is_live: false,
        }
    }

    fn header(&self) -> Value {
        let column = |h: &Heading| json!({ "name": h.name, "type": h.kind.to_string() });
        self.header.iter().map(column).collect()
    }

    fn analysis(&self, sql: &str) -> Value {
        self.analysis_as("SELECT", sql)
    }

    fn analysis_as(&self, kind: &str, sql: &str) -> Value {
        let About {
            streams,
            group_by,
            columns,
            ..
        } = &self.about;
        // A column of the result may be made of several.
        let stream = match &streams[..] {
            [stream] => stream,
            _ => "",
        };
        let column = |stream: &str, heading: &Heading| {
            json!({
                "column": heading.name,
                "column_type": heading.kind.to_string(),
                "database": "default",
                "table": stream,
                "is_view": false,
            })
        };
        let required = columns.iter().map(|(stream, h)| column(stream, h));
        let result = self.header.iter().map(|h| column(stream, h));
        json!({
            "has_aggr": self.about.has_aggregates,
            "has_table_join": self.about.has_join,
            "has_union": self.about.has_union,
            "has_subquery": self.about.has_subquery,
            "is_streaming": self.is_live,
            "query_type": kind,
            "original_query": sql,
            "rewritten_query": sql,
            "required_columns": required.collect::<Vec<_>>(),
            "group_by_columns": group_by,
            "result_columns": result.collect::<Vec<_>>(),
        })
    }
}

/// A UUID (RFC 9562, 5.4). Nobody has to guess it: lists say it.
fn new_id() -> String {
    let bits = fastrand::u128(..) & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &text[part]);
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let id = new_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, new_id());
    }
}
