//! Commands as items: rows of any source become orders for the task that runs commands.
//!
//! It knows where columns come from and what is made of them; what becomes of the commands is `streams`' business.

mod rows;
mod script;
mod streams;
mod template;

use std::path::PathBuf;
use std::time::Duration;

use procession::{Payload, TaskInfo};
use procession_store::Key;
use procession_tasks::exec::{Order, command, idempotent_command};

use crate::diagnostic::{Diagnostic, Place};
use crate::exit::{Ending, Stop};
use crate::input::{Counted, File, Rows};
use crate::job::Job;
use crate::output::Sink;
use crate::reproduce::quoted;
use crate::terminal;

pub(crate) use rows::{Form as RowForm, Origin};
pub(crate) use streams::{CUT, Format, OUTCOMES, Streams, earlier, flaw_of, kept, put, record, shortened};

use rows::TextRow;
use template::{Fields, Known, Template};

/// How long commands whose time is over have between SIGTERM and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// After so much more the worker goes as well: its command does not die.
pub(crate) const GRACE_MORE: Duration = Duration::from_secs(10);

/// What is run for every item.
#[derive(Debug)]
pub(crate) struct Commands {
    origin: Origin,
    words: Vec<Template>,
    cwd: Option<Template>,
    env: Vec<(String, Template)>,
    stdin: Option<Template>,
    tag: Option<Template>,
    /// Nothing says where the item goes: its columns come last.
    append: bool,
    /// For the files that take what the commands print.
    output_dir: Option<PathBuf>,
    limit: Option<Duration>,
    grace: Duration,
}

/// What a command line says of them. Texts are templates.
#[derive(Debug)]
pub(crate) struct Wording {
    /// The words of the command, or the script.
    pub(crate) words: Vec<Place>,
    pub(crate) is_script: bool,
    pub(crate) cwd: Option<Place>,
    /// `NAME=VALUE`.
    pub(crate) env: Vec<Place>,
    pub(crate) stdin: Option<Place>,
    pub(crate) tag: Option<Place>,
    pub(crate) output_dir: Option<PathBuf>,
    pub(crate) limit: Option<Duration>,
    pub(crate) grace: Duration,
}

impl Commands {
    pub(crate) fn new(origin: Origin, wording: &Wording) -> Result<Commands, Diagnostic> {
        let words = match (&wording.words[..], wording.is_script) {
            ([script], true) => script::compile(script)?,
            ([_, more, ..], true) => {
                let refusal = more.error("a script is one word");
                return Err(refusal.help("put all of it in quotes, or leave out --shell"));
            }
            (words, _) => words.iter().map(Template::parse).collect::<Result<_, _>>()?,
        };
        let template = |text: &Option<Place>| text.as_ref().map(Template::parse).transpose();
        let [cwd, stdin, tag] = [template(&wording.cwd)?, template(&wording.stdin)?, template(&wording.tag)?];
        let env = wording.env.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
        let mut all = words.iter().chain(&cwd).chain(&stdin).chain(env.iter().map(|(_, value)| value));
        let append = !all.any(Template::has_slots);
        let Wording { output_dir, limit, grace, .. } = wording;
        let (output_dir, limit, grace) = (output_dir.clone(), *limit, *grace);
        Ok(Commands { origin, words, cwd, env, stdin, tag, append, output_dir, limit, grace })
    }

    /// Refuses a program that no item can run: it has no folder in its name, and PATH has none of that name.
    pub(crate) fn check_program(&self, wording: &Wording) -> Result<(), Diagnostic> {
        let Some(at) = wording.words.first().filter(|_| !wording.is_script) else { return Ok(()) };
        let is_fixed = self.words.first().is_some_and(|word| !word.has_slots());
        // Commands with a PATH of their own look there.
        let has_path = self.env.iter().any(|(name, _)| name == "PATH");
        if !is_fixed || has_path || at.as_str().contains('/') || is_in_path(at.as_str()) {
            return Ok(());
        }
        let name = at.as_str();
        Err(at.error(format!("no program `{name}` in PATH")).help("one in this folder is written `./NAME`"))
    }

    /// The task that runs them.
    pub(crate) fn task(is_idempotent: bool) -> &'static TaskInfo {
        if is_idempotent { idempotent_command.info() } else { command.info() }
    }

    /// Makes the folder for what the commands print, if there is to be one.
    pub(crate) fn make_output_dir(&self) -> Result<(), Diagnostic> {
        let Some(folder) = &self.output_dir else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|error| {
            Diagnostic::new(format!("cannot create {}: {}", folder.display(), crate::output::reason(&error)))
        })
    }

    /// As [`Source::check`](crate::input::Source::check).
    pub(crate) fn check(&self, lenient: bool) -> Result<Counted, Diagnostic> {
        if let Some(known) = self.origin.known() {
            self.check_columns(known)?;
        }
        match self.origin.file() {
            Some((file, _)) if lenient => file.check_exists().map(|()| None),
            Some((file, form)) => file
                .check_as(key, |reader| Ok(Box::new(self.payloads(form.rows(reader, file.name(), self)?))))
                .map(Some),
            None => Ok(Some(self.origin.count())),
        }
    }

    /// The items, encoded one by one as they are asked for.
    pub(crate) fn rows(&self) -> Result<Rows<'_>, Diagnostic> {
        Ok(Box::new(self.payloads(self.origin.rows(self)?)))
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.origin.file().map(|(file, _)| file)
    }

    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        self.origin.file_mut()
    }

    pub(crate) fn describe(&self) -> String {
        self.origin.describe()
    }

    /// Refuses placeholders for columns that there are not.
    fn check_columns(&self, known: Known<'_>) -> Result<(), Diagnostic> {
        let more = self.cwd.iter().chain(&self.stdin).chain(&self.tag);
        let mut all = self.words.iter().chain(more).chain(self.env.iter().map(|(_, value)| value));
        all.try_for_each(|template| template.check(known))
    }

    fn payloads<'a>(
        &'a self,
        rows: impl Iterator<Item = Result<TextRow, Diagnostic>> + 'a,
    ) -> impl Iterator<Item = Result<Payload, Diagnostic>> + 'a {
        (0..).zip(rows).map(move |(index, row)| {
            let order = self.order(index, &row?)?;
            command.payload(&(order,)).map_err(|error| Diagnostic::new(error.to_string()))
        })
    }

    fn order(&self, index: u64, row: &TextRow) -> Result<Order, Diagnostic> {
        let fields = Fields { index, whole: &row.whole, columns: &row.columns, names: &row.names };
        let fill = |template: &Template| template.fill(fields).map_err(|slot| row.lacks(slot));
        let fill_any = |template: &Option<Template>| template.as_ref().map(fill).transpose();
        let mut argv = self.words.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
        if self.append {
            argv.extend_from_slice(&row.columns);
        }
        let file = |stream: &str| {
            let path = self.output_dir.as_ref()?.join(format!("{index}.{stream}"));
            Some(path.to_string_lossy().into_owned())
        };
        Ok(Order {
            argv,
            cwd: fill_any(&self.cwd)?,
            env: self
                .env
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value)?)))
                .collect::<Result<_, Diagnostic>>()?,
            stdin: fill_any(&self.stdin)?,
            stdout_file: file("stdout"),
            stderr_file: file("stderr"),
            limit: self.limit,
            grace: self.grace,
            tag: fill_any(&self.tag)?,
        })
    }
}

/// Whether some folder of PATH has a file of that name. What cannot be told from here counts as there.
fn is_in_path(name: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return true };
    std::env::split_paths(&path).any(|folder| !folder.is_absolute() || folder.join(name).exists())
}

fn variable(at: &Place) -> Result<(String, Template), Diagnostic> {
    const HELP: &str = "write NAME=VALUE";
    let (name, _) = at.as_str().split_once('=').ok_or_else(|| at.error("no `=`").help(HELP))?;
    if name.is_empty() {
        return Err(at.error("no name before the `=`").help(HELP));
    }
    let value = at.text.place(at.span.start + name.len() + 1..at.span.end);
    Ok((name.to_owned(), Template::parse(&value)?))
}

/// The order of an item, from its encoded arguments.
pub(crate) fn order(args: &Payload) -> Option<Order> {
    let mut json = Vec::new();
    let mut to = serde_json::Serializer::new(&mut json);
    command.info().decode_args(args.as_bytes(), &mut <dyn erased_serde::Serializer>::erase(&mut to)).ok()?;
    serde_json::from_slice::<(Order,)>(&json).ok().map(|(order,)| order)
}

/// What a command is known by from one run to the next: what it does. Limits and where its output goes may change.
fn key(args: &Payload) -> Key {
    match order(args) {
        // JSON, so that an order may have more fields one day.
        Some(Order { argv, cwd, env, stdin, .. }) => {
            Key::of(&serde_json::to_vec(&(argv, cwd, env, stdin)).unwrap_or_default())
        }
        None => Key::of(args.as_bytes()),
    }
}

/// What an item of any task is known by.
pub(crate) fn key_of(task: &TaskInfo, args: &Payload) -> Key {
    if runs_commands(task) { key(args) } else { Key::of(args.as_bytes()) }
}

/// Whether items of this task are commands.
pub(crate) fn runs_commands(task: &TaskInfo) -> bool {
    are_commands(task.path())
}

/// Whether items of the task with this path are.
pub(crate) fn are_commands(path: &str) -> bool {
    [command.info(), idempotent_command.info()].iter().any(|info| info.path() == path)
}

/// A command in short: its words as they would be typed, or what a script is called with and the script.
pub(crate) fn in_short(order: &Order) -> String {
    let words = |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    match order.argv.as_slice() {
        // The script is the same for all items: what tells them apart comes first.
        [shell, flag, script, name, values @ ..]
            if shell == "/bin/sh" && flag == "-c" && !values.is_empty() =>
        {
            format!("{} {}: {script}", quoted(name), words(values))
        }
        argv => words(argv),
    }
}

/// A command as it would be typed into a shell, with all that it is given.
pub(crate) fn shell_line(order: &Order) -> String {
    let mut line = String::new();
    if let Some(cwd) = &order.cwd {
        line.push_str(&format!("cd {} && ", quoted(cwd)));
    }
    if let Some(stdin) = &order.stdin {
        line.push_str(&format!("printf %s {} | ", quoted(stdin)));
    }
    let variables = order.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
    let words = variables.chain(order.argv.iter().map(|word| quoted(word)));
    line.push_str(&words.collect::<Vec<_>>().join(" "));
    line
}

/// `--dry-run`: every command, as a shell would take it.
pub(crate) fn show(job: &Job) -> Result<Ending, Stop> {
    job.check()?;
    job.refuse_overwriting()?;
    job.refuse_mixing()?;
    let mut stdout = Sink::stdout();
    for row in job.rows()? {
        match row {
            Ok(args) => {
                let line = order(&args).map(|order| shell_line(&order)).unwrap_or_default();
                stdout.write(line.as_bytes())?;
                stdout.write(b"\n")?;
            }
            Err(refusal) => terminal::say(&format!("invalid input: {}", refusal.headline())),
        }
    }
    stdout.flush()?;
    Ok(Ending::Complete)
}
