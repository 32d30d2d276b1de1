//! Words of a command with places for values: `{}`, `{index}`, `{2}`, `{name}`, and parts of paths such as `{.}` and `{name/}`.
//!
//! Braces around anything else are just braces, as they are in awk; so are those after a `$`, which are a shell's, and double ones
//! lose a pair. It knows no files and no shell.

use crate::diagnostic::{Diagnostic, Place};
use crate::nearest;

/// A word, cut at its placeholders.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    Slot(Slot),
}

/// A placeholder.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    pub(crate) form: Form,
    at: Place,
}

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// All of the item.
    Whole,
    /// Its number, from 0.
    Index,
    /// One of its columns, from 1.
    Column(usize),
    /// One of its columns, by name.
    Named(String),
}

/// Which part of a path is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// Without the extension.
    Stem,
    /// Without the folders.
    Name,
    /// Without folders and extension.
    NameStem,
    /// The folder alone.
    Folder,
}

/// Longer ones first: each is the end of the one before.
const FORMS: [(&str, Form); 4] =
    [("//", Form::Folder), ("/.", Form::NameStem), ("/", Form::Name), (".", Form::Stem)];

/// What there is to be filled in for one item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) index: u64,
    pub(crate) whole: &'a str,
    pub(crate) columns: &'a [String],
    /// Of the columns, or none.
    pub(crate) names: &'a [String],
}

/// Which columns items have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) columns: usize,
    pub(crate) names: &'a [String],
}

impl Template {
    /// A word that is what it is.
    pub(crate) fn literal(text: impl Into<String>) -> Template {
        Template { pieces: vec![Piece::Text(text.into())] }
    }

    /// A word that is one placeholder.
    pub(crate) fn slot(slot: Slot) -> Template {
        Template { pieces: vec![Piece::Slot(slot)] }
    }

    /// Reads the word that stands at a place.
    pub(crate) fn parse(at: &Place) -> Result<Template, Diagnostic> {
        let word = at.as_str();
        let (mut pieces, mut text, mut done) = (Vec::new(), String::new(), 0);
        while let Some(start) = word[done..].find('{').map(|found| done + found) {
            text.push_str(&word[done..start]);
            let Some(found) = placeholder(word, start) else {
                text.push('{');
                done = start + 1;
                continue;
            };
            done = found.end;
            match found.slot {
                None => text.push_str(&word[start + 1..found.end - 1]),
                Some((Value::Column(0), _)) => {
                    let at = at.text.place(at.span.start + start..at.span.start + found.end);
                    return Err(at
                        .error("columns are counted from 1")
                        .help("write `{index}` for the item's number"));
                }
                Some((value, form)) => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    let at = at.text.place(at.span.start + start..at.span.start + found.end);
                    pieces.push(Piece::Slot(Slot { value, form, at }));
                }
            }
        }
        text.push_str(&word[done..]);
        if !text.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Template { pieces })
    }

    pub(crate) fn has_slots(&self) -> bool {
        self.slots().next().is_some()
    }

    /// Refuses a placeholder for which no item will have a value.
    pub(crate) fn check(&self, known: Known<'_>) -> Result<(), Diagnostic> {
        self.slots().try_for_each(|slot| slot.check(known))
    }

    /// The word for one item; a placeholder that it has no value for is the error.
    pub(crate) fn fill(&self, fields: Fields<'_>) -> Result<String, &Slot> {
        let mut word = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => word.push_str(text),
                Piece::Slot(slot) => slot.fill(fields, &mut word).ok_or(slot)?,
            }
        }
        Ok(word)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Slot(slot) => Some(slot),
        })
    }
}

impl Slot {
    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        self.at.as_str()
    }

    /// A refusal that points at it.
    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        self.at.error(message)
    }

    fn check(&self, known: Known<'_>) -> Result<(), Diagnostic> {
        match &self.value {
            Value::Whole | Value::Index => Ok(()),
            Value::Column(number) if *number <= known.columns => Ok(()),
            Value::Column(_) => {
                let refusal = self.error(format!("no column {}", self.text()));
                Err(refusal.help(match known.columns {
                    1 => "an item is one word, `{}`".to_owned(),
                    columns => format!("an item has {columns} columns"),
                }))
            }
            Value::Named(name) if known.names.contains(name) => Ok(()),
            Value::Named(name) => {
                let refusal = self.error(format!("unknown column `{name}`"));
                Err(refusal.help(match nearest::nearest(name, known.names.iter().map(String::as_str)) {
                    Some(near) => format!("is `{{{near}}}` meant?"),
                    None if known.names.is_empty() => format!(
                        "columns have names in --csv and --jsonl; for braces around `{name}` write `{{{{{name}}}}}`"
                    ),
                    None => format!("there are {}", nearest::list(known.names)),
                }))
            }
        }
    }

    fn fill(&self, fields: Fields<'_>, word: &mut String) -> Option<()> {
        let value = match &self.value {
            Value::Index => {
                word.push_str(&fields.index.to_string());
                return Some(());
            }
            Value::Whole => fields.whole,
            Value::Column(number) => fields.columns.get(number - 1)?,
            Value::Named(name) => {
                fields.columns.get(fields.names.iter().position(|column| column == name)?)?
            }
        };
        word.push_str(self.form.of(value));
        Some(())
    }
}

impl Form {
    fn of(self, path: &str) -> &str {
        let name = path.rfind('/').map_or(0, |at| at + 1);
        // The dot of a hidden file begins its name.
        let stem = path[name..].rfind('.').filter(|at| *at > 0).map_or(path.len(), |at| name + at);
        match self {
            Form::Plain => path,
            Form::Stem => &path[..stem],
            Form::Name => &path[name..],
            Form::NameStem => &path[name..stem],
            Form::Folder => match name {
                0 => ".",
                1 => "/",
                name => &path[..name - 1],
            },
        }
    }
}

struct Found {
    end: usize,
    /// None: double braces, of which the inner ones stay.
    slot: Option<(Value, Form)>,
}

/// What stands between the brace at `start` and the next one, if it can stand for a value.
fn placeholder(word: &str, start: usize) -> Option<Found> {
    if word[..start].ends_with('$') {
        return None;
    }
    let rest = &word[start + 1..];
    if let Some(inner) = rest.strip_prefix('{') {
        let end = inner.find('}')?;
        slot(&inner[..end])?;
        return inner[end + 1..].starts_with('}').then_some(Found { end: start + end + 4, slot: None });
    }
    let end = rest.find('}')?;
    Some(Found { end: start + end + 2, slot: Some(slot(&rest[..end])?) })
}

fn slot(inner: &str) -> Option<(Value, Form)> {
    let form = FORMS.iter().find(|(ending, _)| inner.ends_with(ending));
    let (ending, form) = form.copied().unwrap_or(("", Form::Plain));
    let name = &inner[..inner.len() - ending.len()];
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let value = match name {
        "" => Value::Whole,
        "index" if form == Form::Plain => Value::Index,
        "index" => return None,
        _ if name.chars().all(|c| c.is_ascii_digit()) => Value::Column(name.parse().ok()?),
        _ if name.chars().all(is_name)
            && !name.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) =>
        {
            Value::Named(name.to_owned())
        }
        _ => return None,
    };
    Some((value, form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Text;

    fn filled(word: &str) -> String {
        let [columns, names] = [["a b.c/d.tar.gz", "7"], ["file", "n"]].map(|words| words.map(str::to_owned));
        let fields = Fields { index: 4, whole: "x y", columns: &columns, names: &names };
        let template = Template::parse(&Text::new("t", word).whole()).map_err(|refusal| refusal.headline());
        match template {
            Ok(template) => {
                template.fill(fields).unwrap_or_else(|slot| format!("nothing for {}", slot.text()))
            }
            Err(refusal) => refusal,
        }
    }

    #[test]
    fn placeholders_are_filled_and_nothing_else() {
        for (word, wanted) in [
            ("", ""),
            ("plain", "plain"),
            ("{}", "x y"),
            ("<{}>{index}<{n}>", "<x y>4<7>"),
            ("{1}-{2}", "a b.c/d.tar.gz-7"),
            ("{file.} {file/} {file//} {file/.}", "a b.c/d.tar d.tar.gz a b.c d.tar"),
            ("{print $1} {a,b} {} {", "{print $1} {a,b} x y {"),
            ("{{n}} {{}} {{print}} {{{n}}}", "{n} {} {print} {{n}}"),
            ("${n} ${HOME}", "${n} ${HOME}"),
            ("{3}", "nothing for {3}"),
            ("{m}", "nothing for {m}"),
        ] {
            assert_eq!(filled(word), wanted, "{word}");
        }
        assert!(filled("{0}").contains("counted from 1"));
    }

    #[test]
    fn paths_have_parts() {
        for (path, stem, name, folder) in [
            ("a.txt", "a", "a.txt", "."),
            ("/a.txt", "/a", "a.txt", "/"),
            ("b.c/a", "b.c/a", "a", "b.c"),
            (".hidden", ".hidden", ".hidden", "."),
            ("", "", "", "."),
        ] {
            let parts = [Form::Stem, Form::Name, Form::Folder].map(|form| form.of(path));
            assert_eq!(parts, [stem, name, folder], "{path}");
        }
    }

    #[test]
    fn unknown_columns_are_refused_where_they_stand() {
        let names = ["width".to_owned(), "height".to_owned()];
        let refusal = |word: &str, names: &[String]| {
            let template = Template::parse(&Text::new("t", word).whole()).unwrap();
            template.check(Known { columns: names.len().max(1), names }).unwrap_err().headline()
        };
        assert_eq!(refusal("x{widht}", &names), "t:1:2: unknown column `widht` (help: is `{width}` meant?)");
        assert_eq!(refusal("{3}", &names), "t:1:1: no column {3} (help: an item has 2 columns)");
        assert!(refusal("{width}", &[]).ends_with("for braces around `width` write `{{width}}`)"));
        assert_eq!(refusal("{2}", &[]), "t:1:1: no column {2} (help: an item is one word, `{}`)");
    }
}
