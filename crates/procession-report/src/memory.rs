//! The most memory that each worker had, over time and in numbers.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::axis::{Axis, nice};
use crate::figure::{self, Frame, n};
use crate::foreign::Foreign;
use crate::lanes::{Lane, Lanes};
use crate::words;

const HEIGHT: f64 = 210.0;
/// As many workers have a line and a name of their own.
const NAMED_MAX: usize = 6;

/// Whether anything is known.
pub(crate) fn is_known(lanes: &Lanes) -> bool {
    lanes.lanes.iter().any(|lane| peak(lane) > 0)
}

/// Draws a line for each worker.
pub(crate) fn draw(lanes: &Lanes, axis: &Axis) -> Markup {
    let most = lanes.lanes.iter().map(peak).max().unwrap_or(0) as f64;
    let unit =
        [1_099_511_627_776.0, 1_073_741_824.0, 1_048_576.0, 1024.0].into_iter().find(|unit| most >= *unit);
    let unit = unit.unwrap_or(1.0);
    let step = nice(most / unit / 4.0) * unit;
    let top = (most / step).ceil() * step;
    let frame = Frame::timed(HEIGHT);
    let about = format!(
        "The most memory that each worker had until then; the largest had {}.",
        words::size(most as u64)
    );
    let largest = largest(lanes);
    // The one that is named lies on top of the others.
    let mut order: Vec<usize> = (0..lanes.lanes.len()).collect();
    order.sort_by_key(|lane| Some(*lane) == largest);
    figure::svg(
        &frame,
        "Memory of the workers over time",
        &about,
        html! {
            (figure::y_grid(&frame, step, top, |bytes| size_tick(bytes as u64), ""))
            (figure::time_axis(&frame, axis))
            @for lane in order {
                path class=(style(lanes, lane, largest)) d=(line(lanes, &lanes.lanes[lane], axis, &frame, top)) {}
            }
        },
    )
}

/// Which line is whose.
pub(crate) fn legend(lanes: &Lanes) -> Markup {
    let largest = largest(lanes);
    let entry = |class: &str, text: String| {
        html! {
            span class="key" {
                svg class="swatch wide" viewBox="0 0 30 12" aria-hidden="true" { path class=(class) d="M1 6H29" {} }
                (Foreign(&text))
            }
        }
    };
    html! {
        p class="legend" {
            @if lanes.lanes.len() <= NAMED_MAX {
                @for (at, lane) in lanes.lanes.iter().enumerate() {
                    @if peak(lane) > 0 { (entry(&style(lanes, at, largest), lane.group.name.clone())) }
                }
            } @else if let Some(at) = largest {
                @let (name, most) = (&lanes.lanes[at].group.name, words::size(peak(&lanes.lanes[at])));
                (entry("line line-1", format!("{name}, the largest: {most}")))
                (entry("line others", "the other workers".to_owned()))
            }
        }
    }
}

/// What the lines say, as a table: worker, processes, at first, at most, at the end. Whoever grows shows it there.
pub(crate) fn rows(lanes: &Lanes) -> Vec<[String; 5]> {
    let row = |lane: &Lane| {
        let known = || lane.peak_rss.iter().copied().filter(|bytes| *bytes > 0);
        let (first, last) = (known().next()?, known().next_back()?);
        let [first, most, last] = [first, peak(lane), last].map(words::size);
        Some([lane.group.name.clone(), words::grouped(lane.processes), first, most, last])
    };
    lanes.lanes.iter().filter_map(row).collect()
}

fn style(lanes: &Lanes, lane: usize, largest: Option<usize>) -> String {
    if lanes.lanes.len() <= NAMED_MAX {
        format!("line line-{lane}")
    } else if Some(lane) == largest {
        "line line-1".to_owned()
    } else {
        "line others".to_owned()
    }
}

fn largest(lanes: &Lanes) -> Option<usize> {
    // The first of equals.
    (0..lanes.lanes.len()).rev().max_by_key(|lane| peak(&lanes.lanes[*lane]))
}

fn peak(lane: &Lane) -> u64 {
    lane.peak_rss.iter().copied().max().unwrap_or(0)
}

fn line(lanes: &Lanes, lane: &Lane, axis: &Axis, frame: &Frame, top: f64) -> String {
    let mut path = String::new();
    for run in lanes.bins.runs(axis) {
        let mut last = None;
        for bin in run.all().filter(|bin| lane.peak_rss[*bin] > 0) {
            let (left, right) = run.edges(bin);
            let y = n(frame.y(lane.peak_rss[bin] as f64 / top));
            match &last {
                Some(at) if *at == y => {}
                Some(_) => drop(write!(path, "H{}V{y}", n(frame.x(left)))),
                None => drop(write!(path, "M{} {y}", n(frame.x(left)))),
            }
            let is_end = !(bin + 1..run.all().end).any(|bin| lane.peak_rss[bin] > 0);
            if is_end {
                let _ = write!(path, "H{}", n(frame.x(right)));
            }
            last = Some(y);
        }
    }
    path
}

fn size_tick(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { words::round(words::size(bytes)) }
}
