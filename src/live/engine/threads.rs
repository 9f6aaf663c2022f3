//! The engine's threads: what is asked of each, and how each waits for it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::fill::{Fill, Filled};
use super::flow::Begin;
use super::fresh::Fresh;
use super::query::Watch;
use super::table::Shared;
use super::whole::Whole;
use super::{Counters, Limits, Time};
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopper};
use crate::live::schema::Schema;
use crate::live::sql::dialect::Statement;
use crate::live::sql::{Front, Plan, STACK};
use crate::problem::Problem;

/// Queries that may wait to be read.
const MOST_WAITING: usize = 1_000;

/// What is done at once of what was asked.
const MOST_ASKED: usize = 1_000;

/// Asked of the thread that reads SQL.
pub(super) enum Read {
    Create(Arc<Schema>, oneshot::Sender<Result<(), Problem>>),
    Forget(Topic),
    Plan(String, oneshot::Sender<Result<Plan, Problem>>),
    Statement(String, oneshot::Sender<Result<Statement, Problem>>),
    Quit,
}

/// Asked of the threads that evaluate.
pub(super) enum Ask {
    Create(Arc<Shared>),
    Forget(Topic),
    Watch(Watch),
    Unwatch(u64),
    Fill(Fill),
    Filled(Box<Filled>),
    /// A query of the dialect.
    Begin(Begin),
    Leave(u64),
    /// Many rows have come, or somebody has room for more.
    Look,
    Quit,
}

/// What the threads are reached by.
pub(super) struct Threads {
    front: Sender<Read>,
    fresh: Sender<Ask>,
    whole: Sender<Ask>,
    /// Whether the threads of new and of all rows have been asked to look, and have not yet.
    looked: Arc<[AtomicBool; 2]>,
    /// Queries that wait to be read.
    waiting: AtomicUsize,
    stoppers: [Stopper; 2],
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(super) fn start(
        limits: Limits,
        counters: &Arc<Counters>,
        tables: &[Arc<Shared>],
    ) -> io::Result<Threads> {
        let (front, reads) = mpsc::channel();
        let (fresh, for_fresh) = mpsc::channel();
        let (whole, for_whole) = mpsc::channel();
        let mut reader = Front::new(limits).map_err(io::Error::other)?;
        for shared in tables {
            reader.create(&shared.schema).map_err(io::Error::other)?;
            // The receivers are still here.
            let _ = fresh.send(Ask::Create(shared.clone()));
            let _ = whole.send(Ask::Create(shared.clone()));
        }
        let new_rows = Sandbox::open(&limits).map_err(io::Error::other)?;
        let all_rows = Sandbox::open(&limits).map_err(io::Error::other)?;
        let stoppers = [new_rows.stopper(), all_rows.stopper()];
        let named = |name: &str| Builder::new().name(format!("triwire-{name}"));
        let looked: Arc<[AtomicBool; 2]> = Arc::default();
        let mut running = Vec::new();
        running.push(named("front").stack_size(STACK).spawn({
            let counters = counters.clone();
            move || read(reader, &reads, &counters)
        })?);
        running.push(named("fresh").spawn({
            let (counters, whole, looked) = (counters.clone(), whole.clone(), looked.clone());
            move || {
                let mut core = Fresh::new(&new_rows, limits, &counters);
                keep_fresh(&mut core, &for_fresh, &whole, &counters, &looked[0]);
            }
        })?);
        running.push(named("whole").spawn({
            let (counters, fresh, looked) = (counters.clone(), fresh.clone(), looked.clone());
            move || {
                let mut core = Whole::new(&all_rows, limits, &counters);
                keep_whole(&mut core, &for_whole, &fresh, &counters, &looked[1]);
            }
        })?);
        Ok(Threads {
            front,
            fresh,
            whole,
            looked,
            waiting: AtomicUsize::new(0),
            stoppers,
            running: Mutex::new(running),
        })
    }

    /// Asks the thread of new rows. It is there until the engine ends.
    pub(super) fn fresh(&self, ask: Ask) {
        let _ = self.fresh.send(ask);
    }

    /// Asks the thread of all rows.
    pub(super) fn whole(&self, ask: Ask) {
        let _ = self.whole.send(ask);
    }

    /// Has the rows be taken that wait.
    pub(super) fn look(&self) {
        for (looked, thread) in self.looked.iter().zip([&self.fresh, &self.whole]) {
            if !looked.swap(true, Ordering::AcqRel) {
                let _ = thread.send(Ask::Look);
            }
        }
    }

    pub(super) fn create(
        &self,
        schema: Arc<Schema>,
    ) -> impl Future<Output = Result<(), Problem>> + use<> {
        let (reply, answer) = oneshot::channel();
        let _ = self.front.send(Read::Create(schema, reply));
        async { answer.await.unwrap_or_else(|_| Err(ending())) }
    }

    pub(super) fn forget(&self, name: &Topic) {
        let _ = self.front.send(Read::Forget(name.clone()));
        self.fresh(Ask::Forget(name.clone()));
        self.whole(Ask::Forget(name.clone()));
    }

    pub(super) async fn plan(&self, sql: String) -> Result<Plan, Problem> {
        self.read(|reply| Read::Plan(sql, reply)).await
    }

    pub(super) async fn statement(&self, sql: String) -> Result<Statement, Problem> {
        self.read(|reply| Read::Statement(sql, reply)).await
    }

    async fn read<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> Read,
    ) -> Result<T, Problem> {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            let detail = format!("{MOST_WAITING} queries wait to be read; retry later");
            return Err(Problem::unavailable("too-many-wait", detail));
        }
        let (reply, answer) = oneshot::channel();
        let _ = self.front.send(ask(reply));
        // Also when nobody waits for it any more.
        let waits = Waits(&self.waiting);
        let read = answer.await.unwrap_or_else(|_| Err(ending()));
        drop(waits);
        read
    }

    /// Ends the threads, whatever they do.
    pub(super) fn end(&self) {
        let _ = self.front.send(Read::Quit);
        self.fresh(Ask::Quit);
        self.whole(Ask::Quit);
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in running {
            // What runs may have begun only after it was stopped.
            while !thread.is_finished() {
                self.stoppers.iter().for_each(Stopper::stop);
                std::thread::park_timeout(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("waiting", &self.waiting)
            .finish()
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn ending() -> Problem {
    Problem::unavailable("draining", "the server is about to end")
}

fn read(mut front: Front, reads: &Receiver<Read>, counters: &Counters) {
    for read in reads {
        let began = Instant::now();
        match read {
            Read::Create(schema, reply) => {
                let created = front.create(&schema).map_err(|error| {
                    let detail = format!("SQLite cannot make the table: {error}");
                    Problem::unavailable("table", detail)
                });
                // Nobody may wait for it any more.
                let _ = reply.send(created);
            }
            Read::Forget(name) => {
                if let Err(error) = front.forget(&name) {
                    tracing::error!("table {name} is still there for new queries: {error}");
                }
            }
            Read::Plan(sql, reply) => {
                if !reply.is_closed() {
                    let _ = reply.send(front.plan(&sql));
                }
            }
            Read::Statement(sql, reply) => {
                if !reply.is_closed() {
                    let _ = reply.send(front.statement(&sql));
                }
            }
            Read::Quit => return,
        }
        busy(&counters.busy_us[0], began);
    }
}

fn keep_whole(
    whole: &mut Whole<'_>,
    asks: &Receiver<Ask>,
    fresh: &Sender<Ask>,
    counters: &Counters,
    looked: &AtomicBool,
) {
    let steady = Instant::now();
    let mut pause = Duration::ZERO;
    let mut filled = Vec::new();
    loop {
        let (asked, began) = (wait(asks, pause), Instant::now());
        for ask in asked {
            match ask {
                Ask::Create(shared) => whole.create(&shared),
                Ask::Forget(name) => whole.forget(&name),
                Ask::Watch(watch) => whole.watch(watch),
                Ask::Unwatch(id) => whole.unwatch(id),
                Ask::Fill(fill) => whole.fill(fill),
                Ask::Look => looked.store(false, Ordering::Release),
                Ask::Begin(begin) => whole.begin(begin, &now(steady)),
                Ask::Leave(id) => whole.leave(id),
                Ask::Filled(_) => {}
                Ask::Quit => return,
            }
        }
        let now = now(steady);
        let is_more = whole.pull(&now);
        pause = whole.step(&now, &mut filled);
        if is_more {
            pause = Duration::ZERO;
        }
        for filled in filled.drain(..) {
            let _ = fresh.send(Ask::Filled(Box::new(filled)));
        }
        busy(&counters.busy_us[2], began);
    }
}

fn keep_fresh(
    fresh: &mut Fresh<'_>,
    asks: &Receiver<Ask>,
    whole: &Sender<Ask>,
    counters: &Counters,
    looked: &AtomicBool,
) {
    let steady = Instant::now();
    let mut pause = Duration::ZERO;
    let mut out = Vec::new();
    loop {
        let (asked, began) = (wait(asks, pause), Instant::now());
        let now = now(steady);
        for ask in asked {
            match ask {
                Ask::Create(shared) => fresh.create(&shared),
                Ask::Forget(name) => fresh.forget(&name),
                Ask::Watch(watch) => fresh.watch(watch),
                Ask::Unwatch(id) => fresh.unwatch(id),
                Ask::Filled(filled) => fresh.filled(*filled, &now),
                Ask::Look => {
                    looked.store(false, Ordering::Release);
                    fresh.look();
                }
                Ask::Fill(_) | Ask::Begin(_) | Ask::Leave(_) => {}
                Ask::Quit => return,
            }
        }
        pause = fresh.step(&now, &mut out);
        for ask in out.drain(..) {
            let _ = whole.send(ask);
        }
        busy(&counters.busy_us[1], began);
    }
}

/// All that is asked by now, or until the pause is over.
fn wait(asks: &Receiver<Ask>, pause: Duration) -> Vec<Ask> {
    let first = match asks.recv_timeout(pause) {
        Ok(ask) => ask,
        Err(RecvTimeoutError::Timeout) => return Vec::new(),
        Err(RecvTimeoutError::Disconnected) => Ask::Quit,
    };
    [first]
        .into_iter()
        .chain(asks.try_iter().take(MOST_ASKED))
        .collect()
}

fn now(steady: Instant) -> Time {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Time {
        wall_ms: wall.map_or(0, |d| d.as_millis() as u64),
        steady: steady.elapsed(),
    }
}

fn busy(counter: &AtomicU64, began: Instant) {
    counter.fetch_add(began.elapsed().as_micros() as u64, Ordering::Relaxed);
}
