//! What is kept of a worker's output: the latest, and how what it is running began.
//!
//! A panic that ends its process is told first, and then followed by stacks that are longer than what an error repeats.

/// How much of the latest output is kept.
const LATEST_BYTES: usize = 64 << 10;

/// How much an error repeats, in all, and how much of that is how it began.
const TOLD_BYTES: usize = 8 << 10;
const HEAD_BYTES: usize = 2 << 10;

/// The output of one worker.
#[derive(Debug, Default)]
pub(super) struct Words {
    latest: Vec<u8>,
    head: Vec<u8>,
    /// Written since the head began, itself included.
    since_head: u64,
    /// Which item the head is of, by its start.
    item: u64,
}

impl Words {
    /// Takes more of it, written while the worker was running `item`.
    pub(super) fn take(&mut self, text: &[u8], item: u64) {
        if self.item != item {
            (self.item, self.since_head) = (item, 0);
            self.head.clear();
        }
        self.since_head += text.len() as u64;
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&text[..text.len().min(room)]);
        self.latest.extend_from_slice(text);
        if self.latest.len() > 2 * LATEST_BYTES {
            self.latest.drain(..self.latest.len() - LATEST_BYTES);
        }
    }

    /// The latest, without a gap.
    pub(super) fn latest(&self) -> &[u8] {
        &self.latest
    }

    /// What an error repeats; `None`: it said nothing.
    pub(super) fn told(&self) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let last = |bytes: usize| &self.latest[self.latest.len().saturating_sub(bytes)..];
        if self.since_head <= TOLD_BYTES as u64 {
            return (!self.latest.is_empty()).then(|| text(last(TOLD_BYTES)));
        }
        // The gap is told in less than the end loses to it.
        let end = last(TOLD_BYTES - HEAD_BYTES - 64);
        let gap = self.since_head - (HEAD_BYTES + end.len()) as u64;
        Some(format!("{}\n… {gap} bytes left out …\n{}", text(&self.head), text(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_told_whole() {
        let mut words = Words::default();
        assert_eq!(words.told(), None);
        words.take(b"one ", 7);
        words.take(&[b'x'; 8_000], 7);
        assert_eq!(words.told(), Some(format!("one {}", "x".repeat(8_000))));
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_told_with_what_is_between_counted() {
        let mut words = Words::default();
        words.take(b"an item before\n", 7);
        words.take(b"the panic\n", 8);
        (0..100_000).for_each(|_| words.take(b"stack\n", 8));
        words.take(b"the end\n", 8);
        let told = words.told().unwrap();
        assert!(told.starts_with("the panic\nstack\n") && told.ends_with("stack\nthe end\n"), "{told}");
        assert!(told.len() <= TOLD_BYTES, "{}", told.len());
        let (head, rest) = told.split_once("\n… ").unwrap();
        let (gap, end) = rest.split_once(" bytes left out …\n").unwrap();
        assert_eq!(head.len() + gap.parse::<usize>().unwrap() + end.len(), 10 + 600_000 + 8);
        assert!(words.latest().len() <= 2 * LATEST_BYTES && words.latest().ends_with(b"the end\n"));
    }

    #[test]
    fn an_item_that_says_little_leaves_what_was_said_before() {
        let mut words = Words::default();
        words.take(&[b'x'; 100_000], 7);
        words.take(b"y", 8);
        assert_eq!(words.told(), Some(format!("{}y", "x".repeat(TOLD_BYTES - 1))));
    }
}
