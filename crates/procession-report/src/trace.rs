//! A Chrome trace: the format of `chrome://tracing`, which Perfetto opens. Written row by row.
//!
//! A session is a process of the trace, a worker a thread of it, wherever it is: an `X` event for each item, an instant event for each
//! death, counters for items done and for workers' memory. Times are microseconds since the first session began.

use std::io::{self, Write};
use std::path::Path;

use procession_store::{Brief, OK, Order, Reader, WorkerLife};
use serde_json::{Value, json};

use crate::axis::{Axis, Bins, Span};
use crate::error::Error;
use crate::lanes::death;
use crate::names::Names;
use crate::survey::{seconds, spans};
use crate::words;

/// Points of a counter over the whole run.
const COUNTER_POINTS: usize = 1_000;
/// As many workers have a counter of their memory.
const MEMORIES_MAX: usize = 1_024;
/// Times are read to a quarter of a microsecond: so much may an item seem to begin before the one before it has ended.
const OVERLAP_US: f64 = 1.0;

/// Writes the trace of a run to `file`, which is to be `path`.
pub(crate) fn write(reader: &Reader, path: &Path, file: &mut dyn Write) -> Result<(), Error> {
    let job = reader.job()?;
    let sessions = reader.sessions()?;
    let mut spans = spans(&sessions);
    reader.briefs::<Error>(Order::Input, |item| {
        if let Some(start) = item.started_at
            && let Ok(at) = spans.binary_search_by_key(&item.session, |span| span.session)
        {
            spans[at].include(start);
            spans[at].include(start + item.wall_s.unwrap_or(0.0));
        }
        Ok(())
    })?;
    let origin = spans.iter().map(|span| span.start).fold(f64::INFINITY, f64::min);
    let task = job.task.rsplit("::").next().unwrap_or_default();
    let cannot = |error: io::Error| Error::unwritable("trace", path, error);
    let names = Names::of(&reader.agents()?);
    let mut trace = Trace { file, origin, is_first: true, names };
    trace.begin().map_err(cannot)?;
    for session in &sessions {
        let name = format!("{}, session {}", job.name, session.id);
        trace.name("process_name", session.id, 0, &name).map_err(cannot)?;
        trace.name("process_sort_index", session.id, 0, &session.id).map_err(cannot)?;
    }
    let workers = reader.workers()?;
    let mut named = std::collections::BTreeSet::new();
    for life in &workers {
        if named.insert((life.session, life.slot)) {
            trace.lane(life.session, Some(life.slot)).map_err(cannot)?;
        }
        trace.life(life).map_err(cannot)?;
    }
    let axis = Axis::new(&spans);
    let mut counters = Counters::new(&axis);
    let mut held: Option<Slice> = None;
    reader.briefs::<Error>(Order::Lane, |item| {
        counters.add(&axis, &item);
        let Some(start) = item.started_at else { return Ok(()) };
        let lane = (item.session, item.slot);
        if item.slot.is_none_or(|slot| named.insert((item.session, slot)))
            && held.as_ref().is_none_or(|held| held.lane != lane)
        {
            trace.lane(item.session, item.slot).map_err(cannot)?;
        }
        let start_us = (start - origin) * 1e6;
        let slice = Slice::new(lane, start_us, task, &item);
        if let Some(mut before) = held.replace(slice) {
            let over = before.start_us + before.wall_us - start_us;
            if before.lane == lane && over > 0.0 && over <= OVERLAP_US {
                before.wall_us -= over;
            }
            trace.event(&before.json()).map_err(cannot)?;
        }
        Ok(())
    })?;
    if let Some(last) = held {
        trace.event(&last.json()).map_err(cannot)?;
    }
    counters.write(&axis, &mut trace).map_err(cannot)?;
    let about = json!({
        "job": job.name,
        "task": job.task,
        "source": job.source,
        "started": sessions.first().map(|session| words::moment(session.started_at)),
        "generator": concat!("procession ", env!("CARGO_PKG_VERSION")),
    });
    trace.end(&about).map_err(cannot)
}

/// A trace that is being written.
struct Trace<'a> {
    file: &'a mut dyn Write,
    origin: f64,
    is_first: bool,
    names: Names,
}

impl Trace<'_> {
    fn begin(&mut self) -> io::Result<()> {
        self.file.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")
    }

    fn event(&mut self, event: &str) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.file.write_all(b",\n")?;
        }
        self.file.write_all(event.as_bytes())
    }

    fn end(&mut self, about: &Value) -> io::Result<()> {
        write!(self.file, "\n],\"otherData\":{about}}}\n")
    }

    fn name(&mut self, what: &str, session: i64, thread: u64, name: &dyn Named) -> io::Result<()> {
        let (key, value) = name.value();
        let event = json!({"name": what, "ph": "M", "pid": session, "tid": thread, "args": {key: value}});
        self.event(&event.to_string())
    }

    fn lane(&mut self, session: i64, slot: Option<u32>) -> io::Result<()> {
        let name = slot.map_or_else(|| "worker unknown".to_owned(), |slot| self.names.worker(slot));
        let thread = thread(slot);
        self.name("thread_name", session, thread, &name)?;
        self.name("thread_sort_index", session, thread, &(thread as i64))
    }

    /// Its birth and, if it was one, its death.
    fn life(&mut self, life: &WorkerLife) -> io::Result<()> {
        let mut mark = |at: f64, name: String| {
            let ts = ((at - self.origin) * 1e6).max(0.0).round();
            let event = json!({
                "name": name, "ph": "i", "s": "t", "ts": ts, "pid": life.session, "tid": thread(Some(life.slot)),
                "args": {"pid": life.pid, "exit": life.exit, "signal": life.signal},
            });
            self.event(&event.to_string())
        };
        mark(seconds(life.started_at), "process begins".to_owned())?;
        match (life.ended_at, death(life)) {
            (Some(at), Some(death)) => mark(seconds(at), format!("process dies: {death}")),
            (Some(at), None) => mark(seconds(at), "process ends".to_owned()),
            (None, _) => Ok(()),
        }
    }
}

/// Threads of number 0 are special to some viewers.
fn thread(slot: Option<u32>) -> u64 {
    slot.map_or(u64::from(u32::MAX) + 2, |slot| u64::from(slot) + 1)
}

/// What metadata events say: a name, or a place in an order.
trait Named {
    fn value(&self) -> (&'static str, Value);
}

impl Named for String {
    fn value(&self) -> (&'static str, Value) {
        ("name", json!(self))
    }
}

impl Named for i64 {
    fn value(&self) -> (&'static str, Value) {
        ("sort_index", json!(self))
    }
}

/// An item, held back until it is known when the next one begins.
struct Slice {
    lane: (i64, Option<u32>),
    start_us: f64,
    wall_us: f64,
    name: String,
    args: Value,
}

impl Slice {
    fn new(lane: (i64, Option<u32>), start_us: f64, task: &str, item: &Brief<'_>) -> Slice {
        // Viewers colour by name.
        let name = if item.outcome == OK {
            task.to_owned()
        } else {
            format!("{task}: {}", words::outcome(item.outcome))
        };
        let mut args = json!({"index": item.index, "attempt": item.attempts, "outcome": item.outcome});
        if let Some(pid) = item.pid {
            args["pid"] = pid.into();
        }
        Slice { lane, start_us, wall_us: item.wall_s.unwrap_or(0.0) * 1e6, name, args }
    }

    fn json(&self) -> String {
        let Slice { lane: (session, slot), start_us, wall_us, name, args } = self;
        format!(
            "{{\"name\":{},\"cat\":\"item\",\"ph\":\"X\",\"ts\":{start_us:.3},\"dur\":{:.3},\
             \"pid\":{session},\"tid\":{},\"args\":{args}}}",
            Value::from(name.as_str()),
            wall_us.max(0.0),
            thread(*slot),
        )
    }
}

/// Numbers over time.
struct Counters {
    bins: Bins,
    done: Vec<u64>,
    /// By worker.
    peak_rss: std::collections::BTreeMap<u32, Vec<u64>>,
}

impl Counters {
    fn new(axis: &Axis) -> Counters {
        let bins = Bins::new(axis, COUNTER_POINTS);
        Counters { done: vec![0; bins.len()], bins, peak_rss: std::collections::BTreeMap::new() }
    }

    fn add(&mut self, axis: &Axis, item: &Brief<'_>) {
        let end = item.started_at.map(|start| start + item.wall_s.unwrap_or(0.0));
        let Some(bin) = end.and_then(|end| self.bins.at(axis, item.session, end)) else { return };
        self.done[bin] += 1;
        let has_room = |slot| self.peak_rss.len() < MEMORIES_MAX || self.peak_rss.contains_key(&slot);
        if let (Some(slot), Some(bytes)) = (item.slot.filter(|slot| has_room(*slot)), item.peak_rss) {
            let peaks = self.peak_rss.entry(slot).or_insert_with(|| vec![0; self.bins.len()]);
            peaks[bin] = peaks[bin].max(bytes);
        }
    }

    fn write(&self, axis: &Axis, trace: &mut Trace<'_>) -> io::Result<()> {
        let named = |slot: &u32| format!("memory of {}", trace.names.worker(*slot));
        let names: Vec<String> = self.peak_rss.keys().map(named).collect();
        for run in self.bins.runs(axis) {
            let Span { session, start, .. } = run.piece.span;
            let at = |bin: usize| {
                ((start - trace.origin + (bin + 1 - run.first) as f64 * run.seconds()) * 1e6).max(0.0)
            };
            let times: Vec<f64> = run.all().map(at).collect();
            let mut point = |name: &str, unit: &str, ts: f64, value: u64| {
                let event =
                    json!({"name": name, "ph": "C", "ts": ts.round(), "pid": session, "args": {unit: value}});
                trace.event(&event.to_string())
            };
            let mut done = 0;
            for (bin, ts) in run.all().zip(&times) {
                if self.done[bin] > 0 {
                    done += self.done[bin];
                    point("items done", "items", *ts, done)?;
                }
            }
            for (name, peaks) in names.iter().zip(self.peak_rss.values()) {
                let mut last = 0;
                for (bin, ts) in run.all().zip(&times) {
                    if peaks[bin] > 0 && peaks[bin] != last {
                        last = peaks[bin];
                        point(name, "bytes", *ts, last)?;
                    }
                }
            }
        }
        Ok(())
    }
}
