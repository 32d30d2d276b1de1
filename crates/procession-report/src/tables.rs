//! Tables: the numbers below figures, the slowest items, the sessions, the failures.

use maud::{Markup, html};
use procession_store::Item;

use crate::causes::Cause;
use crate::foreign::Foreign;
use crate::kind::Kind;
use crate::lanes::signal_name;
use crate::survey::{Survey, seconds};
use crate::words;

/// Longer texts of an item are cut: the run directory has the whole.
const TEXT_MAX: usize = 2_000;
const ARGS_MAX: usize = 400;

/// A figure's numbers, to be unfolded.
pub(crate) fn numbers<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Markup {
    html! {
        details class="numbers" {
            summary { "The numbers" }
            (open(head, rows))
        }
    }
}

/// A table that is there to see.
pub(crate) fn open<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (Foreign(cell)) } } } } }
            }
        }
    }
}

/// The masters that worked on it.
pub(crate) fn sessions(survey: &Survey) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead {
                    tr {
                        @for cell in ["session", "began", "took", "workers", "machine", "master", "version", "ended"] {
                            th scope="col" { (cell) }
                        }
                    }
                }
                tbody {
                    @for session in &survey.sessions {
                        tr {
                            td { (session.id) }
                            td { (words::moment(session.started_at)) }
                            td {
                                @if let Some(end) = session.ended_at {
                                    (words::duration(seconds(end) - seconds(session.started_at)))
                                } @else { "?" }
                            }
                            td { @if session.workers > 0 { (session.workers) } @else { "agents'" } }
                            td { (Foreign(&session.host)) }
                            td { "pid " (session.pid) }
                            td { (Foreign(&session.version)) }
                            td { (Foreign(session.ending.as_deref().unwrap_or("no end on record"))) }
                        }
                    }
                }
            }
        }
    }
}

/// The items that ran longest. A click on a heading sorts.
pub(crate) fn slowest(items: &[Item]) -> Markup {
    const HEAD: [&str; 7] =
        ["item", "outcome", "attempts", "run time", "processor time", "worker", "peak memory"];
    let number = |value: Option<f64>, text: Option<String>| {
        html! { td data-v=(value.unwrap_or(-1.0)) { (text.unwrap_or_else(|| "–".to_owned())) } }
    };
    html! {
        div class="scroll tall" {
            table class="sortable" {
                thead { tr { @for cell in HEAD { th scope="col" { button type="button" { (cell) } } } } }
                tbody {
                    @for item in items {
                        @let (wall, cpu) = (item.wall.map(|t| t.as_secs_f64()), item.cpu.map(|t| t.as_secs_f64()));
                        tr {
                            td data-v=(item.index) { (words::grouped(item.index)) }
                            td { (outcome(&item.outcome)) }
                            td data-v=(item.attempts) { (item.attempts) }
                            (number(wall, wall.map(words::duration)))
                            (number(cpu, cpu.map(words::duration)))
                            (number(item.slot.map(f64::from), item.slot.map(|slot| slot.to_string())))
                            (number(item.peak_rss.map(|bytes| bytes as f64), item.peak_rss.map(words::size)))
                        }
                    }
                }
            }
        }
    }
}

/// Items that failed alike, with the first of them.
pub(crate) fn cause(cause: &Cause, is_first: bool) -> Markup {
    let indices: Vec<String> = cause.indices.iter().map(|index| words::grouped(*index)).collect();
    let more = cause.items - cause.indices.len() as u64;
    html! {
        details class="cause" open[is_first] {
            summary {
                span class="count" { (words::grouped(cause.items)) }
                " " (outcome(&cause.outcome)) " "
                span class="error" { (Foreign(first_line(&cause.error))) }
            }
            p class="indices" {
                @if cause.items == 1 { "Item " } @else { "Items " }
                (indices.join("; "))
                @if more > 0 { " and " (words::grouped(more)) " more" }
            }
            @if let Some(item) = &cause.example { (example(item)) }
        }
    }
}

fn example(item: &Item) -> Markup {
    let text = |name: &str, text: Option<&str>| {
        html! {
            @if let Some(text) = text.map(str::trim_end).filter(|text| !text.is_empty()) {
                dt { (name) }
                dd { pre { (cut(text, TEXT_MAX)) } }
            }
        }
    };
    html! {
        h4 { "For example item " (words::grouped(item.index)) }
        dl {
            @if let Some(args) = &item.args { dt { "arguments" } dd { code { (cut(args, ARGS_MAX)) } } }
            (text("error", item.error.as_deref()))
            dt { "its last start" }
            dd {
                "attempt " (item.attempts)
                @if let Some(slot) = item.slot { ", worker " (slot) }
                @if let Some(pid) = item.pid { ", process " (pid) }
                @if let Some(wall) = item.wall { ", ran for " (words::duration(wall.as_secs_f64())) }
                @if let Some(peak) = item.peak_rss { ", had " (words::size(peak)) " of memory at most" }
                @if let Some(exit) = item.exit { ", exit status " (exit) }
                @if let Some(signal) = item.signal { ", killed by " (signal_name(signal)) }
            }
            (text("last on stderr", item.stderr_tail.as_deref()))
            (text("backtrace", item.backtrace.as_deref()))
            @if let Some(line) = &item.reproduce {
                dt { "reproduce" }
                dd { pre class="command" { (Foreign(line)) } }
            }
        }
    }
}

/// An outcome with its mark, so that colour is not all that tells it.
pub(crate) fn outcome(word: &str) -> Markup {
    html! {
        span class=(format!("outcome {}", Kind::of(word).class())) {
            (swatch(Kind::of(word))) (Foreign(&words::outcome(word)))
        }
    }
}

/// The colour and the pattern of a kind.
pub(crate) fn swatch(kind: Kind) -> Markup {
    html! {
        svg class="swatch" viewBox="0 0 12 12" aria-hidden="true" {
            rect class=(kind.class()) width="12" height="12" rx="2" {}
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A text of others, cut where it is long.
pub(crate) fn cut(text: &str, bytes_max: usize) -> Markup {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    html! {
        (Foreign(&text[..end]))
        @if end < text.len() { span class="cut" { " … " (words::counted((text.len() - end) as u64, "byte")) " more" } }
    }
}
