//! A stream of bytes in whole lines. It knows neither where they come from nor where they go.

/// A longer line comes in parts of this length: nobody who forgets the end of a line may fill our memory.
pub(super) const LINE_BYTES_MAX: usize = 8 << 10;

/// What has come of a line that is not whole yet; never longer than a line may be.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes what comes next; the lines that are whole now, each with its end.
    pub(super) fn take(&mut self, text: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(part);
            while self.0.len() > LINE_BYTES_MAX {
                let rest = self.0.split_off(cut(&self.0));
                whole.append(&mut self.0);
                whole.push(b'\n');
                self.0 = rest;
            }
            if part.ends_with(b"\n") {
                whole.append(&mut self.0);
            }
        }
        whole
    }

    /// Nothing comes any more: the last line, with an end.
    pub(super) fn end(mut self) -> Vec<u8> {
        if !self.0.is_empty() {
            self.0.push(b'\n');
        }
        self.0
    }
}

/// Where to part a line that is too long: not inside a character.
fn cut(line: &[u8]) -> usize {
    let is_inside = |at: usize| line[at] & 0b1100_0000 == 0b1000_0000;
    (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(|at| !is_inside(*at)).unwrap_or(LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"ab"), b"");
        assert_eq!(lines.take(b"c\nd\n\ne"), b"abc\nd\n\n");
        assert_eq!(lines.end(), b"e\n");
        assert_eq!(Lines::default().end(), b"");
    }

    #[test]
    fn a_line_without_end_comes_in_parts_of_whole_characters() {
        let mut lines = Lines::default();
        // Of two bytes, and begun at an odd place.
        let text = format!("a{}", "π".repeat(LINE_BYTES_MAX));
        let mut parts = lines.take(text.as_bytes());
        parts.extend(lines.end());
        let parts = String::from_utf8(parts).unwrap();
        assert_eq!(parts.replace('\n', ""), text);
        assert_eq!(parts.lines().next().unwrap().len(), LINE_BYTES_MAX - 1);
        assert!(parts.lines().all(|part| part.len() <= LINE_BYTES_MAX), "{}", parts.lines().count());
    }
}
