//! What rows that are retained cost in resident memory, beside a log that is kept small.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use triwire::load::Result;

use super::Options;
use super::alone::{Api, Server};
use super::server::WIRE;

/// Rows of one request, and the most that the log retains of a topic: what is ingested must be taken before more comes.
const BATCH: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(30);
const NAMES: [&str; 6] = [
    "cpu_percent",
    "memory_used_bytes",
    "memory_percent",
    "swap_used_bytes",
    "load_1m",
    "load_5m",
];

pub async fn run(options: &Options) -> Result<()> {
    let rows: u64 = if options.quick { 20_000 } else { 1_000_000 };
    println!("\n## Rows of `metrics` that are retained\n");
    println!(
        "Resident memory, with a log of at most 10,000 events a topic, which is filled before the first figure.\n"
    );
    println!(
        "| rows | resident | more than with {} | bytes a row |",
        2 * BATCH
    );
    println!("|--:|--:|--:|--:|");
    let server = Server::start(&options.triwire, &["--topic-events=10000"])?;
    let mut api = server.api(WIRE).await?;
    let mut sent = 0;
    let mut first = None;
    while sent < rows {
        ingest(&mut api, sent).await?;
        sent += BATCH;
        let is_quarter = (sent * 4).is_multiple_of(rows) && sent > 2 * BATCH;
        if sent == 2 * BATCH || is_quarter {
            let resident = server.resident()?;
            let (from, at) = *first.get_or_insert((resident, sent));
            let more = resident.saturating_sub(from);
            let each = more.checked_div(sent - at).unwrap_or(0);
            println!(
                "| {sent} | {:.1} MB | {:.1} MB | {each} |",
                mb(resident),
                mb(more)
            );
        }
    }
    let table = api.get("/streams/metrics").await?;
    eprintln!("the server says: {table}");
    server.stop()
}

async fn ingest(api: &mut Api, from: u64) -> Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let ts = since.as_millis() as u64;
    let data: Vec<Value> = (from..from + BATCH)
        .map(|n| {
            let name = NAMES[n as usize % NAMES.len()];
            let value = (n.wrapping_mul(7_919) % 10_000) as f64 / 100.0;
            json!([ts, "triwire.example", "triwire.example", name, value])
        })
        .collect();
    let columns = ["ts", "server", "host", "name", "value"];
    let body = json!({ "columns": columns, "data": data });
    api.post("/streams/metrics/ingest", &body).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows = api.get("/streams/metrics").await?["rows"].as_u64();
        if rows >= Some(from + BATCH) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{rows:?} rows are retained of {}", from + BATCH).into());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
