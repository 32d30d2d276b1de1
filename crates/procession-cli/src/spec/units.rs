//! Durations and sizes as people write and read them: `30s`, `1m30s`, `250ms`; `512 MiB`.
//!
//! Used by the job spec and by the flags alike; it knows neither.

use std::time::Duration;

/// What a duration may look like, for help texts.
pub(crate) const DURATION_HELP: &str = "write a duration as `500ms`, `30s`, `1m30s` or `2h`";

/// The units of durations, in seconds.
pub(crate) const DURATIONS: [(&str, f64); 10] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("sec", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];

/// What a duration looks like, as a regular expression. It takes no heed of what is too short or too long.
pub(crate) fn duration_pattern() -> String {
    let units = DURATIONS.map(|(unit, _)| unit).join("|");
    format!("^\\s*([0-9]*[.]?[0-9]+|[0-9]+[.]?\\s*({units})\\s*|([0-9]*[.]?[0-9]+\\s*({units})\\s*)+)\\s*$")
}

/// What a size looks like, as a regular expression. It takes no heed of what is too small or too large.
pub(crate) fn size_pattern() -> String {
    let units = SIZES.map(|(unit, _)| unit).join("|");
    format!("^\\s*[0-9]*[.]?[0-9]+\\s*({units})?\\s*$")
}

/// Parses a duration longer than zero. A number without a unit counts seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let bad = || format!("`{text}` is not a duration");
    if text.is_empty() {
        return Err("a duration is empty".to_owned());
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let seconds = match &rest[..letters] {
            // Only a lone number may do without: `1m30` is more likely a slip than ninety seconds.
            "" if rest.is_empty() && digits == text.len() => 1.0,
            "" => return Err(bad()),
            name => match DURATIONS.iter().find(|(unit, _)| *unit == name) {
                Some((_, seconds)) => *seconds,
                None => return Err(format!("`{text}` is not a duration: unknown unit `{name}`")),
            },
        };
        total += number * seconds;
        rest = rest[letters..].trim_start();
    }
    seconds(total)
}

/// A duration of that many seconds, longer than zero.
pub(crate) fn seconds(seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("a duration must be longer than zero".to_owned()),
        Err(_) => Err(format!("`{seconds}` is not a duration that can be waited for")),
    }
}

/// A duration as a person reads it, in three digits and one unit: what two of them tell apart must show.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    // Rounding must not reach the next unit: 999.7 µs is 1.00 ms.
    match seconds {
        s if s < 999.5e-6 => format!("{} µs", digits(s * 1e6)),
        s if s < 999.5e-3 => format!("{} ms", digits(s * 1e3)),
        s if s < 99.95 => format!("{} s", digits(s)),
        _ => {
            let whole = duration.as_secs();
            let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 { format!("{hours}h{minutes:02}m") } else { format!("{minutes}m{seconds:02}s") }
        }
    }
}

/// What a size may look like, for help texts.
pub(crate) const SIZE_HELP: &str = "write a size as `512 MiB`, `2 GiB` or `1.5GB`";

/// The units of sizes, the largest that divides a number first.
pub(crate) const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Parses a size of at least one byte. A number without a unit counts bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| format!("`{text}` is not a size"))?;
    let unit = match text[digits..].trim_start() {
        "" => 1,
        name => match SIZES.iter().find(|(unit, _)| *unit == name) {
            Some((_, bytes)) => *bytes,
            None => return Err(format!("`{text}` is not a size: unknown unit `{name}`")),
        },
    };
    match number * unit as f64 {
        bytes if bytes < 1.0 => Err("a size must be at least one byte".to_owned()),
        bytes if bytes >= u64::MAX as f64 => Err(format!("`{text}` is more than can be counted")),
        bytes => Ok(bytes as u64),
    }
}

/// A size in the unit that it is a whole number of.
pub(crate) fn show_size(bytes: u64) -> String {
    let exact = SIZES.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    let (name, unit) = exact.expect("every number is a whole number of bytes");
    format!("{} {name}", bytes / unit)
}

/// Memory as a person reads it, in three digits.
pub(crate) fn show_memory(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b < 999.5e3 => format!("{} kB", digits(b / 1e3)),
        b if b < 999.5e6 => format!("{} MB", digits(b / 1e6)),
        b => format!("{} GB", digits(b / 1e9)),
    }
}

/// Three digits of a number below 1000.
fn digits(number: f64) -> String {
    match number {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5 s", 1_500),
            ("2h", 7_200_000),
            ("3", 3_000),
            ("0.25", 250),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1x", "1m30", "0s", "1..2s", "soon", "1e300s", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("512 MiB", 512 << 20, "512 MiB"),
            ("2GiB", 2 << 30, "2 GiB"),
            (" 1.5 GB ", 1_500_000_000, "1500 MB"),
            ("0.5 KiB", 512, "512 B"),
            ("4 kB", 4_000, "4 kB"),
            ("4096", 4096, "4 KiB"),
            ("7 B", 7, "7 B"),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), shown, "{text}");
        }
        for text in ["", "MiB", "-1 MiB", "5 mib", "1..2 GB", "0", "0.1 B", "1e3", "99999999 TiB", "much"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_durations_have_three_digits() {
        for (micros, shown) in [
            (4, "4.00 µs"),
            (999, "999 µs"),
            (5_230, "5.23 ms"),
            (9_996, "10.0 ms"),
            (12_340, "12.3 ms"),
            (523_400, "523 ms"),
            (999_700, "1.00 s"),
            (1_234_000, "1.23 s"),
            (61_000_000, "61.0 s"),
            (99_960_000, "1m39s"),
            (125_000_000, "2m05s"),
            (7_260_000_000, "2h01m"),
        ] {
            assert_eq!(show(Duration::from_micros(micros)), shown);
        }
    }
}
