//! Lines: one for each transport, with a whisker from least to greatest at each point that was repeated.

use std::fmt::Write as _;

use super::super::series::Security;
use super::super::stats::Spread;
use super::super::words;
use super::axis::Axis;
use super::escape;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 8.0;
const FOOT: f64 = 38.0;
/// From the frame to the first and the last place, so that what stands there is not on the frame.
const INSET: f64 = 12.0;
/// Whiskers at one place stand beside each other.
const ASIDE: f64 = 4.0;

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The transport.
    pub wire: &'static str,
    /// Whether it is encrypted; what is not is dashed.
    pub security: Security,
    /// Where it goes.
    pub path: Vec<(f64, f64)>,
    /// What was measured, with its spread.
    pub points: Vec<(f64, Spread)>,
}

/// The picture, with the titles of the axes.
pub fn picture(
    title: &str,
    (x, x_title): (&Axis, &str),
    (y, y_title): (&Axis, &str),
    lines: &[Line],
) -> String {
    let inside = WIDTH - LEFT - RIGHT - 2.0 * INSET;
    let across = |value: f64| LEFT + INSET + x.place(value) * inside;
    let up = |value: f64| HEIGHT - FOOT - y.place(value) * (HEIGHT - FOOT - TOP);
    let mut svg = String::new();
    for (value, label) in &y.ticks {
        let y = up(*value);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {y:.1}H{:.1}"/>"#,
            WIDTH - RIGHT
        );
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (value, label) in &x.ticks {
        let x = across(*value);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{x:.1} {TOP}V{:.1}"/>"#,
            HEIGHT - FOOT
        );
        let _ = write!(
            svg,
            r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            HEIGHT - FOOT + 15.0
        );
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let _ = write!(
        svg,
        r#"<text class="tick" x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        HEIGHT - 5.0,
        escape(x_title)
    );
    let middle = f64::midpoint(TOP, HEIGHT - FOOT);
    let _ = write!(
        svg,
        r#"<text class="tick" transform="translate(10 {middle:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        escape(y_title)
    );
    for (index, line) in lines.iter().enumerate() {
        let aside = (index as f64 - (lines.len() - 1) as f64 / 2.0) * ASIDE;
        svg += &line.drawn(&across, &up, aside, y_title);
    }
    super::svg(title, WIDTH, HEIGHT, &svg)
}

impl Line {
    fn drawn(
        &self,
        across: &impl Fn(f64) -> f64,
        up: &impl Fn(f64) -> f64,
        aside: f64,
        unit: &str,
    ) -> String {
        let dashed = if self.security == Security::Cleartext {
            " dashed"
        } else {
            ""
        };
        let mut svg = format!(r#"<g class="w-{}{dashed}">"#, self.wire);
        let path = self.path.iter().enumerate().map(|(index, (x, y))| {
            let to = if index == 0 { "M" } else { "L" };
            format!("{to}{:.1} {:.1}", across(*x), up(*y))
        });
        let path: String = path.collect();
        let _ = write!(
            svg,
            r#"<path class="line" d="{path}"><title>{}</title></path>"#,
            self.wire
        );
        for (x, spread) in &self.points {
            let x = across(*x) + aside;
            let [y, least, greatest] = [spread.median, spread.least, spread.greatest].map(up);
            let hover = format!("{}: {} {unit}", self.wire, words::spread(Some(*spread)));
            let _ = write!(
                svg,
                r#"<g><title>{}</title><path class="whisker" d="M{x:.1} {least:.1}V{greatest:.1}"/><path class="point" transform="translate({x:.1} {y:.1})" d="{}"/></g>"#,
                escape(&hover),
                shape(self.wire)
            );
        }
        svg += "</g>";
        svg
    }
}

/// Each kind of transport has a shape too, for whom colours are not enough.
pub fn shape(wire: &str) -> &'static str {
    match wire {
        "sse-http1" | "sse-http1s" => "M-3.5 -3.5H3.5V3.5H-3.5Z",
        "sse-h2c" | "sse-http2" => "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
        "ws" | "wss" => "M0 -4.5L4.5 3.5H-4.5Z",
        "ws-h2c" | "ws-http2" => "M0 -5L5 0L0 5L-5 0Z",
        _ => "M-4.5 -1.5H-1.5V-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5Z",
    }
}
