//! How many items ended in each piece of time.

use maud::{Markup, html};
use procession_store::Brief;

use crate::axis::{Axis, Bins, nice};
use crate::figure::{self, Frame};
use crate::kind::Kind;
use crate::words;

/// Items that ended, by time.
pub(crate) struct Throughput {
    bins: Bins,
    /// Items with a value and without one, in each bin.
    ended: Vec<(u64, u64)>,
    unplaced: u64,
}

const HEIGHT: f64 = 210.0;

impl Throughput {
    /// `items` is how many there are: few items make a few wide bins.
    pub(crate) fn new(axis: &Axis, items: u64) -> Throughput {
        let bins = Bins::new(axis, ((items as f64).sqrt() * 2.5).clamp(12.0, 150.0) as usize);
        Throughput { ended: vec![(0, 0); bins.len()], bins, unplaced: 0 }
    }

    /// Takes an item in.
    pub(crate) fn add(&mut self, axis: &Axis, item: &Brief<'_>) {
        let end = item.started_at.map(|start| start + item.wall_s.unwrap_or(0.0));
        let bin = end.and_then(|end| self.bins.at(axis, item.session, end));
        let Some((values, without)) = bin.map(|bin| &mut self.ended[bin]) else {
            self.unplaced += 1;
            return;
        };
        let counter = if Kind::of(item.outcome) == Kind::Value { values } else { without };
        *counter += 1;
    }

    /// Items without a start on record.
    pub(crate) fn unplaced(&self) -> u64 {
        self.unplaced
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ended.iter().all(|ended| *ended == (0, 0))
    }

    pub(crate) fn draw(&self, axis: &Axis) -> Markup {
        let runs = || self.bins.runs(axis).flat_map(|run| run.all().map(move |bin| (run, bin)));
        let a_second = |count: u64, seconds: f64| count as f64 / seconds;
        let most = runs()
            .map(|(run, bin)| a_second(self.ended[bin].0 + self.ended[bin].1, run.seconds()))
            .fold(0.0, f64::max);
        let frame = Frame::timed(HEIGHT);
        let step = nice(most / 4.0);
        let top = (most / step).ceil() * step;
        let most_words = words::rate(most);
        figure::svg(
            &frame,
            "Throughput over time",
            &format!(
                "Items that ended per second over the time of the run; the most was {most_words} a second."
            ),
            html! {
                (figure::y_grid(&frame, step, top, |rate| words::round(words::rate(rate)), "items/s"))
                (figure::time_axis(&frame, axis))
                @for (run, bin) in runs() {
                    @let (values, without) = self.ended[bin];
                    @if values + without > 0 {
                        @let (left, right) = run.edges(bin);
                        @let of_values = a_second(values, run.seconds()) / top;
                        @let of_all = a_second(values + without, run.seconds()) / top;
                        g class="bin" {
                            title {
                                (words::counted(values + without, "item")) " ended in "
                                (words::duration(run.seconds())) ": "
                                (words::rate(a_second(values + without, run.seconds()))) " a second"
                                @if without > 0 { ", " (words::grouped(without)) " without a value" }
                            }
                            (figure::bar(&frame, left, right, 0.0, of_values, "value"))
                            @if without > 0 {
                                // Few among many must still be seen.
                                (figure::bar(&frame, left, right, of_values, of_all.max(of_values + 0.012), "failed"))
                            }
                        }
                    }
                }
            },
        )
    }

    /// The same as a table: session, from, to, items with a value, without one, a second.
    pub(crate) fn rows(&self, axis: &Axis) -> Vec<[String; 5]> {
        let rows = self.bins.runs(axis).flat_map(|run| {
            run.all().map(move |bin| {
                let (values, without) = self.ended[bin];
                let from = (bin - run.first) as f64 * run.seconds();
                [
                    run.piece.span.session.to_string(),
                    words::duration(from),
                    words::grouped(values),
                    words::grouped(without),
                    words::rate((values + without) as f64 / run.seconds()),
                ]
            })
        });
        rows.collect()
    }
}
