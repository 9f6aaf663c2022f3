//! From a row to its subscriber: one marked row at random moments, until it arrives on an SSE stream.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::histogram::Histogram;

use super::Options;
use super::alone::{Api, Server};
use super::rows::{self, Rows, TABLE};
use super::server::WIRE;
use super::watch::Watch;

const EVERY_MS: u64 = 50;
/// Between two rows: they fall anywhere between two ticks.
const PAUSE_MS: std::ops::Range<u64> = 10..10 + 2 * EVERY_MS;
const LOST: Duration = Duration::from_secs(5);

pub async fn run(options: &Options) -> Result<()> {
    let samples = if options.quick { 20 } else { 500 };
    println!("\n## From a row to its subscriber, every_ms {EVERY_MS}\n");
    println!("From before the POST of one row to its arrival on SSE (h2c).\n");
    println!("| beside | query | samples | p50 | p99 | greatest |");
    println!("|---|---|--:|--:|--:|--:|");
    for (a_second, beside) in [(0, "nothing"), (10_000, "10,000 rows/s")] {
        let server = Server::start(&options.triwire, &[])?;
        let mut api = server.api(WIRE).await?;
        rows::declare(&mut api).await?;
        let noise = match a_second {
            0 => None,
            a_second => Some(Rows::start(&server, a_second, 1_000).await?),
        };
        for (name, sql) in [
            (
                "rows",
                format!("select n, value from {TABLE} where agent = 'marked'"),
            ),
            (
                "groups",
                format!("select count(*) from {TABLE} where agent = 'marked'"),
            ),
        ] {
            let class = api.query(name, &sql, EVERY_MS).await?;
            let id = api.subscribe(&[name.to_owned()]).await?;
            let watch = Watch::open(&server, &[id], None).await?;
            let latencies = sample(&mut api, &watch, samples).await?;
            let ms = |part: f64| latencies.quantile(part) as f64 / 1e6;
            println!(
                "| {beside} | {name}, class {class} | {} | {:.1} ms | {:.1} ms | {:.1} ms |",
                latencies.total(),
                ms(0.5),
                ms(0.99),
                ms(1.0)
            );
        }
        if let Some(noise) = noise {
            noise.stop().await?;
        }
        server.stop()?;
    }
    Ok(())
}

async fn sample(api: &mut Api, watch: &Watch, samples: usize) -> Result<Histogram> {
    let mut latencies = Histogram::default();
    // The first result.
    sleep(Duration::from_millis(10 * EVERY_MS)).await;
    for n in 0..samples as u64 {
        sleep(Duration::from_millis(fastrand::u64(PAUSE_MS))).await;
        watch.begin();
        let mut row = rows::row(n, 1);
        row[2] = Value::from("marked");
        let from = clock::now();
        api.post(
            &format!("/streams/{TABLE}/ingest"),
            &json!({ "data": [row] }),
        )
        .await?;
        let arrived = async {
            while watch.seen().results == 0 {
                sleep(Duration::from_micros(200)).await;
            }
        };
        timeout(LOST, arrived)
            .await
            .map_err(|_| "a row did not arrive")?;
        latencies.record(watch.seen().at.saturating_sub(from));
    }
    if let Some(words) = watch.seen().wrong.first() {
        return Err(words.clone().into());
    }
    Ok(latencies)
}
