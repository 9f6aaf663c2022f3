//! `/metrics`: the same counts as `/stats`, in the OpenMetrics text that Prometheus reads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
use crate::live::Live;
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

    fn is_about_the_server(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        _: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        std::future::ready(Ok(answer(context))).boxed()
    }
}

fn describe() -> Value {
    json!({
        "summary": "The counts of /stats for Prometheus",
        "responses": { "200": openapi::answer("OpenMetrics text", KIND, openapi::text()) },
    })
}

fn answer(context: &Context) -> Response<Body> {
    let mut registry = Registry::with_prefix("triwire");
    registry.register_collector(Box::new(Snapshot(context.stats.clone())));
    registry.register_collector(Box::new(LiveSql(context.live.clone())));
    registry.register_collector(Box::new(Relay(context.stats.clone())));
    registry.register_collector(Box::new(Bridges(context.stats.clone())));
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

/// What live SQL costs.
struct LiveSql(Arc<Live>);

impl fmt::Debug for LiveSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSql")
    }
}

impl Collector for LiveSql {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let held = self.0.held();
        for (name, help, count) in [
            ("live_queries", "Queries", held.queries),
            ("live_subscriptions", "Subscriptions", held.subscriptions),
            ("live_tables", "Tables", held.tables),
        ] {
            single(&mut encoder, name, help, count as f64)?;
        }
        let load = self.0.load();
        let threads = ["front", "fresh", "whole"].into_iter().zip(load.busy_us);
        let help = "Microseconds that a thread of the engine was busy";
        counters(&mut encoder, "engine_busy_us", help, "thread", threads)?;
        let classes = ["rows", "groups", "whole"].into_iter().zip(load.runs);
        let help = "Evaluations by how a query is kept fresh";
        counters(&mut encoder, "engine_runs", help, "kind", classes)?;
        let what = [("rows", load.rows), ("fills", load.fills)].into_iter();
        let help = "Events that became rows, and first results that were made of all rows";
        counters(&mut encoder, "engine_work", help, "what", what)
    }
}

/// What a relay has carried, if there is one.
struct Relay(Arc<Stats>);

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

impl Collector for Relay {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let log = &self.0.log;
        let Some(carried) = log.carried() else {
            return Ok(());
        };
        let ready = f64::from(u8::from(log.ready().is_ok()));
        let help = "Whether the relay does what it is for";
        single(&mut encoder, "relay_ready", help, ready)?;
        let probe = carried.probe_us as f64 / 1_000_000.0;
        let help = "What this replica said last was back from the relay after so long";
        single(&mut encoder, "relay_probe_seconds", help, probe)?;
        let what = [
            ("entries", carried.entries),
            ("events", carried.events),
            ("foreign", carried.foreign),
            ("published", carried.published),
            ("refused", carried.refused),
            ("lost", carried.lost),
            ("gaps", carried.gaps),
        ];
        let help = "Entries and events from the relay, foreign ones, batches for it, those it did not take, lost connections, gaps";
        counters(&mut encoder, "relay", help, "what", what.into_iter())
    }
}

/// What bridges have carried, if there are any.
struct Bridges(Arc<Stats>);

impl fmt::Debug for Bridges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bridges")
    }
}

impl Collector for Bridges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let bridges = &self.0.bridges;
        let Some(first) = bridges.first() else {
            return Ok(());
        };
        let help = "Whether the bridge is subscribed";
        let metric_type = ConstGauge::new(0u64).metric_type();
        let mut family = encoder.encode_descriptor("bridge_up", help, None, metric_type)?;
        for bridge in bridges {
            let labels = [("bridge", &*bridge.name)];
            let up = u64::from(bridge.is_up.load(Ordering::Relaxed));
            ConstGauge::new(up).encode(family.encode_family(&labels)?)?;
        }
        for (at, (name, help, _)) in first.rows().into_iter().enumerate() {
            let rows = bridges.iter();
            let rows = rows.map(|bridge| (&*bridge.name, bridge.rows()[at].2));
            counters(
                &mut encoder,
                &format!("bridge_{name}"),
                help,
                "bridge",
                rows,
            )?;
        }
        Ok(())
    }
}

/// What only grows, by one label.
fn counters<'a>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    rows: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let metric_type = ConstCounter::new(0u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
    for (value_of, value) in rows {
        let labels = [(label, value_of)];
        let row = family.encode_family(&labels)?;
        ConstCounter::new(value).encode(row)?;
    }
    Ok(())
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
