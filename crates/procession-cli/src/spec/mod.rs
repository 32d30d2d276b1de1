//! Job specs: TOML in, a checked [`Job`] out, and every refusal with its place.
//!
//! The document is walked by hand, because every value must be able to say where it stands, also after `--set` changed it.

pub(crate) mod deserialize;
pub(crate) mod document;
mod field;
mod input;
mod key;
mod output;
mod pool;
mod run;
pub(crate) mod schema;
pub(crate) mod template;
pub(crate) mod units;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use procession::TaskInfo;

pub(crate) use pool::{START_METHODS, WORKERS_MAX};

use self::document::{Entry, Table};
use self::key::{Key, Wants, key, names};
use crate::diagnostic::{Diagnostic, Place, Text};
use crate::input::row;
use crate::job::{Call, Job, PoolSettings, ResultSettings};
use crate::nearest;
use crate::part::Part;
use crate::reduce::Reduction;

const KEYS: [Key; 8] = [
    key("name", Wants::Text, "What the job is called in summaries and reports. Default: as the file."),
    key("task", Wants::Text, "The task: its full path, or its last part where that is unambiguous."),
    key(
        "call",
        Wants::Choice(|| names(&Call::NAMES)),
        "How it is called. Default: `map` or `starmap`, by its arguments.",
    ),
    key("reduce", Wants::Choice(|| names(&Reduction::NAMES)), "One value made of all."),
    key("pool", Wants::Table(&pool::KEYS, &[]), "The workers, their limits and their surroundings."),
    key("input", Wants::Table(&input::KEYS, &[]), "Where items come from."),
    key(
        "output",
        Wants::Table(&output::KEYS, &[]),
        "Where values go, and what is kept of items without one.",
    ),
    key("run", Wants::Table(&run::KEYS, &[]), "Where every outcome is kept, and the page about it."),
];

/// Reads the job in `path`, changed by the `--set` assignments in order.
///
/// `adjust` lets the flags have the last word on the pool, before the input is made: the number of workers may appear there.
pub(crate) fn read(
    path: &Path,
    assignments: &[String],
    adjust: impl FnOnce(&mut PoolSettings),
) -> Result<Job, Diagnostic> {
    let name = path.display().to_string();
    let content = fs::read(path).map_err(|error| {
        Diagnostic::new(format!("cannot read job spec {name}: {}", crate::output::reason(&error)))
    })?;
    let content = String::from_utf8(content).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = Text::new(&name, String::from_utf8_lossy(error.as_bytes()));
        text.place(good..good + 1).error("this is not UTF-8").help("convert the file to UTF-8")
    })?;
    let fallback = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let job = parse(&Text::new(name, content), assignments, fallback, adjust)?;
    Ok(Job { spec: Some(path.to_owned()), ..job })
}

/// As [`read`], of a text; `fallback` is the job's name if it has none.
pub(crate) fn parse(
    text: &Arc<Text>,
    assignments: &[String],
    fallback: String,
    adjust: impl FnOnce(&mut PoolSettings),
) -> Result<Job, Diagnostic> {
    let mut table = document::parse(text)?;
    for assignment in assignments {
        document::set(&mut table, assignment)?;
    }
    job(&table, &text.place(0..0), fallback, adjust)
}

fn job(
    table: &Table,
    top: &Place,
    fallback: String,
    adjust: impl FnOnce(&mut PoolSettings),
) -> Result<Job, Diagnostic> {
    table.only("a job spec", &KEYS)?;
    let name = match table.get("name") {
        Some(entry) => entry.string()?.to_owned(),
        None => fallback,
    };
    let Some(task) = table.get("task") else {
        return Err(
            missing(top, "task").help(format!("name the task to run: `task = \"square\"`; {}", listed()))
        );
    };
    let task = find_task(task)?;
    let call = call(table.get("call"), task)?;
    let reduce = reduce(table.get("reduce"), task)?;

    let mut pool = match table.get("pool") {
        Some(entry) => pool::read(entry.table()?)?,
        None => PoolSettings::default(),
    };
    adjust(&mut pool);
    if let (Call::ApplyAsync, Some(chunk_size @ 2..)) = (call, pool.chunk_size) {
        let at = table.get("call").map_or(top, |entry| &entry.node.at);
        let refusal =
            at.error(format!("`apply_async` hands out items one by one; chunk_size is {chunk_size}"));
        return Err(refusal.help("remove chunk_size, or use `imap` or `imap_unordered`"));
    }

    let Some(input) = table.get("input") else {
        return Err(missing(top, "input")
            .help("add a table [input] with a source of items, such as `range = \"0..20\"`"));
    };
    let context = input::Context { task, workers: pool.workers() as u64, unary: call.is_unary(task) };
    let source = input::read(input.table()?, &input.key_at, context)?;

    let (mut results, unordered) = match table.get("output") {
        Some(entry) => output::read(entry.table()?)?,
        None => (ResultSettings::default(), None),
    };
    results.unordered = unordered.unwrap_or(call == Call::ImapUnordered);
    let kept = table.get("run").map(|entry| run::read(entry.table()?)).transpose()?;
    let run::Kept { run_dir, report } = kept.unwrap_or_default();
    Ok(Job {
        name,
        spec: None,
        task,
        call,
        reduce,
        pool,
        source,
        part: Part::default(),
        results,
        skip_invalid: false,
        run_dir,
        report,
        engine: None,
    })
}

fn missing(top: &Place, key: &str) -> Diagnostic {
    top.error(format!("missing `{key}`"))
}

fn find_task(entry: &Entry) -> Result<&'static TaskInfo, Diagnostic> {
    let name = entry.string()?;
    task_named(name).map_err(|(what, help)| entry.node.at.error(what).help(help))
}

/// The task of that name, or what is wrong with the name and what to do.
pub(crate) fn task_named(name: &str) -> Result<&'static TaskInfo, (String, String)> {
    procession::find(name).map_err(|not_found| {
        if !not_found.ambiguous.is_empty() {
            let help = format!("write the full path: {}", nearest::list(&not_found.ambiguous));
            return (format!("task `{name}` is ambiguous"), help);
        }
        let help = if not_found.nearest.is_empty() {
            listed()
        } else {
            format!(
                "did you mean {}?",
                not_found.nearest.iter().map(|near| format!("`{near}`")).collect::<Vec<_>>().join(" or ")
            )
        };
        (format!("unknown task `{name}`"), help)
    })
}

/// Where all tasks are named.
fn listed() -> String {
    format!("`{} tasks` lists them", crate::terminal::program())
}

fn call(entry: Option<&Entry>, task: &'static TaskInfo) -> Result<Call, Diagnostic> {
    let Some(entry) = entry else {
        return Ok(Call::for_task(task));
    };
    let call = entry.choice(&Call::NAMES)?;
    if call == Call::Map && task.params().len() != 1 {
        let refusal = entry.error(format!("`map` gives 1 argument an item; {}", row::takes(task)));
        return Err(refusal.help("use `starmap`"));
    }
    Ok(call)
}

fn reduce(entry: Option<&Entry>, task: &'static TaskInfo) -> Result<Option<Reduction>, Diagnostic> {
    let Some(entry) = entry else { return Ok(None) };
    let reduction = entry.choice(&Reduction::NAMES)?;
    if reduction.wants_numbers() && crate::reduce::is_never_a_number(task.returns()) {
        let word = entry.string()?;
        let refusal = entry.error(format!(
            "`{word}` needs numbers, and `{}` returns `{}`",
            task.name(),
            task.returns()
        ));
        return Err(refusal.help("use `count`, or remove `reduce`"));
    }
    Ok(Some(reduction))
}

#[cfg(test)]
mod tests;
