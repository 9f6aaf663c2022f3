//! Bars: a row for each transport, as long as its median, with a whisker from its least to its greatest.

use std::fmt::Write as _;

use super::super::series::Security;
use super::super::stats::Spread;
use super::super::words;
use super::axis::Axis;
use super::escape;

const WIDTH: f64 = 420.0;
const NAMES: f64 = 82.0;
/// Room for the number behind the longest bar.
const NUMBERS: f64 = 54.0;
const ROW: f64 = 22.0;
const THICK: f64 = 13.0;
const HEADING: f64 = 20.0;
const FOOT: f64 = 34.0;

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub heading: String,
    /// From the top.
    pub bars: Vec<Bar>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The transport.
    pub wire: &'static str,
    /// Whether it is encrypted; what is not is drawn pale.
    pub security: Security,
    /// The medians of its parts, from the left; one when the bar has no parts.
    pub parts: Vec<f64>,
    /// Of the whole.
    pub spread: Spread,
    /// A tick across it: what it is to be held against.
    pub mark: Option<f64>,
}

/// The picture. `parts` names the parts of a bar where it has several.
pub fn picture(title: &str, unit: &str, parts: &[&str], groups: &[Group]) -> String {
    let bars = || groups.iter().flat_map(|group| &group.bars);
    let ends = bars().flat_map(|bar| {
        [
            bar.spread.least,
            bar.spread.greatest,
            bar.mark.unwrap_or(0.0),
        ]
    });
    let (least, greatest) = ends.fold((0.0, 0.0), |(low, high), end| {
        (f64::min(low, end), f64::max(high, end))
    });
    let axis = Axis::linear(least, greatest);
    let x = |value: f64| NAMES + axis.place(value) * (WIDTH - NAMES - NUMBERS);
    let rows = bars().count() as f64 * ROW;
    let bottom = groups.len() as f64 * HEADING + rows;
    let mut svg = String::new();
    for (value, label) in &axis.ticks {
        let x = x(*value);
        let _ = write!(svg, r#"<path class="grid" d="M{x:.1} 0V{bottom:.1}"/>"#);
        let y = bottom + 15.0;
        let _ = write!(
            svg,
            r#"<text class="tick" x="{x:.1}" y="{y:.1}" text-anchor="middle">{label}</text>"#
        );
    }
    let (middle, y) = (f64::midpoint(NAMES, WIDTH - NUMBERS), bottom + 30.0);
    let _ = write!(
        svg,
        r#"<text class="tick" x="{middle:.1}" y="{y:.1}" text-anchor="middle">{}</text>"#,
        escape(unit)
    );
    let mut y = 0.0;
    for group in groups {
        let _ = write!(
            svg,
            r#"<text class="heading" x="0" y="{:.1}">{}</text>"#,
            y + 14.0,
            escape(&group.heading)
        );
        y += HEADING;
        for bar in &group.bars {
            svg += &bar.row(y, &x, parts, unit);
            y += ROW;
        }
    }
    super::svg(title, WIDTH, bottom + FOOT, &svg)
}

impl Bar {
    fn row(&self, y: f64, x: &impl Fn(f64) -> f64, parts: &[&str], unit: &str) -> String {
        let middle = y + ROW / 2.0;
        let (top, bottom) = (middle - THICK / 2.0, middle + THICK / 2.0);
        let pale = if self.security == Security::Cleartext {
            " pale"
        } else {
            ""
        };
        let mut svg = format!(
            r#"<g class="w-{}{pale}"><title>{}</title>"#,
            self.wire,
            escape(&self.hover(parts, unit))
        );
        let baseline = middle + 4.0;
        let _ = write!(svg, r#"<text x="0" y="{baseline:.1}">{}</text>"#, self.wire);
        let mut from = 0.0;
        for (index, part) in self.parts.iter().enumerate() {
            let (left, right) = (x(from).min(x(from + part)), x(from).max(x(from + part)));
            let class = if self.parts.len() > 1 {
                format!("part-{index}")
            } else {
                "bar".to_owned()
            };
            let width = right - left;
            let _ = write!(
                svg,
                r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{THICK}"/>"#
            );
            from += part;
        }
        let (least, greatest) = (x(self.spread.least), x(self.spread.greatest));
        let (up, down) = (middle - 4.0, middle + 4.0);
        let _ = write!(
            svg,
            r#"<path class="whisker" d="M{least:.1} {up:.1}V{down:.1}M{least:.1} {middle:.1}H{greatest:.1}M{greatest:.1} {up:.1}V{down:.1}"/>"#
        );
        if let Some(mark) = self.mark {
            let mark = x(mark);
            let _ = write!(
                svg,
                r#"<path class="mark" d="M{mark:.1} {:.1}V{:.1}"/>"#,
                top - 3.0,
                bottom + 3.0
            );
        }
        let ends = [greatest, x(from), self.mark.map_or(0.0, x)];
        let end = ends.into_iter().fold(0.0, f64::max) + 6.0;
        let median = words::number(self.spread.median);
        let _ = write!(
            svg,
            r#"<text class="number" x="{end:.1}" y="{baseline:.1}">{median}</text></g>"#
        );
        svg
    }

    fn hover(&self, parts: &[&str], unit: &str) -> String {
        let mut words = format!("{}: {} {unit}", self.wire, words::spread(Some(self.spread)));
        if self.parts.len() > 1 {
            let parts = parts.iter().zip(&self.parts);
            words.extend(parts.map(|(name, value)| format!("; {name} {}", words::number(*value))));
        }
        words
    }
}
