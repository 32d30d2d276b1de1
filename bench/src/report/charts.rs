//! The result as bars: ours, the limits and the peers of each case below each other, as SVG.
//!
//! The ground is light and opaque, so that the charts read the same on a dark page.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Report;
use crate::plan::Row;
use crate::results::{By, Entry};

const GROUND: RGBColor = RGBColor(252, 252, 250);
const INK: RGBColor = RGBColor(34, 40, 49);
const OURS: RGBColor = RGBColor(0, 98, 155);
const LIMIT: RGBColor = RGBColor(140, 146, 154);
const PEER: RGBColor = RGBColor(226, 146, 62);

const WIDTH: i32 = 860;
const BAR: i32 = 20;
const GAP: i32 = 14;
const HEADING: i32 = 24;
const MARGIN: i32 = 16;
const TITLE: i32 = 44;
/// Where bars begin: left of it are the names.
const LEFT: i32 = 200;
/// Bars end here: right of it there is room for their figures.
const RIGHT: i32 = WIDTH - 110;
/// Bars that differ by more would not both be seen.
const LINEAR_RATIO_MAX: f64 = 20.0;

/// The chart's file, what it is about, and its cases.
const CHARTS: [(&str, &str, &[&str]); 4] = [
    ("dispatch.svg", "What one small item costs (less is better)", &["B1", "B2", "B3", "B4", "B5"]),
    (
        "payload.svg",
        "How fast bytes reach a worker (more is better), and what it costs to share them",
        &["B6", "B7", "B8"],
    ),
    ("processes.svg", "Starting workers, surviving crashes, running commands", &["B10", "B12", "B14"]),
    ("workers.svg", "More workers: speed-up, schedule, the master's cost", &["B9", "B11", "B13"]),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A row's bars.
struct Group {
    heading: String,
    bars: Vec<Bar>,
}

struct Bar {
    name: String,
    value: f64,
    label: String,
    color: RGBColor,
}

/// The charts that something was measured for, each with its file's name.
pub(super) fn charts(report: &Report) -> Result<Vec<(&'static str, String)>, Box<dyn Error>> {
    let mut charts = Vec::new();
    for (file, title, cases) in CHARTS {
        let groups: Vec<Group> = report
            .lines()
            .filter(|(row, _)| cases.contains(&row.case()))
            .map(|(row, entry)| group(row, entry))
            .collect();
        if !groups.is_empty() {
            charts.push((file, draw(title, &groups)?));
        }
    }
    Ok(charts)
}

/// Ours first, then the limits, then the peers, the best first.
fn group(row: &Row, entry: &Entry) -> Group {
    let mut bars: Vec<(u8, Bar)> = entry
        .series
        .iter()
        .map(|series| {
            let (rank, name, color) = match &series.by {
                By::Ours => (0, "Procession", OURS),
                By::Limit(name) => (1, name.as_str(), LIMIT),
                By::Peer(name) => (2, name.as_str(), PEER),
            };
            let value = series.spread().median;
            (rank, Bar { name: name.to_owned(), value, label: row.unit.show(value), color })
        })
        .collect();
    bars.sort_by(|(a_rank, a), (b_rank, b)| {
        let by_value =
            if row.unit.is_cost() { a.value.total_cmp(&b.value) } else { b.value.total_cmp(&a.value) };
        a_rank.cmp(b_rank).then(by_value)
    });
    let variant = if entry.variant.is_empty() { String::new() } else { format!(": {}", entry.variant) };
    let heading = format!("{} {}{variant}", row.case(), row.title);
    Group { heading, bars: bars.into_iter().map(|(_, bar)| bar).collect() }
}

fn draw(title: &str, groups: &[Group]) -> Result<String, Box<dyn Error>> {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = TITLE + MARGIN + i32::try_from(bars)? * BAR + i32::try_from(groups.len())? * (HEADING + GAP);
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&GROUND)?;
        write(&area, title, (MARGIN, TITLE / 2), 18.0, HPos::Left)?;
        let mut top = TITLE;
        for group in groups {
            let scale = if is_logarithmic(group) { " (logarithmic)" } else { "" };
            let heading = format!("{}{scale}", group.heading);
            write(&area, &heading, (MARGIN, top + HEADING / 2), 14.0, HPos::Left)?;
            top += HEADING;
            let lengths = lengths(group);
            for (bar, length) in group.bars.iter().zip(lengths) {
                let middle = top + BAR / 2;
                write(&area, &bar.name, (LEFT - 8, middle), 12.0, HPos::Right)?;
                let corners = [(LEFT, top + 3), (LEFT + length, top + BAR - 3)];
                area.draw(&Rectangle::new(corners, bar.color.filled()))?;
                write(&area, &bar.label, (LEFT + length + 6, middle), 12.0, HPos::Left)?;
                top += BAR;
            }
            top += GAP;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Pixels of each bar. Where the largest is far larger than the smallest, each ten times is the same distance: the
/// smallest has as much as one such step. The heading says so.
fn lengths(group: &Group) -> Vec<i32> {
    let (least, most) = least_and_most(group);
    let room = f64::from(RIGHT - LEFT);
    let share = |value: f64| match is_logarithmic(group) {
        true => (value / least * 10.0).log10() / (most / least * 10.0).log10(),
        false => value / most,
    };
    group.bars.iter().map(|bar| (share(bar.value) * room).round().max(1.0) as i32).collect()
}

fn is_logarithmic(group: &Group) -> bool {
    let (least, most) = least_and_most(group);
    least > 0.0 && most / least > LINEAR_RATIO_MAX
}

fn least_and_most(group: &Group) -> (f64, f64) {
    let values = || group.bars.iter().map(|bar| bar.value);
    (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: f64, side: HPos) -> Result<(), Box<dyn Error>> {
    let style = ("sans-serif", size).into_text_style(area).color(&INK).pos(Pos::new(side, VPos::Center));
    area.draw_text(text, &style, at)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Measurement, Results};

    fn bars(values: &[f64]) -> Group {
        let bar = |&value: &f64| Bar { name: String::new(), value, label: String::new(), color: OURS };
        Group { heading: String::new(), bars: values.iter().map(bar).collect() }
    }

    #[test]
    fn bars_are_as_long_as_their_values_or_their_logarithms() {
        let room = RIGHT - LEFT;
        assert_eq!(lengths(&bars(&[1.0, 2.0])), [room / 2, room]);
        let third = |times: i32| (f64::from(room * times) / 3.0).round() as i32;
        assert_eq!(lengths(&bars(&[1.0, 10.0, 100.0])), [third(1), third(2), room]);
    }

    #[test]
    fn a_chart_names_what_it_shows() {
        let mut results = Results::default();
        results.record(0, Measurement::ours("B1", 6_000.0));
        results.record(0, Measurement::limit("B1", "ipc-channel ping-pong", 3_000.0));
        let charts = charts(&Report { results, passes: 1, ..Report::default() }).expect("it is drawn");
        let [("dispatch.svg", svg)] = charts.as_slice() else { panic!("one case, one chart: {charts:?}") };
        for text in ["Procession", "6.00 µs", "ipc-channel ping-pong", "B1 apply, round trip"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }
}
