//! Is the registry sound, and is it the same on both sides: checked when a pool or a worker starts.

use std::sync::OnceLock;

use crate::registry::{TaskInfo, tasks};

/// Refuses two tasks of one path, naming both places.
pub(crate) fn check() -> Result<(), String> {
    no_duplicates(tasks())
}

/// A number that two processes share exactly if their tasks, and what encodes them, are the same.
///
/// FNV-1a (64 bit) over this crate's version, the pointer width, and each task's path and signature in order,
/// each text followed by a zero byte. Written out here because the number must not change with a toolchain.
///
/// Computed once per process: every signature is put into words for it, and each worker that starts is asked for it.
///
/// ```
/// assert_eq!(procession::fingerprint(), procession::fingerprint());
/// ```
#[must_use]
pub fn fingerprint() -> u64 {
    static FINGERPRINT: OnceLock<u64> = OnceLock::new();
    *FINGERPRINT.get_or_init(|| fingerprint_of(tasks()))
}

/// `tasks` are sorted by path.
pub(super) fn no_duplicates(tasks: &[&TaskInfo]) -> Result<(), String> {
    for pair in tasks.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if first.path() == second.path() {
            let ((file_1, line_1), (file_2, line_2)) = (first.place(), second.place());
            return Err(format!(
                "task `{}` is registered twice: at {file_1}:{line_1} and at {file_2}:{line_2}; \
                 rename one of them or move it to another module",
                first.path()
            ));
        }
    }
    Ok(())
}

pub(super) fn fingerprint_of(tasks: &[&TaskInfo]) -> u64 {
    let mut hash = Fnv::new();
    hash.text(env!("CARGO_PKG_VERSION"));
    hash.text(&usize::BITS.to_string());
    for task in tasks {
        hash.text(task.path());
        hash.text(&task.signature());
    }
    hash.0
}

struct Fnv(u64);

impl Fnv {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    fn new() -> Fnv {
        Fnv(Fnv::OFFSET_BASIS)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(Fnv::PRIME);
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0]);
    }
}
