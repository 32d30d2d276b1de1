//! Progress where there is no terminal to paint on: a line now and then, with the facts of the picture.

use super::picture::Picture;
use crate::spec::units;

/// One line of a log.
pub(crate) fn line(picture: &Picture) -> String {
    let mut line = format!("progress: {}", picture.sum.words());
    if let Some((item, ran)) = picture.longest() {
        line.push_str(&format!("; item {item} has run longest, for {}", units::show(ran)));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::picture::{Doing, Sum, Worker};
    use super::*;

    #[test]
    fn a_line_has_the_whole_and_what_may_be_stuck() {
        let sum =
            Sum { done: 25, total: Some(100), rate: 5.0, running: Duration::from_secs(5), ..Sum::default() };
        let mut picture = Picture { sum, ..Picture::default() };
        assert_eq!(line(&picture), "progress: 25/100 25%, 5.00/s, 15.0 s left, running for 5.0 s");
        for (slot, seconds) in [(0, 3), (1, 130)] {
            let (item, ran) = (u64::from(slot) + 30, Duration::from_secs(seconds));
            picture
                .workers
                .push(Worker { slot, doing: Doing::Runs { item, ran, attempt: 1, what: String::new() } });
        }
        assert!(line(&picture).ends_with(", running for 5.0 s; item 31 has run longest, for 2m10s"));
    }
}
