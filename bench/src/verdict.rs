//! Whether the targets are met. Pure: it judges what `results` holds.

use std::fmt;
use std::process::ExitCode;

use crate::plan::{Row, Target};
use crate::report::Report;
use crate::results::{Entry, Series};
use crate::unit::digits;

/// A target beside what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) target: Target,
    /// The figure, or the ratio, that the target is about; `None`: it could not be measured.
    pub(crate) measured: Option<f64>,
}

/// How a target came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// What it compares with is missing here, which is nobody's fault.
    NotJudged,
}

impl Judgement {
    pub(crate) fn verdict(&self) -> Verdict {
        let Some(measured) = self.measured else {
            return Verdict::NotJudged;
        };
        let is_met = match self.target {
            Target::AtMost(bound) | Target::AtMostLimitTimes(bound) | Target::AtMostAboveLimit(bound) => {
                measured <= bound
            }
            Target::AtLeast(bound) | Target::AtLeastLimitTimes(bound) | Target::Ahead(bound, _) => {
                measured >= bound
            }
        };
        if is_met { Verdict::Met } else { Verdict::Missed }
    }

    /// The target in words, with the ratio that was measured if it is about one.
    pub(crate) fn describe(&self, row: &Row) -> String {
        let was = self.measured.map(digits).unwrap_or("not measured".to_owned());
        match self.target {
            Target::AtMost(bound) => format!("≤ {}", row.unit.show(bound)),
            Target::AtLeast(bound) => format!("≥ {}", row.unit.show(bound)),
            Target::AtMostLimitTimes(bound) => format!("≤ {bound} × limit ({was})"),
            Target::AtMostAboveLimit(bound) => {
                let was = self.measured.map_or("not measured".to_owned(), |above| row.unit.show(above));
                format!("≤ limit + {} ({was})", row.unit.show(bound))
            }
            Target::AtLeastLimitTimes(bound) => format!("≥ {bound} × limit ({was})"),
            Target::Ahead(bound, peer) => format!("≥ {bound} × {peer} ({was})"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::NotJudged => "not judged",
        })
    }
}

/// Every target of the row, judged by one variant's figures.
pub(crate) fn judge(row: &Row, entry: &Entry) -> Vec<Judgement> {
    let ours = entry.ours();
    let limit = row.limit.and_then(|name| entry.limit(name));
    let to_limit = || ours?.ratio_to(limit?);
    let to_peer = |name| advantage(row, ours?, entry.peer(name)?);
    let measured = |target| match target {
        Target::AtMost(_) | Target::AtLeast(_) => ours.map(|ours| ours.spread().median),
        Target::AtMostLimitTimes(_) | Target::AtLeastLimitTimes(_) => to_limit(),
        Target::AtMostAboveLimit(_) => ours.zip(limit).and_then(|(ours, limit)| ours.above(limit)),
        Target::Ahead(_, peer) => to_peer(peer),
    };
    row.targets.iter().map(|&target| Judgement { target, measured: measured(target) }).collect()
}

/// How many times better ours is, in the median of the passes.
pub(crate) fn advantage(row: &Row, ours: &Series, theirs: &Series) -> Option<f64> {
    if row.unit.is_cost() { theirs.ratio_to(ours) } else { ours.ratio_to(theirs) }
}

/// The peer that comes closest to us, or is ahead of us by most.
pub(crate) fn best_peer<'a>(row: &Row, entry: &'a Entry) -> Option<(&'a str, &'a Series)> {
    let best = |a: f64, b: f64| row.unit.advantage(a, b) > 1.0;
    entry.peers().reduce(|best_yet, next| {
        if best(next.1.spread().median, best_yet.1.spread().median) { next } else { best_yet }
    })
}

/// What all judgements of a variant say together: missed beats not judged, which beats met. `None`: nothing is aimed at.
pub(crate) fn overall(judgements: &[Judgement]) -> Option<Verdict> {
    let verdicts: Vec<Verdict> = judgements.iter().map(Judgement::verdict).collect();
    [Verdict::Missed, Verdict::NotJudged, Verdict::Met].into_iter().find(|verdict| verdicts.contains(verdict))
}

/// 1 if a target is missed or a case of ours failed.
pub(crate) fn exit_status(report: &Report) -> u8 {
    let missed = report.lines().any(|(row, entry)| overall(&judge(row, entry)) == Some(Verdict::Missed));
    u8::from(missed || !report.failures.is_empty())
}

pub(crate) fn exit_code(report: &Report) -> ExitCode {
    ExitCode::from(exit_status(report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{self, MP_POOL, PING_PONG, PROCSPAWN};
    use crate::results::{By, Measurement, Results};

    /// Three passes of B1 (at most 2 × its limit, 3 × ahead of procspawn, 40 × ahead of mp.Pool).
    fn round_trips(ours: f64, limit: Option<f64>, peers: &[(&str, f64)]) -> Results {
        let mut results = Results::default();
        for pass in 0..3 {
            results.record(pass, Measurement::ours("B1", ours));
            if let Some(limit) = limit {
                results.record(pass, Measurement::limit("B1", PING_PONG, limit));
            }
            for &(name, value) in peers {
                let by = By::Peer(name.to_owned());
                results.record(pass, Measurement { by, ..Measurement::ours("B1", value) });
            }
        }
        results
    }

    fn verdicts(results: &Results) -> Vec<Verdict> {
        let entry = results.of_row("B1").next().expect("it was measured");
        judge(plan::row("B1").expect("it is planned"), entry).iter().map(Judgement::verdict).collect()
    }

    fn report(results: Results) -> Report {
        Report { results, ..Report::default() }
    }

    use Verdict::{Met, Missed, NotJudged};

    #[test]
    fn every_part_of_a_target_is_judged() {
        let peers = |procspawn, mp_pool| [(PROCSPAWN, procspawn), (MP_POOL, mp_pool)];
        assert_eq!(verdicts(&round_trips(2.0, Some(1.0), &peers(6.0, 80.0))), [Met, Met, Met], "just so");
        assert_eq!(verdicts(&round_trips(2.1, Some(1.0), &peers(6.3, 84.0))), [Missed, Met, Met]);
        assert_eq!(verdicts(&round_trips(2.0, Some(1.0), &peers(5.9, 80.0))), [Met, Missed, Met]);
        assert_eq!(verdicts(&round_trips(2.0, Some(1.0), &peers(6.0, 79.0))), [Met, Met, Missed]);
    }

    #[test]
    fn a_rate_is_judged_the_other_way_round() {
        let row = plan::row("B6").expect("it is planned");
        let judge = |measured, target| Judgement { target, measured: Some(measured) }.verdict();
        assert_eq!(judge(0.6, row.targets[0]), Met);
        assert_eq!(judge(0.59, row.targets[0]), Missed);
        assert_eq!(judge(3000.0, Target::AtLeast(3000.0)), Met);
        assert_eq!(judge(2999.0, Target::AtLeast(3000.0)), Missed);
    }

    #[test]
    fn what_is_missing_here_is_not_judged_and_fails_nobody() {
        let without_peers = round_trips(2.0, Some(1.0), &[]);
        assert_eq!(verdicts(&without_peers), [Met, NotJudged, NotJudged]);
        assert_eq!(exit_status(&report(without_peers)), 0);
        assert_eq!(verdicts(&round_trips(2.0, None, &[(MP_POOL, 80.0)])), [NotJudged, NotJudged, Met]);
    }

    #[test]
    fn a_missed_target_or_a_failed_case_is_exit_status_1() {
        let good = [(PROCSPAWN, 60.0), (MP_POOL, 800.0)];
        assert_eq!(exit_status(&report(round_trips(2.0, Some(1.0), &good))), 0);
        assert_eq!(exit_status(&report(round_trips(3.0, Some(1.0), &good))), 1);
        let failed = Report {
            failures: vec!["B2: it ended with signal 11".to_owned()],
            ..report(round_trips(2.0, Some(1.0), &good))
        };
        assert_eq!(exit_status(&failed), 1);
    }

    #[test]
    fn the_best_peer_is_the_one_hardest_to_beat() {
        let results = round_trips(2.0, None, &[("a", 9.0), ("b", 6.0), ("c", 7.0)]);
        let entry = results.of_row("B1").next().expect("it was measured");
        let (name, series) =
            best_peer(plan::row("B1").expect("it is planned"), entry).expect("there are three");
        assert_eq!((name, series.spread().median), ("b", 6.0));
        // Of rates the highest.
        let (name, _) = best_peer(plan::row("B6").expect("it is planned"), entry).expect("there are three");
        assert_eq!(name, "a");
    }
}
