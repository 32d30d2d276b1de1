//! What a worker that dies of a fault says of it: which signal, when, and the stack of the thread.
//!
//! It is written by a signal handler, so everything has its place beforehand, and nothing here allocates, locks or
//! fails on the worker's side. The master takes it as the rest of the page: as a hint from a suspect. Addresses get
//! their names in the master, and only if somebody asks.

use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::modules::Module;
use crate::stack::{FRAMES_MAX, Frame, Loaded, MODULES_MAX, NAME_BYTES_MAX, Stack, name_kept};

/// The record in the shared page.
#[repr(C)]
pub(crate) struct LastWords {
    /// 0: nothing was said.
    signal: AtomicI32,
    frames_len: AtomicU32,
    modules_len: AtomicU32,
    at_ns: AtomicU64,
    /// Addresses in the worker's memory: first where it stopped, then where each caller would have gone on.
    frames: [AtomicU64; FRAMES_MAX],
    modules: [ModuleWords; MODULES_MAX],
    /// How much of the monotonic clock does not count: the master's word to the worker. Here, because a handler that says
    /// when has nothing else at hand.
    pub(super) skipped_ns: AtomicU64,
}

#[repr(C)]
struct ModuleWords {
    base: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    build: AtomicU64,
    name_len: AtomicU32,
    name: [AtomicU8; NAME_BYTES_MAX],
}

/// A copy of what was said, taken once the worker is dead. Nothing in it is known to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) signal: i32,
    /// When, on the pool's clock.
    pub(crate) at_ns: u64,
    pub(crate) stack: Stack,
}

impl LastWords {
    /// Begins the record, when the monotonic clock says `at_ns`; `false`: there is one.
    pub(crate) fn begin(&self, signal: i32, at_ns: u64) -> bool {
        if self.signal.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let at_ns = at_ns.saturating_sub(self.skipped_ns.load(Ordering::Acquire));
        self.at_ns.store(at_ns, Ordering::Relaxed);
        self.signal.store(signal, Ordering::Release);
        true
    }

    /// Adds a frame; `false`: no more have room.
    pub(crate) fn push_frame(&self, address: u64) -> bool {
        let len = self.frames_len.load(Ordering::Relaxed);
        if let Some(frame) = self.frames.get(len as usize) {
            frame.store(address, Ordering::Relaxed);
        }
        // One more than there is room for says that some are missing.
        self.frames_len.store(len + 1, Ordering::Release);
        (len as usize) < FRAMES_MAX
    }

    /// Adds a file, if code on the stack came from it.
    pub(crate) fn push_module(&self, module: &Module<'_>) {
        let frames = (self.frames_len.load(Ordering::Relaxed) as usize).min(FRAMES_MAX);
        let is_on_stack =
            |frame: &AtomicU64| module.range.contains(&frame.load(Ordering::Relaxed).saturating_sub(1));
        let len = self.modules_len.load(Ordering::Relaxed);
        let Some(words) = self.modules.get(len as usize) else { return };
        if !self.frames.iter().take(frames).any(is_on_stack) {
            return;
        }
        words.base.store(module.base, Ordering::Relaxed);
        words.start.store(module.range.start, Ordering::Relaxed);
        words.end.store(module.range.end, Ordering::Relaxed);
        words.build.store(module.build, Ordering::Relaxed);
        let name = name_kept(module.name);
        for (place, byte) in words.name.iter().zip(name) {
            place.store(*byte, Ordering::Relaxed);
        }
        words.name_len.store(name.len() as u32, Ordering::Relaxed);
        self.modules_len.store(len + 1, Ordering::Release);
    }

    /// Whether a frame is in none of the files so far. Where a thread begins there is a frame of nothing.
    pub(crate) fn has_strays(&self) -> bool {
        let len = |len: &AtomicU32| len.load(Ordering::Relaxed) as usize;
        let files = &self.modules[..len(&self.modules_len).min(MODULES_MAX)];
        let mut frames =
            self.frames.iter().take(len(&self.frames_len)).map(|frame| frame.load(Ordering::Relaxed));
        frames.any(|at| at != 0 && !files.iter().any(|file| file.holds(at)))
    }

    /// Copies what was said, whatever it is, if anything was.
    pub(super) fn read(&self) -> Option<Words> {
        let signal = self.signal.load(Ordering::Acquire);
        if signal == 0 {
            return None;
        }
        let modules_len = (self.modules_len.load(Ordering::Acquire) as usize).min(MODULES_MAX);
        let frames_len = self.frames_len.load(Ordering::Acquire) as usize;
        let modules = &self.modules[..modules_len];
        let place = |word: &AtomicU64| {
            let at = word.load(Ordering::Relaxed);
            let module = modules.iter().position(|module| module.holds(at));
            let base = module.map_or(0, |module| modules[module].base.load(Ordering::Relaxed));
            Frame { module, address: at.wrapping_sub(base) }
        };
        Some(Words {
            signal,
            at_ns: self.at_ns.load(Ordering::Relaxed),
            stack: Stack {
                frames: self.frames.iter().take(frames_len).map(place).collect(),
                modules: modules.iter().map(ModuleWords::read).collect(),
                is_cut: frames_len > FRAMES_MAX,
            },
        })
    }
}

impl ModuleWords {
    /// What is behind a call may be the first address of what follows it.
    fn holds(&self, address: u64) -> bool {
        let range = self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        range.contains(&address.saturating_sub(1))
    }

    fn read(&self) -> Loaded {
        let len = self.name_len.load(Ordering::Relaxed) as usize;
        let name = self.name.iter().take(len).map(|byte| byte.load(Ordering::Relaxed));
        Loaded { name: name.collect(), build: self.build.load(Ordering::Relaxed) }
    }
}

/// Where a worker's handler finds the record of its page, while the page is mapped.
static AIM: AtomicPtr<LastWords> = AtomicPtr::new(std::ptr::null_mut());

/// The process whose page that is: what a task forks has the pointer and not the page.
static OWNER: AtomicU32 = AtomicU32::new(0);

impl LastWords {
    /// From now on this is where the process leaves its last words, until [`withdraw`](LastWords::withdraw).
    pub(super) fn aim(&self) {
        OWNER.store(std::process::id(), Ordering::Release);
        AIM.store(std::ptr::from_ref(self).cast_mut(), Ordering::Release);
    }

    /// It is about to be unmapped.
    pub(super) fn withdraw(&self) {
        let this = std::ptr::from_ref(self).cast_mut();
        // Another page of this process may be the one.
        let _ = AIM.compare_exchange(this, std::ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Has the process leave its last words, if it has a place for them.
    pub(crate) fn leave(say: impl FnOnce(&LastWords)) {
        if OWNER.load(Ordering::Acquire) != std::process::id() {
            return;
        }
        // SAFETY: `aim` was given a record, and it is withdrawn before it is unmapped. Another thread may do that
        // meanwhile: then this process dies of the fault that it is dying of.
        if let Some(words) = unsafe { AIM.load(Ordering::Acquire).as_ref() } {
            say(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    fn silence() -> Box<LastWords> {
        from_bytes(&[])
    }

    /// A record as a worker may have left it: these bytes, then zeroes.
    fn from_bytes(bytes: &[u8]) -> Box<LastWords> {
        let mut words = Box::new(MaybeUninit::<LastWords>::zeroed());
        let len = bytes.len().min(size_of::<LastWords>());
        // SAFETY: the copy stays within the value, and every bit pattern is a valid record.
        unsafe {
            words.as_mut_ptr().cast::<u8>().copy_from(bytes.as_ptr(), len);
            words.assume_init()
        }
    }

    fn module(name: &[u8], start: u64) -> Module<'_> {
        Module { base: start, range: start..start + 0x1000, name, build: start / 16 }
    }

    #[test]
    fn what_was_said_is_read() {
        let words = silence();
        assert_eq!(words.read(), None);
        assert!(words.begin(11, 5));
        assert!(!words.begin(6, 7), "the first crash is the cause");
        for address in [0x1010, 0x2020, 8] {
            assert!(words.push_frame(address));
        }
        words.push_module(&module(b"", 0x1000));
        words.push_module(&module(b"/lib/unused.so", 0x9000));
        assert!(words.has_strays(), "two of three are in no file so far");
        words.push_module(&module(b"/lib/libc.so", 0x2000));
        let frame = |module, address| Frame { module, address };
        let loaded = |name: &[u8], build| Loaded { name: name.to_vec(), build };
        let expected = Words {
            signal: 11,
            at_ns: 5,
            stack: Stack {
                frames: vec![frame(Some(0), 0x10), frame(Some(1), 0x20), frame(None, 8)],
                modules: vec![loaded(b"", 0x100), loaded(b"/lib/libc.so", 0x200)],
                is_cut: false,
            },
        };
        assert_eq!(words.read(), Some(expected));
    }

    #[test]
    fn the_time_is_the_pools() {
        let words = silence();
        words.skipped_ns.store(1_000, Ordering::Release);
        words.begin(11, 5_000);
        assert_eq!(words.read().unwrap().at_ns, 4_000);
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let words = silence();
        words.begin(11, 0);
        let pushed = (0..).take_while(|at| words.push_frame(0x1000 + at)).count();
        assert_eq!(pushed, FRAMES_MAX);
        let long: Vec<u8> = (0..=u8::MAX).collect();
        for _ in 0..2 * MODULES_MAX {
            words.push_module(&module(&long, 0x1000));
        }
        let read = words.read().unwrap().stack;
        assert!(read.is_cut);
        assert_eq!((read.frames.len(), read.modules.len()), (FRAMES_MAX, MODULES_MAX));
        assert_eq!(read.modules[0].name, name_kept(&long));
        assert!(read.modules[0].name.ends_with(&[254, 255]));
    }

    /// Numbers that look random, the same ones every time.
    fn noise(seed: u64) -> impl Iterator<Item = u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let size = size_of::<LastWords>();
        let ones = std::iter::once(vec![0xff; size]);
        let random = (0..2_000).map(|seed| noise(seed).take(size * (1 + seed as usize % 16) / 16).collect());
        for bytes in ones.chain(random) {
            let read = from_bytes(&bytes).read().expect("the signal is not 0").stack;
            assert!(read.frames.len() <= FRAMES_MAX && read.modules.len() <= MODULES_MAX);
            assert!(read.modules.iter().all(|module| module.name.len() <= NAME_BYTES_MAX));
            let is_known = |frame: &Frame| frame.module.is_none_or(|module| module < read.modules.len());
            assert!(read.frames.iter().all(is_known));
        }
    }

    #[test]
    fn frames_without_a_file_are_strays_but_for_that_of_nothing() {
        let words = silence();
        words.push_module(&module(b"", 0x1000));
        assert!(!words.has_strays());
        for (address, is_stray) in [(0x1010, false), (0, false), (0x2010, true)] {
            words.push_frame(address);
            words.push_module(&module(b"", 0x1000));
            assert_eq!(words.has_strays(), is_stray, "{address:#x}");
        }
    }

    #[test]
    fn last_words_go_where_they_are_aimed() {
        let (first, second) = (silence(), silence());
        first.aim();
        second.aim();
        first.withdraw();
        LastWords::leave(|words| assert!(words.begin(4, 1)));
        second.withdraw();
        LastWords::leave(|_| panic!("there is no place for them"));
        assert_eq!((first.read(), second.read().unwrap().signal), (None, 4));
    }
}
