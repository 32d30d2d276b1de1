//! The run directory of a job: made, or opened and compared with what the job is now.
//!
//! It knows nothing of pools; what a run writes there is `run/record`'s business.

mod survivors;

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use procession_store::{
    AgentStay, InputDigest, Item, Job as StoredJob, Key, Printed, Reader, RunDir, Selection, Writer,
};

use self::survivors::await_survivors;
use crate::diagnostic::Diagnostic;
use crate::engine::{Agents, NAME_FILE};
use crate::exec::{self, Commands};
use crate::exit::Stop;
use crate::failures::{INVALID, UNKNOWN};
use crate::input::File;
use crate::job::{Job, RunDirSettings, Typed};
use crate::reproduce::{self, Reproduction, quoted};
use crate::summary::counted;
use crate::terminal;

/// Rows that are read at a time.
const PAGE: u32 = 4_096;

/// Outcomes of earlier sessions, asked for in the order of the items.
pub(crate) struct Earlier {
    reader: Reader,
    page: std::vec::IntoIter<Item>,
    next: Option<Item>,
    /// From which index on the next page is to be read; none: there is no more.
    rest: Option<u64>,
}

impl Earlier {
    pub(crate) fn open(directory: &Path) -> Result<Earlier, Stop> {
        let reader = Reader::open(directory)?;
        Ok(Earlier { reader, page: Vec::new().into_iter(), next: None, rest: Some(0) })
    }

    /// The outcome that item `index` has already. Indices are asked for in rising order.
    pub(crate) fn take(&mut self, index: u64) -> Result<Option<Item>, Stop> {
        loop {
            match &self.next {
                Some(item) if item.index == index => return Ok(self.next.take()),
                Some(item) if item.index > index => return Ok(None),
                Some(_) | None => {}
            }
            self.next = self.page.next();
            if self.next.is_none() {
                let Some(from) = self.rest else { return Ok(None) };
                let page = self.reader.page(from.max(index), PAGE)?;
                self.rest = page.last().map(|item| item.index + 1).filter(|_| page.len() == PAGE as usize);
                self.page = page.into_iter();
                self.next = self.page.next();
                if self.next.is_none() {
                    return Ok(None);
                }
            }
        }
    }

    /// What an item printed, if it is a command that has ended.
    pub(crate) fn printed(&self, index: u64) -> Result<Option<Printed>, Stop> {
        Ok(self.reader.printed(index)?)
    }

    /// The agents that earlier sessions had.
    pub(crate) fn agents(&self) -> Result<Vec<AgentStay>, Stop> {
        Ok(self.reader.agents()?)
    }

    /// The values of the items from one to another, so many at most, whoever put them on record.
    pub(crate) fn values(&self, first: u64, last: u64, items: u64) -> Result<Vec<(u64, String)>, Stop> {
        let page = self.reader.page(first, u32::try_from(items).unwrap_or(u32::MAX))?;
        let page = page.into_iter().take_while(|item| item.index <= last);
        Ok(page.filter_map(|item| Some((item.index, item.value?))).collect())
    }
}

/// Whether the run goes on, where that depends on what is in its directory.
pub(crate) fn decide(job: &mut Job) -> Result<(), Stop> {
    let Some(settings) = job.run_dir.as_mut().filter(|settings| settings.or_start || settings.resume) else {
        return Ok(());
    };
    let is_begun = RunDir::is_begun(&settings.path)?;
    // A master that is about to begin has it: that is the better reason.
    if !is_begun && !settings.or_start && procession_store::holder(&settings.path).is_none() {
        let refusal = Diagnostic::new(format!("there is no run in {}", settings.path.display()));
        let help =
            "leave out --resume to begin one, or say --resume-or-start, which does the one or the other";
        return Err(refusal.help(help).into());
    }
    settings.resume = is_begun || !settings.or_start;
    Ok(())
}

/// Keeps what can be read only once, such as standard input, in the run directory, and reads it from there. The directory is
/// this run's from now on.
pub(crate) fn keep_input(job: &mut Job) -> Result<(), Stop> {
    let (Some(settings), Some(file)) = (&job.run_dir, job.source.file_mut()) else {
        return Ok(());
    };
    if !settings.resume {
        return if file.is_read_once() { file.keep(RunDir::claim(&settings.path)?) } else { Ok(()) };
    }
    let kept = Reader::open(&settings.path)?.job()?.kept;
    match kept {
        // A pipe that it was read from is gone by now.
        Some(name) if file.is_read_once() || file.path().is_some_and(|path| !path.exists()) => {
            if file.path().is_none() && has_input() {
                terminal::say_warning(&format!(
                    "items come from the standard input that {} has kept; what comes on it now is not read",
                    settings.path.display()
                ));
            }
            file.read_kept(&settings.path, &name);
            Ok(())
        }
        None if file.is_read_once() => {
            let what = format!("the run in {} was begun with another input", settings.path.display());
            Err(Diagnostic::new(what).help("name the file that its items come from").into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether somebody gives us something on standard input, by all appearances.
fn has_input() -> bool {
    fs::metadata("/dev/stdin").is_ok_and(|kind| kind.file_type().is_fifo() || kind.is_file())
}

/// What there is for a run to write to, and what it need not do again.
pub(crate) struct Opened {
    dir: RunDir,
    workers: u32,
    pub(crate) earlier: Earlier,
}

impl Opened {
    /// Begins a session. It starts a thread.
    pub(crate) fn begin(self) -> Result<(Writer, Earlier), Stop> {
        Ok((self.dir.begin(env!("CARGO_PKG_VERSION"), self.workers)?, self.earlier))
    }
}

/// Makes the run directory, or opens it and makes sure that it is this job's.
pub(crate) fn open(
    job: &Job,
    settings: &RunDirSettings,
    items: Option<u64>,
    mut agents: Option<&mut Agents>,
) -> Result<Opened, Stop> {
    let mut described = described(job, &settings.typed, items);
    // Before its items are read, however many there are.
    described.check_room()?;
    let dir = if settings.resume {
        let dir = RunDir::open(&settings.path)?;
        describe_input(job, &mut described)?;
        refuse_elsewhere(&dir, agents.as_deref())?;
        if let Some(agents) = &mut agents {
            agents.recall(dir.reader().agents()?, dir.reader().first_free_slot()?);
        }
        let are_answered_for = agents.as_ref().is_some_and(|agents| agents.knows_of_job());
        resume(&dir, job, settings, (&described, are_answered_for))?;
        dir
    } else {
        let claim = match job.source.file().and_then(File::take_claim) {
            Some(claim) => claim,
            None => RunDir::claim(&settings.path)?,
        };
        describe_input(job, &mut described)?;
        claim.create(&described)?
    };
    if let Some(kind) = dir.shared_file_system() {
        terminal::say_warning(&format!(
            "run directory {} is on a file system that other machines may share ({kind}), where locks and databases are as \
             reliable as its server; a local directory is safer and faster",
            dir.path().display()
        ));
    }
    if let Some(agents) = agents {
        agents.keep_name(&settings.path)?;
    }
    let workers = u32::try_from(job.workers_here()).unwrap_or(u32::MAX);
    let earlier = Earlier::open(&settings.path)?;
    Ok(Opened { dir, workers, earlier })
}

/// Refuses to run here what agents may still be running.
fn refuse_elsewhere(dir: &RunDir, agents: Option<&Agents>) -> Result<(), Stop> {
    if agents.is_some() || !dir.path().join(NAME_FILE).exists() {
        return Ok(());
    }
    let what = format!(
        "the run in {} was begun with --engine, and agents may still run its items",
        dir.path().display()
    );
    Err(Diagnostic::new(what).help("add --engine with the address of its broker").into())
}

/// The command line that goes on with a run.
pub(crate) fn resuming(typed: &Typed) -> String {
    let mut words: Vec<String> =
        typed.with(&["--resume".to_owned()]).iter().map(|word| quoted(word)).collect();
    if let Some(program) = words.first_mut() {
        *program = quoted(terminal::invocation());
    }
    let command = words.join(" ");
    if typed.is_elsewhere {
        format!("cd {} && {command}", quoted(&typed.cwd.to_string_lossy()))
    } else {
        command
    }
}

/// What the run directory says of the job.
fn described(job: &Job, typed: &Typed, items: Option<u64>) -> StoredJob {
    // That commands may be started again makes them no others.
    let task = if exec::runs_commands(job.task) { Commands::task(false) } else { job.task };
    StoredJob {
        name: job.name.clone(),
        task: task.path().to_owned(),
        signature: task.signature(),
        idempotent: job.task.is_idempotent(),
        reduce: job.reduce.map(|reduction| reduction.name().to_owned()),
        source: job.source.describe(),
        items,
        selection: job.part.selection.clone(),
        input: None,
        kept: job.source.file().and_then(File::kept_as).map(str::to_owned),
        spec: job.spec.as_ref().and_then(|path| fs::read_to_string(path).ok()),
        argv: typed.argv.clone(),
        cwd: typed.cwd.clone(),
    }
}

/// Adds what only reading every item tells: how many there are, and which.
fn describe_input(job: &Job, described: &mut StoredJob) -> Result<(), Stop> {
    let digest = match job.source.file().and_then(File::digest) {
        Some(digest) => digest,
        None => {
            let mut digest = InputDigest::default();
            keys(job)?.for_each(|key| digest.add(key.as_ref()));
            digest
        }
    };
    (described.items, described.input) = (Some(digest.items()), Some(digest.finish()));
    Ok(())
}

/// What items are known by, in order; none is a malformed row.
fn keys(job: &Job) -> Result<impl Iterator<Item = Option<Key>> + '_, Stop> {
    let rows = job.source.rows(job.task)?;
    Ok(rows.map(|row| row.ok().map(|args| exec::key_of(job.task, &args))))
}

/// `are_answered_for`: what killed masters had handed out, somebody still has.
fn resume(
    dir: &RunDir,
    job: &Job,
    settings: &RunDirSettings,
    (described, are_answered_for): (&StoredJob, bool),
) -> Result<(), Stop> {
    await_survivors(dir)?;
    match change(dir, job, described)? {
        None => {
            settle(dir, job, settings, (described, are_answered_for))?;
            dir.go_on(described)?;
        }
        Some(_) if settings.accept_changes => accept(dir, job, settings, (described, are_answered_for))?,
        Some(what) => {
            let refusal = format!("this is not the job of {}: {what}", dir.path().display());
            let help = "--accept-changes goes on all the same: what is new runs, what is gone is forgotten";
            return Err(Diagnostic::new(refusal).help(help).into());
        }
    }
    // Only now: who is refused finds everything as it was.
    let outcomes: Vec<&str> = settings.forget.iter().map(String::as_str).collect();
    if dir.forget(&outcomes)? == 0 {
        remark_on_unknown(dir)?;
    }
    Ok(())
}

/// Says why nothing runs, if all that has no value may have run already.
fn remark_on_unknown(dir: &RunDir) -> Result<(), Stop> {
    let (job, tally) = (dir.reader().job()?, dir.reader().tally()?);
    let unknown =
        tally.without.iter().find(|(outcome, _)| outcome == UNKNOWN.id).map_or(0, |(_, items)| *items);
    if unknown > 0 && job.selected() == Some(tally.items()) {
        terminal::say_warning(&format!(
            "nothing is left to run but {} that may have been running when the run was cut off: `procession retry {} \
             --unknown` runs what may have run",
            counted(unknown, "item"),
            quoted(&dir.path().to_string_lossy())
        ));
    }
    Ok(())
}

/// Gives items that a master may have begun that was killed, or could not write the store, their outcome. The input is as it was then.
fn settle(
    dir: &RunDir,
    job: &Job,
    settings: &RunDirSettings,
    (described, are_answered_for): (&StoredJob, bool),
) -> Result<(), Stop> {
    // It stays on record until the run has ended: whoever has it may be forgotten.
    let unknown = if are_answered_for { 0 } else { dir.settle_unknown(described, keys(job)?)? };
    describe_unknown(dir, job)?;
    if unknown > 0 {
        let items = counted(unknown, "item");
        let what = if forgets_unknown(settings) {
            "run again"
        } else {
            "are not run again, as the task is not declared idempotent: --rerun-unknown runs them"
        };
        terminal::say_warning(&format!(
            "{items} may have been running when the run was cut off; they {what}"
        ));
    }
    Ok(())
}

/// Notes what those items were, for whoever looks at them: a killed master has left no more than their numbers.
fn describe_unknown(dir: &RunDir, job: &Job) -> Result<(), Stop> {
    let mut wanted = dir.undescribed()?.into_iter();
    let reproduction = Reproduction::new(job);
    let mut rows = (0..).zip(job.source.rows(job.task)?);
    let described = std::iter::from_fn(|| {
        let index = wanted.next()?;
        let (_, row) = rows.find(|(row, _)| *row == index)?;
        let args = row.ok();
        let json = args.as_ref().and_then(|args| reproduce::args_json(job.task, args));
        Some((index, json.map(|json| json.get().to_owned()), args.and_then(|args| reproduction.line(&args))))
    });
    Ok(dir.describe(described)?)
}

fn forgets_unknown(settings: &RunDirSettings) -> bool {
    settings.forget.iter().any(|outcome| outcome == UNKNOWN.id)
}

/// Goes on with a job that has changed.
fn accept(
    dir: &RunDir,
    job: &Job,
    settings: &RunDirSettings,
    (described, are_answered_for): (&StoredJob, bool),
) -> Result<(), Stop> {
    let before = dir.reader().job()?;
    // A part may grow. What it leaves out would keep outcomes that nobody asks for any more.
    if before.selection != described.selection
        && let Some(item) = before
            .selection
            .left_out_by(&described.selection, before.items.or(described.items).unwrap_or_default())
    {
        let refusal = Diagnostic::new(format!(
            "the run in {} is for {}, and {} are not all of these: item {item} is left out",
            dir.path().display(),
            part(&before.selection),
            part(&described.selection)
        ));
        return Err(refusal.help("add items to those it has, or begin another run directory").into());
    }
    let is_same_task = (&before.task, &before.signature) == (&described.task, &described.signature);
    if is_same_task && before.input == described.input {
        settle(dir, job, settings, (described, are_answered_for))?;
    } else if !forgets_unknown(settings) {
        let mut lost = if are_answered_for { 0 } else { dir.unsettled(described)? };
        if !is_same_task {
            let tally = dir.reader().tally()?;
            let unknown = tally.without.iter().filter(|(outcome, _)| outcome == UNKNOWN.id);
            lost += unknown.map(|(_, items)| items).sum::<u64>();
        }
        if lost > 0 {
            let changed = if is_same_task { "input" } else { "task" };
            let refusal = Diagnostic::new(format!(
                "{} may have been running when the run was cut off, and nobody can tell which they are once the {changed} \
                 is another",
                counted(lost, "item")
            ));
            return Err(refusal
                .help("go on with the job as it was first, or add --rerun-unknown, which forgets about them")
                .into());
        }
    }
    let kept = dir.accept(described, keys(job)?)?;
    terminal::say_warning(&format!(
        "the job has changed: {} kept, the rest is to run",
        counted(kept, "outcome")
    ));
    Ok(())
}

/// What is different from the job that the directory was made for, if anything is that matters: other limits, another
/// number of workers or another place for results do not.
fn change(dir: &RunDir, job: &Job, described: &StoredJob) -> Result<Option<String>, Stop> {
    let before = dir.reader().job()?;
    for (what, before, now) in [
        ("the task is", &before.task, &described.task),
        ("the task's signature is", &before.signature, &described.signature),
        ("reduce is", &shown(&before.reduce), &shown(&described.reduce)),
    ] {
        if before != now {
            return Ok(Some(format!("{what} `{now}` now, and was `{before}`")));
        }
    }
    if before.selection != described.selection {
        let (before, now) = (part(&before.selection), part(&described.selection));
        return Ok(Some(format!("it is for {now} now, and was for {before}")));
    }
    if let (Some(before), Some(now)) = (before.items, described.items)
        && before != now
    {
        return Ok(Some(format!("the input has {} now, and had {before}", counted(now, "item"))));
    }
    if exec::runs_commands(job.task) && before.cwd != described.cwd {
        let [now, before] = [&described.cwd, &before.cwd].map(|cwd| cwd.display());
        return Ok(Some(format!("commands run in {now} now, and ran in {before}")));
    }
    if before.input.is_none() || before.input == described.input {
        return Ok(None);
    }
    let mut earlier = Earlier::open(dir.path())?;
    // What was malformed is looked at again, and is as it was to whoever asks for the rest.
    let mut digest = InputDigest::default();
    for (index, key) in (0..).zip(keys(job)?) {
        let item = earlier.take(index)?;
        match (item.as_ref().and_then(|item| item.key), key) {
            (Some(before), Some(now)) if before != now => {
                return Ok(Some(otherwise(job, item.as_ref(), index)));
            }
            (Some(_), None) => return Ok(Some(format!("item {index} of the input is malformed now"))),
            _ => digest.add(key.filter(|_| item.as_ref().is_none_or(stands)).as_ref()),
        }
    }
    let what = "items of the input that have no outcome yet have other arguments now";
    Ok((before.input != Some(digest.finish())).then(|| what.to_owned()))
}

/// What a run is for, in words.
fn part(selection: &Selection) -> String {
    selection.flags().map_or_else(|| "all items".to_owned(), |flags| format!("the items of `{flags}`"))
}

/// How an item is another than it was.
fn otherwise(job: &Job, before: Option<&Item>, index: u64) -> String {
    let before = before.and_then(|item| item.reproduce.as_ref().or(item.args.as_ref()));
    let now = reproduce::read_again(job, index).filter(|_| exec::runs_commands(job.task));
    match (before, now.as_ref().and_then(exec::order)) {
        (Some(before), Some(order)) => {
            let now = exec::shell_line(&order);
            let [now, before] = [&now, before].map(|line| exec::shortened(&terminal::printable(line)));
            format!("item {index} is `{now}` now, and was `{before}`")
        }
        _ => format!("item {index} of the input has other arguments now"),
    }
}

fn shown(reduce: &Option<String>) -> String {
    reduce.clone().unwrap_or_else(|| "nothing".to_owned())
}

/// Whether an earlier outcome stands. A row that was malformed is looked at again: somebody may have mended it.
pub(crate) fn stands(item: &Item) -> bool {
    item.outcome != INVALID.id
}
