//! `scale`: one job with several numbers of workers and several calls, how long each takes, and the figure of it.
//!
//! This file owns the order of things: everything is read, checked and opened before the first worker starts.

mod measure;
mod plot;
mod sameness;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::measure::measure;
use self::plot::Plot;
use self::sameness::{Outcome, differs};
use crate::cli::Scale;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::job::{Call, Job, WorkerOutput, mixes};
use crate::output::Sink;
use crate::signals::{self, Watch};
use crate::spec::{self, units};
use crate::summary::counted;
use crate::terminal;

/// One call with one number of workers, and how long it took each time.
pub(crate) struct Series {
    pub(crate) call: Call,
    pub(crate) workers: usize,
    pub(crate) times: Vec<Duration>,
}

impl Series {
    /// The median: one disturbed run does not move it.
    pub(crate) fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let middle = times.len() / 2;
        if times.len().is_multiple_of(2) { (times[middle - 1] + times[middle]) / 2 } else { times[middle] }
    }
}

/// A line of the table, a point of the figure.
pub(crate) struct Point<'a> {
    pub(crate) series: &'a Series,
    /// How many times faster than the same call with the fewest workers, times the number of those.
    pub(crate) speed_up: f64,
}

impl Point<'_> {
    /// The part of the ideal speed-up that was reached.
    pub(crate) fn efficiency(&self) -> f64 {
        self.speed_up / self.series.workers as f64
    }
}

/// Measures, prints the table, draws the figure.
pub(crate) fn scale(command: &Scale) -> Result<Ending, Stop> {
    let quiet = command.quiet;
    let workers = worker_counts(&command.workers);
    let calls = calls(command)?;
    let mut jobs = Vec::new();
    for &call in &calls {
        for &workers in &workers {
            jobs.push(job(&command.spec, &command.set, call, workers)?);
        }
    }
    // Each has the same input.
    jobs[0].remark();
    let plots = command.plot.iter().map(|path| Plot::open(path)).collect::<Result<Vec<_>, _>>()?;
    let watch = Watch::start().map_err(|error| {
        Stop::Broken(format!("cannot watch for signals: {}", crate::output::reason(&error)))
    })?;

    jobs[0].caution().iter().for_each(|caution| terminal::say_warning(caution));
    let mut all: Vec<Series> = jobs
        .iter()
        .map(|job| Series { call: job.call, workers: job.pool.workers(), times: Vec::new() })
        .collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut differing = false;
    // Round by round, so that whatever slows the machine for a while slows all of them.
    for round in 1..=command.repeat {
        for (job, series) in jobs.iter().zip(&mut all) {
            let (time, outcome) = measure(job, &watch)?;
            if let Some(signal) = watch.signal() {
                terminal::say_warning(&format!("{}: stopped before all was measured", signals::name(signal)));
                return Ok(Ending::Signalled(signal));
            }
            series.times.push(time);
            let what = format!("{} with {}", job.call.name(), counted(series.workers as u64, "worker"));
            if !quiet {
                let took = units::show(time);
                terminal::say(&format!("round {round} of {}: {what}: {took}", command.repeat));
            }
            if outcome.failures > 0 {
                let failures = counted(outcome.failures, "item");
                terminal::say_warning(&format!(
                    "{what}: {failures} without a value, so its time is not that of the whole job"
                ));
            }
            if let Some(why) = outcomes.first().and_then(|first| differs(first, &outcome)) {
                differing = true;
                terminal::say_warning(&format!("{what} differs from the first run: {why}"));
            }
            outcomes.push(outcome);
        }
    }
    if outcomes.iter().any(|outcome| !outcome.is_comparable_to(&outcomes[0])) {
        terminal::say_warning(
            "the items depend on the number of workers, so values were counted and not compared; a `reduce` in the job \
             would be",
        );
    }
    let points = points(&all);
    let mut stdout = Sink::stdout();
    stdout.write(table::render(&points).as_bytes())?;
    stdout.flush()?;
    for plot in plots {
        plot.draw(&jobs[0].name, &points)?;
    }
    let is_whole = !differing && outcomes.iter().all(|outcome| outcome.failures == 0);
    Ok(if is_whole { Ending::Complete } else { Ending::Incomplete })
}

/// In order, each once; 1, 2, 4, … up to the usable cores if nothing was said.
fn worker_counts(said: &[usize]) -> Vec<usize> {
    let cores = procession::cpu_count();
    let mut counts = said.to_vec();
    if counts.is_empty() {
        counts = std::iter::successors(Some(1), |count| Some(2 * count)).take_while(|&n| n < cores).collect();
        counts.push(cores);
    }
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// Each once; the job's own if nothing was said.
fn calls(command: &Scale) -> Result<Vec<Call>, Stop> {
    if command.calls.is_empty() {
        return Ok(vec![spec::read(&command.spec, &command.set, |_| ())?.call]);
    }
    let mut calls = Vec::new();
    for &call in &command.calls {
        if !calls.contains(&call) {
            calls.push(call);
        }
    }
    Ok(calls)
}

/// The job with that call and that many workers, checked as `run` would check it.
fn job(path: &Path, assignments: &[String], call: Call, workers: usize) -> Result<Job, Stop> {
    let mut assignments = assignments.to_vec();
    assignments.push(format!("call=\"{}\"", call.name()));
    let job = spec::read(path, &assignments, |pool| pool.workers = Some(workers))?;
    if !job.source.is_repeatable() {
        let refusal = Diagnostic::new("standard input can be read only once, and every run needs the items");
        return Err(refusal.help("name a file as the input").into());
    }
    if job.pool.output == WorkerOutput::Inherit {
        // The table is on stdout.
        return Err(mixes().into());
    }
    job.source.check(job.task, false)?;
    Ok(job)
}

fn points(all: &[Series]) -> Vec<Point<'_>> {
    let speed_up = |series: &Series| {
        let base = all.iter().find(|base| base.call == series.call).unwrap_or(series);
        base.median().as_secs_f64() / series.median().as_secs_f64().max(1e-9) * base.workers as f64
    };
    all.iter().map(|series| Point { series, speed_up: speed_up(series) }).collect()
}

/// Where a plot goes, for those who read the command line.
pub(crate) fn plot_path(text: &str) -> Result<PathBuf, String> {
    match plot::Kind::of(text) {
        Some(_) => Ok(PathBuf::from(text)),
        None => Err("a figure is an .svg or a .png file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(call: Call, workers: usize, millis: &[u64]) -> Series {
        Series { call, workers, times: millis.iter().map(|&ms| Duration::from_millis(ms)).collect() }
    }

    #[test]
    fn the_median_is_no_mean() {
        assert_eq!(series(Call::Map, 1, &[900, 10, 20]).median(), Duration::from_millis(20));
        assert_eq!(series(Call::Map, 1, &[40, 10, 20, 900]).median(), Duration::from_millis(30));
    }

    #[test]
    fn speed_up_is_measured_against_the_same_call_with_the_fewest_workers() {
        let all = [
            series(Call::Map, 2, &[1_500]),
            series(Call::Map, 4, &[1_000]),
            series(Call::ApplyAsync, 2, &[800]),
            series(Call::ApplyAsync, 4, &[400]),
        ];
        let found: Vec<(f64, f64)> = points(&all).iter().map(|p| (p.speed_up, p.efficiency())).collect();
        assert_eq!(found, [(2.0, 1.0), (3.0, 0.75), (2.0, 1.0), (4.0, 1.0)]);
    }

    #[test]
    fn worker_counts_are_sorted_and_distinct() {
        assert_eq!(worker_counts(&[4, 1, 4, 2]), [1, 2, 4]);
        assert_eq!(worker_counts(&[])[0], 1);
        assert_eq!(worker_counts(&[]).last(), Some(&procession::cpu_count()));
    }
}
