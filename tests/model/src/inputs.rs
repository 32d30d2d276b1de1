//! Run times of items, in the shapes that schedulers stumble over.

/// The shape of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// All the same.
    Uniform,
    /// The first is a hundred times longer.
    HeavyFirst,
    /// The middle one is.
    HeavyMiddle,
    /// The last one is.
    HeavyLast,
    /// From nothing to twice the mean.
    Ascending,
    /// From twice the mean to nothing.
    Descending,
    /// Many short ones, few long ones: the logarithm is normal, with a deviation of one.
    LogNormal,
    /// A hundred times shorter than the mean asked for: less than it costs to hand them out.
    Tiny,
    /// One in ten takes twenty times as long as the others.
    Bimodal,
}

impl Input {
    /// Every one of them.
    pub const ALL: [Input; 9] = [
        Input::Uniform,
        Input::HeavyFirst,
        Input::HeavyMiddle,
        Input::HeavyLast,
        Input::Ascending,
        Input::Descending,
        Input::LogNormal,
        Input::Tiny,
        Input::Bimodal,
    ];

    /// So many items that take about `mean` nanoseconds; always the same ones.
    pub fn times(self, items: usize, mean: u64) -> Vec<u64> {
        let mut rng = Rng(0x5eed);
        let heavy = |at: usize| (0..items).map(|i| if i == at { 100 * mean } else { mean }).collect();
        let ramp = |i: usize| 2 * mean * i as u64 / items as u64;
        match self {
            Input::Uniform => vec![mean; items],
            Input::HeavyFirst => heavy(0),
            Input::HeavyMiddle => heavy(items / 2),
            Input::HeavyLast => heavy(items - 1),
            Input::Ascending => (0..items).map(ramp).collect(),
            Input::Descending => (0..items).rev().map(ramp).collect(),
            Input::LogNormal => {
                // The mean of exp(N(0, 1)) is exp(1/2).
                let scale = mean as f64 / 0.5_f64.exp();
                (0..items).map(|_| (scale * rng.normal().exp()) as u64).collect()
            }
            Input::Tiny => vec![mean / 100; items],
            Input::Bimodal => {
                let short = mean * 10 / 29;
                (0..items).map(|_| if rng.unit() < 0.1 { 20 * short } else { short }).collect()
            }
        }
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The sum of twelve is near enough to normal, and the same on every machine.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}
