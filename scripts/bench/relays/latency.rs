//! From a publish on one server to the readers of another.

use std::time::Duration;

use futures_util::future::try_join_all;
use hyper::Method;
use tokio::time::{Instant, sleep_until};
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::histogram::Histogram;

use super::alone::{Api, Server};
use super::broker::round_trips;
use super::watchers::{Size, Watchers};
use super::{Options, shown};

const A_SECOND: f64 = 1_000.0;
/// Connections that publish in turn, so that one slow answer holds nothing up.
const WRITERS: usize = 16;

pub async fn run(options: &Options, broker: &str) -> Result<()> {
    let seconds = if options.quick { 1.0 } else { 10.0 };
    let events = (A_SECOND * seconds) as usize;
    println!("\n## From a publish to a reader, {A_SECOND} events a second\n");
    println!(
        "Each a POST of 60 bytes on one of {WRITERS} connections; readers on SSE over h2c. Arrival: from before the POST to the \
         event. The broker alone: from before XADD on one connection to the answer of XREAD on another.\n"
    );
    println!(
        "| published on | read on | readers | arrival p50 | p99 | greatest | answer p50 | p99 | lost | doubled | out of order |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let relay = format!("--relay={broker}?stream=latency");
    for _ in 0..2 {
        let took = round_trips(broker, A_SECOND, events).await?;
        println!(
            "| the broker | the broker | 1 | {} | {} | {} |  |  |  |  |  |",
            shown(took.quantile(0.5)),
            shown(took.quantile(0.99)),
            shown(took.quantile(1.0)),
        );
        let one = Server::start(&options.triwire, &[])?;
        case(("one server", &one), ("the same", &one), 1, events).await?;
        one.stop()?;
        let a = Server::start(&options.triwire, &[&relay, "--name=a"])?;
        let b = Server::start(&options.triwire, &[&relay, "--name=b"])?;
        case(("a", &a), ("a", &a), 1, events).await?;
        for readers in [1, 100] {
            case(("a", &a), ("b", &b), readers, events).await?;
        }
        a.stop()?;
        b.stop()?;
    }
    Ok(())
}

async fn case(
    (by, published): (&str, &Server),
    (on, read): (&str, &Server),
    readers: usize,
    events: usize,
) -> Result<()> {
    // A topic that has had nothing yet.
    let topic = format!("t{}", clock::now());
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(published.api("sse-http1").await?);
    }
    let size = Size::new(1, readers);
    let path = format!("/events?topic={topic}");
    let watchers = Watchers::open(&read.place("sse-h2c")?, &path, &size, events, events / 10)?;
    watchers.until("ready", readers, Watchers::ready).await?;
    let from = Instant::now();
    let all = writers.iter_mut().enumerate();
    let all = all.map(|(first, writer)| write(writer, &watchers, &topic, (first, events), from));
    let took = try_join_all(all).await?;
    let expected = size.watchers() * events;
    // What is lost is a figure.
    let _ = watchers.until("there", expected, Watchers::arrived).await;
    let arrived = watchers.arrived();
    let seen = watchers.close()?;
    let mut answers = Histogram::default();
    took.into_iter()
        .flatten()
        .for_each(|took| answers.record(took));
    println!(
        "| {by} | {on} | {readers} | {} | {} | {} | {} | {} | {} | {} | {} |",
        shown(seen.arrivals.quantile(0.5)),
        shown(seen.arrivals.quantile(0.99)),
        shown(seen.arrivals.quantile(1.0)),
        shown(answers.quantile(0.5)),
        shown(answers.quantile(0.99)),
        expected - arrived,
        seen.doubled,
        seen.reordered,
    );
    Ok(())
}

async fn write(
    writer: &mut Api,
    watchers: &Watchers,
    topic: &str,
    (first, events): (usize, usize),
    start: Instant,
) -> Result<Vec<u64>> {
    let mut took = Vec::new();
    let path = format!("/publish/{topic}");
    for n in (first..events).step_by(WRITERS) {
        sleep_until(start + Duration::from_secs_f64(n as f64 / A_SECOND)).await;
        let body = format!(r#"{{"n":{n},"text":"as long as many events are, or so"}}"#);
        let from = watchers.sent(n);
        writer
            .exchange(Method::POST, &path, "application/json", body.into())
            .await?;
        took.push(clock::now() - from);
    }
    Ok(took)
}
