//! How many items may go by between two looks at the clock.
//!
//! A look costs as much as several short items, and a long item must be seen to begin. So the number follows from how
//! long the items of a task have taken so far. The same tells whether results may wait for items of another task. It must
//! not know what they are.

/// Items between two looks take about this long: little beside the time for which results may wait, much beside what
/// a look costs.
const LEAST_NS: u64 = 10_000;
const MOST_NS: u64 = 50_000;

/// Items of no length at all still come to an end.
const ITEMS_MAX: u32 = 1_024;

/// The pace of the present task, and what is left of that of others.
#[derive(Debug)]
pub(super) struct Pace {
    task: Option<u32>,
    pub(super) items: u32,
    /// By task: whether its items were short when it was last turned from. As long as the index of the last such task,
    /// and only of tasks that are there.
    was_short: Vec<bool>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { task: None, items: 1, was_short: Vec::new() }
    }
}

impl Pace {
    /// Another task starts anew, or nearly so if its items were short. True: there was one before, it is another, and
    /// items of this one may take long.
    pub(super) fn turn_to(&mut self, task: u32) -> bool {
        if self.task == Some(task) {
            return false;
        }
        let before = self.task.replace(task);
        if let Some(before) = before {
            self.remember(before as usize, self.items > 1);
        }
        let is_short = self.was_short.get(task as usize).copied().unwrap_or(false);
        self.items = 1 + u32::from(is_short);
        before.is_some() && !is_short
    }

    fn remember(&mut self, task: usize, is_short: bool) {
        if task < self.was_short.len() {
            self.was_short[task] = is_short;
        } else if is_short {
            self.was_short.resize(task + 1, false);
            self.was_short[task] = true;
        }
    }

    /// So many items took so long.
    pub(super) fn note(&mut self, items: u32, elapsed_ns: u64) {
        if elapsed_ns > MOST_NS {
            let fitting = u64::from(items) * LEAST_NS / elapsed_ns;
            self.items = self.items.min(u32::try_from(fitting).unwrap_or(ITEMS_MAX)).max(1);
        } else if elapsed_ns < LEAST_NS && items == self.items {
            self.items = (2 * self.items).min(ITEMS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_items_are_run_in_longer_strides_and_one_long_item_ends_that() {
        let mut pace = Pace::default();
        assert!(!pace.turn_to(3));
        for _ in 0..20 {
            let items = pace.items;
            pace.note(items, u64::from(items) * 20);
        }
        assert_eq!(pace.items, 512, "10 microseconds");
        pace.note(100, 2_000);
        assert_eq!(pace.items, 512, "a stride that was cut short tells nothing");
        pace.note(512, 1_000_000_000);
        assert_eq!(pace.items, 1);
        pace.note(1, 1_000);
        pace.note(2, 60_000);
        assert_eq!(pace.items, 1);
        pace.note(1, 20_000);
        assert_eq!(pace.items, 1);
    }

    #[test]
    fn nothing_is_known_of_another_task() {
        let mut pace = Pace::default();
        pace.turn_to(3);
        pace.note(1, 1);
        assert!(!pace.turn_to(3));
        assert_eq!(pace.items, 2);
        assert!(pace.turn_to(4));
        assert_eq!(pace.items, 1);
    }

    #[test]
    fn results_wait_for_a_task_whose_items_are_known_to_be_short() {
        let mut pace = Pace::default();
        let mut run = |task, ns| {
            let may_take_long = pace.turn_to(task);
            pace.note(1, ns);
            may_take_long
        };
        assert!(!run(3, 200));
        assert!(run(5, 200), "nothing is known of it");
        assert!(!run(3, 200) && !run(5, 200) && !run(3, 200));
        assert!(!run(5, 60_000), "it was short so far");
        assert!(!run(3, 200));
        assert!(run(5, 200), "it took long");
        assert!(!run(3, 200) && !run(5, 20_000) && !run(3, 200) && !run(5, 200));
        assert!(!pace.turn_to(3));
        assert_eq!(pace.items, 2, "it has yet to show that it still is");
        // Tasks that are not here are never noted.
        assert!(pace.turn_to(u32::MAX) && !pace.turn_to(3));
        assert!(pace.turn_to(u32::MAX) && pace.was_short.len() == 6);
    }

    #[test]
    fn items_without_length_come_to_an_end() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.note(pace.items, 0);
        }
        assert_eq!(pace.items, ITEMS_MAX);
    }
}
