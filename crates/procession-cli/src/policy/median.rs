//! A time limit that follows the run: so many per cent of the median run time of the items that have a value.

use std::time::Duration;

use super::amount;

/// So many items must have a value before there is a limit: fewer say little of how long they take.
pub(crate) const VALUES_LEAST: u64 = 10;

/// No limit is shorter: below it the machine's own hiccups would be what is counted.
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);

/// A limit stays as it is until it would change by more than this.
const WORTH_CHANGING: f64 = 0.05;

/// Run times are counted in buckets a fiftieth wide, from a microsecond to some years.
const RATIO: f64 = 1.02;
const BUCKETS: usize = 1_600;

/// Run times so far, and the limit that follows from them.
#[derive(Clone, Debug)]
pub(crate) struct MedianLimit {
    percent: u32,
    counts: Vec<u64>,
    values: u64,
    /// The bucket with the median, and how many are in those below it.
    median: usize,
    below: u64,
    limit: Option<Duration>,
}

impl MedianLimit {
    pub(crate) fn new(percent: u32) -> MedianLimit {
        MedianLimit { percent, counts: vec![0; BUCKETS], values: 0, median: 0, below: 0, limit: None }
    }

    /// An item that ran for so long has a value. The limit, if it is another one from now on.
    pub(crate) fn add(&mut self, ran: Duration) -> Option<Duration> {
        let bucket = ((ran.as_secs_f64().max(1e-6) * 1e6).ln() / RATIO.ln()).round() as usize;
        let bucket = bucket.min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.values += 1;
        self.below += u64::from(bucket < self.median);
        let rank = self.values.div_ceil(2);
        while self.below >= rank {
            self.median -= 1;
            self.below -= self.counts[self.median];
        }
        while self.below + self.counts[self.median] < rank {
            self.below += self.counts[self.median];
            self.median += 1;
        }
        if self.values < VALUES_LEAST {
            return None;
        }
        let median = 1e-6 * RATIO.powi(self.median as i32);
        let limit = Duration::try_from_secs_f64(median * f64::from(self.percent) / 100.0);
        let limit = limit.unwrap_or(Duration::MAX).max(SHORTEST);
        let is_near =
            |before: Duration| (limit.as_secs_f64() / before.as_secs_f64() - 1.0).abs() <= WORTH_CHANGING;
        if self.limit.is_some_and(is_near) {
            return None;
        }
        self.limit = Some(limit);
        self.limit
    }
}

/// Reads `300%`; `None`: it is no share.
pub(crate) fn percent(text: &str) -> Option<Result<u32, String>> {
    let (number, is_percent) = amount(text.trim());
    let read = || match number.parse::<u32>() {
        Ok(percent @ 101..) => Ok(percent),
        Ok(_) => Err("half of all items take longer than the median: write more than 100%".to_owned()),
        Err(_) => Err(format!("`{text}` is no number of per cent")),
    };
    is_percent.then(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_median() {
        let mut limit = MedianLimit::new(300);
        let ran: Vec<u64> = (1..=9).collect();
        assert!(ran.iter().all(|seconds| limit.add(Duration::from_secs(*seconds)).is_none()), "too few");
        // 1 to 10: 5 is the median.
        let is = limit.add(Duration::from_secs(10)).expect("enough have ended").as_secs_f64();
        assert!((is / 15.0 - 1.0).abs() < 0.02, "{is}");
        assert_eq!(limit.add(Duration::from_secs(5)), None, "as it was");
        // Many quick ones: the median is theirs, and the limit no shorter than the shortest.
        let changes = (0..100).filter_map(|_| limit.add(Duration::from_millis(1)));
        assert_eq!(changes.last(), Some(SHORTEST));
        // And many slow ones, up again.
        let last = (0..300).filter_map(|_| limit.add(Duration::from_secs(20))).last();
        assert!((last.expect("it rises").as_secs_f64() / 60.0 - 1.0).abs() < 0.02, "{last:?}");
    }

    #[test]
    fn run_times_of_any_length_have_a_bucket() {
        let mut limit = MedianLimit::new(u32::MAX);
        for _ in 0..VALUES_LEAST {
            limit.add(Duration::ZERO);
            limit.add(Duration::MAX);
        }
        assert!(limit.limit.is_some());
    }

    #[test]
    fn a_share_is_more_than_the_median() {
        assert_eq!(percent("30s"), None);
        assert_eq!(percent("300%"), Some(Ok(300)));
        assert_eq!(percent(" 150 % "), Some(Ok(150)));
        for text in ["100%", "0%", "%", "-5%", "1.5%"] {
            assert!(percent(text).is_some_and(|read| read.is_err()), "{text}");
        }
    }
}
