//! Numbers as people read them.

use std::time::{Duration, SystemTime};

/// `1 item`, `2,000 items`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(count)) }
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in about three digits.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        // Rounding must not reach the next unit: 999.7 µs is 1.00 ms.
        s if s <= 0.0 => "0 s".to_owned(),
        s if s < 999.5e-9 => format!("{} ns", digits(s * 1e9)),
        s if s < 999.5e-6 => format!("{} µs", digits(s * 1e6)),
        s if s < 999.5e-3 => format!("{} ms", digits(s * 1e3)),
        s if s < 99.95 => format!("{} s", digits(s)),
        s if s < 86_400.0 - 30.0 => {
            let whole = s.round() as u64;
            let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 {
                format!("{hours} h {minutes:02} min")
            } else {
                format!("{minutes} min {seconds:02} s")
            }
        }
        s => format!("{} days", digits(s / 86_400.0)),
    }
}

/// A round duration: `5 min`, not `5 min 00 s`.
pub(crate) fn brief(seconds: f64) -> String {
    match seconds {
        s if s < 59.5 => round(duration(s)),
        s if s < 3_599.5 => round(format!("{:.1} min", s / 60.0)),
        s if s < 86_399.5 => round(format!("{:.1} h", s / 3_600.0)),
        s => round(format!("{:.1} days", s / 86_400.0)),
    }
}

/// A point on an axis whose ticks are `step` apart: no digit more than that needs.
pub(crate) fn tick(seconds: f64, step: f64) -> String {
    if seconds == 0.0 {
        return "0".to_owned();
    }
    let (unit, name) = match step {
        s if s < 1e-6 => (1e-9, "ns"),
        s if s < 1e-3 => (1e-6, "µs"),
        s if s < 1.0 && seconds < 1.0 => (1e-3, "ms"),
        s if s < 60.0 && seconds < 300.0 => (1.0, "s"),
        s if s < 60.0 => {
            let whole = seconds.round() as u64;
            return format!("{}:{:02} min", whole / 60, whole % 60);
        }
        s if s < 3_600.0 && seconds < 36_000.0 => (60.0, "min"),
        s if s < 3_600.0 => {
            let whole = (seconds / 60.0).round() as u64;
            return format!("{}:{:02} h", whole / 60, whole % 60);
        }
        s if s < 86_400.0 => (3_600.0, "h"),
        _ => (86_400.0, "d"),
    };
    let digits = if step / unit < 0.995 { 1 } else { 0 };
    format!("{:.digits$} {name}", seconds / unit)
}

/// A size in about three digits, in powers of two.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 999.5 * 1024.0 => format!("{} KiB", digits(b / 1024.0)),
        b if b < 999.5 * 1_048_576.0 => format!("{} MiB", digits(b / 1_048_576.0)),
        b if b < 999.5 * 1_073_741_824.0 => format!("{} GiB", digits(b / 1_073_741_824.0)),
        b => format!("{} TiB", digits(b / 1_099_511_627_776.0)),
    }
}

/// A text of a number and its unit without needless zeros: `1.50 s` is `1.5 s`.
pub(crate) fn round(text: String) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    if !number.contains('.') {
        return text;
    }
    format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.')).trim_end().to_owned()
}

/// A rate in about three digits.
pub(crate) fn rate(a_second: f64) -> String {
    match a_second {
        n if n <= 0.0 => "0".to_owned(),
        n if n < 0.0995 => format!("{n:.3}"),
        n if n < 999.5 => digits(n),
        n => grouped(three_digits(n)),
    }
}

/// `12.3 %`
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.095 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

/// A point in time, to the second.
pub(crate) fn moment(time: SystemTime) -> String {
    // The library refuses years of five digits.
    let last = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(last);
    let text = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// `worker_lost` as words.
pub(crate) fn outcome(word: &str) -> String {
    if word == procession_store::OK { "value".to_owned() } else { word.replace('_', " ") }
}

/// Three digits of a number below 1000.
fn digits(number: f64) -> String {
    match number {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// To three digits: the others would be noise.
fn three_digits(number: f64) -> u64 {
    let unit = 10_f64.powi(number.log10() as i32 - 2);
    ((number / unit).round() * unit) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (2e-9, "2.00 ns"),
            (20e-6, "20.0 µs"),
            (0.9997e-3, "1.00 ms"),
            (59.0, "59.0 s"),
            (100.0, "1 min 40 s"),
            (7_260.0, "2 h 01 min"),
            (180_000.0, "2.08 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn ticks_have_the_digits_they_need() {
        for (seconds, step, text) in [
            (0.0, 1.0, "0"),
            (0.02, 0.02, "20 ms"),
            (1.5, 0.5, "1.5 s"),
            (120.0, 30.0, "120 s"),
            (330.0, 30.0, "5:30 min"),
            (600.0, 300.0, "10 min"),
            (37_800.0, 1_800.0, "10:30 h"),
            (7_200.0, 3_600.0, "2 h"),
            (172_800.0, 86_400.0, "2 d"),
            (200e-6, 50e-6, "200 µs"),
        ] {
            assert_eq!(tick(seconds, step), text);
        }
    }

    #[test]
    fn counts_sizes_and_rates() {
        assert_eq!(counted(1, "item"), "1 item");
        assert_eq!(counted(1_234_567, "item"), "1,234,567 items");
        assert_eq!(
            ["999", "1,000"],
            [grouped(999), grouped(1000)].map(|text| text).each_ref().map(String::as_str)
        );
        assert_eq!(size(5 << 20), "5.00 MiB");
        assert_eq!(
            ["1.50 s", "80.0", "200", "1 min 40 s"].map(|text| round(text.to_owned())),
            ["1.5 s", "80", "200", "1 min 40 s"]
        );
        assert_eq!(size(1023), "1023 B");
        assert_eq!([rate(0.05), rate(12.34), rate(123_456.0)], ["0.050", "12.3", "123,000"]);
        assert_eq!([percent(0.5), percent(0.0001), percent(0.0)], ["50.0 %", "< 0.1 %", "0.0 %"]);
    }

    #[test]
    fn moments_are_in_universal_time() {
        assert_eq!(
            moment(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            "2027-01-15 08:00:00 UTC"
        );
        assert_eq!(moment(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31 23:59:59 UTC");
    }
}
