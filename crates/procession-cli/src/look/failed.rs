//! `failed`: the items of a run that have no value, and why.

use procession_store::{Item, Reader};

use super::PAGE;
use crate::cli::Failed;
use crate::exit::{Ending, Stop};
use crate::failures;
use crate::output::Sink;
use crate::terminal::printable;

/// Prints them in order.
pub(crate) fn failed(command: &Failed) -> Result<Ending, Stop> {
    let reader = Reader::open(&command.dir)?;
    reader.job()?;
    let mut stdout = Sink::stdout();
    let mut from = 0;
    loop {
        let page = reader.failures(from, PAGE)?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for item in &page {
            let text = if command.json { failures::earlier_json(item)? } else { as_text(item) };
            stdout.write(text.as_bytes())?;
            stdout.write(b"\n")?;
        }
    }
    stdout.flush()?;
    Ok(Ending::Complete)
}

fn as_text(item: &Item) -> String {
    let error = item.error.as_deref().unwrap_or(failures::named(&item.outcome).words);
    let mut text = format!("item {}: {}", item.index, printable(error));
    if let Some(command) = &item.reproduce {
        text.push_str(&format!("\n    reproduce with: {}", printable(command)));
    }
    text
}
