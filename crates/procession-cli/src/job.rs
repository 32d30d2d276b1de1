//! What every command makes and one function runs: a task, its items, and what becomes of the results.
//!
//! Plain data, already checked against each other. It knows neither TOML nor flags.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::{Output, PoolBuilder, StartMethod, TaskInfo};
use procession_store::FILES;

use crate::diagnostic::{Diagnostic, Place};
use crate::echo;
use crate::engine::Remote;
use crate::exec::Streams;
use crate::input::{Counted, Rows, Source};
use crate::output::Format;
use crate::part::Part;
use crate::policy::Policies;
use crate::progress::Screen;
use crate::reduce::Reduction;
use crate::terminal;

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    /// The file that describes it, if one does.
    pub(crate) spec: Option<PathBuf>,
    pub(crate) task: &'static TaskInfo,
    pub(crate) call: Call,
    pub(crate) reduce: Option<Reduction>,
    pub(crate) pool: PoolSettings,
    pub(crate) source: Source,
    /// Which of the items run.
    pub(crate) part: Part,
    pub(crate) results: ResultSettings,
    /// A malformed row is that item's outcome, not a refusal of the run.
    pub(crate) skip_invalid: bool,
    /// Where every outcome is kept, if it is to be.
    pub(crate) run_dir: Option<RunDirSettings>,
    /// The page that is drawn of it at the end, if one is.
    pub(crate) report: Option<ReportSettings>,
    /// Where its items run, if not here.
    pub(crate) engine: Option<Remote>,
}

/// A command line, and the directory it was typed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: PathBuf,
    /// Whoever reads this is in another directory.
    pub(crate) is_elsewhere: bool,
}

impl Typed {
    /// What was typed to start this process, as it would be typed to begin the run.
    pub(crate) fn here() -> Result<Typed, Diagnostic> {
        Typed::before(&[])
    }

    /// The same where these words, which are no flags of ours, came last.
    pub(crate) fn before(last: &[String]) -> Result<Typed, Diagnostic> {
        let words: Result<Vec<String>, _> =
            std::env::args_os().map(std::ffi::OsString::into_string).collect();
        let mut argv = words.map_err(|word| {
            let refusal = Diagnostic::new(format!("this word is not UTF-8: {}", word.to_string_lossy()));
            refusal.help(
                "a run directory keeps the command line, so that it can be used again: name it otherwise",
            )
        })?;
        // Whatever stands behind the first `--` is no flag of ours, so that more of them can be put before it.
        if !last.is_empty() && argv.ends_with(last) {
            let flags = argv.len() - last.len();
            if argv[flags - 1] != "--" {
                argv.insert(flags, "--".to_owned());
            }
        }
        let flags = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
        let mut at = 0;
        argv.retain(|word| {
            at += 1;
            at > flags || !RESUMING.contains(&word.as_str())
        });
        let cwd = std::env::current_dir().unwrap_or_default();
        Ok(Typed { argv, cwd, is_elsewhere: false })
    }

    /// The same with more flags.
    pub(crate) fn with(&self, flags: &[String]) -> Vec<String> {
        let at = self.argv.iter().position(|word| word == "--").unwrap_or(self.argv.len());
        [&self.argv[..at], flags, &self.argv[at..]].concat()
    }
}

/// Flags of a command line that goes on with a run and that the one which began it had not.
const RESUMING: [&str; 4] = ["--resume", "--resume-or-start", "--accept-changes", "--rerun-unknown"];

/// The run directory of a job, and what is to be done with what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunDirSettings {
    pub(crate) path: PathBuf,
    /// Go on with the run that is there.
    pub(crate) resume: bool,
    /// Go on with it if there is one.
    pub(crate) or_start: bool,
    /// Go on although the job has changed.
    pub(crate) accept_changes: bool,
    /// Outcomes that are to be forgotten first, so that their items run again.
    pub(crate) forget: Vec<String>,
    /// The command line that began the run, and where it was typed.
    pub(crate) typed: Typed,
}

/// A page about the run.
#[derive(Clone, Debug)]
pub(crate) struct ReportSettings {
    pub(crate) path: PathBuf,
    /// Where that is said.
    pub(crate) at: Place,
}

impl Job {
    /// Checks the whole input, and says how many items there are and how many of them run.
    pub(crate) fn check(&self) -> Result<(Counted, Counted), Diagnostic> {
        let items = self.source.check(self.task, self.skip_invalid)?;
        Ok((items, self.part.count(items)?))
    }

    /// Workers of this machine: none, where items run on others.
    pub(crate) fn workers_here(&self) -> usize {
        if self.engine.is_some() { 0 } else { self.pool.workers() }
    }

    /// The items that run, encoded one by one as they are asked for.
    pub(crate) fn rows(&self) -> Result<Rows<'_>, Diagnostic> {
        self.source.selected(self.task, &self.part.selection)
    }

    /// What its settings promise in vain, for the one who wrote them.
    pub(crate) fn caution(&self) -> Option<String> {
        let attempts =
            self.pool.max_attempts.filter(|&attempts| attempts > 1 && !self.task.is_idempotent())?;
        let task = self.task.short_path();
        Some(format!(
            "`max_attempts` is {attempts}, but `{task}` is not registered `idempotent`: its items start at most once"
        ))
    }

    /// Refuses a job that would write over its own input or description, or two kinds of results into one file.
    pub(crate) fn refuse_overwriting(&self) -> Result<(), Diagnostic> {
        let (values, failures) = (self.results.file.as_deref(), self.results.failures.as_deref());
        let events = self.results.events.as_deref();
        let report = self.report.as_ref().map(|report| report.path.as_path());
        let (input, spec) = (self.source.path(), self.spec.as_deref());
        for (path, other, what) in [
            (values, input, "the items are read from the file that the values go to"),
            (failures, input, "the items are read from the file that the failures go to"),
            (values, spec, "the values go to the file that describes the job"),
            (failures, spec, "the failures go to the file that describes the job"),
            (values, failures, "values and failures go to the same file"),
            (events, input, "the items are read from the file that the events go to"),
            (events, spec, "the events go to the file that describes the job"),
            (events, values, "values and events go to the same file"),
            (events, failures, "failures and events go to the same file"),
            (report, input, "the items are read from the file that the report goes to"),
            (report, spec, "the report goes to the file that describes the job"),
            (report, values, "values and the report go to the same file"),
            (report, failures, "failures and the report go to the same file"),
            (report, events, "events and the report go to the same file"),
        ] {
            if let (Some(path), Some(other)) = (path, other)
                && is_same_file(path, other)
            {
                return Err(overwritten(path, what));
            }
        }
        let run_dir = self.run_dir.as_ref().map(|run_dir| run_dir.path.as_path());
        let outputs = [values, failures, events, report];
        outputs.into_iter().flatten().try_for_each(|path| refuse_files_of_runs(path, run_dir))
    }

    /// Refuses a report that would have nothing to show, or no place to be.
    pub(crate) fn refuse_report(&self) -> Result<(), Diagnostic> {
        let Some(ReportSettings { path, at }) = &self.report else { return Ok(()) };
        let Some(RunDirSettings { path: run_dir, .. }) = &self.run_dir else {
            let refusal = at.error("a report is drawn from a run directory, and this run has none");
            return Err(refusal.help("add --run-dir DIR, or `dir = \"DIR\"` to [run] in the job spec"));
        };
        if path.as_os_str() == "-" {
            return Err(at.error("a report goes to a file: stdout is for results").help("name a file"));
        }
        if path.is_dir() {
            let refusal = at.error(format!("{} is a directory", path.display()));
            return Err(refusal.help(format!("name a file in it: {}", path.join("report.html").display())));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // The run directory itself may be yet to be made.
        if let Some(folder) = folder.filter(|folder| !folder.is_dir() && !folder.starts_with(run_dir)) {
            let refusal = at.error(format!("there is no directory {}", folder.display()));
            return Err(refusal.help("make it first, or name another file"));
        }
        Ok(())
    }

    /// Says what is odd about the input, once its rows were asked for.
    pub(crate) fn remark(&self) {
        if let Some(remark) = self.source.remark(self.task) {
            terminal::say_warning(&terminal::printable(&remark));
        }
    }

    /// Refuses a job whose workers would print between its results, or whose failures would be there.
    pub(crate) fn refuse_mixing(&self) -> Result<(), Diagnostic> {
        if self.results.failures.as_deref() == Some(Path::new("-")) {
            let refusal = Diagnostic::new("failures go to a file: stdout is for results");
            return Err(refusal.help("name a file"));
        }
        if self.reduce.is_none() || self.results.file.is_some() {
            self.results.format.refuse(self.results.file.as_deref())?;
        }
        let uses_stdout = self.results.file.is_none() || self.reduce.is_some();
        let tells_stdout = self.results.events.as_deref() == Some(Path::new("-"));
        if tells_stdout && uses_stdout {
            let refusal = Diagnostic::new("events would be mixed with the results on stdout");
            return Err(refusal.help("write values to a file (--output FILE), or events to one"));
        }
        let uses_stdout = uses_stdout || tells_stdout;
        if uses_stdout && self.pool.output == WorkerOutput::Inherit { Err(mixes()) } else { Ok(()) }
    }
}

/// The refusal of what would put other things between results.
pub(crate) fn mixes() -> Diagnostic {
    let what = "`output = \"inherit\"` in [pool] would mix what workers print with the results on stdout";
    Diagnostic::new(what).help("write values to a file, or remove `output`: then it goes to stderr")
}

/// Whether two names are one file, now or once both are written. Devices take what several write.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => a == b,
    }
}

/// Refuses to write to a file that one of these run directories consists of.
pub(crate) fn refuse_files_of_runs<'d>(
    path: &Path,
    dirs: impl IntoIterator<Item = &'d Path>,
) -> Result<(), Diagnostic> {
    let is_of_it = |dir: &Path| FILES.iter().any(|name| is_same_file(path, &dir.join(name)));
    if dirs.into_iter().any(is_of_it) {
        return Err(overwritten(path, "it belongs to the run directory itself"));
    }
    Ok(())
}

/// A refusal to write to a file that is needed.
pub(crate) fn overwritten(path: &Path, what: &str) -> Diagnostic {
    Diagnostic::new(format!("{} would be overwritten: {what}", path.display())).help("name another file")
}

/// How items are handed to the pool, in `multiprocessing.Pool`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// One argument an item, chunked, in order.
    Map,
    /// A row of arguments an item, chunked, in order.
    Starmap,
    /// Every item a call of its own: chunks of one.
    ApplyAsync,
    /// Chunked, in order, one by one.
    Imap,
    /// Chunked, as they complete.
    ImapUnordered,
}

impl Call {
    pub(crate) const NAMES: [(&'static str, Call); 5] = [
        ("map", Call::Map),
        ("starmap", Call::Starmap),
        ("apply_async", Call::ApplyAsync),
        ("imap", Call::Imap),
        ("imap_unordered", Call::ImapUnordered),
    ];

    pub(crate) fn name(self) -> &'static str {
        let named = Call::NAMES.iter().find(|(_, call)| *call == self);
        named.map_or("call", |(name, _)| name)
    }

    /// What a job without `call` does.
    pub(crate) fn for_task(task: &TaskInfo) -> Call {
        if task.params().len() == 1 { Call::Map } else { Call::Starmap }
    }

    /// Whether a row of a file is the one argument itself.
    pub(crate) fn is_unary(self, task: &TaskInfo) -> bool {
        match self {
            Call::Map => true,
            Call::Starmap => false,
            Call::ApplyAsync | Call::Imap | Call::ImapUnordered => task.params().len() == 1,
        }
    }
}

/// Where what workers print goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WorkerOutput {
    /// To our stderr, line by line: stdout is for results.
    #[default]
    Stderr,
    /// As the library's own: stdout is ours, stderr is repeated as it is.
    Inherit,
    /// Nowhere.
    Null,
    /// Into the reports of lost items, and nowhere else.
    Capture,
}

/// The pool a job asks for. None everywhere is the library's default.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolSettings {
    pub(crate) workers: Option<usize>,
    pub(crate) start_method: Option<StartMethod>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) buffer: Option<usize>,
    pub(crate) max_tasks_per_worker: Option<usize>,
    /// In bytes.
    pub(crate) max_rss: Option<u64>,
    /// In bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) restart_limit: Option<(u32, Duration)>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) nice: Option<i32>,
    pub(crate) cpu_affinity: Option<Vec<Vec<usize>>>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) lazy_start: Option<bool>,
    pub(crate) output: WorkerOutput,
    pub(crate) crash_reports: Option<bool>,
    pub(crate) recycle_after_panic: Option<bool>,
    pub(crate) policies: Policies,
}

impl PoolSettings {
    /// How many workers there will be.
    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(procession::cpu_count)
    }

    /// Hands over what concerns the pool; the rest concerns the call. What workers print is shown on `screen`.
    pub(crate) fn configure(&self, pool: PoolBuilder, screen: Screen) -> PoolBuilder {
        let mut pool = match self.output {
            WorkerOutput::Stderr => echo::repeat(pool.output(Output::Capture), screen),
            WorkerOutput::Inherit => pool.output(Output::Inherit),
            WorkerOutput::Null => pool.output(Output::Null),
            WorkerOutput::Capture => pool.output(Output::Capture),
        };
        pool = pool.workers(self.workers());
        macro_rules! set {
            ($($setting:ident)*) => {$(
                if let Some(value) = self.$setting.clone() {
                    pool = pool.$setting(value);
                }
            )*};
        }
        set!(start_method grace max_tasks_per_worker max_rss memory_limit);
        set!(nice cpu_affinity idle_timeout lazy_start crash_reports);
        set!(recycle_after_panic);
        if let Some((restarts, within)) = self.restart_limit {
            pool = pool.restart_limit(restarts, within);
        }
        for (name, value) in &self.env {
            pool = pool.env(name, value);
        }
        pool
    }
}

/// What becomes of the values and of the items without one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResultSettings {
    /// None is stdout.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) indexed: bool,
    /// Whether values are written as they complete.
    pub(crate) unordered: bool,
    pub(crate) failures: Option<PathBuf>,
    /// Where everything that happens is told as it happens; `-` is stdout.
    pub(crate) events: Option<PathBuf>,
    /// Where items are commands: what they printed is the value.
    pub(crate) streams: Option<Streams>,
}
