//! `[pool]`: the workers, their limits and their surroundings.

use procession::StartMethod;

use super::document::{Entry, Table, Value};
use super::key::{Key, Wants, key, names};
use crate::diagnostic::Diagnostic;
use crate::job::{PoolSettings, WorkerOutput};
use crate::policy::{self, Halt, Mark};

const COUNT: Wants = Wants::Integer(1, None);

const RESTART_LIMIT: [Key; 2] = [
    key("restarts", Wants::Integer(0, Some(u32::MAX as i64)), "So many."),
    key("within", Wants::Duration, "In so much time."),
];

pub(super) const KEYS: [Key; 25] = [
    key(
        "workers",
        Wants::Integer(1, Some(WORKERS_MAX as i64)),
        "Worker processes. Default: the usable cores.",
    ),
    key(
        "start_method",
        Wants::Choice(|| names(&START_METHODS)),
        "How workers are started. Default: `forkserver`.",
    ),
    key(
        "timeout",
        Wants::Either(&[
            Wants::Duration,
            Wants::Form(
                "^\\s*0*(10[1-9]|1[1-9][0-9]|[2-9][0-9]{2}|[1-9][0-9]{3,8})\\s*%\\s*$",
                "per cent such as `\"300%\"`",
            ),
        ]),
        "An item that runs longer is stopped. Per cent are of the median run time of the items with a value, once 10 have one; at least 1 s.",
    ),
    key("deadline", Wants::Duration, "The whole call is stopped after so long."),
    key("grace", Wants::Duration, "Between SIGTERM and SIGKILL. Default: 2 s."),
    key(
        "max_attempts",
        Wants::Integer(1, Some(u32::MAX as i64)),
        "An idempotent item is started so often if its worker is lost. Default: 3.",
    ),
    key(
        "retries",
        Wants::Integer(0, Some(u32::MAX as i64)),
        "An item that fails by itself (a panic, a returned error, a time limit) runs again so often. Default: 0.",
    ),
    key(
        "retry_delay",
        Wants::Duration,
        "The pause before an item's first retry. Every further one is twice as long, up to 1 min, and all are up to a quarter longer or shorter. Default: 1 s.",
    ),
    key(
        "halt",
        Wants::Form(
            "^\\s*(now|soon)\\s*,\\s*(fail|lost|done)\\s*(=\\s*0*([1-9][0-9]{0,18}|([1-9][0-9]?|100)\\s*%)\\s*)?$",
            "a string such as `\"soon,fail=3\"`",
        ),
        "When the run ends before its items do: `now` stops what runs, `soon` finishes it; so many items, or per cent, that `fail`, are `lost` with their worker, or are `done`.",
    ),
    key(
        "max_load",
        Wants::Either(&[
            Wants::Number,
            Wants::Form(
                "^\\s*([0-9]*[1-9][0-9]*([.][0-9]+)?|[0-9]*[.][0-9]*[1-9][0-9]*)\\s*%?\\s*$",
                "a share of the cores such as `\"80%\"`",
            ),
        ]),
        "Nothing new is begun while the load average of the last minute is higher.",
    ),
    key(
        "min_free_memory",
        Wants::Either(&[
            Wants::Size,
            Wants::Form(
                "^\\s*0*([1-9][0-9]?([.][0-9]+)?|[.][0-9]*[1-9][0-9]*|100([.]0+)?)\\s*%\\s*$",
                "a share of all memory such as `\"20%\"`",
            ),
        ]),
        "Nothing new is begun while less memory is free.",
    ),
    key("chunk_size", COUNT, "Items handed to a worker together. Default: adapts to how long they take."),
    key("buffer", COUNT, "At most so many items are in flight or have a result that is not yet taken."),
    key("max_tasks_per_worker", COUNT, "A worker is replaced after so many items."),
    key("max_rss", Wants::Size, "A worker that has grown over this is replaced between two items."),
    key(
        "memory_limit",
        Wants::Size,
        "The most private memory a worker may have: an allocation beyond it fails.",
    ),
    key(
        "restart_limit",
        Wants::Table(&RESTART_LIMIT, &["restarts", "within"]),
        "More workers that end before they have done anything break the pool. Default: 3 a worker, at least 5, in 30 s.",
    ),
    key(
        "env",
        Wants::Columns(&Wants::Either(&[
            Wants::Form("^[^\\x00]*$", "a string"),
            Wants::Integer(i64::MIN, None),
        ])),
        "Added to the environment of workers.",
    ),
    key("nice", Wants::Integer(-20, Some(19)), "Added to the niceness of workers."),
    key(
        "cpu_affinity",
        Wants::Array(&Wants::Array(&Wants::Integer(0, Some(65_535)), 1), 1),
        "The cores of the first worker, of the second, and so on again.",
    ),
    key(
        "idle_timeout",
        Wants::Duration,
        "A worker that has been idle for so long ends, until there is work.",
    ),
    key("lazy_start", Wants::Flag, "Workers are started when there is work for them."),
    key("output", Wants::Choice(|| names(&OUTPUTS)), "Where what tasks print goes. Default: `stderr`."),
    key("crash_reports", Wants::Flag, "A worker that crashes says where. Default: `true`."),
    key("recycle_after_panic", Wants::Flag, "A worker is replaced after a panic. Default: `false`."),
];

/// The names of the ways to start a worker.
pub(crate) const START_METHODS: [(&str, StartMethod); 3] =
    [("forkserver", StartMethod::ForkServer), ("spawn", StartMethod::Spawn), ("fork", StartMethod::Fork)];

const OUTPUTS: [(&str, WorkerOutput); 4] = [
    ("stderr", WorkerOutput::Stderr),
    ("inherit", WorkerOutput::Inherit),
    ("null", WorkerOutput::Null),
    ("capture", WorkerOutput::Capture),
];

/// More workers than this are a slip of the finger: no machine runs them.
pub(crate) const WORKERS_MAX: usize = 4096;

pub(super) fn read(table: &Table) -> Result<PoolSettings, Diagnostic> {
    table.only("[pool]", &KEYS)?;
    let mut pool = PoolSettings::default();
    for entry in &table.entries {
        match entry.key.as_str() {
            "workers" => pool.workers = Some(workers(entry)?),
            "start_method" => pool.start_method = Some(entry.choice(&START_METHODS)?),
            "timeout" => match shown(entry).as_deref().and_then(policy::percent) {
                Some(percent) => {
                    pool.policies.timeout_percent = Some(percent.map_err(|what| entry.error(what))?)
                }
                None => pool.timeout = Some(entry.duration()?),
            },
            "retries" => pool.policies.retries = Some(entry.integer(0..=u32::MAX)?),
            "retry_delay" => pool.policies.retry_delay = Some(entry.duration()?),
            "halt" => {
                pool.policies.halt = Some(Halt::parse(entry.string()?).map_err(|what| entry.error(what))?)
            }
            "max_load" => pool.policies.gates.max_load = Some(mark(entry, policy::load)?),
            "min_free_memory" => pool.policies.gates.min_free_memory = Some(mark(entry, policy::memory)?),
            "deadline" => pool.deadline = Some(entry.duration()?),
            "grace" => pool.grace = Some(entry.duration()?),
            "max_attempts" => pool.max_attempts = Some(entry.integer(1..=u32::MAX)?),
            "chunk_size" => pool.chunk_size = Some(entry.count()?),
            "buffer" => pool.buffer = Some(entry.count()?),
            "max_tasks_per_worker" => pool.max_tasks_per_worker = Some(entry.count()?),
            "max_rss" => pool.max_rss = Some(entry.size()?),
            "memory_limit" => pool.memory_limit = Some(entry.size()?),
            "restart_limit" => pool.restart_limit = Some(restart_limit(entry)?),
            "env" => pool.env = env(entry)?,
            "nice" => pool.nice = Some(entry.integer(-20..=19)?),
            "cpu_affinity" => pool.cpu_affinity = Some(cpu_affinity(entry)?),
            "idle_timeout" => pool.idle_timeout = Some(entry.duration()?),
            "lazy_start" => pool.lazy_start = Some(entry.boolean()?),
            "output" => pool.output = entry.choice(&OUTPUTS)?,
            "crash_reports" => pool.crash_reports = Some(entry.boolean()?),
            "recycle_after_panic" => pool.recycle_after_panic = Some(entry.boolean()?),
            key => unreachable!("`{key}` is in KEYS and has no reader"),
        }
    }
    Ok(pool)
}

/// What a person would type for a string or a number.
fn shown(entry: &Entry) -> Option<String> {
    match &entry.node.value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

fn mark(entry: &Entry, read: fn(&str) -> Result<Mark, String>) -> Result<Mark, Diagnostic> {
    let text = shown(entry).ok_or_else(|| entry.error("must be a number or a string"))?;
    read(&text).map_err(|what| entry.error(what))
}

fn workers(entry: &Entry) -> Result<usize, Diagnostic> {
    match entry.count()? {
        workers if workers <= WORKERS_MAX => Ok(workers),
        workers => {
            Err(entry.error(format!("{workers} workers are more than the {WORKERS_MAX} there can be")))
        }
    }
}

fn restart_limit(entry: &Entry) -> Result<(u32, std::time::Duration), Diagnostic> {
    const HELP: &str = "for example `restart_limit = { restarts = 15, within = \"30s\" }`";
    let table = entry.table().map_err(|refusal| refusal.help(HELP))?;
    table.only("`restart_limit`", &RESTART_LIMIT)?;
    match (table.get("restarts"), table.get("within")) {
        (Some(restarts), Some(within)) => Ok((restarts.integer(0..=u32::MAX)?, within.duration()?)),
        _ => Err(entry.error("needs both `restarts` and `within`").help(HELP)),
    }
}

fn env(entry: &Entry) -> Result<Vec<(String, String)>, Diagnostic> {
    let variable = |entry: &Entry| {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            return Err(entry.key_at.error("this cannot be the name of an environment variable"));
        }
        match &entry.node.value {
            Value::String(value) if value.contains('\0') => Err(entry.error("must not contain a zero byte")),
            Value::String(value) => Ok((entry.key.clone(), value.clone())),
            Value::Integer(value) => Ok((entry.key.clone(), value.to_string())),
            _ => Err(entry.error("an environment variable must be a string")),
        }
    };
    entry.table()?.entries.iter().map(variable).collect()
}

/// `[[0, 1], [2, 3]]`: the cores of the first worker, of the second, and so on again.
fn cpu_affinity(entry: &Entry) -> Result<Vec<Vec<usize>>, Diagnostic> {
    const HELP: &str = "for example `cpu_affinity = [[0], [1]]`: the cores of each worker in turn";
    let refuse =
        |at: &crate::diagnostic::Place| Err(at.error("`cpu_affinity` must be lists of cores").help(HELP));
    let mut lists = Vec::new();
    for list in entry.array().map_err(|refusal| refusal.help(HELP))? {
        let Value::Array(cores) = &list.value else {
            return refuse(&list.at);
        };
        if cores.is_empty() {
            return Err(list.at.error("a worker needs at least one core").help(HELP));
        }
        let mut cpus = Vec::new();
        for core in cores {
            match core.value {
                Value::Integer(core @ 0..=65_535) => cpus.push(core as usize),
                _ => return refuse(&core.at),
            }
        }
        lists.push(cpus);
    }
    if lists.is_empty() {
        return refuse(&entry.node.at);
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Text;
    use crate::spec::document;

    #[test]
    fn every_key_has_a_reader() {
        for key in KEYS.map(|key| key.name) {
            let table = document::parse(&Text::new("t", format!("{key} = {{}}"))).unwrap();
            // An empty table suits only `env`; the others must refuse it, and none may be unreachable.
            assert_eq!(read(&table).is_ok(), key == "env", "{key}");
        }
    }

    #[test]
    fn reads_a_full_table() {
        let text = r#"
            workers = 3
            timeout = "1m"
            restart_limit = { restarts = 4, within = 10 }
            env = { A = "x", N = 3 }
            cpu_affinity = [[0, 1], [2]]
            start_method = "spawn"
            max_rss = "512 MiB"
            memory_limit = 2_000_000_000
        "#;
        let pool = read(&document::parse(&Text::new("t", text)).unwrap()).unwrap();
        assert_eq!(pool.workers(), 3);
        assert_eq!(pool.restart_limit, Some((4, std::time::Duration::from_secs(10))));
        assert_eq!(pool.env, [("A".to_owned(), "x".to_owned()), ("N".to_owned(), "3".to_owned())]);
        assert_eq!((pool.max_rss, pool.memory_limit), (Some(512 << 20), Some(2_000_000_000)));
        assert_eq!(pool.cpu_affinity, Some(vec![vec![0, 1], vec![2]]));
    }
}
