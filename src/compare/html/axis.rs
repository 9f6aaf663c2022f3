//! Axes: where a value lies between two ends, and which values are written beside it.

use super::super::words;

/// At most so many steps: there is room for their labels.
const STEPS: f64 = 6.0;

/// A scale from one end of a chart to the other.
#[derive(Clone, Debug)]
pub struct Axis {
    from: f64,
    to: f64,
    log: bool,
    /// The values that are labelled, and their labels.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From nothing, or from what is less, in equal steps: the length of a bar is then its value.
    pub fn linear(least: f64, greatest: f64) -> Axis {
        let (least, greatest) = (least.min(0.0), greatest.max(0.0));
        let span = if greatest > least {
            greatest - least
        } else {
            1.0
        };
        let step = nice(span / STEPS);
        let first = (least / step).floor();
        let last = ((least + span) / step * (1.0 + 1e-9)).floor();
        let ticks = (first as i64..=last as i64).map(|n| n as f64 * step);
        Axis {
            from: first * step,
            to: least + span,
            log: false,
            ticks: ticks.map(|value| (value, label(value))).collect(),
        }
    }

    /// In equal factors. Both ends are greater than 0.
    pub fn log(least: f64, greatest: f64) -> Axis {
        let digits = |exponent: i32| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent));
        let (low, high) = (
            least.log10().floor() as i32,
            greatest.log10().floor() as i32,
        );
        // Powers of ten are not exact.
        let close = 1.0 + 1e-9;
        let all: Vec<f64> = (low..=high + 1).flat_map(digits).collect();
        let from = all
            .iter()
            .rposition(|value| *value <= least * close)
            .unwrap_or(0);
        let to = all.iter().position(|value| *value * close >= greatest);
        let to = to.unwrap_or(all.len() - 1).max(from + 1).min(all.len() - 1);
        let within = &all[from..=to];
        let sparse: Vec<f64> = within
            .iter()
            .copied()
            .filter(|value| is_decade(*value))
            .collect();
        let ticks = if within.len() > 8 {
            sparse
        } else {
            within.to_vec()
        };
        Axis {
            from: within[0],
            to: within[within.len() - 1],
            log: true,
            ticks: ticks
                .into_iter()
                .map(|value| (value, label(value)))
                .collect(),
        }
    }

    /// Shares from a half on, each further nine as wide as the one before: what is rare gets the room it needs. A share
    /// is given by [`rareness`].
    pub fn percentiles(most: f64) -> Axis {
        let known = [
            (0.5, "50 %"),
            (0.9, "90 %"),
            (0.99, "99 %"),
            (0.999, "99.9 %"),
            (0.9999, "99.99 %"),
        ];
        let ticks = known.map(|(share, label)| (rareness(share), label.to_owned()));
        let within = ticks
            .into_iter()
            .filter(|(value, _)| *value <= most * (1.0 + 1e-9));
        Axis {
            from: rareness(0.5),
            to: most,
            log: false,
            ticks: within.collect(),
        }
    }

    /// From 0 to 1; what lies beyond an end lies at it.
    pub fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| {
            if self.log {
                value.max(f64::MIN_POSITIVE).log10()
            } else {
                value
            }
        };
        let (from, to) = (scale(self.from), scale(self.to));
        ((scale(value) - from) / (to - from)).clamp(0.0, 1.0)
    }
}

/// How many nines a share has: 1 for 0.9, 2 for 0.99.
pub fn rareness(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// 1, 2 or 5 times a power of ten, not less than this.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter();
    let mut steps = steps.map(|digit| digit * power);
    steps.find(|nice| *nice >= step * 0.999).unwrap_or(step)
}

fn is_decade(value: f64) -> bool {
    let exponent = value.log10();
    (exponent - exponent.round()).abs() < 1e-6
}

/// A number without the zeros behind its point.
fn label(value: f64) -> String {
    let text = words::number(value);
    let digits = text.trim_end_matches(['k', 'M']);
    let unit = &text[digits.len()..];
    match digits.contains('.') {
        true => format!(
            "{}{unit}",
            digits.trim_end_matches('0').trim_end_matches('.')
        ),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| &**label).collect()
    }

    #[test]
    fn labels_are_round() {
        for (least, greatest, expected) in [
            (0.0, 10.3, &["0", "2", "4", "6", "8", "10"][..]),
            (0.0, 0.07, &["0", "0.02", "0.04", "0.06"]),
            (0.0, 883e3, &["0", "200k", "400k", "600k", "800k"]),
            (0.0, 1e6, &["0", "200k", "400k", "600k", "800k", "1M"]),
            (-1.0, 3.0, &["-1", "0", "1", "2", "3"]),
            (0.0, 0.0, &["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ] {
            assert_eq!(
                labels(&Axis::linear(least, greatest)),
                expected,
                "{greatest}"
            );
        }
        for (least, greatest, expected) in [
            (1.0, 100.0, &["1", "2", "5", "10", "20", "50", "100"][..]),
            (1.0, 1000.0, &["1", "10", "100", "1,000"]),
            (3.0, 4.0, &["2", "5"]),
            (5.0, 5.0, &["5", "10"]),
            (0.3, 40_000.0, &["1", "10", "100", "1,000", "10,000"]),
        ] {
            assert_eq!(
                labels(&Axis::log(least, greatest)),
                expected,
                "{least} to {greatest}"
            );
        }
        let nines = Axis::percentiles(rareness(0.999));
        assert_eq!(labels(&nines), ["50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn a_value_lies_between_the_ends() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(Axis::linear(0.0, 10.0).place(5.0), 0.5));
        assert!(close(Axis::log(1.0, 100.0).place(10.0), 0.5));
        assert!(close(Axis::log(1.0, 100.0).place(0.0), 0.0));
        assert!(close(Axis::linear(0.0, 10.0).place(99.0), 1.0));
    }
}
