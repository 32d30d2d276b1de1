//! `export`: the values of a run, in the order of its items.

use procession_store::{Job, Reader};

use super::{PAGE, printed};
use crate::cli::Export;
use crate::exec;
use crate::exit::{Ending, Stop};
use crate::job::{ResultSettings, refuse_files_of_runs};
use crate::output::Values;
use crate::progress::Screen;
use crate::summary::counted;
use crate::terminal;

/// Writes every value there is.
pub(crate) fn export(command: &Export) -> Result<Ending, Stop> {
    if let Some(path) = &command.values.output {
        refuse_files_of_runs(path, [command.dir.as_path()])?;
    }
    let reader = Reader::open(&command.dir)?;
    let job = reader.job()?;
    if command.raw {
        return printed::export(&reader, &job, command.values.output.as_deref());
    }
    let mut settings = ResultSettings::default();
    command.values.adjust(&mut settings)?;
    settings.format.refuse(settings.file.as_deref())?;
    let are_commands = exec::are_commands(&job.task);
    let mut values = Values::open(&settings, returns(&job), &Screen::bare())?;
    values.begin()?;
    let (mut from, mut refused) = (0, 0_u64);
    loop {
        let page = reader.page(from, PAGE)?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for item in &page {
            let value = if are_commands { printed::record(&reader, item)? } else { item.value.clone() };
            if let Some(value) = &value
                && let Err(what) = values.write_json(item.index, value)?
            {
                refused += 1;
                terminal::say(&terminal::printable(&format!("item {}: {what}", item.index)));
            }
        }
    }
    values.finish()?;
    if refused > 0 {
        terminal::say_warning(&format!("{} not written", counted(refused, "value")));
        return Ok(Ending::Incomplete);
    }
    Ok(Ending::Complete)
}

/// The type of a job's values, as the source of its task writes it.
pub(super) fn returns(job: &Job) -> &str {
    job.signature.rsplit_once(") -> ").map_or("()", |(_, returns)| returns)
}
