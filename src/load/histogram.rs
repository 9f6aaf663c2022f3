//! A histogram of nanoseconds with buckets of equal relative width (1.6 %): recording costs a few instructions.

const STEPS: usize = 64;

/// How many there were of each size.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
        }
    }
}

impl Histogram {
    /// Adds one.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
    }

    /// How many were added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value that the share `part` of all recorded ones does not exceed; 0 when there is none.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return highest(index);
            }
        }
        0
    }

    /// The greatest value of each bucket that has any, and how many.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let filled = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        filled
            .map(|(index, &count)| (highest(index), count))
            .collect()
    }
}

fn bucket(value: u64) -> usize {
    let doublings = (value / STEPS as u64)
        .checked_ilog2()
        .map_or(0, |log| log as usize + 1);
    let shift = doublings.saturating_sub(1);
    doublings * STEPS + (value >> shift) as usize % STEPS
}

fn highest(bucket: usize) -> u64 {
    let (doublings, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    if doublings == 0 {
        return step;
    }
    let shift = doublings - 1;
    ((STEPS as u64 + step) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for value in (0..64).map(|shift| 1u64 << shift).chain([u64::MAX, 999, 5]) {
            let top = highest(bucket(value));
            assert!(top >= value && top - value <= value / 60, "{value}: {top}");
        }
        for index in 1..bucket(u64::MAX) {
            assert!(highest(index) > last);
            last = highest(index);
        }
    }

    #[test]
    fn planted_samples() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.buckets()), (0, vec![]));
        for value in 1..=100 {
            histogram.record(value);
        }
        let table = [(0.0, 1), (0.01, 1), (0.5, 50), (0.6, 60), (1.0, 100)];
        for (part, want) in table {
            assert_eq!(histogram.quantile(part), want, "{part}");
        }
        assert_eq!(histogram.total(), 100);
        let counted: u64 = histogram.buckets().iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 100);
    }
}
