//! Durable single writes, so many in flight, in turn with the same inserts by SQLite alone and with the disk.

use std::time::Duration;

use futures_util::future::try_join_all;
use hyper::Method;
use triwire::load::Result;
use triwire::load::clock::{self, SECOND};
use triwire::load::histogram::Histogram;
use triwire::load::process::Cpu;

use super::alone::{Api, Server};
use super::directory::Directory;
use super::floor::{Disk, Sqlite};
use super::{Options, REQUESTS, shown};

const IN_FLIGHT: [usize; 3] = [1, 8, 64];
const COLLECTION: &str = "/api/v2/items";

/// How much of it.
struct Size {
    /// Each of the three in turn, so often: what else the machine does is shared.
    rounds: usize,
    warm: Duration,
    measured: Duration,
}

/// What one of the three has done.
#[derive(Default)]
pub struct Figures {
    pub writes: u64,
    /// In nanoseconds, like the others.
    pub time: u64,
    /// Until each was answered.
    pub answers: Histogram,
    /// What the server used.
    pub cpu: u64,
}

impl Figures {
    pub fn a_second(&self) -> f64 {
        self.writes as f64 * SECOND as f64 / self.time as f64
    }

    /// Adds what some have done in the same time: how long each of theirs took.
    pub fn add(&mut self, time: u64, all: Vec<Vec<u64>>) {
        self.time += time;
        for took in all.into_iter().flatten() {
            self.answers.record(took);
            self.writes += 1;
        }
    }
}

/// What is written.
pub fn document(n: u64) -> String {
    format!(
        r#"{{"name":"item {n}","state":"open","amount":{},"text":"so that it is as long as many documents are"}}"#,
        n % 1_000
    )
}

pub async fn run(options: &Options) -> Result<()> {
    let size = match options.quick {
        false => Size {
            rounds: 4,
            warm: Duration::from_secs(1),
            measured: Duration::from_secs(4),
        },
        true => Size {
            rounds: 1,
            warm: Duration::from_millis(100),
            measured: Duration::from_millis(500),
        },
    };
    println!("\n## Durable single writes\n");
    println!(
        "Each a POST of {} bytes on a keep-alive connection of HTTP/1.1, answered when it is on the disk. In turn with \
         it: SQLite alone, with as many of these inserts in each transaction as there are writes in flight, and 4 KiB \
         appended to a file with an fsync; their answers are the ends of these.\n",
        document(100).len()
    );
    println!(
        "| in flight | by | writes/s | of SQLite alone | answer p50 | p99 | server's CPU a write |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|");
    for in_flight in IN_FLIGHT {
        run_writers(options, &size, in_flight).await?;
    }
    Ok(())
}

async fn run_writers(options: &Options, size: &Size, in_flight: usize) -> Result<()> {
    let directory = Directory::new("writes")?;
    let server = Server::start(&options.triwire, &[&directory.flag()])?;
    let mut writers = Vec::new();
    for _ in 0..in_flight {
        writers.push(server.api(REQUESTS).await?);
    }
    let (mut sqlite, mut disk) = (Sqlite::open(&directory)?, Disk::open(&directory)?);
    let mut warm = Figures::default();
    write(&mut writers, size.warm, &mut warm).await?;
    sqlite.insert(in_flight as u64, size.warm, &mut Figures::default())?;

    let (mut syncs, mut alone, mut whole) =
        (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..size.rounds {
        disk.sync(size.measured / 4, &mut syncs)?;
        sqlite.insert(in_flight as u64, size.measured, &mut alone)?;
        let before = Cpu::of(server.pid())?;
        write(&mut writers, size.measured, &mut whole).await?;
        whole.cpu += Cpu::of(server.pid())?.since(before);
    }
    let listed = writers[0].get(&format!("{COLLECTION}?per_page=1")).await?;
    let (kept, answered) = (listed["total"].as_u64(), warm.writes + whole.writes);
    if kept != Some(answered) {
        return Err(format!("{answered} writes were answered, and {kept:?} are there").into());
    }
    for (by, figures) in [
        ("the disk, fsync", &syncs),
        ("SQLite alone", &alone),
        ("triwire", &whole),
    ] {
        let is_server = figures.cpu > 0;
        let cpu = match is_server {
            true => shown(figures.cpu / figures.writes),
            false => String::new(),
        };
        let ratio = match is_server {
            true => format!("{:.2}", figures.a_second() / alone.a_second()),
            false => String::new(),
        };
        println!(
            "| {in_flight} | {by} | {:.0} | {ratio} | {} | {} | {cpu} |",
            figures.a_second(),
            shown(figures.answers.quantile(0.5)),
            shown(figures.answers.quantile(0.99)),
        );
    }
    drop(writers);
    server.stop()
}

/// Each connection writes, one after the other, for so long.
pub async fn write(writers: &mut [Api], time: Duration, figures: &mut Figures) -> Result<()> {
    let start = clock::now();
    let end = start + time.as_nanos() as u64;
    let all = try_join_all(writers.iter_mut().map(|writer| one(writer, end))).await?;
    figures.add(clock::now() - start, all);
    Ok(())
}

/// How long each took.
async fn one(writer: &mut Api, end: u64) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    let mut from = clock::now();
    while from < end {
        let body = document(all.len() as u64).into();
        writer
            .exchange(Method::POST, COLLECTION, "application/json", body)
            .await?;
        let now = clock::now();
        all.push(now - from);
        from = now;
    }
    Ok(all)
}
