//! How the values of flags are read.

use std::time::Duration;

use procession::StartMethod;

use super::policy::TimeLimit;
use crate::exec;
use crate::job::Call;
use crate::output::Format;
use crate::policy;
use crate::spec::{START_METHODS, WORKERS_MAX, units};

pub(super) fn workers(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        workers if workers <= WORKERS_MAX => Ok(workers),
        _ => Err(format!("more than the {WORKERS_MAX} there can be")),
    }
}

pub(super) fn attempts(text: &str) -> Result<u32, String> {
    u32::try_from(at_least_one(text)?).map_err(|_| "more than anybody waits for".to_owned())
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number of at least 1".to_owned()),
    }
}

pub(super) fn items(text: &str) -> Result<u64, String> {
    at_least_one(text).map(|items| items as u64)
}

pub(super) fn item(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "an item is known by its place in the input, a number from 0 on".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|what| format!("{what}; {}", units::DURATION_HELP))
}

pub(super) fn time_limit(text: &str) -> Result<TimeLimit, String> {
    match policy::percent(text) {
        Some(percent) => percent.map(TimeLimit::Percent),
        None => duration(text).map(TimeLimit::Fixed),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    units::size(text).map_err(|what| format!("{what}; {}", units::SIZE_HELP))
}

pub(super) fn start_method(text: &str) -> Result<StartMethod, String> {
    choice(text, &START_METHODS)
}

pub(super) fn call(text: &str) -> Result<Call, String> {
    choice(text, &Call::NAMES)
}

pub(super) fn format(text: &str) -> Result<Format, String> {
    choice(text, &Format::NAMES)
}

pub(super) fn stream_format(text: &str) -> Result<exec::Format, String> {
    choice(text, &exec::Format::NAMES)
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| crate::nearest::suggest(text, &names))
}
