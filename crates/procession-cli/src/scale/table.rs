//! What was measured, as a table: a line for each call and number of workers.

use std::fmt::Write as _;

use super::Point;
use crate::spec::units;

/// Lays the table out. Times are medians; `least` and `most` say how far the runs were apart.
pub(super) fn render(points: &[Point<'_>]) -> String {
    let mut table = String::new();
    let mut line = |call: &str, cells: [&str; 6]| {
        let [workers, time, least, most, speed_up, efficiency] = cells;
        let _ = writeln!(
            table,
            "{call:<14} {workers:>7} {time:>9} {least:>9} {most:>9} {speed_up:>8} {efficiency:>10}"
        );
    };
    line("call", ["workers", "time", "least", "most", "speed-up", "efficiency"]);
    for point in points {
        let series = point.series;
        let end = |time: Option<&std::time::Duration>| time.map_or(String::new(), |&time| units::show(time));
        line(
            series.call.name(),
            [
                &series.workers.to_string(),
                &units::show(series.median()),
                &end(series.times.iter().min()),
                &end(series.times.iter().max()),
                &format!("{:.2}", point.speed_up),
                &format!("{:.0} %", 100.0 * point.efficiency()),
            ],
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::Call;
    use crate::scale::Series;

    #[test]
    fn columns_stand_below_each_other() {
        let times = [500, 520, 480].map(Duration::from_millis).to_vec();
        let series = Series { call: Call::ApplyAsync, workers: 2, times };
        let shown = render(&[Point { series: &series, speed_up: 1.9 }]);
        assert_eq!(
            shown,
            "call           workers      time     least      most speed-up efficiency\n\
             apply_async          2    500 ms    480 ms    520 ms     1.90       95 %\n"
        );
    }
}
