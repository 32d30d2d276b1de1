//! The workers' lanes: each item as a bar where they are few, how busy a worker was where they are many.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maud::{Markup, html};

use crate::axis::Axis;
use crate::figure::{self, Frame, n};
use crate::foreign::Foreign;
use crate::kind::Kind;
use crate::lanes::{Lane, Lanes, Life};
use crate::words;

/// Lanes together are about so high.
const HEIGHT: f64 = 620.0;
const PITCH_MAX: f64 = 34.0;
const PITCH_MIN: f64 = 5.0;
/// A lane's name needs so much.
const NAME: f64 = 19.0;
/// More deaths than this are drawn together where they are close.
const DEATHS_MAX: usize = 1_500;
const DEATHS_TOGETHER_BINS: usize = 6;

/// Draws the lanes.
pub(crate) fn draw(lanes: &Lanes, axis: &Axis) -> Markup {
    let count = lanes.lanes.len().max(1) as f64;
    let pitch = (HEIGHT / count).clamp(PITCH_MIN, PITCH_MAX);
    let frame = Frame::timed(pitch * count);
    let each = (NAME / pitch).ceil() as usize;
    let thick = pitch - (pitch * 0.22).clamp(0.8, 6.0);
    let row = |lane: usize| Row { top: frame.top + lane as f64 * pitch + (pitch - thick) / 2.0, thick };
    let deaths: u64 = lanes.lanes.iter().map(|lane| lane.deaths).sum();
    let workers = words::counted(lanes.lanes.iter().map(|lane| lane.group.slots as u64).sum(), "worker");
    let lives = match deaths {
        _ if lanes.has_agents => "when its agent was there, and when it ran items".to_owned(),
        0 => "when its processes lived and ran items; none died".to_owned(),
        deaths => format!(
            "when its processes lived, when they ran items, and where they died ({})",
            words::counted(deaths, "death")
        ),
    };
    let about = format!("A lane for each of {workers}: {lives}. The table below has the same in numbers.");
    figure::svg(
        &frame,
        "Workers over time",
        &about,
        html! {
            (figure::time_axis(&frame, axis))
            @if lanes.has_lives {
                @for life in &lanes.lives {
                    g class="bin" {
                        title {
                            (Foreign(&life.who))
                            @if let Some(death) = &life.death { ", " (death) }
                        }
                        (row(life.lane).block(&frame, life.left, life.right, "life"))
                    }
                }
            }
            @for (at, lane) in lanes.lanes.iter().enumerate() {
                @let row = row(at);
                @if at % each == 0 {
                    text class="tick" x=(n(frame.x(0.0) - 10.0)) y=(n(row.middle())) dy=".35em" text-anchor="end" {
                        (Foreign(&lane.group.label))
                    }
                }
                g class="lane" {
                    title { (Foreign(&summary(lane, axis))) }
                    @if !lanes.has_lives && lane.processes > 0 {
                        @for piece in axis.pieces() { (row.block(&frame, piece.left, piece.right, "life")) }
                    }
                    @if !lanes.has_bars {
                        path class="value" d=(busy(lanes, lane, axis, &frame, &row)) {}
                        @for kind in [Kind::Failed, Kind::Lost, Kind::Absent] {
                            @let ticks = ticks(lanes, lane, axis, &frame, &row, kind);
                            @if !ticks.is_empty() { path class=(format!("{} ticks", kind.class())) d=(ticks) {} }
                        }
                    }
                }
            }
            @for bar in &lanes.bars {
                g class="bin" {
                    title {
                        "item " (words::grouped(bar.index)) ": " (Foreign(&words::outcome(&bar.outcome))) ", ran for "
                        (words::duration(bar.wall_s)) " from " (words::duration(bar.after_s)) " on"
                        @if bar.attempts > 1 { ", attempt " (bar.attempts) }
                    }
                    (row(bar.lane).item(&frame, bar.left, bar.right, Kind::of(&bar.outcome).class()))
                }
            }
            @for (life, count) in marks(&lanes.lives) {
                g class="bin" {
                    title {
                        @if count > 1 { (words::grouped(count)) " died, first " }
                        (Foreign(&life.who)) ": " (life.death.as_deref().unwrap_or("died"))
                    }
                    @let cross = cross(frame.x(life.right), row(life.lane).middle(), thick);
                path class="halo" d=(cross) {}
                path class="death" d=(cross) {}
                }
            }
        },
    )
}

/// A lane's place from top to bottom.
struct Row {
    top: f64,
    thick: f64,
}

impl Row {
    fn middle(&self) -> f64 {
        self.top + self.thick / 2.0
    }

    fn block(&self, frame: &Frame, left: f64, right: f64, class: &str) -> Markup {
        let (left, right) = (frame.x(left), frame.x(right));
        html! {
            rect class=(class) x=(n(left)) y=(n(self.top)) width=(n((right - left).max(1.0)))
                height=(n(self.thick)) rx="3" {}
        }
    }

    /// A bar with a line of background to the next.
    fn item(&self, frame: &Frame, left: f64, right: f64, class: &str) -> Markup {
        let (left, right) = (frame.x(left), frame.x(right));
        let width = right - left;
        let gap = if width > 4.0 { 0.8 } else { 0.0 };
        let inset = self.thick * 0.14;
        html! {
            rect class=(class) x=(n(left)) y=(n(self.top + inset)) width=(n((width - gap).max(0.8)))
                height=(n(self.thick - 2.0 * inset)) {}
        }
    }
}

/// The outline of how busy a lane was.
fn busy(lanes: &Lanes, lane: &Lane, axis: &Axis, frame: &Frame, row: &Row) -> String {
    let mut path = String::new();
    for run in lanes.bins.runs(axis) {
        let whole = run.seconds() * lane.group.slots as f64;
        let bins = run.all().map(|bin| {
            let (left, right) = run.edges(bin);
            let share = (f64::from(lane.busy[bin]) / whole).min(1.0);
            // In steps of a fiftieth of the lane: a shorter page, and nobody sees the difference.
            let share = (share * 50.0).ceil() / 50.0;
            (frame.x(left), frame.x(right), share * row.thick)
        });
        path.push_str(&figure::steps(row.top + row.thick, bins));
    }
    path
}

/// A tick for every piece of time in which an item ended so.
fn ticks(lanes: &Lanes, lane: &Lane, axis: &Axis, frame: &Frame, row: &Row, kind: Kind) -> String {
    let mut path = String::new();
    for run in lanes.bins.runs(axis) {
        for bin in run.all().filter(|bin| lane.worst[*bin] == Some(kind)) {
            let (left, right) = run.edges(bin);
            let x = n(frame.x((left + right) / 2.0));
            let _ = write!(path, "M{x} {}V{}", n(row.top), n(row.top + row.thick));
        }
    }
    path
}

/// The share of its time in which a lane ran items.
pub(crate) fn share_busy(lane: &Lane, axis: &Axis) -> f64 {
    let time: f64 = axis.pieces().iter().map(|piece| piece.span.seconds()).sum();
    (lane.busy_s / (time * lane.group.slots as f64).max(f64::MIN_POSITIVE)).min(1.0)
}

fn summary(lane: &Lane, axis: &Axis) -> String {
    let mut text = format!(
        "{}: {}, busy for {}",
        lane.group.name,
        words::counted(lane.items, "item"),
        words::percent(share_busy(lane, axis))
    );
    if lane.without > 0 {
        let _ = write!(text, ", {} without a value", words::grouped(lane.without));
    }
    if lane.processes > 1 {
        let _ = write!(text, ", {} processes", words::grouped(lane.processes));
    }
    if lane.deaths > 0 {
        let _ = write!(text, ", {}", words::counted(lane.deaths, "death"));
    }
    text
}

/// The deaths to draw, each with how many it stands for.
fn marks(lives: &[Life]) -> Vec<(&Life, u64)> {
    let dead = || lives.iter().filter(|life| life.death.is_some());
    let together = if dead().count() > DEATHS_MAX { DEATHS_TOGETHER_BINS } else { 1 };
    let mut marks: BTreeMap<(usize, usize), (&Life, u64)> = BTreeMap::new();
    for life in dead() {
        marks.entry((life.lane, life.bin / together)).or_insert((life, 0)).1 += 1;
    }
    marks.into_values().collect()
}

fn cross(x: f64, y: f64, thick: f64) -> String {
    let arm = (thick * 0.3).clamp(2.2, 5.5);
    let (left, right, top, bottom) = (n(x - arm), n(x + arm), n(y - arm), n(y + arm));
    format!("M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}")
}

/// What the lanes say, as a table: worker, processes, deaths, items, without a value, busy.
pub(crate) fn rows(lanes: &Lanes, axis: &Axis) -> Vec<[String; 6]> {
    let row = |lane: &Lane| {
        [
            lane.group.name.clone(),
            if lane.processes > 0 { words::grouped(lane.processes) } else { "–".to_owned() },
            words::grouped(lane.deaths),
            words::grouped(lane.items),
            words::grouped(lane.without),
            words::percent(share_busy(lane, axis)),
        ]
    };
    lanes.lanes.iter().map(row).collect()
}
