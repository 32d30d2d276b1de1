//! `procession tasks`: what this program can run.

use procession::TaskInfo;
use serde::Serialize;

use crate::exit::{Ending, Stop};
use crate::output::Sink;

/// One task of the `--json` listing.
#[derive(Serialize)]
struct Listed {
    path: &'static str,
    name: &'static str,
    signature: String,
    params: Vec<ListedParam>,
    returns: &'static str,
    idempotent: bool,
    docs: &'static str,
}

#[derive(Serialize)]
struct ListedParam {
    name: &'static str,
    #[serde(rename = "type")]
    ty: &'static str,
}

/// Prints every task: a paragraph each, or one JSON array.
pub(crate) fn show(json: bool) -> Result<Ending, Stop> {
    let tasks = procession::tasks();
    let text = if json { as_json(tasks)? } else { as_text(tasks) };
    let mut stdout = Sink::stdout();
    stdout.write(text.as_bytes())?;
    stdout.flush()?;
    Ok(Ending::Complete)
}

fn as_text(tasks: &[&TaskInfo]) -> String {
    let mut text = String::new();
    for task in tasks {
        let mark = if task.is_idempotent() { "  [idempotent]" } else { "" };
        text.push_str(&format!("{}{mark}\n    {}\n", task.path(), task.signature()));
        if let Some(first) = task.docs().lines().map(str::trim).find(|line| !line.is_empty()) {
            text.push_str(&format!("    {first}\n"));
        }
    }
    text
}

fn as_json(tasks: &[&'static TaskInfo]) -> Result<String, Stop> {
    let listed: Vec<Listed> = tasks
        .iter()
        .map(|task| Listed {
            path: task.path(),
            name: task.name(),
            signature: task.signature(),
            params: task
                .params()
                .iter()
                .map(|param| ListedParam { name: param.name(), ty: param.ty() })
                .collect(),
            returns: task.returns(),
            idempotent: task.is_idempotent(),
            docs: task.docs(),
        })
        .collect();
    let text = serde_json::to_string_pretty(&listed);
    text.map(|text| text + "\n")
        .map_err(|error| Stop::Unwritable(format!("cannot list tasks as JSON: {error}")))
}
