//! What live queries cost: rows at a rate into one table, and many queries that are kept fresh meanwhile, all in one
//! process and without a wire.
//!
//!     cargo run --release --example engine_load -- [CLASS [QUERIES [ROWS_A_SECOND [SECONDS [RETAINED]]]]]
//!
//! CLASS is 1 or 2. Class 1: each query picks one of as many names. Class 2: as many queries over 20 groupings and
//! windows, 20 groups, 60 seconds. RETAINED rows are in the table before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use triwire::event::{Draft, EventType, Payload, Topic};
use triwire::live::engine::{Engine, Limits, Outcome, Sink};
use triwire::log::{self, Log};

#[derive(Default)]
struct Told {
    all: AtomicU64,
    failed: AtomicU64,
}

impl Sink for Told {
    fn tell(&self, outcome: Outcome) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Outcome::Failed(problem) = outcome
            && self.failed.fetch_add(1, Ordering::Relaxed) == 0
        {
            eprintln!("a query ended: {problem}");
        }
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_millis() as u64)
}

/// Rows of `metrics`, of as many names.
fn publish(log: &Log, rows: u64, names: u64) {
    let topic = Topic::new("metrics").expect("a topic");
    let ts = now_ms();
    let drafts = (0..rows).map(|_| {
        let name = fastrand::u64(..names);
        let value = fastrand::f64() * 100.0;
        let json = format!(
            r#"{{"ts":{ts},"server":"here","host":"h{}","name":"name-{name}","value":{value:.3}}}"#,
            name % 20
        );
        Draft {
            topic: topic.clone(),
            event_type: EventType::default(),
            payload: Payload::json(json.into()).expect("JSON"),
        }
    });
    let drafts: Vec<Draft> = drafts.collect();
    if !drafts.is_empty() {
        log.append_all(drafts, None).expect("there is room");
    }
}

fn query(class: u64, index: u64) -> String {
    if class == 1 {
        return format!("select ts, value from metrics where name = 'name-{index}'");
    }
    // 20 sets of rows, and in each as many queries of its groups.
    let (shape, which) = (index % 20, index / 20);
    let calls = [
        "avg(value)",
        "max(value)",
        "min(value)",
        "count(*)",
        "sum(value)",
    ];
    let call = calls[(which % 5) as usize];
    format!(
        "select host, {call} as x from metrics where value > {shape} and _tp_time > now() - interval 60 second group by host having count(*) > {which}"
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|a| a.parse::<u64>().expect("a number"));
    let mut next = |default: u64| numbers.next().unwrap_or(default);
    let (class, queries) = (next(1), next(1_000));
    let (rate, seconds, retained) = (next(10_000), next(10), next(0));
    let names = if class == 1 { queries } else { 1_000 };
    let log = Log::new(log::Limits::default(), "here", 1, Box::new(now_ms));
    let engine = Engine::start(&log, Limits::default()).expect("an engine");
    let before = resident();
    for _ in 0..retained / 10_000 {
        publish(&log, 10_000, names);
        let had = engine.load().rows;
        let deadline = Instant::now() + Duration::from_secs(5);
        while engine.load().rows < had + 10_000 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let table = engine
        .tables()
        .into_iter()
        .find(|t| t.schema.name.as_str() == "metrics");
    let table = table.expect("it is built in");
    println!(
        "{} rows retained, {} bytes as counted; resident {} KB, {} KB before them (the log retains events too: {} bytes)",
        table.rows,
        table.bytes,
        resident(),
        before,
        log.held().bytes
    );
    let told = Arc::new(Told::default());
    let mut views = Vec::new();
    for index in 0..queries {
        let plan = engine.plan(query(class, index)).await.expect("a query");
        views.push(engine.watch(&plan, Duration::from_secs(1), told.clone()));
    }
    // What they begin with is not what is measured.
    let deadline = Instant::now() + Duration::from_secs(60);
    while told.all.load(Ordering::Relaxed) < queries && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "{} of {queries} queries have a result",
        told.all.load(Ordering::Relaxed)
    );
    let mut last = (threads(), engine.load());
    for _ in 0..seconds {
        let began = Instant::now();
        for step in 1..=100 {
            publish(&log, rate / 100, names);
            let due = began + Duration::from_millis(10) * step;
            tokio::time::sleep_until(due.into()).await;
        }
        let (cpu, load) = (threads(), engine.load());
        let used = |name: &str| {
            let of = |all: &[(String, f64)]| {
                let of_it = all.iter().filter(|(n, _)| n == name);
                of_it.map(|(_, s)| s).sum::<f64>()
            };
            of(&cpu) - of(&last.0)
        };
        println!(
            "CPU s: fresh {:.2}, whole {:.2}; runs by class {:?}; rows {}; told {} in all, {} ended",
            used("triwire-fresh"),
            used("triwire-whole"),
            [0, 1, 2].map(|c| load.runs[c] - last.1.runs[c]),
            load.rows - last.1.rows,
            told.all.load(Ordering::Relaxed),
            told.failed.load(Ordering::Relaxed),
        );
        last = (cpu, load);
    }
    println!(
        "class {:?}; resident {} KB",
        views.first().map(|v| v.cost().class),
        resident()
    );
}

/// Seconds of the processor that each thread has had.
fn threads() -> Vec<(String, f64)> {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let used = stats.filter_map(|stat| {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some((name.to_owned(), ticks / 100.0))
    });
    used.collect()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}
