//! `[input]`: exactly one source of items.

use procession::TaskInfo;

use super::document::{Entry, Node, Table, Value};
use super::key::{Key, Wants, key, names};
use super::template::{self, Names};
use crate::diagnostic::{Diagnostic, Place};
use crate::input::{Cell, CellRow, Columns, File, Format, Repeat, Series, Source, row};
use crate::nearest;

pub(super) const SOURCES: [&str; 7] = ["repeat", "range", "values", "rows", "file", "product", "zip"];
const ROW: Wants = Wants::Array(&Wants::Anything, 0);

const WHOLE: Wants = Wants::Integer(i64::MIN, None);

const RANGE: [Key; 3] = [
    key("start", WHOLE, "The first integer. Default: 0."),
    key("stop", WHOLE, "Where it ends: this one is excluded."),
    key("step", WHOLE, "From one to the next; not 0. Default: 1."),
];

pub(super) const KEYS: [Key; 9] = [
    key(
        "repeat",
        Wants::Either(&[Wants::Integer(0, None), Wants::Form("^[{]workers[}]$", "`\"{workers}\"`")]),
        "The same row so many times.",
    ),
    key(
        "args",
        ROW,
        "That row. `\"{index}\"` is the number of the item, from 0, `\"{workers}\"` that of the workers. Belongs to `repeat`.",
    ),
    key(
        "range",
        Wants::Either(&[
            Wants::Form("^[^.]*[.][.][^.]*$", "`\"START..STOP\"` or `\"START..STOP:STEP\"`"),
            Wants::Table(&RANGE, &["stop"]),
        ]),
        "Integers, `stop` excluded.",
    ),
    key("values", ROW, "One argument an item."),
    key("rows", Wants::Array(&ROW, 0), "Several arguments an item."),
    key("file", Wants::Text, "A row a line of a file: `.jsonl`, `.csv` or `.txt`; `-` is stdin."),
    key(
        "format",
        Wants::Choice(|| names(&Format::NAMES)),
        "How rows are written, where the name does not say it. Belongs to `file`.",
    ),
    key("product", Wants::Columns(&ROW), "All combinations of values for each argument, by its name."),
    key("zip", Wants::Columns(&ROW), "Values for each argument side by side, by its name."),
];

/// What a source needs to know of the rest of the job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) task: &'static TaskInfo,
    pub(super) workers: u64,
    /// Whether a row of a file is the one argument itself.
    pub(super) unary: bool,
}

/// Reads the table that stands at `at`.
pub(super) fn read(table: &Table, at: &Place, context: Context) -> Result<Source, Diagnostic> {
    table.only("[input]", &KEYS)?;
    let mut given = table.entries.iter().filter(|entry| SOURCES.contains(&entry.key.as_str()));
    let Some(source) = given.next() else {
        let refusal = at.error("[input] names no source of items");
        return Err(refusal.help(format!("give one of {}", nearest::list(&SOURCES))));
    };
    if let Some(second) = given.next() {
        let refusal = second.key_at.error(format!("`{}` and `{}` are both given", source.key, second.key));
        return Err(refusal.help("[input] has exactly one source; remove the other"));
    }
    belongs(table, "args", "repeat", source)?;
    belongs(table, "format", "file", source)?;
    match source.key.as_str() {
        "repeat" => repeat(source, table.get("args"), context),
        "range" => range(source),
        "values" => values(source, context),
        "rows" => rows(source),
        "file" => file(source, table.get("format"), context),
        "product" => {
            let (columns, _) = columns(source, context)?;
            Columns::product(columns, source.node.at.clone()).map(Source::Columns)
        }
        "zip" => {
            let (columns, names) = columns(source, context)?;
            Columns::zip(columns, &names, source.node.at.clone()).map(Source::Columns)
        }
        key => unreachable!("`{key}` is in SOURCES and has no reader"),
    }
}

fn belongs(table: &Table, key: &str, to: &str, source: &Entry) -> Result<(), Diagnostic> {
    match table.get(key) {
        Some(entry) if source.key != to => {
            let refusal = entry.key_at.error(format!("`{key}` belongs to `{to}`, not to `{}`", source.key));
            Err(refusal.help(format!("remove `{key}`, or make the source `{to}`")))
        }
        _ => Ok(()),
    }
}

fn repeat(entry: &Entry, args: Option<&Entry>, context: Context) -> Result<Source, Diagnostic> {
    let filled = template::fill(&entry.node, Names { workers: context.workers, index: None })?;
    let count = Entry { node: filled, ..entry.clone() }.integer(0..=u64::MAX)?;
    let args = match args {
        Some(args) => args.array()?.to_vec(),
        None => Vec::new(),
    };
    Ok(Source::Repeat(Repeat { count, args, workers: context.workers, at: entry.node.at.clone() }))
}

fn range(entry: &Entry) -> Result<Source, Diagnostic> {
    const HELP: &str = "for example `range = { start = 0, stop = 20, step = 1 }` or `range = \"0..20\"`";
    let at = entry.node.at.clone();
    let series = match &entry.node.value {
        Value::String(text) => Series::parse(text, at)?,
        Value::Table(table) => {
            table.only("`range`", &RANGE)?;
            let number =
                |key: &str| table.get(key).map(|entry| entry.integer(i64::MIN..=i64::MAX)).transpose();
            let Some(stop) = number("stop")? else {
                return Err(entry.error("needs a `stop`").help(HELP));
            };
            let series =
                Series { start: number("start")?.unwrap_or(0), stop, step: number("step")?.unwrap_or(1), at };
            series.sound()?
        }
        other => {
            let what = format!("`range` must be a table, not {}", other.kind());
            return Err(entry.node.at.error(what).help(HELP));
        }
    };
    Ok(Source::Range(series))
}

fn values(entry: &Entry, context: Context) -> Result<Source, Diagnostic> {
    if context.task.params().len() != 1 {
        let refusal = entry.key_at.error(format!("`values` gives 1 argument; {}", row::takes(context.task)));
        return Err(refusal.help("use `rows`, `product` or `zip` for several arguments"));
    }
    let row = |node: &Node| CellRow { cells: vec![Cell::Node(node.clone())], at: node.at.clone() };
    Ok(Source::Rows(entry.array()?.iter().map(row).collect()))
}

fn rows(entry: &Entry) -> Result<Source, Diagnostic> {
    let row = |node: &Node| match &node.value {
        Value::Array(cells) => {
            Ok(CellRow { cells: cells.iter().cloned().map(Cell::Node).collect(), at: node.at.clone() })
        }
        other => {
            let refusal = node.at.error(format!("a row must be an array of arguments, not {}", other.kind()));
            Err(refusal.help("write `rows = [[…], […]]`, or `values = […]` for one argument an item"))
        }
    };
    entry.array()?.iter().map(row).collect::<Result<_, _>>().map(Source::Rows)
}

fn file(entry: &Entry, format: Option<&Entry>, context: Context) -> Result<Source, Diagnostic> {
    let path = entry.string()?;
    let format = match format {
        Some(format) => format.choice(&Format::NAMES)?,
        None => Format::of(path).ok_or_else(|| {
            let refusal = entry.error(format!("cannot tell the format of `{path}`"));
            refusal
                .help("end the name in .jsonl, .csv or .txt, or add `format = \"jsonl\"`, \"csv\" or \"txt\"")
        })?,
    };
    Ok(Source::File(File::new(path, format, context.unary, entry.node.at.clone())))
}

/// One list per parameter, in the parameters' order, and their names.
fn columns(entry: &Entry, context: Context) -> Result<(Vec<Vec<Cell>>, Vec<&'static str>), Diagnostic> {
    let table = entry.table()?;
    let names: Vec<&'static str> = context.task.params().iter().map(|param| param.name()).collect();
    if let Some(stranger) = table.entries.iter().find(|column| !names.contains(&column.key.as_str())) {
        let what = format!("`{}` is no parameter; {}", stranger.key, row::takes(context.task));
        let near = nearest::nearest(&stranger.key, names.iter().copied());
        return Err(stranger
            .key_at
            .error(what)
            .maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
    }
    let column = |name: &&'static str| match table.get(name) {
        Some(column) => Ok(column.array()?.iter().cloned().map(Cell::Node).collect()),
        None => {
            let what = format!("no values for argument `{name}`; {}", row::takes(context.task));
            Err(entry.node.at.error(what).help(format!("add `{name} = […]`")))
        }
    };
    Ok((names.iter().map(column).collect::<Result<_, _>>()?, names))
}
