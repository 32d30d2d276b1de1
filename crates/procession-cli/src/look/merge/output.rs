//! Where the items of a merged job go: values, failures and what is made of the values, as `run` writes them.

use procession::{Payload, TaskInfo};
use procession_store::{Item, Job};

use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::failures::{self, UNWRITTEN};
use crate::job::ResultSettings;
use crate::look::export::returns;
use crate::output::{Sink, Values};
use crate::progress::Screen;
use crate::reduce::{Reducer, Reduction};
use crate::summary::Tally;
use crate::terminal;

/// What is being written.
pub(super) struct Output {
    values: Option<Values>,
    failures: Option<Sink>,
    reducer: Option<Reducer>,
    tally: Tally,
}

impl Output {
    pub(super) fn open(job: &Job, settings: &ResultSettings) -> Result<Output, Stop> {
        let reducer = reducer(job)?;
        // As of a run: a reduction is the result on stdout, and values are written where a file is named for them.
        let writes = reducer.is_none() || settings.file.is_some();
        if writes {
            settings.format.refuse(settings.file.as_deref())?;
        }
        let values = writes.then(|| Values::open(settings, returns(job), &Screen::bare())).transpose()?;
        let failures = settings.failures.as_deref().map(Sink::file).transpose()?;
        Ok(Output { values, failures, reducer, tally: Tally::default() })
    }

    /// What was in the files before goes.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), Values::begin)?;
        self.failures.as_mut().map_or(Ok(()), Sink::begin)
    }

    /// Takes the next item. Of commands there is a record, of failed ones too.
    pub(super) fn take(&mut self, item: Item, record: Option<String>) -> Result<(), Stop> {
        if !item.is_ok() {
            if let (Some(values), Some(record)) = (&mut self.values, &record) {
                // A text always fits.
                let _ = values.write_json(item.index, record)?;
            }
            self.tally.fail(failures::named(&item.outcome));
            return self.fail(&item);
        }
        if let (Some(reducer), Some(payload)) = (&mut self.reducer, item.payload.clone()) {
            let added = reducer.add(&Payload::from(payload));
            added
                .map_err(|what| Stop::Unwritable(format!("item {} of the run store: {what}", item.index)))?;
        }
        let written = match &mut self.values {
            Some(values) => {
                let value = record.as_deref().or(item.value.as_deref()).unwrap_or("null");
                values.write_json(item.index, value)?
            }
            None => Ok(()),
        };
        match written {
            Ok(()) => {
                self.tally.values += 1;
                self.tally.flaky += u64::from(item.is_flaky);
                Ok(())
            }
            Err(what) => {
                let what = format!("item {}: {what}", item.index);
                terminal::say(&terminal::printable(&what));
                self.tally.fail(UNWRITTEN);
                self.fail(&Item { outcome: UNWRITTEN.id.into(), error: Some(what), ..item })
            }
        }
    }

    fn fail(&mut self, item: &Item) -> Result<(), Stop> {
        let Some(sink) = &mut self.failures else { return Ok(()) };
        sink.write(failures::earlier_json(item)?.as_bytes())?;
        sink.write(b"\n")
    }

    /// Ends all of it, and says what became of the items. So many others have no outcome.
    pub(super) fn finish(mut self, missing: u64) -> Result<Tally, Stop> {
        self.values.as_mut().map_or(Ok(()), Values::finish)?;
        self.failures.as_mut().map_or(Ok(()), Sink::flush)?;
        if let Some(reducer) = &self.reducer {
            reducer.print(self.tally.failures() + missing, terminal::say_warning)?;
        }
        Ok(self.tally)
    }
}

/// What is made of the values, if the job makes something of them.
fn reducer(job: &Job) -> Result<Option<Reducer>, Stop> {
    let Some(name) = &job.reduce else { return Ok(None) };
    let known = Reduction::NAMES.iter().find(|(known, _)| known == name);
    let task: Option<&'static TaskInfo> = procession::find(&job.task).ok();
    match (known, task.filter(|task| task.signature() == job.signature)) {
        (Some((_, reduction)), Some(task)) => Ok(Some(Reducer::new(*reduction, task))),
        _ => {
            let what = format!(
                "the job makes {name} of the values of `{}`, a task that this program does not have",
                job.task
            );
            Err(Diagnostic::new(what).help("merge with the program that ran it").into())
        }
    }
}
