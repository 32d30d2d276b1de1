//! How long items ran, as a histogram: by order of magnitude where they differ much.

use maud::{Markup, html};
use procession_store::Brief;

use crate::axis::nice;
use crate::figure::{self, Frame};
use crate::kind::Kind;
use crate::quantiles::Quantiles;
use crate::words;

/// Times that differ by more than this factor are drawn by order of magnitude.
const LOG_FROM: f64 = 25.0;
/// Counts that differ by more than this factor as well.
const LOG_COUNT_FROM: f64 = 200.0;
const HEIGHT: f64 = 250.0;
/// Below it nothing is measured, so that a time of 0 has a place among orders of magnitude.
const SHORTEST_S: f64 = 1e-9;

/// Run times, counted.
pub(crate) struct RunTimes {
    quantiles: Quantiles,
    scale: Scale,
    /// Items, and those of them without a value.
    bins: Vec<(u64, u64)>,
}

/// Where a run time is from left to right.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    fn share(&self, seconds: f64) -> f64 {
        let share = if self.is_log {
            (seconds.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (seconds - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }

    fn seconds(&self, share: f64) -> f64 {
        if self.is_log {
            self.from * (self.to / self.from).powf(share)
        } else {
            self.from + share * (self.to - self.from)
        }
    }

    /// Round run times, with how far apart they are.
    fn ticks(&self) -> Vec<(f64, String)> {
        if !self.is_log {
            let step = nice((self.to - self.from) / 7.0);
            let first = (self.from / step).ceil() as i64;
            let last = (self.to / step).floor() as i64;
            return (first..=last)
                .map(|tick| tick as f64 * step)
                .map(|at| (at, words::tick(at, step)))
                .collect();
        }
        let decades = (self.to / self.from).log10();
        let factors: &[f64] = match decades {
            d if d > 4.5 => &[1.0],
            d if d > 2.2 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        // Seconds and less by tens; minutes, hours and days as people count them.
        let decimal = (-9..2).flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        let larger = [60.0, 600.0, 3_600.0, 36_000.0, 86_400.0, 864_000.0, 8_640_000.0];
        let larger = larger.into_iter().flat_map(|unit| factors.iter().map(move |factor| factor * unit));
        let all = decimal.filter(|at| *at < 60.0).chain(larger);
        let mut ticks: Vec<f64> =
            all.filter(|at| *at >= self.from * 0.999 && *at <= self.to * 1.001).collect();
        ticks.dedup_by(|next, last| (*next / *last).log10() < decades / 16.0);
        ticks.into_iter().map(|at| (at, words::brief(at))).collect()
    }
}

impl RunTimes {
    pub(crate) fn new(quantiles: Quantiles) -> RunTimes {
        let (least, most) = quantiles.range().unwrap_or((0.0, 1.0));
        let is_log = most / least.max(SHORTEST_S) > LOG_FROM && quantiles.total() > 4;
        let scale = if is_log {
            Scale { from: least.max(SHORTEST_S), to: most, is_log }
        } else {
            let room = ((most - least) * 0.02).max(most * 0.02).max(SHORTEST_S);
            Scale { from: (least - room).max(0.0), to: most + room, is_log }
        };
        let count = ((quantiles.total() as f64).sqrt() * 2.0).clamp(8.0, 72.0) as usize;
        RunTimes { quantiles, scale, bins: vec![(0, 0); count] }
    }

    /// Takes an item in.
    pub(crate) fn add(&mut self, item: &Brief<'_>) {
        let Some(wall) = item.wall_s else { return };
        let bin = (self.scale.share(wall) * self.bins.len() as f64) as usize;
        let last = self.bins.len() - 1;
        let (all, without) = &mut self.bins[bin.min(last)];
        *all += 1;
        *without += u64::from(Kind::of(item.outcome) != Kind::Value);
    }

    /// Items with a run time on record.
    pub(crate) fn total(&self) -> u64 {
        self.quantiles.total()
    }

    /// What to say beside it: name and run time.
    pub(crate) fn figures(&self) -> Vec<(&'static str, f64)> {
        let Some((least, most)) = self.quantiles.range() else { return Vec::new() };
        let at = |share| self.quantiles.at(share).unwrap_or(most);
        vec![
            ("shortest", least),
            ("median", at(0.5)),
            ("95 %", at(0.95)),
            ("99 %", at(0.99)),
            ("longest", most),
        ]
    }

    pub(crate) fn draw(&self) -> Markup {
        let counts =
            || self.bins.iter().flat_map(|(all, without)| [*all, *without]).filter(|count| *count > 0);
        let most = counts().max().unwrap_or(1) as f64;
        let is_log = most / counts().min().unwrap_or(1) as f64 > LOG_COUNT_FROM;
        let step = nice((most / 4.0).max(1.0));
        let top = (most / step).ceil() * step;
        // One item has a height, too.
        let height =
            |count: f64| if is_log { (count * 2.0).log10() / (most * 2.0).log10() } else { count / top };
        let frame = Frame::plain(HEIGHT);
        let figures = self.figures();
        let median = figures.get(1).map_or(0.0, |(_, seconds)| *seconds);
        let about = format!(
            "Histogram of the run times of {}; the median is {}.",
            words::counted(self.total(), "item"),
            words::duration(median)
        );
        let width = 1.0 / self.bins.len() as f64;
        let counts_marked: Vec<_> = powers(most).map(|at| (height(at), words::grouped(at as u64))).collect();
        let times_marked: Vec<_> =
            self.scale.ticks().into_iter().map(|(at, text)| (self.scale.share(at), text)).collect();
        let unit = if self.scale.is_log { "run time, log scale" } else { "run time" };
        figure::svg(
            &frame,
            "Run times",
            &about,
            html! {
                @if is_log {
                    (figure::y_marks(&frame, &counts_marked, "items (log)"))
            } @else {
                    (figure::y_grid(&frame, step, top, |count| words::grouped(count as u64), "items"))
                }
                (figure::x_marks(&frame, &times_marked, unit))
            @for (bin, &(all, without)) in self.bins.iter().enumerate().filter(|(_, (all, _))| *all > 0) {
                    @let (left, right) = (bin as f64 * width, (bin + 1) as f64 * width);
                    g class="bin" {
                        title {
                            (words::counted(all, "item")) " ran for "
                            (words::duration(self.scale.seconds(left))) " to " (words::duration(self.scale.seconds(right)))
                            @if without > 0 { ", " (words::grouped(without)) " of them without a value" }
                        }
                        (figure::bar(&frame, left, right, 0.0, height(all as f64), "value"))
                        @if without > 0 {
                            (figure::bar(&frame, left, right, 0.0, height(without as f64), "failed"))
                        }
                    }
                }
                @for (row, (name, seconds)) in figures.iter().skip(1).take(3).enumerate() {
                    (figure::mark(&frame, self.scale.share(*seconds), row, &format!("{name} {}", words::duration(*seconds))))
                }
            },
        )
    }

    /// The same as a table: from, to, items, those without a value.
    pub(crate) fn rows(&self) -> Vec<[String; 4]> {
        let width = 1.0 / self.bins.len() as f64;
        let edge = |bin: usize| words::duration(self.scale.seconds(bin as f64 * width));
        let filled = self.bins.iter().enumerate().filter(|(_, (all, _))| *all > 0);
        filled
            .map(|(bin, (all, without))| {
                [edge(bin), edge(bin + 1), words::grouped(*all), words::grouped(*without)]
            })
            .collect()
    }
}

/// 1, 10, 100, … up to a number.
fn powers(most: f64) -> impl Iterator<Item = f64> {
    (0..18).map(|power| 10_f64.powi(power)).take_while(move |power| *power <= most)
}
