//! Values that wait for their turn and do not fit in memory, in a temporary file without a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
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
    value: usize,
    /// None: the value is JSON, and all there is.
    args: Option<usize>,
}

impl Spill {
    pub(super) fn put(&mut self, index: u64, held: &Held) -> Result<(), Stop> {
        let (value, args): (&[u8], Option<&[u8]>) = match held {
            Held::Json(json) => (json.as_bytes(), None),
            Held::Raw { args, value } => (value.as_bytes(), Some(args.as_bytes())),
        };
        let place = Place { at: self.end, value: value.len(), args: args.map(<[u8]>::len) };
        self.append(&[value, args.unwrap_or_default()]).map_err(|error| unwritable(&error))?;
        self.places.insert(index, place);
        Ok(())
    }

    /// What there is of so many items, from `first` on.
    pub(super) fn take(&mut self, first: u64, items: u64) -> Result<Vec<(u64, Held)>, Stop> {
        let mut rest = self.places.split_off(&first);
        let mut after = rest.split_off(&(first + items));
        self.places.append(&mut after);
        let held = rest.into_iter().map(|(index, place)| Ok((index, self.read(place)?)));
        held.collect::<io::Result<_>>().map_err(|error| unwritable(&error))
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
        let value = part(place.at, place.value)?;
        Ok(match place.args {
            None => Held::Json(String::from_utf8(value).map_err(io::Error::other)?),
            Some(args) => {
                let args = part(place.at + place.value as u64, args)?;
                Held::Raw { args: Payload::from(args), value: Payload::from(value) }
            }
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
        spill.put(9, &Held::Json("9".to_owned())).unwrap();
        assert_eq!(spill.take(4, 4).unwrap(), [(5, Held::Json("[1]".to_owned())), (7, raw)]);
        assert_eq!(spill.take(4, 4).unwrap(), []);
        assert_eq!(spill.take(9, 1).unwrap(), [(9, Held::Json("9".to_owned()))]);
    }
}
