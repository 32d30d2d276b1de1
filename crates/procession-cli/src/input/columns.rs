//! Items made from one list of values per parameter: all combinations, or side by side.

use procession::TaskInfo;

use super::cell::Cell;
use super::row::CellRow;
use super::source::Row;
use crate::diagnostic::{Diagnostic, Place};

/// One list per parameter, in the parameters' order.
#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Vec<Cell>>,
    combine: Combine,
    count: u64,
    at: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combine {
    /// Every combination; the last parameter changes fastest, as in nested loops.
    Product,
    /// First with first, second with second.
    Zip,
}

impl Columns {
    /// All combinations of the columns' values.
    pub(crate) fn product(columns: Vec<Vec<Cell>>, at: Place) -> Result<Columns, Diagnostic> {
        let count = columns.iter().try_fold(1_u64, |count, column| count.checked_mul(column.len() as u64));
        match count {
            Some(count) => Ok(Columns { columns, combine: Combine::Product, count, at }),
            None => Err(at.error("this product has more than 2^64 items")),
        }
    }

    /// The columns' values side by side. The columns are as long as each other; `names` are for the refusal.
    pub(crate) fn zip(columns: Vec<Vec<Cell>>, names: &[&str], at: Place) -> Result<Columns, Diagnostic> {
        let count = columns.first().map_or(0, Vec::len);
        if let Some(odd) = columns.iter().position(|column| column.len() != count) {
            let refusal = at.error(format!(
                "columns of different lengths: `{}` has {count} values, `{}` has {}",
                names[0],
                names[odd],
                columns[odd].len()
            ));
            return Err(refusal
                .help("zip pairs first with first, second with second; use product for all combinations"));
        }
        Ok(Columns { columns, combine: Combine::Zip, count: count as u64, at })
    }

    pub(crate) fn check(&self, task: &TaskInfo, lenient: bool) -> Result<u64, Diagnostic> {
        if self.columns.len() != task.params().len() {
            return Err(self.at.error(super::row::arity(task, self.columns.len())));
        }
        if !lenient {
            // Every value once, not every combination.
            for (index, column) in self.columns.iter().enumerate() {
                for cell in column {
                    cell.encode(task, index, &mut procession::Payload::new())?;
                }
            }
        }
        Ok(self.count)
    }

    pub(crate) fn rows<'a>(&'a self, task: &'static TaskInfo) -> impl Iterator<Item = Row> + 'a {
        (0..self.count).map(move |index| self.row(task, index))
    }

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    pub(super) fn row(&self, task: &TaskInfo, index: u64) -> Row {
        let cells = self.cells(index).into_iter().cloned().collect();
        CellRow { cells, at: self.at.clone() }.encode(task)
    }

    fn cells(&self, index: u64) -> Vec<&Cell> {
        match self.combine {
            Combine::Zip => self.columns.iter().map(|column| &column[index as usize]).collect(),
            Combine::Product => {
                let mut rest = index;
                let mut cells: Vec<&Cell> = Vec::with_capacity(self.columns.len());
                for column in self.columns.iter().rev() {
                    let len = column.len() as u64;
                    cells.push(&column[(rest % len) as usize]);
                    rest /= len;
                }
                cells.reverse();
                cells
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        let lengths: Vec<String> = self.columns.iter().map(|column| column.len().to_string()).collect();
        match self.combine {
            Combine::Product => format!("product of {}", lengths.join(" × ")),
            Combine::Zip => format!("zip of {} columns", lengths.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Text;
    use crate::spec::document::{Node, Value};

    fn columns(lists: &[&[i128]]) -> Vec<Vec<Cell>> {
        let at = Text::new("t", "x").whole();
        lists
            .iter()
            .map(|list| {
                list.iter().map(|i| Cell::Node(Node { value: Value::Integer(*i), at: at.clone() })).collect()
            })
            .collect()
    }

    fn items(columns: &Columns) -> Vec<Vec<i128>> {
        let number = |cell: &Cell| match cell {
            Cell::Node(Node { value: Value::Integer(integer), .. }) => *integer,
            other => panic!("{other:?}"),
        };
        (0..columns.count).map(|i| columns.cells(i).into_iter().map(number).collect()).collect()
    }

    #[test]
    fn product_turns_the_last_fastest() {
        let at = Text::new("t", "x").whole();
        let product = Columns::product(columns(&[&[1, 2], &[3, 4]]), at.clone()).unwrap();
        assert_eq!(items(&product), [[1, 3], [1, 4], [2, 3], [2, 4]]);
        assert_eq!(Columns::product(columns(&[&[1, 2], &[]]), at).unwrap().count, 0);
    }

    #[test]
    fn zip_wants_equal_lengths() {
        let at = Text::new("t", "x").whole();
        let zip = Columns::zip(columns(&[&[1, 2], &[3, 4]]), &["x", "n"], at.clone()).unwrap();
        assert_eq!(items(&zip), [[1, 3], [2, 4]]);
        let refusal = Columns::zip(columns(&[&[1, 2], &[3]]), &["x", "n"], at).unwrap_err().headline();
        assert!(refusal.contains("`x` has 2 values, `n` has 1"), "{refusal}");
    }
}
