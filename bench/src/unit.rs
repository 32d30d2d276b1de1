//! What a figure is, and how it is written. It knows no cases.

/// The kind of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A cost in nanoseconds.
    Nanoseconds,
    /// Memory in bytes.
    Bytes,
    /// A multiple of the best possible: 1 is perfect, less is impossible.
    TimesBest,
    /// A rate in bytes a second.
    BytesPerSecond,
    /// A rate in events a second.
    PerSecond,
    /// How many times faster than one thread.
    SpeedUp,
}

impl Unit {
    /// Whether less is better.
    pub(crate) fn is_cost(self) -> bool {
        match self {
            Unit::Nanoseconds | Unit::Bytes | Unit::TimesBest => true,
            Unit::BytesPerSecond | Unit::PerSecond | Unit::SpeedUp => false,
        }
    }

    /// How many times better `ours` is than `theirs`.
    pub(crate) fn advantage(self, ours: f64, theirs: f64) -> f64 {
        if self.is_cost() { theirs / ours } else { ours / theirs }
    }

    /// The figure with three digits and its unit.
    pub(crate) fn show(self, value: f64) -> String {
        let (scale, name) = self.prefix(value);
        format!("{}{name}", digits(value / scale))
    }

    /// The least and the most, in the unit of the most.
    pub(crate) fn show_range(self, least: f64, most: f64) -> String {
        let (scale, _) = self.prefix(most);
        format!("{}–{}", digits(least / scale), digits(most / scale))
    }

    fn prefix(self, value: f64) -> (f64, &'static str) {
        let steps: &[(f64, &str)] = match self {
            Unit::Nanoseconds => &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (1.0, " ns")],
            Unit::Bytes => &[(f64::from(1 << 20), " MiB"), (1024.0, " KiB"), (1.0, " B")],
            Unit::TimesBest | Unit::SpeedUp => &[(1.0, " ×")],
            Unit::BytesPerSecond => &[(1e9, " GB/s"), (1e6, " MB/s"), (1.0, " B/s")],
            Unit::PerSecond => &[(1.0, "/s")],
        };
        let last = steps[steps.len() - 1];
        steps.iter().copied().find(|&(scale, _)| value.abs() >= scale).unwrap_or(last)
    }
}

/// Three digits where there are that many.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(Unit::Nanoseconds.show(6.04), "6.04 ns");
        assert_eq!(Unit::Nanoseconds.show(2_345.0), "2.35 µs");
        assert_eq!(Unit::Nanoseconds.show(1.3e9), "1.30 s");
        assert_eq!(Unit::Bytes.show(f64::from(64 << 20)), "64.0 MiB");
        assert_eq!(Unit::BytesPerSecond.show(6.0e9), "6.00 GB/s");
        assert_eq!(Unit::PerSecond.show(4321.0), "4321/s");
        assert_eq!(Unit::TimesBest.show(1.05), "1.05 ×");
        assert_eq!(Unit::Nanoseconds.show_range(900.0, 1_100.0), "0.90–1.10");
    }

    #[test]
    fn an_advantage_is_above_1_whatever_the_unit() {
        assert_eq!(Unit::Nanoseconds.advantage(2.0, 6.0), 3.0);
        assert_eq!(Unit::BytesPerSecond.advantage(6.0, 2.0), 3.0);
    }
}
