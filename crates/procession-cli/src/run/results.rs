//! Where the values of a run end: written, reduced, or both.

use std::borrow::Cow;

use procession::{Payload, TaskInfo};
use procession_store::{Item, Printed};

use super::sequence::Held;
use crate::exec::{self, Streams};
use crate::exit::Stop;
use crate::failures::Flaw;
use crate::job::Job;
use crate::output::{Values, encode_json};
use crate::progress::Screen;
use crate::reduce::Reducer;
use crate::summary::Tally;

/// Where values end: written, reduced, or both.
pub(super) struct Results {
    values: Option<Values>,
    reducer: Option<Reducer>,
    task: &'static TaskInfo,
    /// Where items are commands.
    streams: Option<Streams>,
}

impl Results {
    /// What goes to stdout is written beside what `screen` shows.
    pub(super) fn open(job: &Job, screen: &Screen) -> Result<Results, Stop> {
        let reducer = job.reduce.map(|reduction| Reducer::new(reduction, job.task));
        // A reduction is the result on stdout; the values themselves are written only where a file is named for them.
        let writes = reducer.is_none() || job.results.file.is_some();
        let values = writes.then(|| Values::open(&job.results, job.task.returns(), screen)).transpose()?;
        Ok(Results { values, reducer, task: job.task, streams: job.results.streams })
    }

    /// The run has begun: values of an earlier one go.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), Values::begin)
    }

    /// Takes a value. The inner error is the value's own: nothing can be made of it, or it tells of a failure.
    pub(super) fn take(
        &mut self,
        item: u64,
        value: &Payload,
        args: Option<&Payload>,
        screen: &Screen,
    ) -> Result<Result<(), Flaw>, Stop> {
        if let Err(what) = self.reduce(value) {
            return Ok(Err(what.into()));
        }
        let Some(values) = &mut self.values else {
            let flaw = args.filter(|_| self.streams.is_some()).and_then(|args| exec::flaw_of(args, value));
            return Ok(flaw.map_or(Ok(()), Err));
        };
        values.write(self.task, item, value, args, screen)
    }

    /// Whether values are written as they came, and not as JSON.
    pub(super) fn are_raw(&self) -> bool {
        self.streams.is_some()
    }

    /// What is written of a command of an earlier session, if anything is.
    pub(super) fn again(
        &self,
        item: &Item,
        args: Option<&Payload>,
        printed: Option<Printed>,
    ) -> Option<Held> {
        let result = exec::earlier(item, printed)?;
        let order = args.and_then(exec::order).unwrap_or_default();
        let [out, err] = self.streams?.texts(item.index, &order, &result).map(Cow::into_owned);
        Some(Held::Printed { out, err, is_value: item.is_ok() })
    }

    /// Writes that.
    pub(super) fn repeat(
        &mut self,
        printed: (&[u8], &[u8]),
        is_value: bool,
        screen: &Screen,
    ) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), |values| values.repeat(printed, is_value, screen))
    }

    /// A value as JSON.
    pub(super) fn json(&self, value: &Payload) -> Result<String, String> {
        let mut json = Vec::new();
        encode_json(self.task, value, &mut json)?;
        String::from_utf8(json).map_err(|error| error.to_string())
    }

    /// Takes a value for the reduction alone.
    pub(super) fn reduce(&mut self, value: &Payload) -> Result<(), String> {
        self.reducer.as_mut().map_or(Ok(()), |reducer| reducer.add(value))
    }

    /// Writes a value that is JSON by now. The inner error is the value's own: it cannot be written in this format.
    pub(super) fn show(&mut self, item: u64, json: &str) -> Result<Result<(), String>, Stop> {
        self.values.as_mut().map_or(Ok(Ok(())), |values| values.write_json(item, json))
    }

    /// Nobody reads the values any more.
    pub(super) fn mute(&mut self) {
        self.values = None;
    }

    /// How many values have certainly been written. A reduction that has no result has none.
    pub(super) fn certain(&self) -> u64 {
        self.values.as_ref().map_or(0, Values::certain)
    }

    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        self.values.as_mut().map_or(Ok(()), Values::flush)
    }

    /// Ends the output. `say` is told what there is to say about a reduction.
    pub(super) fn finish(&mut self, tally: &Tally, say: impl FnOnce(&str)) -> Result<(), Stop> {
        if let Some(values) = &mut self.values {
            values.finish()?;
        }
        let Some(reducer) = &self.reducer else {
            return Ok(());
        };
        reducer.print(tally.failures(), say)
    }
}
