//! Encoded arguments or an encoded result, for callers that know a task only by its name.
//!
//! A payload does not know the task it belongs to, nor how its bytes were made.

/// Encoded arguments, or an encoded result, of one call.
///
/// The bytes are opaque: [`TaskInfo::encode_arg`](crate::TaskInfo::encode_arg) writes them, and
/// [`TaskInfo::decode_result`](crate::TaskInfo::decode_result) reads them.
/// They mean something only to the build of the program that wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// A payload without bytes: the arguments of a task that takes none.
    #[must_use]
    pub const fn new() -> Payload {
        Payload(Vec::new())
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Where further arguments are appended.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(bytes)
    }
}
