//! When a run ends before its items do: `soon,fail=3`, `now,lost=1`, `soon,done=50%`.

use std::fmt;

use super::amount;
use crate::summary::counted;

/// How such a text looks, for help texts.
pub(crate) const HELP: &str = "write now or soon, what is counted (fail, lost or done), and how many: \
                               `now,fail=1`, `soon,lost=3`, `soon,fail=10%`";

/// A share of what has ended says nothing before so much has.
pub(crate) const ENDED_LEAST: u64 = 10;

/// When a run is to halt, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    pub(crate) when: When,
    what: What,
    limit: Limit,
}

/// What becomes of what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It is stopped.
    Now,
    /// It is finished; nothing new is begun.
    Soon,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Items that ended without a value.
    Fail,
    /// Items that cost their worker.
    Lost,
    /// Items that ended.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Items(u64),
    /// Of all items where it is what is done that counts, of those that have ended otherwise.
    Percent(u64),
}

/// What has ended in this session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ended: u64,
    /// Of them, those without a value.
    pub(crate) failed: u64,
    /// Of these, those that cost their worker.
    pub(crate) lost: u64,
}

impl Halt {
    /// Reads `when,what=limit`. Without a limit the first one counts.
    pub(crate) fn parse(text: &str) -> Result<Halt, String> {
        let bad = |what: String| format!("{what}; {HELP}");
        let (when, rest) = text.split_once(',').ok_or_else(|| bad("no comma".to_owned()))?;
        let when = match when.trim() {
            "now" => When::Now,
            "soon" => When::Soon,
            other => return Err(bad(format!("`{other}` is neither now nor soon"))),
        };
        let (what, limit) = rest.split_once('=').unwrap_or((rest, "1"));
        let what = match what.trim() {
            "fail" => What::Fail,
            "lost" => What::Lost,
            "done" => What::Done,
            other => return Err(bad(format!("`{other}` is none of fail, lost and done"))),
        };
        let (number, is_percent) = amount(limit.trim());
        let number: u64 = number.parse().map_err(|_| bad(format!("`{}` is no number", limit.trim())))?;
        let limit = match (number, is_percent) {
            (0, _) => return Err(bad("0 would halt before anything ran".to_owned())),
            (percent @ 1..=100, true) => Limit::Percent(percent),
            (_, true) => return Err(bad("more than 100% never happens".to_owned())),
            (items, false) => Limit::Items(items),
        };
        Ok(Halt { when, what, limit })
    }

    /// Whether it takes the number of all items.
    pub(crate) fn wants_total(self) -> bool {
        matches!((self.what, self.limit), (What::Done, Limit::Percent(_)))
    }

    /// Why it is time to halt, if it is.
    pub(crate) fn reason(self, counts: Counts, total: Option<u64>) -> Option<String> {
        let Counts { ended, failed, lost } = counts;
        let (reached, words) = match self.what {
            What::Fail => (failed, "failed"),
            What::Lost => (lost, if lost == 1 { "cost its worker" } else { "cost their workers" }),
            What::Done => (ended, if ended == 1 { "has ended" } else { "have ended" }),
        };
        let is_reached = match (self.limit, self.what) {
            (Limit::Items(items), _) => reached >= items,
            (Limit::Percent(percent), What::Done) => total
                .is_some_and(|total| 100 * u128::from(reached) >= u128::from(percent) * u128::from(total)),
            (Limit::Percent(percent), What::Fail | What::Lost) => {
                ended >= ENDED_LEAST && 100 * u128::from(reached) >= u128::from(percent) * u128::from(ended)
            }
        };
        let of = match (self.limit, self.what) {
            (Limit::Percent(_), What::Fail | What::Lost) => format!(" of {ended} so far"),
            _ => String::new(),
        };
        is_reached.then(|| format!("{}{of} {words}", counted(reached, "item")))
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.when {
            When::Now => "now",
            When::Soon => "soon",
        };
        let what = match self.what {
            What::Fail => "fail",
            What::Lost => "lost",
            What::Done => "done",
        };
        match self.limit {
            Limit::Items(items) => write!(f, "{when},{what}={items}"),
            Limit::Percent(percent) => write!(f, "{when},{what}={percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_shown() {
        for text in ["now,fail=1", "soon,lost=3", "soon,done=50%", "now,fail=100%"] {
            assert_eq!(Halt::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Halt::parse(" soon , fail ").unwrap().to_string(), "soon,fail=1");
        for text in [
            "",
            "now",
            "later,fail=1",
            "now,sad=1",
            "now,fail=0",
            "now,fail=101%",
            "now,fail=x",
            "now,fail=-1",
        ] {
            let refusal = Halt::parse(text).unwrap_err();
            assert!(refusal.ends_with(HELP), "{text}: {refusal}");
        }
    }

    #[test]
    fn numbers_are_of_items_and_shares_of_what_ended() {
        let reason = |text: &str, ended, failed, lost| {
            Halt::parse(text).unwrap().reason(Counts { ended, failed, lost }, Some(200))
        };
        assert_eq!(reason("now,fail=2", 9, 1, 1), None);
        assert_eq!(reason("now,fail=2", 9, 2, 0).as_deref(), Some("2 items failed"));
        assert_eq!(reason("now,lost=1", 9, 2, 0), None);
        assert_eq!(reason("now,lost=1", 9, 2, 1).as_deref(), Some("1 item cost its worker"));
        assert_eq!(reason("soon,fail=10%", 9, 9, 9), None, "too few have ended");
        assert_eq!(reason("soon,fail=10%", 21, 2, 0), None);
        assert_eq!(reason("soon,fail=10%", 20, 2, 0).as_deref(), Some("2 items of 20 so far failed"));
        assert_eq!(reason("soon,done=5%", 9, 0, 0), None);
        assert_eq!(reason("soon,done=5%", 10, 0, 0).as_deref(), Some("10 items have ended"));
        assert_eq!(
            Halt::parse("soon,done=5%").unwrap().reason(Counts { ended: 10, failed: 0, lost: 0 }, None),
            None
        );
    }
}
