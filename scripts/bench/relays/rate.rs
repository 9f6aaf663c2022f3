//! As many events as go through, and what they cost a server that only delivers.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use triwire::load::Result;

use super::alone::{Api, Server};
use super::watchers::{Size, Watchers};
use super::{Options, cpu};

/// How long nothing may come while something is missing.
const LOST: Duration = Duration::from_secs(10);

pub async fn run(options: &Options, broker: &str) -> Result<()> {
    let events = if options.quick { 5_000 } else { 500_000 };
    println!("\n## As fast as it goes\n");
    println!(
        "`triwire publish --relay` of lines of 60 bytes, which go as entries of up to 1,000 events; a server that takes no \
         publish has them all when its `relay.events` has grown by as many. Its CPU is that of its main thread, where the \
         relay is read and the log appended to, and of all threads.\n"
    );
    println!(
        "| events | readers on it | seconds | events/s | delivered/s | main thread's CPU an event | all threads' | lost |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    let relay = format!("{broker}?stream=rate");
    for readers in [0, 1, 100] {
        // No more than a topic retains: a hundred readers take longer than it takes to publish.
        let events = if readers > 1 { events / 10 } else { events };
        let flag = format!("--relay={relay}");
        let server = Server::start(&options.triwire, &[&flag, "--name=b"])?;
        case(options, &server, &relay, readers, events).await?;
        server.stop()?;
    }
    Ok(())
}

async fn case(
    options: &Options,
    server: &Server,
    relay: &str,
    readers: usize,
    events: usize,
) -> Result<()> {
    let mut api = server.api("sse-http1").await?;
    let topic = format!("t{readers}");
    let path = format!("/events?topic={topic}");
    let watchers = match readers {
        0 => None,
        _ => {
            let size = Size::new(1, readers);
            let place = server.place("sse-h2c")?;
            Some(Watchers::open(&place, &path, &size, events, events)?)
        }
    };
    while watchers.as_ref().is_some_and(|w| w.ready() < readers) {
        sleep(Duration::from_millis(5)).await;
    }
    let first = events_of(&mut api).await?;
    let (main, all) = cpu(server.pid())?;
    let from = Instant::now();
    let mut publisher = publish(options, relay, &topic, events)?;
    let mut last = (0, Instant::now());
    let is_there = loop {
        let now = events_of(&mut api).await? - first;
        let arrived = watchers.as_ref().map_or(0, Watchers::arrived);
        if now >= events as u64 && arrived >= readers * events {
            break true;
        }
        if (now, arrived as u64) != (last.0, 0) && now + arrived as u64 > last.0 {
            last = (now + arrived as u64, Instant::now());
        }
        if last.1.elapsed() > LOST {
            break false;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let took = from.elapsed().as_secs_f64();
    let (main_after, all_after) = cpu(server.pid())?;
    publisher.wait()?;
    let arrived = watchers.as_ref().map_or(0, Watchers::arrived);
    let lost = readers * events - arrived;
    if !is_there && readers == 0 {
        return Err("not all events have come".into());
    }
    println!(
        "| {events} | {readers} | {took:.2} | {:.0} | {:.0} | {:.2} µs | {:.2} µs | {lost} |",
        events as f64 / took,
        arrived as f64 / took,
        (main_after - main) * 1e6 / events as f64,
        (all_after - all) * 1e6 / events as f64,
    );
    if let Some(watchers) = watchers {
        watchers.close()?;
    }
    Ok(())
}

fn publish(options: &Options, relay: &str, topic: &str, events: usize) -> Result<Child> {
    let mut command = Command::new(&options.triwire);
    command.args(["publish", topic, "--json", "--relay", relay]);
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    thread::spawn(move || {
        for n in 0..events {
            // It is told by the count when it ends early.
            let line = format!("{{\"n\":{n},\"text\":\"as long as many events are, or so\"}}\n");
            if stdin.write_all(line.as_bytes()).is_err() {
                return;
            }
        }
    });
    Ok(child)
}

async fn events_of(api: &mut Api) -> Result<u64> {
    let stats = api.get("/stats").await?;
    stats["relay"]["events"]
        .as_u64()
        .ok_or_else(|| "no relay".into())
}
