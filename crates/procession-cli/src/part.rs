//! Which part of a job is to run: what was typed about it, and what is wrong with that.
//!
//! The arithmetic is `procession_store::Selection`'s.

use procession_store::{Element, Selection};

use crate::cli::PartFlags;
use crate::diagnostic::{Diagnostic, Place, Text};
use crate::input::Counted;
use crate::summary::counted;

/// A part of a job; by default all of it.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) selection: Selection,
    /// What `--select` says, and where.
    select: Option<(Place, Vec<Element>)>,
}

impl Part {
    pub(crate) fn of(flags: &PartFlags) -> Result<Part, Diagnostic> {
        const HELP: &str = "write indices and ranges of them, counted from 0: 3,7,10-20,100-";
        let select = flags.select.as_ref().map(|list| {
            let at = Text::new("--select", list.as_str()).whole();
            let elements = procession_store::elements(list).map_err(|misread| {
                at.text.place(misread.at.start..misread.at.end).error(misread.what).help(HELP)
            })?;
            Ok::<_, Diagnostic>((at, elements))
        });
        let select = select.transpose()?;
        let elements = select.as_ref().map(|(_, elements)| elements.as_slice());
        Ok(Part { selection: Selection::of(elements, flags.shard, flags.limit), select })
    }

    /// How many of so many items it has. What names items that there are not is refused: `100-` ends where they do, `100-200`
    /// does not.
    pub(crate) fn count(&self, items: Counted) -> Result<Counted, Diagnostic> {
        let Some(items) = items else { return Ok(None) };
        for (at, element) in self.elements() {
            let index = element.last.unwrap_or(element.first);
            if index < items {
                continue;
            }
            let refusal = at.text.place(element.at.clone()).error(match items {
                0 => format!("there is no item {index}: the job has none"),
                _ => format!(
                    "there is no item {index}: the job has {}, the last of them is item {}",
                    counted(items, "item"),
                    items - 1
                ),
            });
            return Err(match element.last {
                Some(last) if element.first < items && last > element.first => {
                    refusal.help(format!("{}- is everything from there on", element.first))
                }
                _ => refusal,
            });
        }
        Ok(Some(self.selection.count(items)))
    }

    /// What to say of an input that was not counted before, and of which so many items of this part were read.
    pub(crate) fn shortfall(&self, items: u64) -> Option<String> {
        let named = self.elements().map(|(_, element)| element.last.unwrap_or(element.first)).max()?;
        let expected = self.selection.count(named.saturating_add(1));
        (items < expected).then(|| {
            let first = self.selection.nth(items).unwrap_or(named);
            format!("the input ended before item {first}, which --select names")
        })
    }

    fn elements(&self) -> impl Iterator<Item = (&Place, &Element)> {
        self.select.iter().flat_map(|(at, elements)| elements.iter().map(move |element| (at, element)))
    }
}
