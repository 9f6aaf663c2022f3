//! `/metrics`: the same counts as `/stats`, in the OpenMetrics text that Prometheus reads.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::stats::Stats;
use super::{Api, Context};
use crate::body::Body;
use crate::openapi::{self, Path};
use crate::problem::Problem;

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics`.
pub struct Metrics;

impl Api for Metrics {
    fn paths(&self) -> &'static [Path] {
        &[Path {
            at: "/metrics",
            operations: &[("GET", describe)],
        }]
    }

    fn answers_while_draining(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        _: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        std::future::ready(Ok(answer(&context.stats))).boxed()
    }
}

fn describe() -> Value {
    json!({
        "summary": "The counts of /stats for Prometheus",
        "responses": { "200": openapi::answer("OpenMetrics text", KIND, openapi::text()) },
    })
}

fn answer(stats: &Arc<Stats>) -> Response<Body> {
    let mut registry = Registry::with_prefix("triwire");
    registry.register_collector(Box::new(Snapshot(stats.clone())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes all");
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static(KIND);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Reads the counts when it is encoded: nothing is counted twice.
struct Snapshot(Arc<Stats>);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let stats = &self.0;
        let wires: Vec<_> = stats
            .counts
            .wires()
            .map(|(w, c)| (w.as_str(), c.rows()))
            .collect();
        for column in 0..7 {
            let rows = wires.iter().map(|(wire, rows)| (*wire, rows[column]));
            family(&mut encoder, "wire", rows)?;
        }
        let listeners: Vec<_> = stats
            .counts
            .listeners()
            .map(|(f, c)| (f.name, c.rows()))
            .collect();
        for column in 0..6 {
            let rows = listeners.iter().map(|(name, rows)| (*name, rows[column]));
            family(&mut encoder, "listener", rows)?;
        }
        let held = stats.log.held();
        single(
            &mut encoder,
            "log_topics",
            "Topics that hold events",
            held.topics as f64,
        )?;
        single(
            &mut encoder,
            "log_events",
            "Events retained",
            held.events as f64,
        )?;
        single(
            &mut encoder,
            "log_bytes",
            "Bytes held by the log",
            held.bytes as f64,
        )?;
        let process = stats.process();
        single(
            &mut encoder,
            "process_rss_bytes",
            "Resident memory",
            process.rss_bytes as f64,
        )?;
        single(
            &mut encoder,
            "process_open_fds",
            "Open descriptors",
            process.open_fds as f64,
        )?;
        let cpu = ConstCounter::new(process.cpu_seconds);
        let cpu_encoder = encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time",
            None,
            cpu.metric_type(),
        )?;
        cpu.encode(cpu_encoder)?;
        single(
            &mut encoder,
            "uptime_seconds",
            "Seconds since the start",
            stats.uptime(),
        )
    }
}

/// One count of every wire or listener. What only grows is a counter, the rest are gauges.
fn family(
    encoder: &mut DescriptorEncoder,
    kind: &'static str,
    rows: impl Iterator<Item = (&'static str, (&'static str, u64))>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    let Some((_, (count, _))) = rows.first() else {
        return Ok(());
    };
    let is_gauge = matches!(*count, "connections" | "streams");
    // The encoder adds the suffix that OpenMetrics wants of a counter.
    let name = format!("{kind}_{}", count.trim_end_matches("_total"));
    let name = match count.ends_with("_total")
        && matches!(*count, "connections_total" | "streams_total")
    {
        true => format!("{kind}_{}_opened", count.trim_end_matches("_total")),
        false => name,
    };
    let help = format!("{} by {kind}", count.replace('_', " "));
    let metric_type = match is_gauge {
        true => ConstGauge::new(0u64).metric_type(),
        false => ConstCounter::new(0u64).metric_type(),
    };
    let mut family = encoder.encode_descriptor(&name, &help, None, metric_type)?;
    for (label, (_, value)) in &rows {
        let labels = [(kind, *label)];
        let row = family.encode_family(&labels)?;
        match is_gauge {
            true => ConstGauge::new(*value).encode(row)?,
            false => ConstCounter::new(*value).encode(row)?,
        }
    }
    Ok(())
}

fn single(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    let row = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(row)
}
