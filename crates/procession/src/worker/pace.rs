//! How many items may go by between two looks at the clock.
//!
//! A look costs as much as several short items, and a long item must be seen to begin. So the number follows from how
//! long the items of a task have taken so far. It must not know what they are.

/// Items between two looks take about this long: little beside the time for which results may wait, much beside what
/// a look costs.
const LEAST_NS: u64 = 10_000;
const MOST_NS: u64 = 50_000;

/// Items of no length at all still come to an end.
const ITEMS_MAX: u32 = 1_024;

/// The pace of one task.
#[derive(Debug)]
pub(super) struct Pace {
    task: Option<u32>,
    pub(super) items: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { task: None, items: 1 }
    }
}

impl Pace {
    /// Another task starts anew. True: there was one before, and it is another.
    pub(super) fn turn_to(&mut self, task: u32) -> bool {
        if self.task == Some(task) {
            return false;
        }
        self.items = 1;
        self.task.replace(task).is_some()
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
    fn items_without_length_come_to_an_end() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.note(pace.items, 0);
        }
        assert_eq!(pace.items, ITEMS_MAX);
    }
}
