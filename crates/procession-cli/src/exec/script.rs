//! A shell script with placeholders becomes one with positional parameters, so that no value is ever read as a script.
//!
//! `gzip -c {} > {}.gz` becomes `gzip -c "${1}" > "${1}".gz`, and `/bin/sh` is given the values as arguments. The quotes a
//! parameter needs depend on where it stands, which is what this file follows. Should it ever be mistaken, a value could be
//! split into words, and still not be run.

use super::template::{Piece, Slot, Template};
use crate::diagnostic::{Diagnostic, Place};

/// Where in a script one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Between words, also of a subshell or a `$(…)`.
    Plain,
    Single,
    Double,
    /// In `${…}`.
    Parameter,
    /// In `$((…))`.
    Arithmetic,
    Backtick,
    Comment,
}

struct Reading {
    contexts: Vec<Context>,
    /// A backslash came last.
    escaped: bool,
    has_here_document: bool,
}

/// The words that run the script at a place with the shell.
pub(super) fn compile(at: &Place) -> Result<Vec<Template>, Diagnostic> {
    let mut reading = Reading { contexts: vec![Context::Plain], escaped: false, has_here_document: false };
    let mut script = String::new();
    let mut slots: Vec<Slot> = Vec::new();
    for piece in Template::parse(at)?.pieces {
        match piece {
            Piece::Text(text) => {
                reading.read(&text);
                script.push_str(&text);
            }
            Piece::Slot(slot) => {
                let quotes = reading.quotes(&slot)?;
                let is_same = |other: &Slot| other.value == slot.value && other.form == slot.form;
                let number = slots.iter().position(is_same).unwrap_or_else(|| {
                    slots.push(slot);
                    slots.len() - 1
                });
                script.push_str(&quotes.replace('$', &format!("${{{}}}", number + 1)));
            }
        }
    }
    let words = ["/bin/sh", "-c", &script, "sh"].map(Template::literal);
    Ok(words.into_iter().chain(slots.into_iter().map(Template::slot)).collect())
}

impl Reading {
    fn read(&mut self, text: &str) {
        let mut last = None;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let step = if std::mem::take(&mut self.escaped) { 0 } else { self.step(c, rest, last) };
            let step = step.max(c.len_utf8());
            last = rest[..step].chars().last();
            rest = &rest[step..];
        }
    }

    /// Follows the character that `rest` begins with; how many bytes went with it, or 0 for itself alone.
    fn step(&mut self, c: char, rest: &str, last: Option<char>) -> usize {
        let context = self.context();
        match (context, c) {
            (Context::Single, '\'') | (Context::Double, '"') | (Context::Parameter, '}') => self.leave(),
            (Context::Comment, '\n') => self.leave(),
            (Context::Single | Context::Comment, _) => {}
            (_, '\\') => self.escaped = true,
            (_, '$') if rest.starts_with("$((") => return self.enter(Context::Arithmetic, 3),
            (_, '$') if rest.starts_with("$(") => return self.enter(Context::Plain, 2),
            (_, '$') if rest.starts_with("${") => return self.enter(Context::Parameter, 2),
            (Context::Backtick, '`') => self.leave(),
            (_, '`') => return self.enter(Context::Backtick, 1),
            (Context::Double, _) => {}
            (Context::Arithmetic, ')') if rest.starts_with("))") => {
                self.leave();
                return 2;
            }
            (Context::Arithmetic, _) => {}
            (_, '"') => return self.enter(Context::Double, 1),
            // Within double quotes an apostrophe is one, also in a parameter's default.
            (Context::Parameter, '\'') if self.is_within_quotes() => {}
            (_, '\'') => return self.enter(Context::Single, 1),
            (Context::Parameter, _) => {}
            (Context::Plain | Context::Backtick, '#')
                if last.is_none_or(|last| " \t\n;&|(".contains(last)) =>
            {
                return self.enter(Context::Comment, 1);
            }
            (Context::Plain, '(') => return self.enter(Context::Plain, 1),
            (Context::Plain, ')') if self.contexts.len() > 1 => self.leave(),
            (Context::Plain | Context::Backtick, '<') if rest.starts_with("<<") => {
                self.has_here_document = true;
                return 2;
            }
            (Context::Plain | Context::Backtick, _) => {}
        }
        0
    }

    /// How the parameter `$` is to be written here.
    fn quotes(&self, slot: &Slot) -> Result<&'static str, Diagnostic> {
        let refuse = |what: &str, help: &str| Err(slot.error(format!("{} {what}", slot.text())).help(help));
        if self.escaped {
            return refuse("after a backslash", "remove it: values need no quotes");
        }
        if self.has_here_document {
            let help = "write the script without `{}`: the columns are then `$1`, `$2` and so on";
            return refuse("after a here-document has begun", help);
        }
        match self.context() {
            Context::Backtick => refuse("in backticks", "write `$(…)` instead"),
            Context::Single => Ok("'\"$\"'"),
            Context::Double | Context::Arithmetic | Context::Comment => Ok("$"),
            Context::Parameter if self.is_within_quotes() => Ok("$"),
            Context::Parameter | Context::Plain => Ok("\"$\""),
        }
    }

    fn context(&self) -> Context {
        self.contexts.last().copied().unwrap_or(Context::Plain)
    }

    /// Whether what surrounds a `${…}` is in double quotes.
    fn is_within_quotes(&self) -> bool {
        let around = self.contexts.iter().rev().find(|context| **context != Context::Parameter);
        around == Some(&Context::Double)
    }

    fn enter(&mut self, context: Context, step: usize) -> usize {
        self.contexts.push(context);
        step
    }

    fn leave(&mut self) {
        self.contexts.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::Fields;
    use super::*;
    use crate::diagnostic::Text;

    fn compiled(script: &str) -> Result<Vec<Template>, String> {
        compile(&Text::new("t", script).whole()).map_err(|refusal| refusal.headline())
    }

    fn filled(script: &str, value: &str) -> Vec<String> {
        let columns = [value.to_owned()];
        let fields = Fields { index: 0, whole: value, columns: &columns, names: &[] };
        let words = compiled(script).expect("it is sound");
        words.iter().map(|word| word.fill(fields).expect("it has all")).collect()
    }

    #[test]
    fn parameters_are_quoted_as_their_place_needs() {
        for (script, wanted) in [
            ("gzip -c {} > {.}.gz", r#"gzip -c "${1}" > "${2}".gz"#),
            ("echo \"<{}>\"", r#"echo "<${1}>""#),
            ("awk '/{}/'", r#"awk '/'"${1}"'/'"#),
            ("x=\"$(basename {})\"; echo {}", r#"x="$(basename "${1}")"; echo "${1}""#),
            ("echo $(( {} + (1) )) {}", r#"echo $(( ${1} + (1) )) "${1}""#),
            ("echo ${x:-{}}", r#"echo ${x:-"${1}"}"#),
            ("echo \"${x:-it's {}}\" {}", r#"echo "${x:-it's ${1}}" "${1}""#),
            ("echo 'a'\\''{}' # it's {}\necho {}", "echo 'a'\\'''\"${1}\"'' # it's ${1}\necho \"${1}\""),
            ("(cd {//} && ls) {}", r#"(cd "${1}" && ls) "${2}""#),
            ("echo a#b's' {}", r#"echo a#b's' "${1}""#),
        ] {
            assert_eq!(filled(script, "v")[2], wanted, "{script}");
        }
    }

    #[test]
    fn where_quotes_are_not_known_a_placeholder_is_refused() {
        for (script, what) in
            [("cat <<END\n{}\nEND", "here-document"), ("echo `ls {}`", "in backticks"), ("\\{}", "backslash")]
        {
            let refusal = compiled(script).unwrap_err();
            assert!(refusal.contains(what), "{refusal}");
        }
    }

    /// The real shell, and values that would do harm if they were read.
    #[test]
    fn no_value_is_split_or_run() {
        for value in
            ["a  b", "$(exit 9)", "`exit 9`", "\"; exit 9; \"", "'; exit 9; '", "*", "-n", "a\nb", "\\"]
        {
            for (script, wanted) in [
                ("printf '<%s>' {}", format!("<{value}>")),
                ("printf '<%s>' \"x{}\" 'y{}'", format!("<x{value}><y{value}>")),
                ("printf '<%s>' \"$(printf '%s.' {})\"", format!("<{value}.>")),
            ] {
                let words = filled(script, value);
                let output = std::process::Command::new(&words[0]).args(&words[1..]).output();
                let output = output.expect("there is a shell");
                assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{script}");
                assert!(output.status.success() && output.stderr.is_empty(), "{script}: {output:?}");
            }
        }
    }
}
