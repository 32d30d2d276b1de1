//! Job specs, as editors and people read about them: a JSON schema and a reference, both made of the parser's own keys.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::key::{self, Key, Wants};
use super::{KEYS, input, output, pool, run, units};

/// The JSON schema of job specs.
///
/// What depends on the task is beyond it: the number of arguments, their types, the names of columns.
pub(crate) fn schema() -> Value {
    let mut schema = key::table(&KEYS, &["task", "input"]);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Procession job spec".into();
    let sources: Vec<Value> = input::SOURCES.iter().map(|source| json!({ "required": [source] })).collect();
    let input = &mut schema["properties"]["input"];
    input["oneOf"] = sources.into();
    input["dependencies"] = json!({ "args": ["repeat"], "format": ["file"] });
    schema
}

/// The reference of job specs, in Markdown.
pub(crate) fn reference() -> String {
    let mut text = "\
# Job specs

Every key of a job spec. This page is written by `procession schema --markdown`, from what the parser itself goes by.

`procession schema > job.schema.json` writes the JSON schema for editors: with `#:schema ./job.schema.json` as the first line of a job
spec, those that know TOML by taplo (VS Code with Even Better TOML, Helix, Neovim, Zed) complete its keys and mark what is wrong.
What depends on the task, such as the types of its arguments, is checked by `procession run JOB.toml --dry-run`.

Any key can be changed for one run: `--set pool.workers=8`. Flags have the last word.
"
    .to_owned();
    section(&mut text, "The job", &KEYS);
    section(&mut text, "`[pool]`: the workers", &pool::KEYS);
    section(&mut text, "`[input]`: exactly one source of items", &input::KEYS);
    section(&mut text, "`[output]`: values, and items without one", &output::KEYS);
    section(&mut text, "`[run]`: what is kept of the run", &run::KEYS);
    let _ = write!(
        text,
        "\n## Durations and sizes\n\n* Durations: {}; a number counts seconds. Units: {}.\n* Sizes: {}; a number counts bytes. Units: {}.\n",
        units::DURATION_HELP,
        crate::nearest::list(&units::DURATIONS.map(|(unit, _)| unit)),
        units::SIZE_HELP,
        crate::nearest::list(&units::SIZES.map(|(unit, _)| unit)),
    );
    text
}

fn section(text: &mut String, title: &str, keys: &[Key]) {
    let _ = write!(text, "\n## {title}\n\n| key | holds | |\n|---|---|---|\n");
    for key in keys {
        let holds = match key.wants {
            Wants::Table(keys, _) if keys.len() > 3 => "a table, see below".to_owned(),
            wants => wants.words(),
        };
        let _ = writeln!(text, "| `{}` | {} | {} |", key.name, holds, key.docs);
    }
}

#[cfg(test)]
mod tests;
