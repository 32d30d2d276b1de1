//! Quantiles of many durations in little memory: buckets that are a quarter of a per cent wide.

/// From a nanosecond to a few centuries.
const SMALLEST: f64 = 1e-9;
const RATIO: f64 = 1.0025;
const BUCKETS: usize = 18_000;

/// Durations, counted by size.
pub(crate) struct Quantiles {
    counts: Vec<u64>,
    total: u64,
    least: f64,
    most: f64,
}

impl Quantiles {
    pub(crate) fn new() -> Quantiles {
        Quantiles { counts: vec![0; BUCKETS], total: 0, least: f64::INFINITY, most: 0.0 }
    }

    pub(crate) fn add(&mut self, seconds: f64) {
        let bucket = ((seconds.max(SMALLEST) / SMALLEST).ln() / RATIO.ln()).round() as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
        self.least = self.least.min(seconds);
        self.most = self.most.max(seconds);
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The smallest and the largest; None where there are none.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        (self.total > 0).then_some((self.least, self.most))
    }

    /// What a share of them does not exceed, within an eighth of a per cent; None where there are none.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let (least, most) = self.range()?;
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some((SMALLEST * RATIO.powi(bucket as i32)).clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let mut quantiles = Quantiles::new();
        assert_eq!((quantiles.at(0.5), quantiles.range()), (None, None));
        for milliseconds in 1..=1000 {
            quantiles.add(f64::from(milliseconds) * 1e-3);
        }
        for (share, truth) in [(0.5, 0.5), (0.95, 0.95), (0.0, 1e-3), (1.0, 1.0)] {
            let found = quantiles.at(share).unwrap();
            assert!((found / truth - 1.0).abs() < 0.002, "{share}: {found} for {truth}");
        }
    }

    #[test]
    fn the_smallest_and_the_largest_have_a_bucket() {
        let mut quantiles = Quantiles::new();
        quantiles.add(0.0);
        quantiles.add(1e10);
        quantiles.add(f64::MAX);
        assert_eq!(quantiles.range(), Some((0.0, f64::MAX)));
        assert!(quantiles.at(1.0).unwrap() > 1e10);
    }
}
