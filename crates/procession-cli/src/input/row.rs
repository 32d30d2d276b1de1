//! One row of arguments: how many there must be, and how they become a payload.

use procession::{Payload, TaskInfo};

use super::cell::Cell;
use crate::diagnostic::{Diagnostic, Place};

/// Arguments of one item, and where the row stands as a whole.
#[derive(Clone, Debug)]
pub(crate) struct CellRow {
    pub(crate) cells: Vec<Cell>,
    pub(crate) at: Place,
}

impl CellRow {
    pub(crate) fn encode(&self, task: &TaskInfo) -> Result<Payload, Diagnostic> {
        if self.cells.len() != task.params().len() {
            return Err(self.at.error(arity(task, self.cells.len())));
        }
        let mut payload = Payload::new();
        for (index, cell) in self.cells.iter().enumerate() {
            cell.encode(task, index, &mut payload)?;
        }
        Ok(payload)
    }
}

/// The words for a row of `given` arguments where the task takes another number.
pub(crate) fn arity(task: &TaskInfo, given: usize) -> String {
    format!("{}, not {given}", takes(task))
}

/// `` `power_n` takes 2 arguments (x: i64, n: u32) ``.
pub(crate) fn takes(task: &TaskInfo) -> String {
    let params: Vec<String> = task.params().iter().map(ToString::to_string).collect();
    match params.len() {
        0 => format!("`{}` takes no arguments", task.name()),
        1 => format!("`{}` takes 1 argument ({})", task.name(), params[0]),
        count => format!("`{}` takes {count} arguments ({})", task.name(), params.join(", ")),
    }
}

/// The words for a row without a value for parameter `index`; `names` are those it has.
pub(crate) fn missing(task: &TaskInfo, index: usize, names: &[&str]) -> (String, String) {
    let name = task.params()[index].name();
    let what = format!("no value for argument `{name}` of `{}`", task.name());
    // What serves another parameter is not meant for this one.
    let free = names.iter().copied().filter(|name| task.params().iter().all(|param| param.name() != *name));
    let help = match crate::nearest::nearest(name, free) {
        Some(near) => format!("is `{near}` meant?"),
        None if names.is_empty() => takes(task),
        None => format!("there are {}", crate::nearest::list(names)),
    };
    (what, help)
}
