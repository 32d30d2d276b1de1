//! What is loaded into this process, and where: the program itself and its libraries.
//!
//! It allocates nothing and takes no lock but the dynamic loader's, so that a process that is about to die may ask.

use std::ffi::CStr;
use std::ops::Range;

/// A file that is loaded, as the dynamic loader knows it.
#[derive(Debug)]
pub(crate) struct Module<'a> {
    /// What an address within the file is moved by to give one in memory.
    pub(crate) base: u64,
    /// Its addresses in memory.
    pub(crate) range: Range<u64>,
    /// Its path; empty: it is the program itself.
    pub(crate) name: &'a [u8],
    /// Equal for files whose segments are alike, as those of one build are.
    pub(crate) build: u64,
}

/// Visits each, the program first. `visit` must not panic.
pub(crate) fn each(mut visit: impl FnMut(&Module<'_>)) {
    let mut visitor = Visitor { visit: &mut visit, is_first: true };
    // SAFETY: the loader calls `see` with the pointer given here, and only before this call returns.
    unsafe { libc::dl_iterate_phdr(Some(see), (&raw mut visitor).cast()) };
}

struct Visitor<'a> {
    visit: &'a mut dyn FnMut(&Module<'_>),
    is_first: bool,
}

unsafe extern "C" fn see(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    visitor: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a description that is valid during this call, with as many program headers as it says
    // and a name that ends with a zero byte or is null; `visitor` is what `each` gave it.
    let (info, headers, name, visitor) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        let name = if info.dlpi_name.is_null() { &[] } else { CStr::from_ptr(info.dlpi_name).to_bytes() };
        (info, headers, name, &mut *visitor.cast::<Visitor<'_>>())
    };
    let (mut start, mut end) = (u64::MAX, 0);
    let mut build = Fingerprint::default();
    for header in headers {
        if header.p_type == libc::PT_LOAD {
            let segment = info.dlpi_addr.wrapping_add(header.p_vaddr);
            start = start.min(segment);
            end = end.max(segment.saturating_add(header.p_memsz));
        }
        build.add(u64::from(header.p_type));
        build.add(header.p_vaddr);
        build.add(header.p_filesz);
        build.add(header.p_memsz);
    }
    // Some C libraries name the program, too.
    let name = if std::mem::take(&mut visitor.is_first) { &[] } else { name };
    (visitor.visit)(&Module { base: info.dlpi_addr, range: start..end, name, build: build.0 });
    0
}

/// FNV-1a over words.
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_comes_first_and_holds_its_own_functions() {
        let here = the_program_comes_first_and_holds_its_own_functions as *const () as u64;
        let mut found = Vec::new();
        each(|module| found.push((module.name.to_vec(), module.range.contains(&here), module.build)));
        assert!(found.len() > 1, "there is a C library: {found:?}");
        for (at, (name, holds, build)) in found.iter().enumerate() {
            assert_eq!((name.is_empty(), *holds), (at == 0, at == 0), "{found:?}");
            assert_eq!(found.iter().filter(|(.., other)| other == build).count(), 1, "{found:?}");
        }
    }
}
