//! The output in the order of the items: what has its turn is written, what has not is held, in memory or on a disk.

use super::Books;
use crate::exit::Stop;
use crate::run::sequence::{Held, Next};

impl Books {
    /// What an item has for the output, in its turn. Where outcomes come in order it is that already.
    pub(in crate::run) fn pass(&self, item: u64, value: Option<Held>) -> Result<(), Stop> {
        if !self.reorders() || self.is_left_to_record() {
            return Ok(());
        }
        let place = self.place(item);
        let left = self.sequence.borrow_mut().put(place, value);
        // What commands printed depends on their arguments, too, which the run directory has not.
        if let Some(held) = left.filter(|held| !self.has_store() || !matches!(held, Held::Json(_))) {
            self.spill.borrow_mut().put(place, &held)?;
        }
        self.show()
    }

    /// Writes the values whose turn it is.
    fn show(&self) -> Result<(), Stop> {
        loop {
            let next = self.sequence.borrow_mut().pop();
            match next {
                None => return Ok(()),
                Some(Next::Nothing) => {}
                Some(Next::Value(place, held)) => self.show_held(self.item(place), &held)?,
                Some(Next::Stored(first, items)) if !self.has_store() || self.keeps_commands() => {
                    let spilt = self.spill.borrow_mut().take(first, items)?;
                    spilt.iter().try_for_each(|(place, held)| self.show_held(self.item(*place), held))?;
                }
                Some(Next::Stored(first, items)) => {
                    let mut values = Vec::new();
                    self.on_record(|record| {
                        values = record.stored(self.item(first), self.item(first + items - 1), items)?;
                        Ok(())
                    })?;
                    values.iter().try_for_each(|(item, json)| self.show_value(*item, json))?;
                }
            }
        }
    }

    /// The place of an item among those that run, and the item at a place.
    pub(super) fn place(&self, item: u64) -> u64 {
        self.selection.position(item).unwrap_or(item)
    }

    fn item(&self, place: u64) -> u64 {
        self.selection.nth(place).unwrap_or(place)
    }

    fn show_held(&self, item: u64, held: &Held) -> Result<(), Stop> {
        match held {
            Held::Json(json) => self.show_value(item, json),
            Held::Raw { args, value } => self.value(item, Some(args), value),
            Held::Printed { out, err, is_value } => {
                let shown = self.results.borrow_mut().repeat((out, err), *is_value, &self.screen());
                self.mute_if_unread(shown)?;
                if *is_value { self.written(item, None, Ok(())) } else { Ok(()) }
            }
        }
    }

    /// What is missing does not come: what is there is in order without it.
    pub(in crate::run) fn show_rest(&self) -> Result<(), Stop> {
        while self.sequence.borrow_mut().skip() {
            self.show()?;
        }
        Ok(())
    }
}
