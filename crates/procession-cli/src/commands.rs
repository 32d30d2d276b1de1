//! From what was typed to what is done: every command becomes a job, a plan or a listing.

mod again;
mod submission;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procession::TaskInfo;
use procession_store::RunDir;

use crate::cli::{
    Apply, Cli, Command, ConductFlags, Exec, ItemFlags, Map, PartFlags, PolicyFlags, PoolFlags, ResultFlags,
    Run, RunDirFlags, SlurmCommand, Starmap, TimeLimit, ValueFlags,
};
use crate::diagnostic::{Diagnostic, Place, Text};
use crate::engine::{self, Remote};
use crate::exec::{self, Commands, Origin, RowForm, Streams, Wording};
use crate::exit::{Ending, Stop};
use crate::failures::UNKNOWN;
use crate::input::{Cell, CellRow, Columns, File, Format, Series, Source, row};
use crate::job::{Call, Job, PoolSettings, ReportSettings, ResultSettings, RunDirSettings, Typed};
use crate::part::Part;
use crate::policy::Policies;
use crate::run::Talk;
use crate::{listing, look, manual, new, output, plan, report, run, run_dir, scale, signals, slurm, spec};

/// Does what the command line asks for.
pub(crate) fn execute(cli: Cli) -> Result<Ending, Stop> {
    match cli.command {
        Command::Run(command) => {
            let (conduct, store) = (command.conduct, command.store.clone());
            conduct_job(store.put_into(run_job(command)?, &[])?, conduct)
        }
        Command::Map(command) => {
            let (conduct, store) = (command.conduct, command.store.clone());
            conduct_job(store.put_into(map_job(command)?, &[])?, conduct)
        }
        Command::Starmap(command) => {
            let (conduct, store) = (command.conduct, command.store.clone());
            conduct_job(store.put_into(starmap_job(command)?, &[])?, conduct)
        }
        Command::Apply(command) => {
            run::run(&apply_job(command)?, Talk { progress: false, summary: false, backtrace: true })
        }
        Command::Status(command) => look::status(&command),
        Command::Failed(command) => look::failed(&command),
        Command::Show(command) => look::show(&command),
        Command::Export(command) => look::export(&command),
        Command::Merge(command) => look::merge(&command),
        Command::Retry(command) => again::retry(&command),
        Command::Report(command) => report::report(&command),
        Command::Exec(command) => {
            let (conduct, store, words) = (command.conduct, command.store.clone(), command.words.clone());
            conduct_job(store.put_into(exec_job(command)?, &words)?, conduct)
        }
        Command::Agent(command) => engine::agent(&command),
        Command::Jobs(command) => engine::jobs(&command),
        Command::Slurm(command) => match command.command {
            SlurmCommand::Submit(command) => {
                let (words, job) = submission::job(&command)?;
                slurm::submit(&command, words, job)
            }
        },
        Command::Scale(command) => scale::scale(&command),
        Command::Tasks(command) => listing::show(command.json),
        Command::New(command) => new::new(&command),
        Command::Completions(command) => manual::completions(&command),
        Command::Man(command) => manual::man(&command),
        Command::Schema(command) => manual::schema(&command),
    }
}

fn conduct_job(mut job: Job, conduct: ConductFlags) -> Result<Ending, Stop> {
    job.refuse_report()?;
    if conduct.dry_run {
        return plan::show(&job);
    }
    signals::spare();
    run_dir::decide(&mut job)?;
    run_dir::keep_input(&mut job)?;
    let loud = !conduct.quiet;
    let talk = Talk { progress: loud && !conduct.no_progress, summary: loud, backtrace: loud };
    let ended = run::run(&job, talk);
    report::follow(&job, loud, ended)
}

fn run_job(command: Run) -> Result<Job, Diagnostic> {
    let mut job = spec::read(&command.spec, &command.set, |pool| command.pool.adjust(pool))?;
    command.results.adjust(&mut job.results)?;
    job.part = Part::of(&command.part)?;
    job.skip_invalid = command.conduct.skip_invalid;
    job.engine = command.engine.map(|address| Remote { address });
    Ok(job)
}

fn map_job(command: Map) -> Result<Job, Diagnostic> {
    let words = Words::new(&command.task, &command.values);
    let task = words.task()?;
    if task.params().len() != 1 {
        let refusal = words.at(0).error(format!("`map` gives 1 argument an item; {}", row::takes(task)));
        let help = if task.params().is_empty() { "use `apply`" } else { "use `starmap`" };
        return Err(refusal.help(help));
    }
    let source = if let Some(range) = command.range {
        Source::Range(Series::parse(&range, Text::new("--range", &*range).whole())?)
    } else if let Some(path) = command.jsonl {
        Source::File(File::new(&path, Format::Jsonl, true, Text::new("--jsonl", &*path).whole()))
    } else if let Some(path) = command.each_line {
        Source::File(File::new(&path, Format::Lines, true, Text::new("--each-line", &*path).whole()))
    } else if command.values.is_empty() {
        let refusal = words.at(0).error("no items");
        return Err(refusal.help("give values, or one of --range, --jsonl and --each-line"));
    } else {
        let row = |place: Place| CellRow { cells: vec![Cell::Word(place.clone())], at: place };
        Source::Rows((0..command.values.len()).map(|value| row(words.at(value + 1))).collect())
    };
    job(task, Call::Map, (source, &command.part), &command.pool, &command.results, command.conduct)
}

fn starmap_job(command: Starmap) -> Result<Job, Diagnostic> {
    let words = Words::new(&command.task, &command.values);
    let task = words.task()?;
    if !command.values.is_empty() {
        let refusal = words.at(1).error("rows of `starmap` come from --jsonl, --csv or --product");
        return Err(refusal.help("for a single row use `apply`"));
    }
    let source = if let Some(path) = command.jsonl {
        Source::File(File::new(&path, Format::Jsonl, false, Text::new("--jsonl", &*path).whole()))
    } else if let Some(path) = command.csv {
        Source::File(File::new(&path, Format::Csv, false, Text::new("--csv", &*path).whole()))
    } else if let Some(json) = command.product {
        product(&Text::new("--product", json))?
    } else {
        let refusal = words.at(0).error("no items");
        return Err(refusal.help("give one of --jsonl, --csv and --product"));
    };
    job(task, Call::Starmap, (source, &command.part), &command.pool, &command.results, command.conduct)
}

fn product(text: &Arc<Text>) -> Result<Source, Diagnostic> {
    const HELP: &str = "write a list of values for each argument: '[[1,2],[3,4]]'";
    let columns = crate::input::json_elements(&text.whole()).map_err(|refusal| refusal.help(HELP))?;
    let columns = columns.iter().map(|column| {
        let values = crate::input::json_elements(column).map_err(|refusal| refusal.help(HELP))?;
        Ok(values.into_iter().map(Cell::Json).collect())
    });
    let columns = columns.collect::<Result<Vec<Vec<Cell>>, Diagnostic>>()?;
    Columns::product(columns, text.whole()).map(Source::Columns)
}

fn apply_job(command: Apply) -> Result<Job, Diagnostic> {
    let words = Words::new(&command.task, &command.args);
    let task = words.task()?;
    let cells = (0..command.args.len()).map(|arg| Cell::Word(words.at(arg + 1))).collect();
    let source = Source::Rows(vec![CellRow { cells, at: words.text.whole() }]);
    let mut pool = PoolSettings { workers: Some(1), ..PoolSettings::default() };
    command.item.adjust(&mut pool);
    if pool.policies.timeout_percent.is_some() {
        let refusal = Diagnostic::new("--timeout of per cent follows the items before: `apply` has one");
        return Err(refusal.help("write a duration, such as 30s"));
    }
    Ok(Job {
        name: task.name().to_owned(),
        spec: None,
        task,
        call: Call::ApplyAsync,
        reduce: None,
        pool,
        source,
        part: Part::default(),
        results: ResultSettings::default(),
        skip_invalid: false,
        run_dir: None,
        report: None,
        engine: None,
    })
}

fn job(
    task: &'static TaskInfo,
    call: Call,
    (source, part): (Source, &PartFlags),
    pool_flags: &PoolFlags,
    result_flags: &ResultFlags,
    conduct: ConductFlags,
) -> Result<Job, Diagnostic> {
    let mut pool = PoolSettings::default();
    pool_flags.adjust(&mut pool);
    let mut results = ResultSettings::default();
    result_flags.adjust(&mut results)?;
    let name = task.name().to_owned();
    Ok(Job {
        name,
        spec: None,
        task,
        call,
        reduce: None,
        pool,
        source,
        part: Part::of(part)?,
        results,
        skip_invalid: conduct.skip_invalid,
        run_dir: None,
        report: None,
        engine: None,
    })
}

fn exec_job(command: Exec) -> Result<Job, Diagnostic> {
    let has_run = |dir: &PathBuf| RunDir::is_begun(dir).unwrap_or(true);
    let store = &command.store;
    let resumes = store.resume || (store.resume_or_start && store.run_dir.as_ref().is_some_and(has_run));
    let origin = exec_origin(&command, resumes)?;
    let words = Words::new(&command.words[0], &command.words[1..]);
    let flag =
        |name: &str, text: &Option<String>| text.as_ref().map(|text| Text::new(name, text.as_str()).whole());
    let mut pool = PoolSettings::default();
    command.pool.adjust(&mut pool);
    if pool.max_attempts.is_some_and(|attempts| attempts > 1) && !command.idempotent {
        let refusal = Diagnostic::new("--max-attempts starts commands again, which not all can stand");
        return Err(refusal.help("add --idempotent if yours can"));
    }
    // The command's own limit comes first, and spares its worker. The pool's is for what does not die of that.
    let limit = pool.timeout;
    pool.timeout = limit.and_then(|limit| limit.checked_add(exec::GRACE + exec::GRACE_MORE));
    let wording = Wording {
        words: (0..command.words.len()).map(|word| words.at(word)).collect(),
        is_script: command.shell,
        cwd: flag("--cwd", &command.cwd),
        env: command.env.iter().map(|text| Text::new("--env", text.as_str()).whole()).collect(),
        stdin: flag("--stdin", &command.stdin),
        tag: flag("--tag", &command.tag),
        output_dir: command.output_dir,
        limit,
        grace: exec::GRACE,
    };
    let commands = Commands::new(origin, &wording)?;
    if !command.conduct.dry_run {
        commands.check_program(&wording)?;
        commands.make_output_dir()?;
    }
    let streams = Streams { format: command.format, tag: command.tag.is_some() };
    let results = ResultSettings {
        file: command.output.filter(|path| path.as_os_str() != "-"),
        unordered: command.unordered,
        failures: command.failures,
        events: command.events,
        streams: Some(streams),
        ..ResultSettings::default()
    };
    let program = Path::new(&command.words[0]).file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Job {
        name: if command.shell { "sh".to_owned() } else { program.unwrap_or_default() },
        spec: None,
        task: Commands::task(command.idempotent),
        call: Call::Map,
        reduce: None,
        pool,
        source: Source::Commands(commands),
        part: Part::of(&command.part)?,
        results,
        skip_invalid: command.conduct.skip_invalid,
        run_dir: None,
        report: None,
        engine: None,
    })
}

/// `resumes`: the run directory may have kept what was piped in.
fn exec_origin(command: &Exec, resumes: bool) -> Result<Origin, Diagnostic> {
    let file = |flag: &str, path: &str, form| {
        let file = File::new(path, Format::Lines, true, Text::new(flag, path).whole());
        Origin::File(Box::new(file), form)
    };
    let lines = if command.null { RowForm::ZeroEnded } else { RowForm::Lines };
    Ok(if let Some(range) = &command.range {
        Origin::Range(Series::parse(range, Text::new("--range", range.as_str()).whole())?)
    } else if let Some(path) = &command.each_line {
        file("--each-line", path, lines)
    } else if let Some(path) = &command.jsonl {
        file("--jsonl", path, RowForm::Jsonl)
    } else if let Some(path) = &command.csv {
        file("--csv", path, RowForm::Csv)
    } else if let Some(json) = &command.product {
        Origin::product(&Text::new("--product", json.as_str()).whole())?
    } else if !command.values.is_empty() {
        Origin::Words(command.values.clone())
    } else if std::io::stdin().is_terminal() && !resumes {
        let refusal = Diagnostic::new("no items: standard input is a terminal");
        return Err(refusal.help(
            "pipe lines in, or give one of --each-line, --jsonl, --csv, --product, --range and --values",
        ));
    } else {
        file("--each-line", "-", lines)
    })
}

/// The words of a command line as one text, so that a refusal can point at one of them.
struct Words {
    text: Arc<Text>,
    starts: Vec<usize>,
}

impl Words {
    fn new(task: &str, words: &[String]) -> Words {
        let mut content = task.to_owned();
        let mut starts = vec![0];
        for word in words {
            content.push(' ');
            starts.push(content.len());
            content.push_str(word);
        }
        starts.push(content.len() + 1);
        Words { text: Text::new("<arguments>", content), starts }
    }

    /// Where word `index` stands; the task is word 0.
    fn at(&self, index: usize) -> Place {
        self.text.place(self.starts[index]..self.starts[index + 1] - 1)
    }

    fn task(&self) -> Result<&'static TaskInfo, Diagnostic> {
        let at = self.at(0);
        spec::task_named(at.as_str()).map_err(|(what, help)| at.error(what).help(help))
    }
}

impl PoolFlags {
    fn adjust(&self, pool: &mut PoolSettings) {
        pool.workers = self.workers.or(pool.workers);
        pool.chunk_size = self.chunk_size.or(pool.chunk_size);
        self.item.adjust(pool);
        self.policy.adjust(&mut pool.policies);
    }
}

impl PolicyFlags {
    fn adjust(&self, policies: &mut Policies) {
        policies.retries = self.retries.or(policies.retries);
        policies.retry_delay = self.retry_delay.or(policies.retry_delay);
        policies.halt = self.halt.or(policies.halt);
        policies.gates.max_load = self.max_load.or(policies.gates.max_load);
        policies.gates.min_free_memory = self.min_free_memory.or(policies.gates.min_free_memory);
    }
}

impl ItemFlags {
    fn adjust(&self, pool: &mut PoolSettings) {
        if let Some(limit) = self.timeout {
            (pool.timeout, pool.policies.timeout_percent) = match limit {
                TimeLimit::Fixed(limit) => (Some(limit), None),
                TimeLimit::Percent(percent) => (None, Some(percent)),
            };
        }
        pool.memory_limit = self.memory_limit.or(pool.memory_limit);
        pool.max_attempts = self.max_attempts.or(pool.max_attempts);
        pool.start_method = self.start_method.or(pool.start_method);
    }
}

impl RunDirFlags {
    /// The job with the run directory and the report that are meant: those that were typed, or the job's own. `last` are
    /// words that came behind all flags.
    fn put_into(&self, mut job: Job, last: &[String]) -> Result<Job, Diagnostic> {
        job.report = self.report().or(job.report);
        if let Some(path) = self.run_dir.clone() {
            job.run_dir =
                Some(RunDirSettings { path, typed: Typed::before(last)?, ..RunDirSettings::default() });
        }
        match &mut job.run_dir {
            Some(settings) => {
                settings.resume = self.resume;
                settings.or_start = self.resume_or_start;
                settings.accept_changes = self.accept_changes;
                settings.forget = if self.rerun_unknown { vec![UNKNOWN.id.to_owned()] } else { Vec::new() };
            }
            None if self.resume || self.resume_or_start => {
                let flag = if self.resume { "--resume" } else { "--resume-or-start" };
                let what = format!("{flag} goes on with a run, and there is none without its directory");
                return Err(Diagnostic::new(what).help("add --run-dir DIR"));
            }
            None => {}
        }
        Ok(job)
    }

    fn report(&self) -> Option<ReportSettings> {
        let path = self.report.clone()?;
        let at = Text::new("--report", path.to_string_lossy()).whole();
        Some(ReportSettings { path, at })
    }
}

impl ResultFlags {
    fn adjust(&self, results: &mut ResultSettings) -> Result<(), Diagnostic> {
        self.values.adjust(results)?;
        if let Some(path) = &self.failures {
            results.failures = Some(path.clone());
        }
        results.events = self.events.clone();
        Ok(())
    }
}

impl ValueFlags {
    pub(crate) fn adjust(&self, results: &mut ResultSettings) -> Result<(), Diagnostic> {
        if let Some(path) = &self.output {
            let name = path.display().to_string();
            results.file = (name != "-").then(|| path.clone());
            results.format = match (output::Format::of(&name), self.format) {
                (Some(format), _) => format,
                (None, Some(_)) => results.format,
                (None, None) if name == "-" => output::Format::default(),
                (None, None) => {
                    let at = Text::new("--output", &*name).whole();
                    let refusal = at.error(format!("cannot tell the format of `{name}`"));
                    let endings = output::Format::ENDINGS;
                    return Err(refusal.help(format!("end the name in {endings}, or add --format")));
                }
            };
        }
        if let Some(format) = self.format {
            results.format = format;
        }
        results.indexed |= self.indexed;
        Ok(())
    }
}
