//! The page: what a run came to, then how it went, then what went wrong.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use procession_store::Job;

use crate::figure::n;
use crate::foreign::Foreign;
use crate::kind::Kind;
use crate::survey::Survey;
use crate::{memory, tables, timeline, words};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Longer job specs are cut: the run directory has the whole.
const SPEC_MAX: usize = 100_000;

/// The whole page.
pub(crate) fn html(survey: &Survey, run_dir: &Path) -> Markup {
    let name = if survey.job.name.is_empty() { "A run" } else { &survey.job.name };
    // Known to nobody before the data is: whatever a task might have smuggled into it could not run.
    let nonce = format!("{:016x}", RandomState::new().build_hasher().finish());
    let policy =
        format!("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'nonce-{nonce}'");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("procession ", env!("CARGO_PKG_VERSION")));
                title { (Foreign(name)) " – Procession" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                (patterns())
                header { (head(survey, name)) }
                main {
                    (tiles(survey))
                    (outcomes(survey))
                    (notes(survey))
                    (workers(survey))
                    (throughput(survey))
                    (run_times(survey))
                    (memory_of(survey))
                    (failures(survey))
                    (slowest(survey))
                    (about(survey, run_dir))
                }
                footer { "Drawn by Procession " (env!("CARGO_PKG_VERSION")) ". This file needs no network." }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// What tells kinds apart where colours do not.
fn patterns() -> Markup {
    html! {
        svg width="0" height="0" class="patterns" aria-hidden="true" {
            defs {
                pattern id="failed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect class="under failed-paint" width="5" height="5" {}
                    path class="stripe" d="M0 0V5" {}
                }
                pattern id="lost" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)" {
                    rect class="under lost-paint" width="5" height="5" {}
                    path class="stripe" d="M0 0V5M0 2.5H5" {}
                }
                pattern id="absent" width="4" height="4" patternUnits="userSpaceOnUse" {
                    rect class="under absent-paint" width="4" height="4" {}
                    circle class="dot" cx="2" cy="2" r=".8" {}
                }
            }
        }
    }
}

fn head(survey: &Survey, name: &str) -> Markup {
    let (class, state) = state(survey);
    html! {
        h1 { (Foreign(name)) }
        span class=(format!("state {class}")) { (Foreign(&state)) }
        p class="task" {
            code { (Foreign(&callable(&survey.job))) }
            @if survey.job.idempotent { " · idempotent" }
            @if let Some(reduce) = &survey.job.reduce { " · reduced by " (Foreign(reduce)) }
        }
        @if let (Some(first), Some(last)) = (survey.sessions.first(), survey.sessions.last()) {
            p class="when" {
                (words::moment(first.started_at))
                @if let Some(end) = last.ended_at { " to " (words::moment(end)) }
                " · " (Foreign(&last.host))
                @if survey.sessions.len() > 1 { " · " (words::counted(survey.sessions.len() as u64, "session")) }
            }
        }
    }
}

/// A task's path with its parameters. Signatures may or may not begin with the task's name.
fn callable(job: &Job) -> String {
    let (module, name) = job.task.rsplit_once("::").unwrap_or(("", &job.task));
    match job.signature.strip_prefix(name) {
        Some(parameters) if !module.is_empty() => format!("{module}::{name}{parameters}"),
        Some(parameters) => format!("{name}{parameters}"),
        None => format!("{}{}", job.task, job.signature),
    }
}

/// How the run stands, in a style and in words.
fn state(survey: &Survey) -> (&'static str, String) {
    let open = survey.outstanding() != Some(0);
    match survey.sessions.last().map(|session| session.ending.as_deref()) {
        None => ("open", "not begun".to_owned()),
        Some(None) => ("open", "running, or killed".to_owned()),
        Some(Some("complete")) => ("good", "every item has a value".to_owned()),
        Some(Some("incomplete")) if !open => ("bad", "some items have no value".to_owned()),
        Some(Some("signalled")) => ("open", "stopped by a signal".to_owned()),
        Some(Some("broken")) => ("bad", "the pool broke".to_owned()),
        Some(Some("unwritable")) => ("bad", "results could not be written".to_owned()),
        Some(Some(ending)) => ("bad", ending.to_owned()),
    }
}

fn tiles(survey: &Survey) -> Markup {
    let facts = &survey.facts;
    let tile = |name: &str, value: String, below: String| {
        html! { div class="tile" { dt { (name) } dd { (value) } @if !below.is_empty() { p { (below) } } } }
    };
    let unknown = || "–".to_owned();
    let outstanding = match survey.outstanding() {
        Some(0) if survey.job.selection.is_whole() => "all of the job".to_owned(),
        Some(0) => "all of its part of the job".to_owned(),
        Some(open) => format!("{} without outcome yet", words::grouped(open)),
        None => String::new(),
    };
    let processes = format!(
        "{} process{}",
        words::grouped(facts.processes),
        if facts.processes == 1 { "" } else { "es" }
    );
    let deaths = match facts.deaths {
        0 if !survey.agents.is_empty() => words::counted(survey.agents.rows().len() as u64, "agent"),
        0 => processes,
        deaths => format!("{processes}, {}", words::counted(deaths, "death")),
    };
    let retried = if facts.retried > 0 {
        format!("{} after a retry", words::grouped(facts.retried))
    } else {
        String::new()
    };
    let work = format!("{} of work", words::duration(facts.busy_s));
    let kinds = match survey.tally.without.len() as u64 {
        0 => String::new(),
        kinds => words::counted(kinds, "outcome"),
    };
    let memory = if facts.peak_rss.is_some() { "of one worker".to_owned() } else { String::new() };
    let rate = facts.rate().map_or_else(unknown, |rate| format!("{}/s", words::rate(rate)));
    let efficiency = facts.efficiency().map_or_else(unknown, words::percent);
    html! {
        dl class="tiles" {
            (tile("items", words::grouped(facts.items), outstanding))
            (tile("values", words::grouped(survey.tally.values), retried))
            (tile("without a value", words::grouped(survey.tally.failures()), kinds))
            (tile("wall time", words::duration(facts.wall_s), work))
            (tile("throughput", rate, "items that ran".to_owned()))
            (tile("efficiency", efficiency, "busy ÷ (workers × wall)".to_owned()))
            (tile("workers", words::grouped(facts.workers), deaths))
            (tile("peak memory", facts.peak_rss.map_or_else(unknown, words::size), memory))
        }
    }
}

/// All outcomes as one bar, and in numbers.
fn outcomes(survey: &Survey) -> Markup {
    let open = survey.outstanding().unwrap_or(0);
    let all = (survey.facts.items + open).max(1) as f64;
    let mut at = 0.0;
    let mut part = |items: u64| {
        // A thousandth of the bar can be seen.
        let width = if items > 0 { (items as f64 / all * 1000.0).max(3.0) } else { 0.0 };
        let left = at;
        at += width;
        (left, width)
    };
    let mut named: Vec<(&str, u64)> = vec![(procession_store::OK, survey.tally.values)];
    named.extend(survey.tally.without.iter().map(|(outcome, items)| (outcome.as_str(), *items)));
    named.sort_by_key(|(outcome, items)| (Kind::of(outcome), std::cmp::Reverse(*items)));
    html! {
        section aria-label="Outcomes" {
            svg class="outcomes" viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true" {
                rect class="life" width="1000" height="20" {}
                @for kind in Kind::ALL {
                    @let (left, width) = part(survey.facts.kinds[kind as usize]);
                    @if width > 0.0 {
                        rect class=(kind.class()) x=(n(left.min(997.0))) width=(n(width)) height="20" {}
                    }
                }
            }
            ul class="legend" id="outcomes" {
                @for (outcome, items) in named.iter().filter(|(_, items)| *items > 0) {
                    li { (tables::outcome(outcome)) " " b { (words::grouped(*items)) } }
                }
                @if open > 0 { li { "no outcome yet " b { (words::grouped(open)) } } }
            }
        }
    }
}

fn notes(survey: &Survey) -> Markup {
    let mut notes = survey.facts.notes.clone();
    let unplaced = survey.throughput.unplaced();
    if unplaced > 0 {
        notes.push(format!(
            "{} without a start on record: not in the figures over time.",
            words::counted(unplaced, "item")
        ));
    }
    html! {
        @if !notes.is_empty() {
            ul class="notes" { @for note in notes { li { (note) } } }
        }
    }
}

fn kinds_legend(kinds: &[Kind]) -> Markup {
    html! { @for kind in kinds { span class="key" { (tables::swatch(*kind)) (kind.words()) } } }
}

/// What stands for items without a value in figures of bars, where there are any.
fn without_key(survey: &Survey) -> Markup {
    html! {
        @if survey.tally.failures() > 0 { span class="key" { (tables::swatch(Kind::Failed)) "without a value" } }
    }
}

fn workers(survey: &Survey) -> Markup {
    let lanes = &survey.lanes;
    let present: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| *kind == Kind::Value || survey.facts.kinds[*kind as usize] > 0)
        .collect();
    html! {
        @if !lanes.lanes.is_empty() && !survey.sessions.is_empty() {
            section id="workers" {
                h2 { "Workers over time" }
                p class="legend" {
                    @if lanes.has_bars {
                        "Each bar is an item: "
                    } @else {
                        "The height is how busy, a line an item without a value: "
                    }
                    (kinds_legend(&present))
                    span class="key" {
                        svg class="swatch" viewBox="0 0 12 12" aria-hidden="true" {
                            rect class="life" width="12" height="12" rx="2" {}
                        }
                        @if survey.agents.is_empty() { "a process" } @else { "its agent is there" }
                    }
                    @if lanes.lives.iter().any(|life| life.death.is_some()) {
                        span class="key" {
                            svg class="swatch" viewBox="0 0 12 12" aria-hidden="true" {
                                path class="death" d="M2 2L10 10M2 10L10 2" {}
                            }
                            @if survey.agents.is_empty() { "it died" } @else { "it was lost" }
                        }
                    }
                }
                (timeline::draw(lanes, &survey.axis))
                (tables::numbers(
                    ["worker", "processes", "deaths", "items", "without a value", "busy"],
                    &timeline::rows(lanes, &survey.axis),
                ))
                @if !survey.agents.is_empty() {
                    h3 { "Agents" }
                    (tables::open(
                        ["agent", "workers", "there for", "left", "items", "without a value", "busy while there"],
                        &survey.agents.rows(),
                    ))
                }
            }
        }
    }
}

fn throughput(survey: &Survey) -> Markup {
    html! {
        @if !survey.throughput.is_empty() {
            section id="throughput" {
                h2 { "Throughput" }
                p class="legend" { "Items that ended, a second: " (kinds_legend(&[Kind::Value])) (without_key(survey)) }
                (survey.throughput.draw(&survey.axis))
                (tables::numbers(
                    ["session", "from", "values", "without a value", "items a second"],
                    &survey.throughput.rows(&survey.axis),
                ))
            }
        }
    }
}

fn run_times(survey: &Survey) -> Markup {
    html! {
        @if survey.run_times.total() > 0 {
            section id="run-times" {
                h2 { "Run times" }
                p class="legend" {
                    @for (name, seconds) in survey.run_times.figures() {
                        span class="key" { (name) " " b { (words::duration(seconds)) } }
                    }
                    @if survey.facts.cpu_of_s > 0.0 {
                        @let share = survey.facts.cpu_s / survey.facts.cpu_of_s;
                        span class="key" { "on a processor " b { (words::percent(share)) } }
                    }
                    (without_key(survey))
                }
                (survey.run_times.draw())
                (tables::numbers(["from", "to", "items", "without a value"], &survey.run_times.rows()))
            }
        }
    }
}

fn memory_of(survey: &Survey) -> Markup {
    html! {
        @if memory::is_known(&survey.lanes) {
            section id="memory" {
                h2 { "Memory" }
                p class="about" { "The most that each worker's process had had when an item ended." }
                (memory::draw(&survey.lanes, &survey.axis))
                (memory::legend(&survey.lanes))
                (tables::numbers(
                    ["worker", "processes", "at first", "at most", "at the end"],
                    &memory::rows(&survey.lanes),
                ))
            }
        }
    }
}

fn failures(survey: &Survey) -> Markup {
    let (causes, items) = survey.causes.more;
    html! {
        @if !survey.causes.shown.is_empty() {
            section id="failures" {
                h2 { "Items without a value, by cause" }
                @for (at, cause) in survey.causes.shown.iter().enumerate() { (tables::cause(cause, at == 0)) }
                @if items > 0 {
                    p class="about" {
                        "Not shown: " (words::counted(items, "item")) " of " (words::grouped(causes)) " further causes."
                    }
                }
            }
        }
    }
}

fn slowest(survey: &Survey) -> Markup {
    html! {
        @if !survey.slowest.is_empty() {
            section id="slowest" {
                h2 { "Slowest items" }
                (tables::slowest(&survey.slowest))
            }
        }
    }
}

fn about(survey: &Survey, run_dir: &Path) -> Markup {
    let job = &survey.job;
    html! {
        section id="job" {
            h2 { "The job" }
            (tables::sessions(survey))
            dl {
                dt { "run directory" } dd { code { (Foreign(&run_dir.display().to_string())) } }
                dt { "command" } dd { pre class="command" { (Foreign(&job.argv.join(" "))) } }
                dt { "typed in" } dd { code { (Foreign(&job.cwd.display().to_string())) } }
                dt { "items from" } dd { (Foreign(&job.source)) }
                @if let (Some(flags), Some(items)) = (job.selection.flags(), job.items) {
                    dt { "part" } dd { (Foreign(&flags)) ", of " (words::counted(items, "item")) }
                }
                @if let Some(spec) = &job.spec { dt { "job spec" } dd { pre { (tables::cut(spec, SPEC_MAX)) } } }
            }
        }
    }
}
