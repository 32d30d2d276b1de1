//! `export`: the values of a run, in the order of its items.

use procession_store::Reader;

use super::{PAGE, printed};
use crate::cli::{Export, ExportFormat};
use crate::diagnostic::{Diagnostic, Text};
use crate::exec;
use crate::exit::{Ending, Stop};
use crate::job::ResultSettings;
use crate::output::{Format, Values};
use crate::summary::counted;
use crate::terminal;

/// Writes every value there is.
pub(crate) fn export(command: &Export) -> Result<Ending, Stop> {
    let reader = Reader::open(&command.dir)?;
    let job = reader.job()?;
    let settings = settings(command)?;
    settings.format.refuse(settings.file.as_deref())?;
    if command.format == Some(ExportFormat::Raw) {
        return printed::export(&reader, &job, settings.file.as_deref());
    }
    let are_commands = exec::are_commands(&job.task);
    let returns = job.signature.rsplit_once(") -> ").map_or("()", |(_, returns)| returns);
    let mut values = Values::open(&settings, returns)?;
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

fn settings(command: &Export) -> Result<ResultSettings, Diagnostic> {
    let mut settings = ResultSettings { indexed: command.indexed, ..ResultSettings::default() };
    if let Some(path) = &command.output {
        let name = path.display().to_string();
        settings.file = Some(path.clone());
        match Format::of(&name) {
            Some(format) => settings.format = format,
            None if command.format.is_some() => {}
            None => {
                let at = Text::new("--output", &*name).whole();
                let refusal = at.error(format!("cannot tell the format of `{name}`"));
                return Err(refusal.help(format!("end the name in {}, or add --format", Format::ENDINGS)));
            }
        }
    }
    if let Some(ExportFormat::Values(format)) = command.format {
        settings.format = format;
    }
    Ok(settings)
}
