//! The command that runs one item again, alone: what its failure is looked into with.
//!
//! It is only given where it means the same: the words are read back as they would be from the command line.

use std::path::Path;

use erased_serde::Serializer as Erased;
use procession::{Payload, TaskInfo};
use procession_store::Selection;
use serde_json::value::RawValue;

use crate::diagnostic::Text;
use crate::exec;
use crate::input::{Cell, CellRow};
use crate::job::Job;
use crate::spec::{START_METHODS, units};
use crate::terminal;

/// A longer line is not copied by hand any more.
const LINE_BYTES_MAX: usize = 2_000;

/// How an item of a job is run alone.
#[derive(Clone, Debug)]
pub(crate) struct Reproduction {
    task: &'static TaskInfo,
    /// Everything before the arguments.
    command: String,
    /// What limits and starts the job's items, as flags.
    flags: String,
}

impl Reproduction {
    pub(crate) fn new(job: &Job) -> Reproduction {
        let mut command = String::new();
        if !job.pool.env.is_empty() {
            command.push_str("env ");
            for (name, value) in &job.pool.env {
                command.push_str(&format!("{} ", quoted(&format!("{name}={value}"))));
            }
        }
        command.push_str(&format!("{} apply {}", quoted(terminal::invocation()), job.task.short_path()));
        let mut flags = String::new();
        if let Some(timeout) = job.pool.timeout {
            flags.push_str(&format!(" --timeout {}", timeout.as_secs_f64()));
        }
        if let Some(limit) = job.pool.memory_limit {
            flags.push_str(&format!(" --memory-limit {}", units::show_size(limit).replace(' ', "")));
        }
        if let Some(attempts) = job.pool.max_attempts.filter(|_| job.task.is_idempotent()) {
            flags.push_str(&format!(" --max-attempts {attempts}"));
        }
        if let Some(method) = job.pool.start_method {
            let named = START_METHODS.iter().find(|(_, known)| *known == method);
            flags.extend(named.map(|(name, _)| format!(" --start-method {name}")));
        }
        Reproduction { task: job.task, command, flags }
    }

    /// The command for the item with these arguments; `None`: no line of text means the same.
    pub(crate) fn line(&self, args: &Payload) -> Option<String> {
        if exec::runs_commands(self.task) {
            return exec::order(args).map(|order| exec::shell_line(&order)).filter(|line| is_typed(line));
        }
        let json = args_json(self.task, args)?;
        let values: Vec<&RawValue> = serde_json::from_str(json.get()).ok()?;
        // Texts as plain words where that does.
        let words = [true, false].into_iter().find_map(|plain| {
            let words: Vec<String> = values.iter().map(|value| word(value, plain)).collect();
            self.means(&words, args).then_some(words)
        })?;
        let mut line = self.command.clone();
        for word in &words {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        line.push_str(&self.flags);
        is_typed(&line).then_some(line)
    }

    /// Whether the command line reads these words as those arguments.
    fn means(&self, words: &[String], args: &Payload) -> bool {
        let cells = words.iter().map(|word| Cell::Word(Text::new("<arguments>", word.as_str()).whole()));
        let row = CellRow { cells: cells.collect(), at: Text::new("<arguments>", "").whole() };
        row.encode(self.task).is_ok_and(|read| read == *args)
    }
}

/// Whether a person would type it.
fn is_typed(line: &str) -> bool {
    line.len() <= LINE_BYTES_MAX && !line.chars().any(procession_report::misleads)
}

/// The arguments as a JSON array; `None` where JSON cannot say them.
///
/// Of a command those are its words.
pub(crate) fn args_json(task: &TaskInfo, args: &Payload) -> Option<Box<RawValue>> {
    if exec::runs_commands(task) {
        return serde_json::value::to_raw_value(&exec::order(args)?.argv).ok();
    }
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut json);
    task.decode_args(args.as_bytes(), &mut <dyn Erased>::erase(&mut serializer)).ok()?;
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
}

/// The item with this number, read from its file once more.
pub(crate) fn read_again(job: &Job, item: u64) -> Option<Payload> {
    // What is not a file may be read only once.
    let is_file = |path: &Path| path.metadata().is_ok_and(|file| file.is_file());
    if !job.source.is_repeatable() || !job.source.path().is_none_or(is_file) {
        return None;
    }
    let only = Selection::only(item);
    job.source.selected(job.task, &only).ok()?.next()?.ok()
}

/// One argument as a word of the command line.
fn word(value: &RawValue, plain: bool) -> String {
    let is_plain = |text: &str| {
        !text.is_empty() && !text.starts_with(['-', '"']) && !text.chars().any(procession_report::misleads)
    };
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) if plain && is_plain(&text) => text,
        Ok(_) | Err(_) => value.get().to_owned(),
    }
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, shown) in [
            ("3", "3"),
            ("-1.5e-7", "-1.5e-7"),
            ("", "''"),
            ("two words", "'two words'"),
            ("[1, 2]", "'[1, 2]'"),
            ("it's", r"'it'\''s'"),
            ("$HOME;`ls`", "'$HOME;`ls`'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
