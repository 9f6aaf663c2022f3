//! A histogram of nanoseconds with buckets of equal relative width (1.6 %): recording costs a few instructions.

const STEPS: usize = 64;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
        }
    }

    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
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
