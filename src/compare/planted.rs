//! Results that were never measured, for tests of what is said of results.

use std::collections::BTreeMap;

use super::results::Environment;
use super::results::Results;
use super::results::Run;
use super::results::Settings;
use super::scenarios::SCENARIOS;
use super::series::TRANSPORTS;
use super::stats::quantile;

/// Builds results figure by figure. Every run has enough deliveries and a client that is not busy, until it is said
/// otherwise.
pub struct Planted {
    results: Results,
}

impl Planted {
    /// A quiet machine and so many repetitions.
    pub fn new(repetitions: usize) -> Planted {
        let environment = Environment {
            began: "Sun, 22 Nov 2026 12:00:00 GMT".to_owned(),
            command: "compare".to_owned(),
            client: "0.1.0".to_owned(),
            server: "0.1.0".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            cpu: "a processor".to_owned(),
            cpus: 2,
            memory: 8 << 30,
            pinned: "server on 0, client on 1".to_owned(),
            load_before: 0.1,
            ..Environment::default()
        };
        let settings = Settings {
            repetitions,
            readers: 1_000,
            streams: 100,
            rate: 20.0,
            payload: 128,
            late_s: 5.0,
            ..Settings::default()
        };
        Planted {
            results: Results {
                environment,
                settings,
                ..Results::default()
            },
        }
    }

    /// Sets a figure in the first repetitions, as many as there are values.
    pub fn figure(
        mut self,
        scenario: &str,
        wire: &str,
        variant: &str,
        name: &str,
        values: &[f64],
    ) -> Planted {
        for (repetition, value) in values.iter().enumerate() {
            let run = self.run(scenario, wire, variant, repetition);
            run.figures.insert(name.to_owned(), *value);
        }
        self
    }

    /// The run, made when it is not there.
    pub fn run(
        &mut self,
        scenario: &str,
        wire: &str,
        variant: &str,
        repetition: usize,
    ) -> &mut Run {
        let runs = &mut self.results.runs;
        let found = runs.iter().position(|run| {
            let names = (&*run.scenario, &*run.wire, &*run.variant);
            names == (scenario, wire, variant) && run.repetition == repetition
        });
        let index = found.unwrap_or_else(|| {
            let quiet = [
                ("deliveries", 400_000.0),
                ("events", 2_000.0),
                ("client_share", 0.4),
                ("others_cores", 0.02),
                ("unsent", 0.0),
            ];
            let figures = quiet.map(|(name, value)| (name.to_owned(), value));
            runs.push(Run {
                scenario: scenario.to_owned(),
                wire: wire.to_owned(),
                variant: variant.to_owned(),
                repetition,
                seconds: 10.0,
                figures: BTreeMap::from(figures),
                ..Run::default()
            });
            runs.len() - 1
        });
        &mut runs[index]
    }

    /// What was built.
    pub fn results(self) -> Results {
        self.results
    }
}

/// Five repetitions of everything on all transports, as they might come out.
pub fn full() -> Results {
    let mut planted = Planted::new(5);
    for (wire, _) in TRANSPORTS {
        for scenario in &SCENARIOS {
            for variant in variants(scenario.name, wire) {
                for repetition in 0..5 {
                    // The same drift for all, and a little of each one's own.
                    let drift = 1.0 + 0.03 * repetition as f64;
                    let own = 1.0 + 0.01 * ((wire.len() * 7 + repetition * 3) % 5) as f64;
                    let run = planted.run(scenario.name, wire, variant, repetition);
                    for figure in scenario.figures {
                        let value = value(scenario.name, wire, variant, figure.name);
                        let value = value * drift * own;
                        run.figures.insert(figure.name.to_owned(), value);
                    }
                    run.latency = latency(cost(wire) * drift * own);
                    if scenario.name == "fanout" {
                        let shares = [
                            ("p50_ms", 0.5),
                            ("p90_ms", 0.9),
                            ("p99_ms", 0.99),
                            ("p999_ms", 0.999),
                            ("max_ms", 1.0),
                        ];
                        for (name, share) in shares {
                            let most = quantile(&run.latency, share).unwrap();
                            run.figures.insert(name.to_owned(), most as f64 / 1e6);
                        }
                    }
                }
            }
        }
    }
    let mut results = planted.results();
    results.settings.wires = TRANSPORTS.map(|(wire, _)| wire.to_owned()).to_vec();
    results.settings.scenarios = SCENARIOS.map(|scenario| scenario.name.to_owned()).to_vec();
    results
}

fn is_http2(wire: &str) -> bool {
    wire.contains("h2c") || wire.ends_with("http2")
}

fn is_tls(wire: &str) -> bool {
    matches!(wire, "sse-http2" | "sse-http1s" | "wss" | "ws-http2")
}

fn variants(scenario: &str, wire: &str) -> &'static [&'static str] {
    match scenario {
        "batch" => &["1", "10", "100", "1000"],
        "streams" if is_http2(wire) => &["1", "10", "100"],
        "streams" => &["1"],
        "loss" if is_http2(wire) => &[
            "no loss, 1 connection",
            "1% loss, 1 connection",
            "1% loss, 20 connections",
        ],
        "loss" => &["no loss, 20 connections", "1% loss, 20 connections"],
        _ => &[""],
    }
}

/// Microseconds of a delivery.
fn cost(wire: &str) -> f64 {
    let carried = if is_http2(wire) { 0.9 } else { 6.9 };
    let framed = if wire.starts_with("ws") { 1.08 } else { 1.0 };
    let again = if wire == "long-poll" { 4.0 } else { 1.0 };
    let sealed = if is_tls(wire) { 1.4 } else { 1.0 };
    carried * framed * again * sealed
}

fn value(scenario: &str, wire: &str, variant: &str, figure: &str) -> f64 {
    let cost = cost(wire);
    let tls = if is_tls(wire) { 1.0 } else { 0.0 };
    let number: f64 = variant.parse().unwrap_or(1.0);
    // What a stream on a connection of its own costs, and what is left of it when many share one.
    let streams = match scenario {
        "streams" if is_http2(wire) => 0.9 + 10.0 / number,
        "streams" => cost,
        _ => cost,
    };
    let lossy = if variant.starts_with("1%") { 3.0 } else { 1.0 };
    let alone = if variant.ends_with("1 connection") {
        2.5
    } else {
        1.0
    };
    match figure {
        "p50_ms" if scenario == "loss" => 41.0,
        "p99_ms" | "p999_ms" | "max_ms" if scenario == "loss" => 45.0 * lossy * alone,
        "p50_ms" => 2.0 + streams * 0.6,
        "p90_ms" => 2.4 + streams * 0.9,
        "before_p99_ms" => 3.0 + streams,
        "p99_ms" => 3.0 + streams * 1.05,
        "p999_ms" => 5.0 + streams * 1.4,
        "max_ms" => 9.0 + streams * 2.0,
        "cpu_us" => streams,
        "client_us" => 2.0 + 2.0 * tls,
        "deliveries_per_s" => 2e6 / (cost + 1.5),
        "mb_per_s" => 256.0 / (cost + 1.5),
        "rows_per_s" => 2e6 * number / (cost + 1.5 + number * 0.8),
        "row_cpu_us" => 1000.0 * (cost / number + 0.4),
        "payload_bytes" => 128.0,
        "framing_bytes" if wire == "long-poll" => 310.0,
        "framing_bytes" => 40.0 + if is_http2(wire) { 9.0 } else { 4.0 },
        "tls_bytes" => 22.0 * tls,
        "up_bytes" if wire == "long-poll" => 180.0,
        "up_bytes" => 0.3,
        "resident_bytes" => {
            1_300.0 + 8_100.0 * tls / number + if is_http2(wire) { 600.0 } else { 0.0 }
        }
        "kernel_bytes" if is_http2(wire) => 45.0,
        "kernel_bytes" => 4_500.0,
        "first_byte_ms" | "first_event_ms" => {
            20.0 + 900.0 * tls / if is_http2(wire) { 100.0 } else { 1.0 }
        }
        "first_event_p99_ms" | "all_ms" => {
            60.0 + 1_800.0 * tls / if is_http2(wire) { 100.0 } else { 1.0 }
        }
        "connections" if is_http2(wire) => 10.0,
        "connections" => 1_000.0,
        "alone_ms" => 0.4 + tls,
        "tls_share" => 0.6 * tls,
        "connect_cpu_us" => 40.0 + 600.0 * tls / if is_http2(wire) { 100.0 } else { 1.0 },
        "back_ms" => 40.0 + 500.0 * tls / if is_http2(wire) { 100.0 } else { 1.0 },
        "all_back_ms" | "caught_up_ms" => {
            90.0 + 900.0 * tls / if is_http2(wire) { 100.0 } else { 1.0 }
        }
        "told" => 0.0,
        "event_bytes" => 177.0 + 22.0 * tls,
        "resident_mb" => 4.0,
        "kernel_mb" => 24.0,
        _ => 50.0,
    }
}

/// A long tail over a middle of so many milliseconds.
fn latency(middle: f64) -> Vec<(u64, u64)> {
    let buckets = (0..40).map(|step| {
        let most = (middle * 1e6 * 1.2_f64.powi(step - 8)) as u64;
        let off = f64::from(step - 8);
        let count = if off < 0.0 {
            20_000.0 * 0.6_f64.powf(-off)
        } else {
            40_000.0 * 0.62_f64.powf(off)
        };
        (most, count as u64)
    });
    buckets.filter(|(_, count)| *count > 0).collect()
}
