//! Finding a task by what a person typed: the full path, or any unambiguous end of it.

use std::fmt;

use crate::registry::{TaskInfo, tasks};

/// Finds a task by its full path, or by any trailing part of it that only one task has.
///
/// ```standalone_crate
/// # mod maths {
/// #     #[procession::task]
/// #     pub(crate) fn square(x: i64) -> i64 { x * x }
/// # }
/// assert_eq!(procession::find("square").unwrap().name(), "square");
/// assert_eq!(procession::find("maths::square").unwrap().name(), "square");
///
/// let unknown = procession::find("sqare").unwrap_err();
/// assert_eq!(unknown.to_string(), "no task is named `sqare`: did you mean `maths::square`");
/// ```
///
/// # Errors
/// If no task has that name, with the names closest to it; or if several do, with all of theirs.
pub fn find(name: &str) -> Result<&'static TaskInfo, NotFound> {
    find_among(tasks(), name)
}

/// No task, or more than one, has the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// What was asked for.
    pub name: String,
    /// Names close to it, closest first, at most three; empty where nothing is close or the name is ambiguous.
    pub nearest: Vec<&'static str>,
    /// Full paths of all tasks that the name fits; empty where none does.
    pub ambiguous: Vec<&'static str>,
}

/// Suggestions beyond these help nobody.
const NEAREST_MAX: usize = 3;

pub(super) fn find_among(tasks: &[&'static TaskInfo], name: &str) -> Result<&'static TaskInfo, NotFound> {
    if let Some(task) = tasks.iter().find(|task| task.path() == name) {
        return Ok(task);
    }
    let candidates: Vec<_> = tasks.iter().copied().filter(|task| ends_with(task.path(), name)).collect();
    match candidates[..] {
        [task] => Ok(task),
        [] => Err(NotFound { name: name.to_owned(), nearest: nearest(tasks, name), ambiguous: Vec::new() }),
        _ => {
            let ambiguous = candidates.iter().map(|task| task.path()).collect();
            Err(NotFound { name: name.to_owned(), nearest: Vec::new(), ambiguous })
        }
    }
}

/// Whether `end` is the last part or parts of `path`, whole parts only.
fn ends_with(path: &str, end: &str) -> bool {
    !end.is_empty() && path.strip_suffix(end).is_some_and(|before| before.ends_with("::"))
}

/// Short paths of the tasks whose name, short path or path is within a third of its length of `name`.
fn nearest(tasks: &[&'static TaskInfo], name: &str) -> Vec<&'static str> {
    let mut close: Vec<(usize, &'static str)> = tasks
        .iter()
        .filter_map(|task| {
            let known = [task.name(), task.short_path(), task.path()];
            let distance = known.into_iter().filter_map(|known| near(known, name)).min()?;
            Some((distance, task.short_path()))
        })
        .collect();
    close.sort_unstable();
    close.dedup();
    close.into_iter().take(NEAREST_MAX).map(|(_, path)| path).collect()
}

fn near(known: &str, name: &str) -> Option<usize> {
    let limit = known.len().max(name.len()).div_ceil(3);
    Some(edit_distance(known, name)).filter(|&distance| distance <= limit)
}

/// Fewest insertions, deletions and replacements of a character that turn `a` into `b` (Levenshtein).
pub(super) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        if !self.ambiguous.is_empty() {
            let candidates = quoted(&self.ambiguous).join(", ");
            return write!(f, "several tasks are named `{}`: say which of {candidates}", self.name);
        }
        write!(f, "no task is named `{}`: ", self.name)?;
        match quoted(&self.nearest)[..] {
            [] => f.write_str("none of the registered names is close to it"),
            ref names => write!(f, "did you mean {}", names.join(" or ")),
        }
    }
}

impl std::error::Error for NotFound {}
