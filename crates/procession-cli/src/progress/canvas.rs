//! What is on a terminal and what is to come there: the text of others, and the picture below it. It writes nothing itself.
//!
//! While there is a picture, text is held and comes with the next look: taking the picture away, the text and the picture
//! again are one write, so that whoever looks sees it. A picture begins a line, whatever the text before has left.

use super::painter::Painter;
use super::picture::{Picture, Room};
use crate::terminal::Stream;

/// So much text waits for the next look at most.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Terminals that know these show nothing of what is between them until it is complete; others pass them over.
const BEGIN_UPDATE: &str = "\x1b[?2026h";
const END_UPDATE: &str = "\x1b[?2026l";

/// What is written at once. Both streams are the same terminal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) stream: Stream,
    pub(crate) bytes: Vec<u8>,
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Canvas {
    painter: Painter,
    /// What is to be seen, from the first look to the last.
    picture: Option<Picture>,
    /// Text in the order it came, neighbours of one stream together.
    held: Vec<Piece>,
    /// After all of it somebody has begun a line and not ended it.
    is_midline: bool,
}

impl Canvas {
    /// What is to be seen from here on.
    pub(crate) fn set_picture(&mut self, picture: Option<Picture>) {
        self.picture = picture;
    }

    /// Whether there is a picture on the terminal now.
    pub(crate) fn is_painted(&self) -> bool {
        self.painter.is_painted()
    }

    pub(crate) fn is_midline(&self) -> bool {
        self.is_midline
    }

    /// Whether text waits, of any stream or of this one.
    pub(crate) fn holds(&self, stream: Option<Stream>) -> bool {
        self.held.iter().any(|piece| stream.is_none_or(|stream| piece.stream == stream))
    }

    /// The line that the terminal is in has been left so by others. Only while nothing waits.
    pub(crate) fn set_midline(&mut self, is_midline: bool) {
        debug_assert!(self.held.is_empty(), "text that waits decides how the line is left");
        self.is_midline = is_midline;
    }

    /// Takes as much of a text as there is room for, whole lines if it can, and gives back the rest: what is held must be
    /// written before that.
    pub(crate) fn hold<'a>(&mut self, stream: Stream, text: &'a [u8]) -> &'a [u8] {
        let held: usize = self.held.iter().map(|piece| piece.bytes.len()).sum();
        let room = HELD_BYTES_MAX.saturating_sub(held);
        let fits = match text.get(..room) {
            None => text.len(),
            Some(_) if text.len() == room => room,
            Some(most) => match most.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if held > 0 => 0,
                None => room,
            },
        };
        let (now, later) = text.split_at(fits);
        let Some(last) = now.last() else { return later };
        self.is_midline = *last != b'\n';
        match self.held.last_mut() {
            Some(piece) if piece.stream == stream => piece.bytes.extend_from_slice(now),
            _ => self.held.push(Piece { stream, bytes: now.to_vec() }),
        }
        later
    }

    /// All text that waits, and below it the picture.
    pub(crate) fn paint(&mut self, size: Size) -> Vec<Piece> {
        // The cursor has the last row, and one row is left to the text above, where there is room. A line that ends in the last
        // column would leave the cursor there.
        let room = Room { rows: size.rows.saturating_sub(2), columns: size.columns.saturating_sub(1) };
        let Some(lines) = self.picture.as_ref().map(|picture| picture.lines(room)) else {
            return self.clear(size);
        };
        if self.held.is_empty() && self.is_painted() {
            let bytes = self.painter.paint(lines, size.columns).into_bytes();
            return if bytes.is_empty() { Vec::new() } else { vec![Piece { stream: Stream::Err, bytes }] };
        }
        let before = self.painter.erase(size.columns);
        let begin = if std::mem::take(&mut self.is_midline) { "\r\n" } else { "" };
        let after = format!("{begin}{}", self.painter.paint(lines, size.columns));
        self.framed(&before, &after)
    }

    /// All text that waits, and no picture.
    pub(crate) fn clear(&mut self, size: Size) -> Vec<Piece> {
        let before = self.painter.erase(size.columns);
        self.framed(&before, "")
    }

    /// All text that waits. The terminal is somebody else's, and what is on it, too.
    pub(crate) fn leave(&mut self) -> Vec<Piece> {
        self.painter.forget();
        std::mem::take(&mut self.held)
    }

    fn framed(&mut self, before: &str, after: &str) -> Vec<Piece> {
        let mut pieces = std::mem::take(&mut self.held);
        if before.is_empty() && after.is_empty() {
            return pieces;
        }
        if pieces.is_empty() {
            pieces.push(Piece { stream: Stream::Err, bytes: Vec::new() });
        }
        let begin = format!("{BEGIN_UPDATE}{before}");
        if let Some(first) = pieces.first_mut() {
            first.bytes.splice(..0, begin.into_bytes());
        }
        if let Some(last) = pieces.last_mut() {
            last.bytes.extend_from_slice(after.as_bytes());
            last.bytes.extend_from_slice(END_UPDATE.as_bytes());
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::super::emulated::shown;
    use super::super::picture::Sum;
    use super::*;

    const SIZE: Size = Size { rows: 24, columns: 80 };

    /// A terminal with a canvas, and all that was written to it.
    #[derive(Default)]
    struct Screen {
        canvas: Canvas,
        written: Vec<u8>,
    }

    impl Screen {
        /// With `done` items done in its picture.
        fn look(&mut self, done: u64) -> usize {
            let sum = Sum { done, total: Some(9), ..Sum::default() };
            self.canvas.set_picture(Some(Picture { sum, ..Picture::default() }));
            let pieces = self.canvas.paint(SIZE);
            self.put(pieces)
        }

        fn hold(&mut self, stream: Stream, text: &str) {
            assert_eq!(self.canvas.hold(stream, text.as_bytes()), b"");
        }

        fn put(&mut self, pieces: Vec<Piece>) -> usize {
            pieces.iter().for_each(|piece| self.written.extend_from_slice(&piece.bytes));
            pieces.len()
        }

        /// What there is to see, the bar by its number of items alone.
        fn rows(&self) -> Vec<String> {
            let bytes = String::from_utf8(self.written.clone()).expect("all of it is text");
            let (rows, (row, column)) = shown(&bytes);
            assert_eq!((row, column), (rows.len(), 0), "the cursor is not below all: {bytes:?}");
            rows.iter()
                .map(|row| row.split_once("/9 ").map_or(row.as_str(), |(bar, _)| bar))
                .map(|row| row.trim_start_matches(['█', '░', ' ']).to_owned())
                .collect()
        }
    }

    #[test]
    fn text_and_the_picture_below_it_are_one_write() {
        let mut screen = Screen::default();
        assert_eq!(screen.look(1), 1);
        for (text, done) in [("a\nb\n", 2), ("c\n", 4)] {
            screen.hold(Stream::Out, text);
            assert!(screen.canvas.holds(Some(Stream::Out)) && !screen.canvas.holds(Some(Stream::Err)));
            assert_eq!(screen.look(done), 1);
            assert!(screen.canvas.is_painted() && !screen.canvas.holds(None));
        }
        assert_eq!(screen.rows(), ["a", "b", "c", "4"]);
        // Nothing new: nothing is written.
        assert_eq!(screen.look(4), 0);
        let last = screen.canvas.clear(SIZE);
        assert_eq!(screen.put(last), 1);
        assert_eq!(screen.rows(), ["a", "b", "c"]);
    }

    #[test]
    fn both_streams_keep_their_order() {
        let mut screen = Screen::default();
        screen.look(1);
        for (stream, text) in
            [(Stream::Out, "a"), (Stream::Out, "b\n"), (Stream::Err, "c\n"), (Stream::Out, "d\n")]
        {
            screen.hold(stream, text);
        }
        let pieces = screen.canvas.paint(SIZE);
        let streams: Vec<Stream> = pieces.iter().map(|piece| piece.stream).collect();
        assert_eq!(streams, [Stream::Out, Stream::Err, Stream::Out]);
        screen.put(pieces);
        assert_eq!(screen.rows(), ["ab", "c", "d", "1"]);
    }

    #[test]
    fn a_line_that_is_not_ended_gives_way() {
        let mut screen = Screen::default();
        screen.hold(Stream::Out, "before it");
        let direct = screen.canvas.clear(SIZE);
        assert_eq!(direct, [Piece { stream: Stream::Out, bytes: b"before it".to_vec() }]);
        screen.put(direct);
        screen.look(1);
        assert_eq!(screen.rows(), ["before it", "1"]);
        screen.hold(Stream::Err, "1,");
        assert!(screen.canvas.is_midline());
        screen.look(2);
        assert!(!screen.canvas.is_midline());
        screen.hold(Stream::Err, "2,");
        screen.hold(Stream::Err, "3,\n");
        screen.look(3);
        assert_eq!(screen.rows(), ["before it", "1,", "2,3,", "3"]);
    }

    #[test]
    fn what_is_held_is_bounded_and_cut_between_lines() {
        let mut canvas = Canvas::default();
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        let text = line.repeat(100);
        let rest = canvas.hold(Stream::Out, &text);
        assert_eq!(text.len() - rest.len(), 65_000);
        assert!(!canvas.is_midline());
        // There is no room for a whole line.
        assert_eq!(canvas.hold(Stream::Out, &line), line);
        assert_eq!(canvas.clear(SIZE)[0].bytes.len(), 65_000);
        // A line longer than all room is cut.
        let long = vec![b'x'; 3 * HELD_BYTES_MAX];
        assert_eq!(canvas.hold(Stream::Out, &long).len(), 2 * HELD_BYTES_MAX);
        assert!(canvas.is_midline());
        canvas.clear(SIZE);
        assert_eq!(canvas.hold(Stream::Out, &long[..HELD_BYTES_MAX]), b"");
    }

    #[test]
    fn a_terminal_that_is_left_is_not_touched() {
        let mut screen = Screen::default();
        screen.look(1);
        screen.hold(Stream::Out, "a\n");
        assert_eq!(screen.canvas.leave(), [Piece { stream: Stream::Out, bytes: b"a\n".to_vec() }]);
        assert!(!screen.canvas.is_painted() && screen.canvas.clear(SIZE).is_empty());
    }
}
