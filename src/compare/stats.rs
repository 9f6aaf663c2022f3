//! What a few numbers say together: medians, spreads, quantiles, and whether two of them differ. Pure functions.

use std::collections::BTreeMap;

/// With fewer repetitions nothing is told apart: of two samples of the same thing, two values each, one pair in three
/// has ranges that do not overlap; three values each, one in ten; five each, one in 126.
pub const FEWEST: usize = 3;
/// Medians that differ by less are not told apart, however narrow their ranges are: the histograms' buckets are 1.6 %
/// wide, and nobody chooses a wire for less.
pub const LEAST_DIFFERENCE: f64 = 0.05;

/// A figure as it came out in each repetition that had it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    values: BTreeMap<usize, f64>,
}

/// The middle of a sample and its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the two in the middle.
    pub median: f64,
    /// The least of all.
    pub least: f64,
    /// The greatest of all.
    pub greatest: f64,
}

impl Sample {
    /// Of pairs of a repetition and a value. What is not a finite number was not measured.
    pub fn new(values: impl IntoIterator<Item = (usize, f64)>) -> Sample {
        let values = values.into_iter().filter(|(_, value)| value.is_finite());
        Sample {
            values: values.collect(),
        }
    }

    /// How many repetitions had it.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none had it.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// None when no repetition had it.
    pub fn spread(&self) -> Option<Spread> {
        let mut sorted: Vec<f64> = self.values.values().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, greatest) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Spread {
            median,
            least,
            greatest,
        })
    }

    /// None when no repetition had it.
    pub fn median(&self) -> Option<f64> {
        self.spread().map(|spread| spread.median)
    }

    /// Both together, in the repetitions that had both.
    pub fn plus(&self, other: &Sample) -> Sample {
        self.with(other, |a, b| Some(a + b))
    }

    /// How many times the other's it is, each taken within one repetition: a machine that slows down in the third
    /// slows both.
    pub fn over(&self, other: &Sample) -> Sample {
        self.with(other, |a, b| (b != 0.0).then(|| a / b))
    }

    fn with(&self, other: &Sample, join: impl Fn(f64, f64) -> Option<f64>) -> Sample {
        let joined = self.values.iter().filter_map(|(repetition, a)| {
            let b = other.values.get(repetition)?;
            Some((*repetition, join(*a, *b)?))
        });
        Sample::new(joined)
    }

    /// Whether the two differ by more than their own spread: both have [`FEWEST`] values, their ranges do not overlap,
    /// and the greater median is more than [`LEAST_DIFFERENCE`] above the lesser.
    pub fn differs(&self, other: &Sample) -> bool {
        let (Some(a), Some(b)) = (self.spread(), other.spread()) else {
            return false;
        };
        let (low, high) = if a.median <= b.median { (a, b) } else { (b, a) };
        let enough = self.len().min(other.len()) >= FEWEST;
        let apart = low.greatest < high.least;
        enough && apart && high.median - low.median > LEAST_DIFFERENCE * low.median.abs()
    }
}

/// Several histograms as one. A histogram is a list of buckets in increasing order: the most that is in one, and how
/// many there are.
pub fn pooled<'a>(histograms: impl IntoIterator<Item = &'a [(u64, u64)]>) -> Vec<(u64, u64)> {
    let mut pool = BTreeMap::new();
    for (most, count) in histograms.into_iter().flatten() {
        *pool.entry(*most).or_default() += count;
    }
    pool.into_iter().collect()
}

/// How many values a histogram holds.
pub fn count(histogram: &[(u64, u64)]) -> u64 {
    histogram.iter().map(|(_, count)| count).sum()
}

/// The bucket below whose upper end this share of all values lies: the nearest rank. None when there are no values.
pub fn quantile(histogram: &[(u64, u64)], share: f64) -> Option<u64> {
    let rank = (share * count(histogram) as f64).ceil().max(1.0) as u64;
    let mut below = 0;
    let bucket = histogram.iter().find(|(_, count)| {
        below += count;
        below >= rank
    });
    bucket.map(|(most, _)| *most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        Sample::new(values.iter().copied().enumerate())
    }

    #[test]
    fn a_spread_is_the_median_and_the_ends() {
        for (values, expected) in [
            (&[7.0][..], (7.0, 7.0, 7.0)),
            (&[3.0, 1.0], (2.0, 1.0, 3.0)),
            (&[9.0, 1.0, 2.0], (2.0, 1.0, 9.0)),
            (&[4.0, 1.0, 8.0, 2.0], (3.0, 1.0, 8.0)),
            (&[-1.0, 0.0, -3.0], (-1.0, -3.0, 0.0)),
            // What was not measured does not count.
            (&[f64::NAN, 5.0, f64::INFINITY, 7.0, 6.0], (6.0, 5.0, 7.0)),
        ] {
            let spread = sample(values).spread().unwrap();
            let found = (spread.median, spread.least, spread.greatest);
            assert_eq!(found, expected, "{values:?}");
        }
        assert_eq!(sample(&[]).spread(), None);
        assert_eq!(sample(&[f64::NAN]).spread(), None);
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let hundred: Vec<(u64, u64)> = (1..=100).map(|most| (most, 1)).collect();
        let skewed = [(10, 989), (500, 10), (9000, 1)];
        for (histogram, share, expected) in [
            (&hundred[..], 0.5, Some(50)),
            (&hundred, 0.99, Some(99)),
            (&hundred, 0.991, Some(100)),
            (&hundred, 0.0, Some(1)),
            (&hundred, 1.0, Some(100)),
            (&skewed, 0.5, Some(10)),
            (&skewed, 0.989, Some(10)),
            (&skewed, 0.99, Some(500)),
            (&skewed, 0.999, Some(500)),
            (&skewed, 0.9999, Some(9000)),
            (&[(3, 0)], 0.5, None),
            (&[], 0.5, None),
        ] {
            assert_eq!(quantile(histogram, share), expected, "{share}");
        }
    }

    #[test]
    fn histograms_pool_by_bucket() {
        let pool = pooled([&[(1, 2), (5, 1)][..], &[], &[(1, 1), (3, 4)]]);
        assert_eq!(pool, [(1, 3), (3, 4), (5, 1)]);
        assert_eq!(count(&pool), 8);
    }

    #[test]
    fn samples_differ_by_more_than_their_own_spread() {
        for (a, b, expected, why) in [
            (&[1.0, 1.1, 1.2][..], &[2.0, 2.1, 2.2][..], true, "apart"),
            (&[2.0, 2.1, 2.2], &[1.0, 1.1, 1.2], true, "either way"),
            (&[1.0, 1.1, 2.0], &[2.0, 2.1, 2.2], false, "they touch"),
            (&[1.0, 5.0, 1.2], &[2.0, 2.1, 2.2], false, "one outlier"),
            (&[1.0, 1.1], &[2.0, 2.1, 2.2], false, "too few"),
            (&[], &[2.0, 2.1, 2.2], false, "none"),
            (&[100.0; 3], &[104.0; 3], false, "less than 5 %"),
            (&[100.0; 3], &[106.0; 3], true, "more than 5 %"),
            (&[0.0; 3], &[22.0; 3], true, "from nothing"),
            (&[0.0; 3], &[0.0; 3], false, "nothing"),
            (&[-2.0; 3], &[-1.0; 3], true, "below nothing"),
        ] {
            assert_eq!(sample(a).differs(&sample(b)), expected, "{why}");
        }
    }

    #[test]
    fn ratios_are_taken_within_a_repetition() {
        // The machine is three times as slow in the last repetition: the ratio does not see it.
        let a = sample(&[2.0, 2.2, 6.0]);
        let b = sample(&[1.0, 1.1, 3.0]);
        assert_eq!(a.over(&b).spread().unwrap().greatest, 2.0);
        assert_eq!(a.over(&b).len(), 3);
        // A repetition that one of them lacks is left out, and so is one without a divisor.
        let c = Sample::new([(0, 4.0), (2, 0.0), (7, 1.0)]);
        assert_eq!(a.over(&c), Sample::new([(0, 0.5)]));
        assert_eq!(a.plus(&c), Sample::new([(0, 6.0), (2, 6.0)]));
    }
}
