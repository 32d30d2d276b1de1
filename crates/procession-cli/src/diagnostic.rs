//! What is wrong with an input, where exactly, and what to do about it.
//!
//! Every refusal of a job spec, a row or an argument is one of these and prints as one paragraph. This file knows texts and
//! positions; it knows neither TOML nor JSON nor tasks.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use crate::terminal::printable;

/// The longest excerpt shown, in characters: a data line may be megabytes long.
const EXCERPT_MAX: usize = 100;

/// A named text that positions point into: a job spec, or the value of a flag.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) content: String,
}

impl Text {
    pub(crate) fn new(name: impl Into<String>, content: impl Into<String>) -> Arc<Text> {
        Arc::new(Text { name: name.into(), content: content.into() })
    }

    /// The whole text, as a place.
    pub(crate) fn whole(self: &Arc<Text>) -> Place {
        self.place(0..self.content.len())
    }

    /// The bytes `span` of this text, as a place.
    pub(crate) fn place(self: &Arc<Text>, span: Range<usize>) -> Place {
        Place { text: Arc::clone(self), span }
    }
}

/// A stretch of a [`Text`], in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) text: Arc<Text>,
    pub(crate) span: Range<usize>,
}

impl Place {
    /// The stretch itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.text.content[self.span.clone()]
    }

    /// A refusal that points here.
    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        let content = &self.text.content;
        let start = floor_boundary(content, self.span.start);
        let line_start = content[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = content[start..].find('\n').map_or(content.len(), |at| start + at);
        let end = floor_boundary(content, self.span.end.clamp(start, line_end));
        let number = content[..start].matches('\n').count() as u64 + 1;
        Diagnostic::on_line(
            &self.text.name,
            number,
            &content[line_start..line_end],
            start - line_start..end - line_start,
            message,
        )
    }
}

/// One refusal. Boxed, because it travels in results that are almost always good.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic(Box<Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    message: String,
    help: Option<String>,
    location: Option<Location>,
    /// The row that is refused, as it was written.
    input: Option<String>,
}

#[derive(Clone, Debug)]
struct Location {
    name: String,
    line: u64,
    column: usize,
    /// The line as shown (possibly a window of it), and the columns of it to underline.
    excerpt: Option<(String, Range<usize>)>,
}

impl Diagnostic {
    /// A refusal that concerns no particular place.
    pub(crate) fn new(message: impl Into<String>) -> Diagnostic {
        Diagnostic(Box::new(Refusal { message: message.into(), help: None, location: None, input: None }))
    }

    /// A refusal of the bytes `span` of one line of a file.
    pub(crate) fn on_line(
        name: &str,
        number: u64,
        line: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let start = floor_boundary(line, span.start);
        let end = floor_boundary(line, span.end.max(start));
        let column = line[..start].chars().count();
        let width = line[start..end].chars().count().max(1);
        let location = Location {
            name: name.to_owned(),
            line: number,
            column: column + 1,
            excerpt: Some(window(line, column..column + width)),
        };
        let location = Some(location);
        Diagnostic(Box::new(Refusal { message: message.into(), help: None, location, input: None }))
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.0.help = Some(help.into());
        self
    }

    /// Adds what to do about it, where that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.0.help = help.or(self.0.help);
        self
    }

    /// Keeps the row it refuses.
    pub(crate) fn of_row(mut self, input: impl Into<String>) -> Diagnostic {
        self.0.input = Some(input.into());
        self
    }

    /// The row it refuses, as it was written; None where it refuses something else.
    pub(crate) fn input(&self) -> Option<&str> {
        self.0.input.as_deref()
    }

    /// Where and what, on one line: for the summary of an item rather than a refusal of the whole run.
    pub(crate) fn headline(&self) -> String {
        printable(&self.plain_headline())
    }

    /// As [`headline`](Diagnostic::headline), for a file: nothing is escaped.
    pub(crate) fn plain_headline(&self) -> String {
        let mut line = String::new();
        if let Some(Location { name, line: number, column, .. }) = &self.0.location {
            let _ = write!(line, "{name}:{number}:{column}: ");
        }
        line.push_str(&self.0.message);
        if let Some(help) = &self.0.help {
            let _ = write!(line, " (help: {help})");
        }
        line
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        let Some(Location { line, excerpt: Some((text, columns)), .. }) = &self.0.location else {
            return Ok(());
        };
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let indent = " ".repeat(columns.start);
        let carets = "^".repeat(columns.len().max(1));
        let shown = format!("{number} | {text}");
        write!(f, "\n{gutter} |\n{}\n{gutter} | {indent}{carets}", shown.trim_end())
    }
}

impl std::error::Error for Diagnostic {}

/// The part of a line that is shown, and where the underlined columns are in it.
fn window(line: &str, columns: Range<usize>) -> (String, Range<usize>) {
    let shown: Vec<char> = line
        .trim_end_matches(['\r', '\n'])
        .chars()
        .map(|c| if procession_report::misleads(c) { ' ' } else { c })
        .collect();
    if shown.len() <= EXCERPT_MAX {
        return (shown.into_iter().collect(), columns);
    }
    let first = columns.start.saturating_sub(EXCERPT_MAX / 3).min(shown.len() - EXCERPT_MAX);
    let last = first + EXCERPT_MAX;
    let mut text = String::new();
    let mut shift = 0;
    if first > 0 {
        text.push('…');
        shift = 1;
    }
    text.extend(&shown[first..last]);
    if last < shown.len() {
        text.push('…');
    }
    let start = columns.start - first + shift;
    (text, start..(columns.end.min(last).max(columns.start + 1) - first + shift))
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_place_in_a_text() {
        let text = Text::new("job.toml", "name = \"x\"\n[pool]\nwrokers = 4\n");
        let place = text.place(18..25);
        assert_eq!(place.as_str(), "wrokers");
        let shown = place.error("unknown key `wrokers`").help("did you mean `workers`?").to_string();
        assert_eq!(
            shown,
            "job.toml:3:1: unknown key `wrokers` (help: did you mean `workers`?)\n  |\n3 | wrokers = 4\n  | ^^^^^^^"
        );
    }

    #[test]
    fn counts_columns_in_characters() {
        let shown = Diagnostic::on_line("é.txt", 12, "ééé x", 7..8, "odd").to_string();
        assert_eq!(shown, "é.txt:12:5: odd\n   |\n12 | ééé x\n   |     ^");
    }

    #[test]
    fn windows_a_long_line_around_the_place() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = Diagnostic::on_line("long", 1, &line, 500..501, "odd").to_string();
        let mut lines = shown.lines().skip(2);
        let (excerpt, carets) = (lines.next().unwrap(), lines.next().unwrap());
        let at = carets.find('^').unwrap();
        assert_eq!(excerpt.chars().nth(at), Some('X'));
        assert!(excerpt.chars().count() < 110, "{excerpt}");
    }

    #[test]
    fn survives_places_past_the_end() {
        let text = Text::new("t", "ab");
        assert!(text.place(2..9).error("end").to_string().starts_with("t:1:3: end"));
    }
}
