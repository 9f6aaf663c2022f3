//! Which figures are drawn, how, and how they are to be read.

use super::super::results::Results;
use super::super::series::Security;
use super::super::series::Series;
use super::super::series::transports;
use super::super::series::variants;
use super::super::stats;
use super::super::stats::Sample;
use super::super::stats::Spread;
use super::super::words;
use super::axis::Axis;
use super::axis::rareness;
use super::bars;
use super::bars::Bar;
use super::bars::Group;
use super::escape;
use super::lines;
use super::lines::Line;

/// So many values must lie beyond a quantile that is drawn.
const BEYOND: f64 = 10.0;
const SHARES: [f64; 14] = [
    0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999,
];

/// Bars of a figure, or of several added up.
struct Bars {
    scenario: &'static str,
    title: &'static str,
    /// Figures and what they are called as parts of a bar.
    parts: &'static [(&'static str, &'static str)],
    unit: &'static str,
    /// A figure that the bar is to be held against.
    mark: Option<&'static str>,
    read: &'static str,
}

const SPEED: [Bars; 2] = [
    Bars {
        scenario: "fanout",
        title: "CPU of the server for a delivery",
        parts: &[("cpu_us", "CPU")],
        unit: "microseconds of one processor",
        mark: None,
        read: "At a steady rate. Shorter is better; it does not depend on how busy the load client was.",
    },
    Bars {
        scenario: "throughput",
        title: "As fast as it goes",
        parts: &[("deliveries_per_s", "deliveries")],
        unit: "deliveries a second",
        mark: None,
        read: "Longer is better. The load client has one thread: see among the weak figures where it was the limit.",
    },
];

const COSTS: [Bars; 2] = [
    Bars {
        scenario: "idle",
        title: "Memory of a waiting reader",
        parts: &[("resident_bytes", "resident"), ("kernel_bytes", "kernel")],
        unit: "bytes a reader",
        mark: None,
        read: "What the server's process holds, and what the kernel holds for its sockets. Shorter is better.",
    },
    Bars {
        scenario: "bytes",
        title: "Bytes of an event",
        parts: &[
            ("payload_bytes", "payload"),
            ("framing_bytes", "framing"),
            ("tls_bytes", "TLS"),
            ("up_bytes", "to the server"),
        ],
        unit: "bytes on the socket for a delivered event",
        mark: None,
        read: "The payload is the same for all; the rest is the price of the wire. Shorter is better.",
    },
];

const COMING: [Bars; 3] = [
    Bars {
        scenario: "connect",
        title: "Connecting, all at once",
        parts: &[("first_event_p99_ms", "p99")],
        unit: "ms to the first event, p99; the tick is p50",
        mark: Some("first_event_ms"),
        read: "From before the TCP connection, where a reader needs one of its own, to its first event.",
    },
    Bars {
        scenario: "resume",
        title: "Coming back after a cut",
        parts: &[("all_back_ms", "all back")],
        unit: "ms until all are back; the tick is p50",
        mark: Some("back_ms"),
        read: "All connections are cut at once, and each reader comes back with its cursor. Shorter is better.",
    },
    Bars {
        scenario: "slow",
        title: "Beside readers that stopped",
        parts: &[("p99_ms", "p99")],
        unit: "ms, p99 of the others; the tick is before",
        mark: Some("before_p99_ms"),
        read: "A tenth of the readers stop reading. A bar that ends at its tick says that the others did not notice.",
    },
];

const LOSS: Bars = Bars {
    scenario: "loss",
    title: "A bad network",
    parts: &[("p99_ms", "p99")],
    unit: "ms, p99; the tick is p50",
    mark: Some("p50_ms"),
    read: "One lost packet holds up all streams of its connection: compare one connection with many. Shorter is better.",
};

/// Lines over the variants of a scenario.
struct Curve {
    scenario: &'static str,
    figure: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    read: &'static str,
}

const CURVES: [Curve; 4] = [
    Curve {
        scenario: "batch",
        figure: "rows_per_s",
        title: "Rows a second",
        x: "rows in an event",
        y: "rows/s",
        read: "Higher is better. Where lines meet, it does not matter any more which wire carries the rows.",
    },
    Curve {
        scenario: "batch",
        figure: "row_cpu_us",
        title: "CPU of the server for 1,000 rows",
        x: "rows in an event",
        y: "us",
        read: "Lower is better.",
    },
    Curve {
        scenario: "streams",
        figure: "cpu_us",
        title: "CPU of the server by streams on a connection",
        x: "streams on each connection",
        y: "us/delivery",
        read: "Lower is better. HTTP/1.1 has one stream on a connection, so it is a point.",
    },
    Curve {
        scenario: "streams",
        figure: "resident_bytes",
        title: "Memory by streams on a connection",
        x: "streams on each connection",
        y: "resident bytes a reader",
        read: "Lower is better. A connection's own share is divided among its streams.",
    },
];

/// All charts that these results have figures for.
pub fn charts(results: &Results) -> String {
    let mut html = latency(results);
    let bars = SPEED.iter().chain(&COSTS);
    html.extend(bars.map(|bars| of_bars(results, bars)));
    html.extend(CURVES.iter().map(|curve| of_curve(results, curve)));
    html.extend(
        COMING
            .iter()
            .chain([&LOSS])
            .map(|bars| of_bars(results, bars)),
    );
    html
}

/// From the pooled histograms, as far as there are enough values; whiskers where the runs have a figure.
fn latency(results: &Results) -> String {
    let lines = transports(results)
        .into_iter()
        .filter_map(|(wire, security)| {
            let series = Series::of(results, "fanout", "", wire)?;
            let histogram = series.latency();
            let count = stats::count(&histogram) as f64;
            let shares = SHARES
                .iter()
                .filter(|share| count * (1.0 - **share) >= BEYOND);
            let path = shares.filter_map(|share| {
                let most = stats::quantile(&histogram, *share)?;
                Some((rareness(*share), most as f64 / 1e6))
            });
            let path: Vec<(f64, f64)> = path.collect();
            let figures = [
                (0.5, "p50_ms"),
                (0.9, "p90_ms"),
                (0.99, "p99_ms"),
                (0.999, "p999_ms"),
            ];
            let points = figures.into_iter().filter_map(|(share, figure)| {
                let drawn = path
                    .last()
                    .is_some_and(|(most, _)| rareness(share) <= most * (1.0 + 1e-9));
                let spread = series.sample(figure).spread()?;
                drawn.then_some((rareness(share), spread))
            });
            let points = points.collect();
            (!path.is_empty()).then_some(Line {
                wire,
                security,
                path,
                points,
            })
        });
    let lines: Vec<Line> = lines.collect();
    let most = lines
        .iter()
        .flat_map(|line| &line.path)
        .map(|(x, _)| *x)
        .fold(1.0, f64::max);
    let read = "So many of all deliveries came within so many milliseconds of when the event was due. Lower is better. \
                Lines are of all repetitions together, so that one bad one shows; marks are the medians, and whiskers \
                the least and the greatest, of the repetitions.";
    let axis = (Axis::percentiles(most), "of all deliveries");
    panels("Latency at a steady rate", read, axis, "ms", &lines)
}

fn of_curve(results: &Results, curve: &Curve) -> String {
    let variants = variants(results, curve.scenario);
    let numbers: Vec<(f64, &str)> = variants
        .into_iter()
        .filter_map(|variant| {
            Some((
                variant.parse().ok().filter(|number| *number > 0.0)?,
                variant,
            ))
        })
        .collect();
    let (Some((first, _)), Some((last, _))) = (numbers.first(), numbers.last()) else {
        return String::new();
    };
    let lines = transports(results)
        .into_iter()
        .filter_map(|(wire, security)| {
            let points = numbers.iter().filter_map(|(number, variant)| {
                let series = Series::of(results, curve.scenario, variant, wire)?;
                Some((*number, series.sample(curve.figure).spread()?))
            });
            let points: Vec<(f64, Spread)> = points.collect();
            let path = points.iter().map(|(x, spread)| (*x, spread.median));
            let path = path.collect();
            (!points.is_empty()).then_some(Line {
                wire,
                security,
                path,
                points,
            })
        });
    let lines: Vec<Line> = lines.collect();
    panels(
        curve.title,
        curve.read,
        (Axis::log(*first, *last), curve.x),
        curve.y,
        &lines,
    )
}

/// Lines over TLS and those in cleartext in a chart each, with the same axes.
fn panels(
    title: &str,
    read: &str,
    (x, x_title): (Axis, &str),
    y_title: &str,
    lines: &[Line],
) -> String {
    let ends = lines.iter().flat_map(|line| {
        let points = line
            .points
            .iter()
            .flat_map(|(_, spread)| [spread.least, spread.greatest]);
        line.path.iter().map(|(_, y)| *y).chain(points)
    });
    let ends: Vec<f64> = ends.filter(|end| *end > 0.0).collect();
    let (least, greatest) = ends.iter().fold((f64::MAX, 0.0), |(low, high), end| {
        (f64::min(low, *end), f64::max(high, *end))
    });
    if ends.is_empty() {
        return String::new();
    }
    let y = Axis::log(least, greatest);
    let panels = [Security::Tls, Security::Cleartext].map(|security| {
        let lines: Vec<Line> = lines
            .iter()
            .filter(|line| line.security == security)
            .cloned()
            .collect();
        if lines.is_empty() {
            return String::new();
        }
        let title = format!("{title}, {}", security.words());
        let picture = lines::picture(&title, (&x, x_title), (&y, y_title), &lines);
        let wires = lines
            .iter()
            .map(|line| super::swatch(line.wire, line.security));
        let legend: String = wires.collect();
        chart(
            &title,
            read,
            &format!("{picture}<p class=\"legend\">{legend}</p>"),
        )
    });
    panels.concat()
}

fn of_bars(results: &Results, bars: &Bars) -> String {
    let variants = variants(results, bars.scenario);
    let several = variants.len() > 1;
    let mut groups = Vec::new();
    for variant in variants {
        for security in [Security::Tls, Security::Cleartext] {
            let wires = transports(results)
                .into_iter()
                .filter(|(_, of)| *of == security);
            let rows = wires.filter_map(|(wire, _)| bar(results, bars, variant, wire, security));
            let heading = match several {
                true => format!("{variant}, {}", security.words()),
                false => words::sentence(security.words()),
            };
            let rows: Vec<Bar> = rows.collect();
            if !rows.is_empty() {
                groups.push(Group {
                    heading,
                    bars: rows,
                });
            }
        }
    }
    if groups.is_empty() {
        return String::new();
    }
    let parts: Vec<&str> = bars.parts.iter().map(|(_, name)| *name).collect();
    let mut body = bars::picture(bars.title, bars.unit, &parts, &groups);
    if parts.len() > 1 {
        let parts = parts.iter().enumerate().map(|(index, part)| {
            format!(r#"<span><svg class="swatch" viewBox="0 0 22 12" aria-hidden="true"><rect class="part-{index}" x="2" y="1" width="18" height="10"/></svg>{part}</span> "#)
        });
        body += &format!("<p class=\"legend\">{}</p>", parts.collect::<String>());
    }
    chart(bars.title, bars.read, &body)
}

/// None when no part of it was measured.
fn bar(
    results: &Results,
    bars: &Bars,
    variant: &str,
    wire: &'static str,
    security: Security,
) -> Option<Bar> {
    let series = Series::of(results, bars.scenario, variant, wire)?;
    let parts = bars.parts.iter().map(|(figure, _)| series.sample(figure));
    let parts: Vec<Sample> = parts.collect();
    let measured = parts.iter().filter(|part| !part.is_empty()).cloned();
    let whole = measured.reduce(|sum, part| sum.plus(&part))?;
    Some(Bar {
        wire,
        security,
        parts: parts
            .iter()
            .map(|part| part.median().unwrap_or(0.0))
            .collect(),
        spread: whole.spread()?,
        mark: bars.mark.and_then(|figure| series.sample(figure).median()),
    })
}

fn chart(title: &str, read: &str, body: &str) -> String {
    let (title, read) = (escape(title), escape(read));
    format!("<figure><figcaption><h3>{title}</h3><p>{read}</p></figcaption>{body}</figure>\n")
}
