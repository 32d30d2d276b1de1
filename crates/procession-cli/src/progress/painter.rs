//! Lines on a terminal that are painted again and again: which control sequences bring them up to date. It writes nothing itself.
//!
//! The cursor rests at the beginning of the line below them, so that whoever else writes begins a line.

use std::fmt::Write as _;

use console::measure_text_width;

/// Clears what is to the right of the cursor.
const CLEAR_RIGHT: &str = "\x1b[K";
/// Clears that and all below.
const CLEAR_BELOW: &str = "\x1b[J";

/// What is on the terminal now.
#[derive(Debug, Default)]
pub(crate) struct Painter {
    lines: Vec<String>,
    /// How wide the terminal was.
    columns: usize,
}

impl Painter {
    /// Brings the terminal, `columns` wide, up to date. Lines that stay as they are are not touched.
    pub(crate) fn paint(&mut self, lines: Vec<String>, columns: usize) -> String {
        let mut bytes = if columns == self.columns { String::new() } else { self.erase(columns) };
        self.columns = columns;
        let rest = self.lines.len();
        let mut row = rest;
        for (index, line) in
            lines.iter().enumerate().filter(|(index, line)| self.lines.get(*index) != Some(line))
        {
            go(&mut bytes, row, index);
            // Over what is there: a line that is empty for a moment flickers.
            let _ = write!(bytes, "\r{line}{CLEAR_RIGHT}\r\n");
            row = index + 1;
        }
        go(&mut bytes, row, lines.len());
        if lines.len() < rest {
            bytes.push_str(CLEAR_BELOW);
        }
        self.lines = lines;
        bytes
    }

    pub(crate) fn is_painted(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Takes all of it away. What was painted when the terminal was wider takes several rows now.
    pub(crate) fn erase(&mut self, columns: usize) -> String {
        let columns = columns.max(1);
        let rows: usize =
            self.lines.iter().map(|line| measure_text_width(line).div_ceil(columns).max(1)).sum();
        self.forget();
        if rows == 0 {
            return String::new();
        }
        // Row by row: where the first of them is the first of the screen, a terminal that keeps what is cleared would take all
        // at once for a screen worth keeping.
        let mut bytes = format!("\x1b[{rows}A\r{CLEAR_RIGHT}");
        bytes.push_str(&format!("\x1b[B{CLEAR_RIGHT}").repeat(rows - 1));
        go(&mut bytes, rows - 1, 0);
        bytes
    }

    /// Somebody else has the terminal: nothing on it is ours any more.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
    }
}

/// Moves the cursor from one row to another, which both exist.
fn go(bytes: &mut String, from: usize, to: usize) {
    let _ = match (from.checked_sub(to), to.checked_sub(from)) {
        (Some(up @ 1..), _) => write!(bytes, "\x1b[{up}A"),
        (_, Some(down @ 1..)) => write!(bytes, "\x1b[{down}B"),
        _ => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::super::emulated::shown;
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn whatever_comes_next_is_what_is_there() {
        let pictures: [&[&str]; 9] = [
            &["a", "b", "c"],
            &["a", "b", "c"],
            &["a", "x", "c"],
            &["longer", "x", "c"],
            &["a", "x", "c", "d", "e"],
            &["a", "y", "c", "d", "f"],
            &["a"],
            &["b"],
            &["b", "c"],
        ];
        let mut painter = Painter::default();
        let mut bytes = "before\n\r".to_owned();
        for picture in pictures {
            bytes.push_str(&painter.paint(lines(picture), 80));
            let wanted = [&["before"], picture].concat();
            assert_eq!(shown(&bytes), (lines(&wanted), (wanted.len(), 0)), "{bytes:?}");
        }
        bytes.push_str(&painter.erase(80));
        assert_eq!(shown(&bytes), (lines(&["before"]), (1, 0)));
    }

    #[test]
    fn what_stays_is_not_written_again() {
        let mut painter = Painter::default();
        painter.paint(lines(&["a", "b", "c"]), 80);
        assert_eq!(painter.paint(lines(&["a", "b", "c"]), 80), "");
        assert_eq!(painter.paint(lines(&["a", "x", "c"]), 80), "\x1b[2A\rx\x1b[K\r\n\x1b[1B");
    }

    #[test]
    fn lines_that_have_become_longer_than_the_terminal_is_wide_go_as_well() {
        let mut painter = Painter::default();
        painter.paint(lines(&["0123456789", "01234", ""]), 10);
        // In 4 columns they take 3, 2 and 1 rows.
        assert!(painter.paint(lines(&["a"]), 4).starts_with("\x1b[6A\r\x1b[K\x1b[B\x1b[K"));
        assert_eq!(painter.erase(4), "\x1b[1A\r\x1b[K");
        assert_eq!(painter.erase(4), "");
        painter.paint(lines(&["a"]), 4);
        painter.forget();
        assert_eq!(painter.erase(4), "");
    }
}
