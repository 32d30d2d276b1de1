//! Where a thread of a worker was, in words: names of functions, files and lines.
//!
//! The worker says addresses. They get their names here, in the master, from the files that the master itself has
//! loaded, and only when somebody asks: a run whose every item fails must not look anything up, and a worker that has
//! little time or memory left for its item not spend it on names. This file opens nothing that a worker names, and trusts
//! what it says with nothing but its own text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::modules;

/// So many frames tell where a thread was. A stack overflow has a hundred thousand.
pub(crate) const FRAMES_MAX: usize = 96;

/// Files that code on the stack came from.
pub(crate) const MODULES_MAX: usize = 16;

/// Of a longer path the end is kept.
pub(crate) const NAME_BYTES_MAX: usize = 116;

/// The calls that a thread was in, innermost first. Of a worker's nothing is known to be true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) frames: Vec<Frame>,
    pub(crate) modules: Vec<Loaded>,
    /// There were more frames than have room.
    pub(crate) is_cut: bool,
}

/// A place in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// In which of the modules; `None`: in none that is known.
    pub(crate) module: Option<usize>,
    /// Within that file, or in memory if there is none.
    pub(crate) address: u64,
}

/// A file that the worker had loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) name: Vec<u8>,
    pub(crate) build: u64,
}

/// As much of a path as is kept.
pub(crate) fn name_kept(name: &[u8]) -> &[u8] {
    &name[name.len().saturating_sub(NAME_BYTES_MAX)..]
}

/// What the innermost frame of a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Top {
    /// The instruction that was not to be done.
    Fault,
    /// Where the stack was taken, for a panic that had begun some frames before.
    Panic,
}

/// A stack as text, made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Trace {
    stack: Stack,
    top: Top,
    text: OnceLock<String>,
}

/// Names that were looked up, by address in this process: crashes tend to be in the same place. A leaf among the locks.
static NAMES: Mutex<Option<HashMap<u64, Arc<[Function]>>>> = Mutex::new(None);

/// So many are kept at most.
const NAMES_MAX: usize = 4096;

/// A function at an address; the first of several was inlined into the next.
#[derive(Clone)]
struct Function {
    name: String,
    /// `file:line`
    place: Option<String>,
    part: Part,
}

/// Whose a function is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It may have to do with what happened.
    Suspect,
    /// It passes a call on.
    Passage,
    /// It calls tasks, or a thread's function: what is below it says nothing of the item.
    Caller,
    /// It carries a panic to where the stack is taken: above all that may have to do with it, it says nothing.
    Alarm,
}

/// The paths, and the files if the names are short ones, of what calls tasks.
const CALLERS: [&str; 4] =
    ["procession::batch::", "procession::registry::", "procession::worker::", "procession::process::"];
const CALLERS_FILES: [&str; 3] = ["batch.rs", "registry/function.rs", "worker/execute.rs"];

/// The same of what is between a panic and its stack: the standard library's part, the walk, and ours.
const ALARMS: [&str; 11] = [
    "backtrace::",
    "procession::stack::",
    "procession::worker::panics::",
    "std::panicking::",
    "core::panicking::",
    "std::panic::",
    "std::sys::backtrace::",
    "alloc::boxed::Box<",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::result::unwrap_failed",
];
const ALARMS_FILES: [&str; 5] = [
    "std/src/panicking.rs",
    "core/src/panicking.rs",
    "std/src/panic.rs",
    "std/src/sys/backtrace.rs",
    "alloc/src/boxed.rs",
];
const ALARMS_OF_OURS: [&str; 2] = ["worker/panics.rs", "stack.rs"];

impl Part {
    fn of(name: &str, file: Option<&Path>) -> Part {
        let plain = name.trim_start_matches(['<', '&']);
        let is_in = |path: &str| plain.starts_with(path);
        let source = |name: &str| Path::new(file!()).with_file_name(name);
        let is_of =
            |names: &[&str]| file.is_some_and(|file| names.iter().any(|name| file.ends_with(source(name))));
        let is_alarm_file = |file: &Path| {
            let is_walk =
                file.components().any(|part| part.as_os_str().to_string_lossy().starts_with("backtrace-0."));
            is_walk || ALARMS_FILES.iter().any(|name| file.ends_with(name))
        };
        if ALARMS.into_iter().any(is_in)
            || name.contains("rust_begin_unwind")
            || name.contains("__rust_end_short_backtrace")
            || is_of(&ALARMS_OF_OURS)
            || file.is_some_and(is_alarm_file)
        {
            return Part::Alarm;
        }
        if CALLERS.into_iter().any(is_in)
            || name.contains("__rust_begin_short_backtrace")
            || is_of(&CALLERS_FILES)
        {
            return Part::Caller;
        }
        let is_passage = |file: &Path| file.ends_with("core/src/ops/function.rs");
        if name.contains("core::ops::function::") || file.is_some_and(is_passage) {
            return Part::Passage;
        }
        Part::Suspect
    }
}

impl Stack {
    /// That of this thread, from here on. It needs next to no time and memory.
    pub(crate) fn take() -> Stack {
        let mut places = Vec::with_capacity(FRAMES_MAX);
        let mut is_cut = false;
        backtrace::trace(|frame| {
            is_cut = places.len() == FRAMES_MAX;
            if !is_cut {
                places.push(frame.ip() as u64);
            }
            !is_cut
        });
        // What is behind a call may be the first address of what follows it.
        let holds = |range: &Range<u64>, place: u64| range.contains(&place.saturating_sub(1));
        let (mut modules, mut ranges) = (Vec::with_capacity(MODULES_MAX), Vec::with_capacity(MODULES_MAX));
        modules::each(|module| {
            let is_on_stack = places.iter().any(|place| holds(&module.range, *place));
            if is_on_stack && modules.len() < MODULES_MAX {
                modules.push(Loaded { name: name_kept(module.name).to_vec(), build: module.build });
                ranges.push((module.range.clone(), module.base));
            }
        });
        let frame = |place: u64| {
            let module = ranges.iter().position(|(range, _)| holds(range, place));
            Frame { module, address: place.wrapping_sub(module.map_or(0, |module| ranges[module].1)) }
        };
        Stack { frames: places.into_iter().map(frame).collect(), modules, is_cut }
    }
}

impl Trace {
    pub(crate) fn new(stack: Stack, top: Top) -> Trace {
        Trace { stack, top, text: OnceLock::new() }
    }

    /// The stack, innermost frame first, down to the task's function. Empty: nothing is known.
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| self.tell())
    }

    fn tell(&self) -> String {
        let own = OwnModules::find();
        let mut stack = Vec::new();
        let mut is_whole = !self.stack.is_cut;
        let mut is_above = self.top == Top::Panic;
        'frames: for (index, frame) in self.stack.frames.iter().enumerate() {
            let functions = self.functions(&own, frame, index == 0 && self.top == Top::Fault);
            // Where a thread begins there is a frame of nothing.
            if functions.is_empty() && (index == 0 || frame.address != 0) {
                stack.push(Function { name: self.nameless(frame), place: None, part: Part::Suspect });
            }
            for function in functions.iter() {
                is_above &= matches!(function.part, Part::Alarm | Part::Passage);
                if function.part == Part::Caller {
                    is_whole = true;
                    break 'frames;
                }
                if !is_above {
                    stack.push(function.clone());
                }
            }
        }
        while stack.last().is_some_and(|function| function.part == Part::Passage) {
            stack.pop();
        }
        let mut text = String::new();
        // As the standard library prints a backtrace. Writing to a string cannot fail.
        for (number, function) in stack.iter().enumerate() {
            let _ = writeln!(text, "{number:4}: {}", function.name);
            if let Some(place) = &function.place {
                let _ = writeln!(text, "             at {place}");
            }
        }
        if !is_whole {
            text.push_str("      and more\n");
        }
        text
    }

    /// The functions at a frame; empty where the master does not have that file.
    fn functions(&self, own: &OwnModules, frame: &Frame, is_fault: bool) -> Arc<[Function]> {
        let loaded = frame.module.and_then(|module| self.stack.modules.get(module));
        let base = loaded.and_then(|loaded| own.base(&loaded.name, loaded.build));
        match base {
            // The instruction before is looked up, which is the call, but for the frame that called nothing.
            Some(base) => look_up(base.wrapping_add(frame.address).wrapping_add(u64::from(is_fault))),
            None => Arc::default(),
        }
    }

    /// `libc.so.6+0x2a3f`
    fn nameless(&self, frame: &Frame) -> String {
        let loaded = frame.module.and_then(|module| self.stack.modules.get(module));
        let Some(loaded) = loaded else {
            return format!("{:#x}", frame.address);
        };
        let name = String::from_utf8_lossy(&loaded.name);
        let file = match name.rsplit('/').next() {
            Some(file) if !file.is_empty() => file.escape_debug().to_string(),
            Some(_) | None => "program".to_owned(),
        };
        format!("{file}+{:#x}", frame.address)
    }
}

/// The files that this process has loaded.
struct OwnModules(Vec<(Vec<u8>, u64, u64)>);

impl OwnModules {
    fn find() -> OwnModules {
        let mut found = Vec::new();
        modules::each(|module| found.push((name_kept(module.name).to_vec(), module.build, module.base)));
        OwnModules(found)
    }

    /// Where this process has that file, if it is the same build.
    fn base(&self, name: &[u8], build: u64) -> Option<u64> {
        let same = self.0.iter().find(|(own, own_build, _)| own == name && *own_build == build);
        same.map(|(.., base)| *base)
    }
}

/// The functions at an address of this process.
fn look_up(address: u64) -> Arc<[Function]> {
    if let Some(known) = NAMES.lock().as_ref().and_then(|names| names.get(&address)) {
        return Arc::clone(known);
    }
    let mut functions = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut(address as usize), |symbol| {
        if let Some(name) = symbol.name() {
            // Without the hash that the compiler adds.
            let name = format!("{name:#}");
            let line = |file: &Path| match symbol.lineno() {
                Some(line) => format!("{}:{line}", file.display()),
                None => file.display().to_string(),
            };
            let part = Part::of(&name, symbol.filename());
            functions.push(Function { name, place: symbol.filename().map(line), part });
        }
    });
    let functions: Arc<[Function]> = functions.into();
    let mut names = NAMES.lock();
    let names = names.get_or_insert_default();
    if names.len() >= NAMES_MAX {
        names.clear();
    }
    names.insert(address, Arc::clone(&functions));
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_of_its_own() -> u64 {
        std::hint::black_box(7)
    }

    fn text(name: &[u8], build: u64, address: u64) -> String {
        let modules = vec![Loaded { name: name.to_vec(), build }];
        let frames = vec![Frame { module: Some(0), address }, Frame { module: None, address: 0xbad }];
        Trace::new(Stack { frames, modules, is_cut: true }, Top::Fault).text().to_owned()
    }

    #[test]
    fn addresses_in_a_file_that_is_loaded_here_too_have_names() {
        let mut program = None;
        modules::each(|module| {
            program.get_or_insert((module.base, module.build));
        });
        let (base, build) = program.unwrap();
        let address = a_function_of_its_own as *const () as u64 - base;
        let known = text(b"", build, address);
        assert!(known.contains("a_function_of_its_own"), "{known}");
        assert!(known.contains(": 0xbad\n") && known.ends_with("and more\n"), "{known}");
        let of_another_build = text(b"", build + 1, address);
        assert!(of_another_build.starts_with(&format!("   0: program+{address:#x}\n")), "{of_another_build}");
    }

    #[test]
    fn a_file_that_is_not_loaded_here_is_only_named() {
        let hostile = text(b"/etc/\x1b[2Jsecret\n.so", 1, 0x2a);
        assert!(hostile.starts_with("   0: \\u{1b}[2Jsecret\\n.so+0x2a\n"), "{hostile}");
    }

    #[inline(never)]
    fn takes_its_stack() -> Stack {
        std::hint::black_box(Stack::take())
    }

    #[test]
    fn the_stack_of_a_panic_begins_where_that_did() {
        let told = Trace::new(takes_its_stack(), Top::Panic).text().to_owned();
        // This file counts as what carries a panic, and a test's own caller ends it.
        assert!(!told.contains("takes_its_stack") && !told.contains("backtrace::"), "{told}");
        let told = Trace::new(takes_its_stack(), Top::Fault).text().to_owned();
        assert!(told.contains("takes_its_stack"), "{told}");
    }

    #[test]
    fn the_parts_of_a_stack_are_told_apart_by_name_or_by_file() {
        let std = |file: &str| format!("/rustc/0123abcd/library/{file}");
        for (name, file, part) in [
            ("std::panicking::begin_panic_handler", None, Part::Alarm),
            ("{closure#0}", Some(std("std/src/panicking.rs")), Part::Alarm),
            ("__rustc::rust_begin_unwind", None, Part::Alarm),
            ("core::result::unwrap_failed", None, Part::Alarm),
            ("<alloc::boxed::Box<F, A> as core::ops::function::Fn<Args>>::call", None, Part::Alarm),
            ("trace<closure>", Some("/home/backtrace-0.3.76/src/backtrace/mod.rs".to_owned()), Part::Alarm),
            ("core::ops::function::FnOnce::call_once", None, Part::Passage),
            ("procession::batch::run", None, Part::Caller),
            ("app::panicking", Some("src/panicking.rs".to_owned()), Part::Suspect),
            ("core::slice::index", Some(std("core/src/slice/index.rs")), Part::Suspect),
        ] {
            assert!(Part::of(name, file.as_deref().map(Path::new)) == part, "{name}, {file:?}");
        }
    }
}
