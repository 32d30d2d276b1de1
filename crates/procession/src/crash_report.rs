//! Where a worker was when a fault ended it, in words: names of functions, files and lines.
//!
//! The worker left addresses. They get their names here, in the master, from the files that the master itself has
//! loaded, and only when somebody asks: a run that loses a thousand workers a second must not look anything up. This
//! file opens nothing that a worker names, and trusts a report with nothing but its own text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::modules;
use crate::page::{Frame, Words, name_kept};
use crate::process::WorkerExit;

/// What is known of a crash.
#[derive(Debug)]
pub(crate) struct CrashReport {
    words: Words,
    /// Made when it is first asked for.
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
    /// It may have to do with the crash.
    Suspect,
    /// It passes a call on.
    Passage,
    /// It calls tasks, or a thread's function: what is below it says nothing of the crash.
    Caller,
}

/// The paths, and the files if the names are short ones, of what calls tasks.
const CALLERS: [&str; 4] =
    ["procession::batch::", "procession::registry::", "procession::worker::", "procession::process::"];
const CALLERS_FILES: [&str; 3] = ["batch.rs", "registry/function.rs", "worker/execute.rs"];

impl Part {
    fn of(name: &str, file: Option<&Path>) -> Part {
        let is_in = |path: &str| name.trim_start_matches(['<', '&']).starts_with(path);
        let source = |name: &str| Path::new(file!()).with_file_name(name);
        let is_ours = |file: &Path| CALLERS_FILES.iter().any(|name| file.ends_with(source(name)));
        if CALLERS.into_iter().any(is_in)
            || name.contains("__rust_begin_short_backtrace")
            || file.is_some_and(is_ours)
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

impl CrashReport {
    pub(crate) fn new(words: Words) -> CrashReport {
        CrashReport { words, text: OnceLock::new() }
    }

    /// Whether it can be about a worker that ended like that, in an item that began at `since`: another fault may have
    /// been survived before.
    pub(crate) fn explains(&self, exit: WorkerExit, since_ns: Option<u64>) -> bool {
        let is_signal = match exit {
            // Rust's report of a stack overflow ends by an abort.
            WorkerExit::Signal(libc::SIGABRT) => {
                [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS].contains(&self.words.signal)
            }
            WorkerExit::Signal(signal) => signal == self.words.signal,
            WorkerExit::Code(_) | WorkerExit::Unknown => false,
        };
        is_signal && since_ns.is_none_or(|since| since <= self.words.at_ns)
    }

    /// The stack, innermost frame first, from the crash to the task's function. Empty: nothing is known.
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| self.tell())
    }

    fn tell(&self) -> String {
        let own = OwnModules::find();
        let mut stack = Vec::new();
        let mut is_whole = !self.words.is_cut;
        'frames: for (index, frame) in self.words.frames.iter().enumerate() {
            let functions = self.functions(&own, frame, index == 0);
            // Where a thread begins there is a frame of nothing.
            if functions.is_empty() && (index == 0 || frame.address != 0) {
                stack.push(Function { name: self.nameless(frame), place: None, part: Part::Suspect });
            }
            for function in functions.iter() {
                if function.part == Part::Caller {
                    is_whole = true;
                    break 'frames;
                }
                stack.push(function.clone());
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
    fn functions(&self, own: &OwnModules, frame: &Frame, is_first: bool) -> Arc<[Function]> {
        let loaded = frame.module.and_then(|module| self.words.modules.get(module));
        let base = loaded.and_then(|loaded| own.base(&loaded.name, loaded.build));
        match base {
            // The instruction before is looked up, which is the call, but for the frame that called nothing.
            Some(base) => look_up(base.wrapping_add(frame.address).wrapping_add(u64::from(is_first))),
            None => Arc::default(),
        }
    }

    /// `libc.so.6+0x2a3f`
    fn nameless(&self, frame: &Frame) -> String {
        let loaded = frame.module.and_then(|module| self.words.modules.get(module));
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
    use crate::page::Loaded;

    #[inline(never)]
    fn a_function_of_its_own() -> u64 {
        std::hint::black_box(7)
    }

    fn text(name: &[u8], build: u64, address: u64) -> String {
        let modules = vec![Loaded { name: name.to_vec(), build }];
        let frames = vec![Frame { module: Some(0), address }, Frame { module: None, address: 0xbad }];
        let words = Words { signal: 11, at_ns: 5, frames, modules, is_cut: true };
        CrashReport::new(words).text().to_owned()
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

    #[test]
    fn a_report_explains_only_the_death_it_is_about() {
        let words = Words { signal: 11, at_ns: 5, frames: vec![], modules: vec![], is_cut: false };
        let report = CrashReport::new(words);
        for (exit, since, explains) in [
            (WorkerExit::Signal(11), Some(4), true),
            (WorkerExit::Signal(11), None, true),
            (WorkerExit::Signal(6), Some(5), true),
            (WorkerExit::Signal(11), Some(6), false),
            (WorkerExit::Signal(9), None, false),
            (WorkerExit::Code(0), None, false),
            (WorkerExit::Unknown, None, false),
        ] {
            assert_eq!(report.explains(exit, since), explains, "{exit}, {since:?}");
        }
    }
}
