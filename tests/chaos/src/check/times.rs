//! When limits came. The machine is made as busy as it can be, so only what is far too late is held against the pool.

use std::time::Duration;

use procession::ErrorKind;

use super::LIMIT_WORDS;
use crate::evidence::{Said, Seen};
use crate::plan::{Call, Verb};

/// What is ended by a limit is ended within this time: the look at the clock, a grace of less than half a second, and
/// whatever the machine does meanwhile.
const LATE_AFTER: Duration = Duration::from_secs(15);

/// What ran over its limit ran for at least as long, and not for much longer.
pub(super) fn check_limit(call: &Call, said: &Said) -> Result<(), String> {
    let (Some(limit), Some(ran)) = (call.limits.timeout, said.ran) else { return Ok(()) };
    if said.kind != ErrorKind::TimedOut || !said.text.contains(LIMIT_WORDS) {
        return Ok(());
    }
    if ran < limit {
        return Err(format!("it had {limit:?} and was stopped after {ran:?}"));
    }
    if ran > limit + LATE_AFTER {
        return Err(format!("it had {limit:?} and was let run for {ran:?}"));
    }
    Ok(())
}

/// A call with a deadline is over soon after it. Single calls that wait for each other have one each.
pub(super) fn check_deadline(seen: &Seen) -> Result<(), String> {
    let Some(deadline) = seen.call.limits.deadline.filter(|_| seen.call.verb != Verb::Apply) else {
        return Ok(());
    };
    if seen.took > deadline + LATE_AFTER {
        return Err(format!("it had {deadline:?} and took {:?}", seen.took));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Told;
    use crate::plan::Limits;

    const LIMIT: Duration = Duration::from_secs(1);

    fn call() -> Call {
        let limits = Limits { timeout: Some(LIMIT), deadline: Some(LIMIT), ..Limits::default() };
        Call { limits, verb: Verb::Map, ..Call::plain(1) }
    }

    #[test]
    fn limits_come_in_time() {
        let is_right = |ran| {
            let said = Said {
                kind: ErrorKind::TimedOut,
                item: None,
                attempts: 1,
                pid: None,
                exit: None,
                ran: Some(ran),
                panic_message: None,
                text: format!("limit {LIMIT:?} {LIMIT_WORDS}"),
            };
            check_limit(&call(), &said).is_ok()
        };
        assert!(is_right(LIMIT) && is_right(2 * LIMIT));
        assert!(!is_right(LIMIT - Duration::from_millis(1)) && !is_right(20 * LIMIT));
    }

    #[test]
    fn calls_end_soon_after_their_deadline() {
        let is_right = |took| {
            let told = Told::Each(Vec::new());
            check_deadline(&Seen { call: call(), taken: 0, told, cancelled: None, callbacks: (0, 0), took })
                .is_ok()
        };
        assert!(is_right(2 * LIMIT) && !is_right(20 * LIMIT));
    }
}
