//! The machine's own figures, each an event on the topic `metrics`: real input from the first second.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sysinfo::System;
use tokio::time::MissedTickBehavior;

use crate::event::{Draft, EventType, Payload, Topic};
use crate::log::Log;

/// Publishes the figures for as long as it is polled.
///
/// # Errors
/// Ends with what the machine would not tell.
pub async fn run(log: Arc<Log>, server: String, every: Duration) -> Result<(), sysinfo::Error> {
    let topic = Topic::new("metrics").expect("the name is well-formed");
    let host = System::host_name().unwrap_or_else(|_| server.clone());
    let mut system = System::new()?;
    let mut tick = tokio::time::interval(every);
    // After a pause the figures of now are wanted, not a burst of them.
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The share of the processors is a difference: the first look only begins it.
    system.refresh_cpu_usage();
    // Said once for as long as it lasts: a relay may be away for hours.
    let mut said = None;
    loop {
        tick.tick().await;
        let ts = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64);
        let drafts = figures(&mut system)
            .into_iter()
            .map(|(name, value)| json!({ "ts": ts, "server": server, "host": host, "name": name, "value": value }))
            .map(|figure| Draft {
                topic: topic.clone(),
                event_type: EventType::default(),
                payload: Payload::json(figure.to_string().into()).expect("it was made of JSON"),
            })
            .collect();
        let refused = log.publish(drafts, None).await.err();
        if let Some(problem) = &refused
            && said != Some(problem.kind)
        {
            tracing::warn!("metrics: {problem}");
        }
        said = refused.map(|problem| problem.kind);
    }
}

/// Name and value, in the unit that the name says.
fn figures(system: &mut System) -> Vec<(&'static str, Value)> {
    let mut figures = Vec::new();
    system.refresh_cpu_usage();
    figures.push(("cpu_percent", round(f64::from(system.global_cpu_usage()))));
    system.refresh_memory();
    let (used, total) = (system.used_memory(), system.total_memory());
    figures.push(("memory_used_bytes", used.into()));
    if total > 0 {
        figures.push(("memory_percent", round(100.0 * used as f64 / total as f64)));
    }
    figures.push(("swap_used_bytes", system.used_swap().into()));
    if let Ok(load) = System::load_average() {
        figures.push(("load_1m", round(load.one)));
        figures.push(("load_5m", round(load.five)));
    }
    figures
}

/// Two decimals are more than these figures are worth.
fn round(value: f64) -> Value {
    ((value * 100.0).round() / 100.0).into()
}
