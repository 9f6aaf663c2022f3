//! Rows, at a steady rate: numbered, and spread evenly over whatever is grouped or filtered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::interval;
use triwire::load::Result;

use super::alone::{Api, Server};
use super::server::WIRE;

/// The table that rows go into.
pub const TABLE: &str = "bench";
/// Rows are sent so often.
const EVERY: Duration = Duration::from_millis(50);
/// Columns that are grouped by, of [`GROUPS`] values each.
pub const KEYS: usize = 5;
pub const GROUPS: u64 = 20;

/// Declares the table. `agent` is one of so many.
pub async fn declare(api: &mut Api) -> Result<()> {
    let mut columns = vec![
        json!({ "name": "n", "type": "int64" }),
        json!({ "name": "ts", "type": "datetime64(3)" }),
        json!({ "name": "agent", "type": "string" }),
        json!({ "name": "value", "type": "float64" }),
        json!({ "name": "part", "type": "int64" }),
    ];
    for key in 0..KEYS {
        columns.push(json!({ "name": format!("k{key}"), "type": "string" }));
    }
    api.post("/streams", &json!({ "name": TABLE, "columns": columns }))
        .await?;
    Ok(())
}

/// The row of this number; rows of one agent, and of one part, are `agents` apart.
pub fn row(n: u64, agents: u64) -> Value {
    // Scattered, so that neighbours have nothing in common.
    let part = n.wrapping_mul(7_919) % agents;
    let mut row = vec![
        json!(n),
        json!(now_ms()),
        json!(format!("a{}", n % agents)),
        json!(part as f64 / agents as f64),
        json!(part),
    ];
    for key in 0..KEYS as u64 {
        row.push(json!(format!("g{}", (n / GROUPS.pow(key as u32)) % GROUPS)));
    }
    Value::Array(row)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Rows that are being sent.
pub struct Rows {
    sent: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Result<()>>,
}

impl Rows {
    /// Sends so many a second, until it is told to stop.
    pub async fn start(server: &Server, a_second: u64, agents: u64) -> Result<Rows> {
        let sent = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut api = server.api(WIRE).await?;
        let (count, end) = (sent.clone(), is_over.clone());
        let task = tokio::spawn(async move {
            let mut clock = interval(EVERY);
            let a_time = a_second * EVERY.as_millis() as u64 / 1000;
            while !end.load(Ordering::Relaxed) {
                clock.tick().await;
                let from = count.load(Ordering::Relaxed);
                let data: Vec<Value> = (from..from + a_time).map(|n| row(n, agents)).collect();
                let path = format!("/streams/{TABLE}/ingest");
                api.post(&path, &json!({ "data": data })).await?;
                count.store(from + a_time, Ordering::Relaxed);
            }
            Ok(())
        });
        Ok(Rows {
            sent,
            is_over,
            task,
        })
    }

    /// Sends no more; how many there were is the result.
    pub async fn stop(self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.sent.load(Ordering::Relaxed))
    }
}
