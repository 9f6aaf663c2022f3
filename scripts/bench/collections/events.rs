//! From a write to everybody who watches its collection.

use std::time::Duration;

use futures_util::future::try_join_all;
use hyper::Method;
use tokio::time::{Instant, sleep_until};
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::histogram::Histogram;
use triwire::load::process::Cpu;

use super::alone::{Api, Server};
use super::directory::Directory;
use super::watchers::{Size, Watchers};
use super::{Options, REQUESTS, shown};

const COLLECTION: &str = "/api/v2/items";
const A_SECOND: f64 = 200.0;
/// Connections that write in turn, so that one slow answer holds nothing up.
const WRITERS: usize = 8;

pub async fn run(options: &Options) -> Result<()> {
    let (size, seconds) = match options.quick {
        false => (Size::new(10, 100), 20.0),
        true => (Size::new(2, 10), 1.0),
    };
    let warm = A_SECOND as usize / 2;
    let writes = warm + (A_SECOND * seconds) as usize;
    println!("\n## From a write to all watchers of its collection\n");
    println!(
        "Durable writes as above; watchers on SSE over h2c, {} a connection. Arrival: from before the POST to the event \
         at each watcher.\n",
        size.streams
    );
    println!(
        "| watchers | writes/s | answer p50 | p99 | arrival p50 | p99 | greatest | lost | doubled | out of order | server's CPU an event |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let directory = Directory::new("events")?;
    let server = Server::start(&options.triwire, &[&directory.flag()])?;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(server.api(REQUESTS).await?);
    }
    let place = server.place("sse-h2c")?;
    let path = format!("{COLLECTION}?watch=1");
    let watchers = Watchers::open(&place, &path, &size, writes, warm)?;
    watchers
        .until("ready", size.watchers(), Watchers::ready)
        .await?;

    let (before, from) = (Cpu::of(server.pid())?, Instant::now());
    let schedule = try_join_all(
        writers
            .iter_mut()
            .enumerate()
            .map(|(first, writer)| write(writer, &watchers, (first, writes), from)),
    );
    let took = schedule.await?;
    let a_second = writes as f64 / from.elapsed().as_secs_f64();
    let expected = size.watchers() * writes;
    // What is lost is a figure.
    let _ = watchers.until("there", expected, Watchers::arrived).await;
    let used = Cpu::of(server.pid())?.since(before);
    let arrived = watchers.arrived();
    let seen = watchers.close()?;
    let mut answers = Histogram::default();
    took.into_iter()
        .flatten()
        .for_each(|took| answers.record(took));
    println!(
        "| {} | {a_second:.0} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} µs |",
        size.watchers(),
        shown(answers.quantile(0.5)),
        shown(answers.quantile(0.99)),
        shown(seen.arrivals.quantile(0.5)),
        shown(seen.arrivals.quantile(0.99)),
        shown(seen.arrivals.quantile(1.0)),
        expected - arrived,
        seen.doubled,
        seen.reordered,
        used as f64 / 1e3 / arrived as f64,
    );
    drop(writers);
    server.stop()
}

/// Sends every [`WRITERS`]th document when it is due; how long each took to be answered is the result.
async fn write(
    writer: &mut Api,
    watchers: &Watchers,
    (first, writes): (usize, usize),
    start: Instant,
) -> Result<Vec<u64>> {
    let mut took = Vec::new();
    for n in (first..writes).step_by(WRITERS) {
        sleep_until(start + Duration::from_secs_f64(n as f64 / A_SECOND)).await;
        let body = format!(r#"{{"n":{n},"text":"so that it is as long as many documents are"}}"#);
        let from = watchers.sent(n);
        writer
            .exchange(Method::POST, COLLECTION, "application/json", body.into())
            .await?;
        took.push(clock::now() - from);
    }
    Ok(took)
}
