//! What hostile texts are fed to: any bytes, and a panic if something does not hold that must.
//!
//! No part of the interface: it exists only with the feature `fuzz`, for the target in `fuzz/` of the repository, and
//! changes without notice. The tests feed the same function from the corpus and from damaged copies of it.

use crate::diagnostic::{Diagnostic, Text};
use crate::input::Source;
use crate::spec;

/// Rows of a source that are looked at.
const ROWS: usize = 20;

/// As a job spec; behind a NUL byte, as an assignment of `--set`. A refusal has its place, and what is accepted has as
/// many rows as it says.
///
/// # Panics
/// If that does not hold.
pub fn spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut texts = text.split('\0');
    let document = texts.next().unwrap_or_default();
    let assignments: Vec<String> = texts.map(str::to_owned).collect();
    let text = Text::new("job.toml", document);
    match spec::parse(&text, &assignments, "job".to_owned(), |_| {}) {
        Err(refusal) => check_place(&refusal, document, &assignments),
        // Files are opened when a job runs, and these are names that chance made.
        Ok(job) if matches!(job.source, Source::File(_)) => {}
        Ok(job) => match job.source.check(job.task, false) {
            Err(refusal) => check_place(&refusal, document, &assignments),
            Ok(count) => {
                let rows = job.source.rows(job.task).expect("what is no file needs no opening").take(ROWS);
                let seen = rows.inspect(|row| drop(row.as_ref().map_err(ToString::to_string))).count();
                let expected = count.map(|count| count.min(ROWS as u64));
                assert_eq!(Some(seen as u64), expected, "the check counts what is streamed");
            }
        },
    }
}

/// A refusal says the line and the column, and both exist.
fn check_place(refusal: &Diagnostic, document: &str, assignments: &[String]) {
    let headline = refusal.headline();
    let mut parts = headline.splitn(4, ':');
    let (name, line, column) = (parts.next(), parts.next(), parts.next());
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok());
    let (Some(line), Some(column)) = (number(line), number(column)) else {
        panic!("a refusal without a place: {headline}");
    };
    let texts: Vec<&str> = match name {
        Some("job.toml") => vec![document],
        Some("--set") => assignments.iter().map(String::as_str).collect(),
        other => panic!("a refusal of {other:?}: {headline}"),
    };
    let exists = texts.iter().any(|text| {
        let found = text.split('\n').nth(line.wrapping_sub(1));
        found.is_some_and(|text| (1..=text.chars().count() + 1).contains(&column))
    });
    assert!(exists, "a refusal of a place that is not there: {headline}");
    assert!(!refusal.to_string().chars().any(|c| c.is_control() && c != '\n'), "{headline}");
}

#[cfg(test)]
#[path = "../../../fuzz/feed.rs"]
mod feed;

#[cfg(test)]
mod tests {
    use super::feed::feed;

    #[test]
    fn every_text_is_a_job_or_refused_with_its_place() {
        feed("spec", super::spec);
    }
}
