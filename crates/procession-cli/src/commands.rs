//! From what was typed to what is done: every command becomes a job, a plan or a listing.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use procession::TaskInfo;
use procession_store::RunDir;

use crate::cli::{
    Apply, Cli, Command, ConductFlags, Exec, ItemFlags, Map, PartFlags, PolicyFlags, PoolFlags, ResultFlags,
    Retry, Run, RunDirFlags, SlurmCommand, Starmap, Submit, TimeLimit, ValueFlags,
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
use crate::{
    cli, listing, look, manual, new, output, plan, report, run, run_dir, scale, signals, slurm, spec,
};

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
        Command::Retry(command) => retry(&command),
        Command::Report(command) => report::report(&command),
        Command::Exec(command) => {
            let (conduct, store, words) = (command.conduct, command.store.clone(), command.words.clone());
            conduct_job(store.put_into(exec_job(command)?, &words)?, conduct)
        }
        Command::Agent(command) => engine::agent(&command),
        Command::Slurm(command) => match command.command {
            SlurmCommand::Submit(command) => {
                let (words, job) = slurm_job(&command)?;
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

/// Goes on with a run, and forgets some of its outcomes first: by the command line that began it, in its directory.
fn retry(command: &Retry) -> Result<Ending, Stop> {
    let path = fs::canonicalize(&command.dir).unwrap_or_else(|_| command.dir.clone());
    let job = procession_store::Reader::open(&path)?.job()?;
    let is_elsewhere = std::env::current_dir().map_or(true, |here| here != job.cwd);
    let typed = Typed { argv: job.argv, cwd: job.cwd, is_elsewhere };
    std::env::set_current_dir(&typed.cwd).map_err(|error| {
        let (cwd, reason) = (typed.cwd.display(), output::reason(&error));
        Diagnostic::new(format!("the run was begun in {cwd}, where nobody can go now: {reason}"))
    })?;
    let words = typed.with(&command.flags);
    let again = parse(words.iter().map(String::as_str))?;
    let forget = command.outcomes(&path)?;
    let (conduct, store, job) = match again.command {
        Command::Run(command) => (command.conduct, command.store.clone(), run_job(command)?),
        Command::Map(command) => (command.conduct, command.store.clone(), map_job(command)?),
        Command::Starmap(command) => (command.conduct, command.store.clone(), starmap_job(command)?),
        Command::Exec(mut command) => {
            command.store.resume = true;
            (command.conduct, command.store.clone(), exec_job(command)?)
        }
        _ => return Err(Diagnostic::new("the run was begun by a command that cannot be resumed").into()),
    };
    let accept_changes = store.accept_changes;
    let run_dir = RunDirSettings { path, resume: true, or_start: false, accept_changes, forget, typed };
    conduct_job(Job { run_dir: Some(run_dir), report: store.report().or(job.report), ..job }, conduct)
}

/// Reads a command line that nobody has typed as it stands.
fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Cli, Diagnostic> {
    cli::parse_from(words).map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Diagnostic::new("a command that is run later says nothing of itself")
                .help("ask for --help alone");
        }
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let mut tip = None;
        for line in lines.take_while(|line| !line.starts_with("Usage:")) {
            match line.strip_prefix("tip: ") {
                Some(line) => tip = Some(line.to_owned()),
                None => what = format!("{what} {line}"),
            }
        }
        let refusal = Diagnostic::new(what);
        tip.map_or_else(|| refusal.clone(), |tip| refusal.clone().help(tip))
    })
}

impl Retry {
    /// The names of the outcomes to forget: of everything without a value, unless some are named.
    fn outcomes(&self, path: &Path) -> Result<Vec<String>, Stop> {
        let tally = procession_store::Reader::open(path)?.tally()?;
        let wanted = |outcome: &str| {
            let names = [(self.quarantined, "quarantined"), (self.unknown, UNKNOWN.id)];
            let is_named = names.iter().any(|(is_wanted, name)| *is_wanted && *name == outcome);
            let is_any = self.failed || !(self.quarantined || self.unknown);
            // What may have run is not run again because something else failed.
            is_named || (is_any && outcome != UNKNOWN.id)
        };
        let outcomes = tally.without.into_iter().map(|(outcome, _)| outcome);
        let mut outcomes: Vec<String> = outcomes.filter(|outcome| wanted(outcome)).collect();
        // What a killed master left is only known to be that once its run goes on.
        if self.unknown && !outcomes.iter().any(|outcome| outcome == UNKNOWN.id) {
            outcomes.push(UNKNOWN.id.to_owned());
        }
        Ok(outcomes)
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

/// What `slurm submit` hands on: the words that run the job on its nodes, and the job as they will read it.
fn slurm_job(command: &Submit) -> Result<(Vec<String>, Job), Stop> {
    for (flag, help) in [
        ("--", "leave it out: all that comes is a flag of `run`"),
        ("--run-dir", "name it before `--`"),
        ("--resume", "leave it out: the script goes on with what there is"),
        ("--resume-or-start", "leave it out: the script says it itself"),
        ("--engine", "leave it out: the script starts a broker"),
        ("--shard", "say --shards before `--`"),
        ("--dry-run", "say it before `--`"),
    ] {
        if command.flags.iter().any(|word| word.split('=').next() == Some(flag)) {
            let refusal = Diagnostic::new(format!("{flag} is not for the words behind `--`"));
            return Err(refusal.help(help).into());
        }
    }
    let spec = command.spec.to_str().ok_or_else(|| Diagnostic::new("the job spec's name is not UTF-8"))?;
    let mut words = vec![spec.to_owned()];
    words.extend(command.flags.iter().cloned());
    let mut job = slurm_run(command, &words)?;
    // As many as there are cores where it will run, not here.
    if let Some(cpus) = command.cpus.filter(|_| job.pool.workers.is_none()) {
        words.extend(["--workers".to_owned(), cpus.to_string()]);
        job = slurm_run(command, &words)?;
    }
    job.engine = command.nodes.filter(|&nodes| nodes > 1).map(|_| Remote { address: String::new() });
    Ok((words, job))
}

fn slurm_run(command: &Submit, words: &[String]) -> Result<Job, Stop> {
    let dir = command.run_dir.display().to_string();
    let first = ["procession", "run", "--run-dir", &dir, "--resume-or-start"];
    let Command::Run(run) = parse(first.into_iter().chain(words.iter().map(String::as_str)))?.command else {
        return Err(Diagnostic::new("the words behind `--` are flags of `run`").into());
    };
    let store = run.store.clone();
    Ok(store.put_into(run_job(run)?, &[])?)
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
