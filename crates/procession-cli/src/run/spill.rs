//! Values that wait for their turn and do not fit in memory, in a temporary file without a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;

use procession::Payload;

use super::sequence::Held;
use crate::exit::Stop;
use crate::output::reason;

/// The file, made once something needs it.
#[derive(Debug, Default)]
pub(super) struct Spill {
    file: Option<File>,
    places: BTreeMap<u64, Place>,
    end: u64,
}

/// Where the parts of a value are, one after the other.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    /// How long they are.
    lens: [usize; 2],
    kind: Kind,
}

/// What the parts are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// JSON, and nothing.
    Json,
    /// A value and the arguments.
    Raw,
    /// What goes to stdout and to stderr.
    Printed { is_value: bool },
}

impl Spill {
    pub(super) fn put(&mut self, index: u64, held: &Held) -> Result<(), Stop> {
        let (parts, kind): ([&[u8]; 2], Kind) = match held {
            Held::Json(json) => ([json.as_bytes(), &[]], Kind::Json),
            Held::Raw { args, value } => ([value.as_bytes(), args.as_bytes()], Kind::Raw),
            Held::Printed { out, err, is_value } => ([out, err], Kind::Printed { is_value: *is_value }),
        };
        let place = Place { at: self.end, lens: parts.map(<[u8]>::len), kind };
        self.append(&parts).map_err(|error| unwritable(&error))?;
        self.places.insert(index, place);
        Ok(())
    }

    /// What there is of so many items, from `first` on.
    pub(super) fn take(&mut self, first: u64, items: u64) -> Result<Vec<(u64, Held)>, Stop> {
        let mut rest = self.places.split_off(&first);
        let mut after = rest.split_off(&(first + items));
        self.places.append(&mut after);
        let held = rest.into_iter().map(|(index, place)| Ok((index, self.read(place)?)));
        let held = held.collect::<io::Result<_>>().map_err(|error| unwritable(&error))?;
        self.give_back().map_err(|error| unwritable(&error))?;
        Ok(held)
    }

    /// Nothing waits: the disk gets its room back.
    fn give_back(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_mut().filter(|_| self.places.is_empty() && self.end > 0) {
            file.set_len(0)?;
            file.rewind()?;
            self.end = 0;
        }
        Ok(())
    }

    fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        for part in parts {
            file.write_all(part)?;
            self.end += part.len() as u64;
        }
        Ok(())
    }

    fn read(&self, place: Place) -> io::Result<Held> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let part = |at: u64, bytes: usize| {
            let mut part = vec![0; bytes];
            file.read_exact_at(&mut part, at).map(|()| part)
        };
        let [first, second] = place.lens;
        let (one, two) = (part(place.at, first)?, part(place.at + first as u64, second)?);
        Ok(match place.kind {
            Kind::Json => Held::Json(String::from_utf8(one).map_err(io::Error::other)?),
            Kind::Raw => Held::Raw { args: Payload::from(two), value: Payload::from(one) },
            Kind::Printed { is_value } => Held::Printed { out: one, err: two, is_value },
        })
    }
}

fn unwritable(error: &io::Error) -> Stop {
    Stop::Unwritable(format!("cannot keep values that wait for their turn: {}", reason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_once() {
        let mut spill = Spill::default();
        let raw = Held::Raw { args: Payload::from(vec![1]), value: Payload::from(vec![2, 3]) };
        spill.put(7, &raw).unwrap();
        spill.put(5, &Held::Json("[1]".to_owned())).unwrap();
        let printed = Held::Printed { out: vec![4], err: vec![5, 6], is_value: true };
        spill.put(9, &printed).unwrap();
        assert_eq!(spill.take(4, 4).unwrap(), [(5, Held::Json("[1]".to_owned())), (7, raw)]);
        assert_eq!(spill.take(4, 4).unwrap(), []);
        assert_eq!(spill.take(9, 1).unwrap(), [(9, printed)]);
        let bytes = |spill: &Spill| spill.file.as_ref().unwrap().metadata().unwrap().len();
        assert_eq!(bytes(&spill), 0, "nothing waits");
        spill.put(11, &Held::Json("[2]".to_owned())).unwrap();
        assert_eq!(spill.take(11, 1).unwrap(), [(11, Held::Json("[2]".to_owned()))]);
    }
}
