//! Both halves of an engine on one thread, under a clock that is set by hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::{Draft, EventId, EventType, Payload, Topic};
use crate::live::engine::fill::Filled;
use crate::live::engine::fresh::Fresh;
use crate::live::engine::query::{CostOf, Watch};
use crate::live::engine::table::Shared;
use crate::live::engine::threads::Ask;
use crate::live::engine::whole::Whole;
use crate::live::engine::{Counters, Limits, Outcome, Sink, Time};
use crate::live::sandbox::Sandbox;
use crate::live::schema::{Column, Retention, Schema};
use crate::live::sql::{Aggregate, Class, Function, Grouped, Groups, Plan, Window};
use crate::log::{self, Log};

/// Where the clock begins.
pub(super) const START: u64 = 1_000_000;

pub(super) struct Bench {
    pub(super) whole: Whole<'static>,
    pub(super) fresh: Fresh<'static>,
    pub(super) counters: Arc<Counters>,
    shared: Vec<Arc<Shared>>,
    log: Arc<Log>,
    clock: Arc<AtomicU64>,
    steady: Duration,
    views: u64,
    /// Queries that were handed from the new rows to all rows.
    pub(super) given_up: usize,
    /// Whether what queries begin with comes late, when the new rows have gone on.
    pub(super) is_slow: bool,
    late: Vec<Filled>,
    /// What is published while the others are at work, a row at a time.
    pub(super) meanwhile: VecDeque<String>,
}

/// What somebody was told.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<Outcome>>);

impl Sink for Heard {
    fn tell(&self, outcome: Outcome) {
        self.0.lock().expect("nothing panics here").push(outcome);
    }
}

impl Heard {
    /// All rows as of now, as JSON; or the kind of problem that it ended with.
    pub(super) fn present(&self) -> Option<String> {
        let told = self.0.lock().expect("nothing panics here");
        let mut rows: Option<Vec<String>> = None;
        for outcome in told.iter() {
            let text = |r: &crate::live::engine::Rows| -> Vec<String> {
                let rows = r
                    .objects
                    .iter()
                    .map(|o| String::from_utf8_lossy(o).into_owned());
                rows.collect()
            };
            match outcome {
                Outcome::Whole(all) => rows = Some(text(all)),
                Outcome::More(more) => rows.as_mut().expect("a first result").extend(text(more)),
                Outcome::Failed(problem) => return Some(problem.kind.to_owned()),
            }
        }
        rows.map(|rows| rows.join("\n"))
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().expect("nothing panics here").len()
    }
}

impl Bench {
    pub(super) fn new(limits: Limits, schema: &Schema) -> Bench {
        Bench::over(log::Limits::default(), limits, schema)
    }

    pub(super) fn over(log: log::Limits, limits: Limits, schema: &Schema) -> Bench {
        Bench::of(log, limits, schema, Sandbox::open)
    }

    /// One where time is what is computed, however busy the machine is.
    pub(super) fn by_work(limits: Limits, schema: &Schema) -> Bench {
        Bench::of(log::Limits::default(), limits, schema, Sandbox::by_work)
    }

    fn of(
        log: log::Limits,
        limits: Limits,
        schema: &Schema,
        open: fn(&Limits) -> rusqlite::Result<Sandbox>,
    ) -> Bench {
        let clock = Arc::new(AtomicU64::new(START));
        let read = clock.clone();
        let now = Box::new(move || read.load(Ordering::Relaxed));
        let log = Log::new(log, "here", 1, now);
        // For as long as the test runs.
        let sandbox = || &*Box::leak(Box::new(open(&limits).expect("a sandbox")));
        let counters = Arc::new(Counters::default());
        let mut bench = Bench {
            whole: Whole::new(sandbox(), limits, &counters),
            fresh: Fresh::new(sandbox(), limits, &counters),
            counters,
            shared: vec![Arc::new(Shared::new(
                Arc::new(schema.clone()),
                &log,
                EventId::ZERO,
            ))],
            log,
            clock,
            steady: Duration::ZERO,
            views: 0,
            given_up: 0,
            is_slow: false,
            late: Vec::new(),
            meanwhile: VecDeque::new(),
        };
        bench.whole.create(&bench.shared[0]);
        bench.fresh.create(&bench.shared[0]);
        bench
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(super) fn set_clock(&mut self, ms: u64) {
        self.clock.store(ms, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, topic: &str, json: &str) {
        let payload = Payload::json(json.to_owned().into()).expect("JSON");
        let draft = Draft {
            topic: Topic::new(topic).expect("a topic"),
            event_type: EventType::default(),
            payload,
        };
        self.log.append(draft).expect("there is room");
    }

    /// Watches; the number is for [`Bench::unwatch`].
    pub(super) fn watch(&mut self, plan: &Arc<Plan>, every_ms: u64) -> (u64, Arc<Heard>) {
        self.views += 1;
        let heard = Arc::new(Heard::default());
        let watch = Watch {
            id: self.views,
            plan: plan.clone(),
            every_ms,
            told: heard.clone(),
            cost: Arc::new(CostOf::default()),
        };
        match watch.is_incremental() {
            true => self.fresh.watch(watch),
            false => self.whole.watch(watch),
        }
        (self.views, heard)
    }

    pub(super) fn unwatch(&mut self, view: u64) {
        self.fresh.unwatch(view);
        self.whole.unwatch(view);
    }

    /// Lets the time pass, and everything be done that is due then.
    pub(super) fn pass(&mut self, ms: u64) {
        self.set_clock(self.now() + ms);
        self.settle();
    }

    /// The same for both clocks.
    pub(super) fn pass_steadily(&mut self, ms: u64) {
        self.set_clock(self.now() + ms);
        self.steady += Duration::from_millis(ms);
        self.settle_now();
    }

    /// One more table, for queries over all rows.
    pub(super) fn also(&mut self, schema: &Schema) {
        let shared = Arc::new(Shared::new(
            Arc::new(schema.clone()),
            &self.log,
            EventId::ZERO,
        ));
        self.whole.create(&shared);
        self.shared.push(shared);
    }

    /// The number that the next event of a table will have.
    pub(super) fn end(&self, name: &str) -> u64 {
        let mut all = self.shared.iter();
        let of_it = all.find(|shared| shared.schema.name.as_str() == name);
        of_it.expect("there is one").end()
    }

    pub(super) fn settle(&mut self) {
        // Re-runs may be as often as they like.
        self.steady += Duration::from_secs(3_600);
        self.settle_now();
    }

    fn settle_now(&mut self) {
        let mut now = self.time();
        let mut late = std::mem::take(&mut self.late);
        for _ in 0..10_000 {
            let (mut asked, mut filled) = (Vec::new(), Vec::new());
            self.whole.pull(&now);
            let pause = self.whole.step(&now, &mut filled);
            let row = self.meanwhile.pop_front();
            let is_idle = pause > Duration::ZERO && filled.is_empty() && row.is_none();
            if self.is_slow {
                self.late.extend(filled);
                self.fresh.look();
            } else {
                filled
                    .into_iter()
                    .for_each(|filled| self.fresh.filled(filled, &now));
            }
            self.fresh.step(&now, &mut asked);
            let waits = self.fresh.is_behind() || self.whole.has_to_wait(&now);
            if is_idle && asked.is_empty() && waits {
                self.steady += Duration::from_millis(500);
                now = self.time();
                continue;
            }
            if is_idle && asked.is_empty() {
                if late.is_empty() {
                    return;
                }
                // The new rows have gone on meanwhile.
                late.drain(..)
                    .for_each(|filled| self.fresh.filled(filled, &now));
            }
            row.into_iter().for_each(|row| self.publish("t", &row));
            self.ask(asked);
        }
        panic!("there is no end to it");
    }

    /// What the new rows ask of all rows.
    pub(super) fn ask(&mut self, asked: Vec<Ask>) {
        for ask in asked {
            match ask {
                Ask::Fill(fill) => self.whole.fill(fill),
                Ask::Watch(watch) => {
                    self.given_up += 1;
                    self.whole.watch(watch);
                }
                Ask::Unwatch(view) => self.whole.unwatch(view),
                _ => panic!("this is not asked of it"),
            }
        }
    }

    /// Lets the time pass, and nothing be done yet.
    pub(super) fn time_after(&mut self, ms: u64) -> Time {
        self.set_clock(self.now() + ms);
        self.steady += Duration::from_millis(ms);
        self.time()
    }

    pub(super) fn time(&self) -> Time {
        Time {
            wall_ms: self.now(),
            steady: self.steady,
        }
    }
}

/// `t(at, k, v)`, where the kinds of values are as wide as they can be.
pub(super) fn schema(retention: Retention) -> Schema {
    let column = |(name, kind): (&str, &str)| Column {
        name: name.to_owned(),
        kind: kind.parse().expect(kind),
    };
    let columns = [
        ("at", "nullable(datetime64(3))"),
        ("k", "nullable(string)"),
        ("b", "nullable(bool)"),
        ("v", "nullable(float64)"),
        ("n", "nullable(int32)"),
    ];
    Schema {
        name: Topic::new("t").expect("a topic"),
        columns: columns.map(column).into(),
        retention,
    }
}

pub(super) const MANY: Retention = Retention {
    rows: 100_000,
    age_ms: None,
};

pub(super) fn whole(text: &str) -> Arc<Plan> {
    Arc::new(Plan {
        text: text.to_owned(),
        tables: vec![Topic::new("t").expect("a topic")],
        timed: text.contains(":now"),
        class: Class::Whole,
    })
}

pub(super) fn rows(columns: &str, filter: &str) -> Arc<Plan> {
    let text = format!("SELECT {columns} FROM t WHERE {filter}");
    Arc::new(Plan {
        class: Class::Rows {
            ordered: format!("{text} ORDER BY t.rowid"),
        },
        ..(*whole(&text)).clone()
    })
}

/// A query of groups: taken apart, and as a whole.
pub(super) struct Shape {
    pub(super) filter: &'static str,
    pub(super) keys: &'static [&'static str],
    pub(super) window: Option<(&'static str, u64, bool)>,
    /// Call, function and argument.
    pub(super) calls: &'static [(&'static str, Function, Option<&'static str>)],
    pub(super) having: Option<(&'static str, Function, Option<&'static str>, &'static str)>,
}

impl Shape {
    pub(super) fn plans(&self) -> (Arc<Plan>, Arc<Plan>) {
        let keys = self.keys.join(", ");
        let mut aggregates: Vec<Aggregate> = Vec::new();
        let mut name = |function: Function, argument: Option<&str>| {
            let aggregate = Aggregate {
                function,
                argument: argument.map(str::to_owned),
                name: format!("{function:?}({})", argument.unwrap_or("*")),
            };
            if !aggregates.contains(&aggregate) {
                aggregates.push(aggregate.clone());
            }
            format!("\"{}\"", aggregate.name)
        };
        let (mut over_rows, mut over_totals) = (Vec::new(), Vec::new());
        for (index, key) in self.keys.iter().enumerate() {
            over_rows.push(format!("{key} AS g{index}"));
            over_totals.push(format!("k{index} AS g{index}"));
        }
        for (index, (call, function, argument)) in self.calls.iter().enumerate() {
            over_rows.push(format!("{call} AS a{index}"));
            over_totals.push(format!("{} AS a{index}", name(*function, *argument)));
        }
        let window = self.window.map(|(time, size, inclusive)| {
            let compare = if inclusive { ">=" } else { ">" };
            (
                format!(" AND {time} {compare} :now - {size}"),
                Window {
                    time: time.to_owned(),
                    size,
                    inclusive,
                },
            )
        });
        let from = format!("t WHERE ({})", self.filter);
        let mut text = format!(
            "SELECT {} FROM {from}{}",
            over_rows.join(", "),
            window.as_ref().map_or("", |w| &w.0)
        );
        let mut result = format!("SELECT {} FROM totals", over_totals.join(", "));
        if !keys.is_empty() {
            text += &format!(" GROUP BY {keys}");
        }
        if let Some((call, function, argument, compare)) = self.having {
            text += &format!(" HAVING {call} {compare}");
            result += &format!(" WHERE {} {compare}", name(function, argument));
        }
        let timed = window.is_some();
        let grouped = Grouped {
            table: Topic::new("t").expect("a topic"),
            from,
            keys: self.keys.iter().map(|k| (*k).to_owned()).collect(),
            window: window.map(|w| w.1),
        };
        let groups = Groups {
            rows: grouped,
            aggregates,
            result,
        };
        let plain = Plan {
            timed,
            ..(*whole(&text)).clone()
        };
        let taken_apart = Plan {
            class: Class::Groups(Box::new(groups)),
            ..plain.clone()
        };
        (Arc::new(taken_apart), Arc::new(plain))
    }
}
