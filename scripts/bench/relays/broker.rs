//! What the broker does by itself: an entry appended on one connection, and read on another that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value};
use tokio::time::{Instant, sleep_until};
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::histogram::Histogram;

const STREAM: &str = "alone";

async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

/// From before an entry is appended until it is read, at so many a second.
pub async fn round_trips(url: &str, a_second: f64, entries: usize) -> Result<Histogram> {
    let (writes, mut reads) = (connect(url).await?, connect(url).await?);
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..entries).map(|_| AtomicU64::new(0)).collect());
    let noted = sent.clone();
    let start = Instant::now();
    let writing = tokio::spawn(async move {
        let mut under_way = Vec::new();
        for n in 0..entries {
            sleep_until(start + Duration::from_secs_f64(n as f64 / a_second)).await;
            noted[n].store(clock::now(), Ordering::Relaxed);
            let mut connection = writes.clone();
            // As a server does, it does not wait for one before the next.
            under_way.push(tokio::spawn(async move {
                let mut add = redis::cmd("XADD");
                add.arg(STREAM).arg("MAXLEN").arg("~").arg(1_000_000);
                add.arg("*").arg("e").arg(format!(r#"{{"n":{n}}}"#));
                add.query_async::<String>(&mut connection).await
            }));
        }
        for one in under_way {
            one.await
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    let mut took = Histogram::default();
    let mut after = "0-0".to_owned();
    let mut seen = 0;
    while seen < entries {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(1_000).arg("BLOCK").arg(1_000);
        read.arg("STREAMS").arg(STREAM).arg(&after);
        let answer: Value = read.query_async(&mut reads).await?;
        let now = clock::now();
        for (id, text) in entries_of(&answer) {
            let n = text
                .split(|b: char| !b.is_ascii_digit())
                .find(|t| !t.is_empty());
            let n: usize = n.ok_or("no number")?.parse()?;
            took.record(now.saturating_sub(sent[n].load(Ordering::Relaxed)));
            after = id;
            seen += 1;
        }
    }
    writing.await??;
    redis::cmd("DEL")
        .arg(STREAM)
        .query_async::<i64>(&mut reads)
        .await?;
    Ok(took)
}

fn entries_of(answer: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        _ => Vec::new(),
    };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let stream = list(answer).first().map(list).unwrap_or_default();
    let entries = stream.get(1).map(list).unwrap_or_default();
    let entry = |entry: &Value| {
        let entry = list(entry);
        let fields = entry.get(1).map(list).unwrap_or_default();
        Some((text(entry.first()?), text(fields.get(1)?)))
    };
    entries.iter().filter_map(entry).collect()
}
