//! Bytes read as choices: whatever they are, they say something, and where they end, so does the script.

/// What is left of a script.
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Script<'a> {
        Script { rest: bytes }
    }

    /// Which of so many things happens next; `None`: the script is over.
    pub(crate) fn next(&mut self, choices: u8) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first % choices)
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Bytes behind their length, as far as they are there.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16());
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// What is missing is zero.
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (found, rest) = self.rest.split_at(N.min(self.rest.len()));
        self.rest = rest;
        let mut array = [0; N];
        array[..found.len()].copy_from_slice(found);
        array
    }
}
