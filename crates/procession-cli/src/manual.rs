//! Completions and man pages, made from the command line as it is parsed; the schema of job specs.
//!
//! The former speak of this program, which need not be `procession`.

use std::fs;
use std::path::Path;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::{self, Completions, ManPages, Schema};
use crate::exit::{Ending, Stop};
use crate::output::{Sink, reason};
use crate::spec::schema;
use crate::terminal;

/// Does what `completions` asks for.
pub(crate) fn completions(command: &Completions) -> Result<Ending, Stop> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut cli::command(), terminal::program(), &mut script);
    print(&script)
}

/// Does what `man` asks for.
pub(crate) fn man(command: &ManPages) -> Result<Ending, Stop> {
    let pages = pages(&terminal::program());
    let Some(dir) = &command.dir else {
        let (_, first) = pages.into_iter().next().expect("the program itself has a page");
        return print(first.as_bytes());
    };
    let cannot_write = |path: &Path, error: std::io::Error| {
        Stop::Unwritable(format!("cannot write {}: {}", path.display(), reason(&error)))
    };
    fs::create_dir_all(dir).map_err(|error| cannot_write(dir, error))?;
    for (name, page) in pages {
        let path = dir.join(name);
        fs::write(&path, page).map_err(|error| cannot_write(&path, error))?;
    }
    Ok(Ending::Complete)
}

/// Does what `schema` asks for.
pub(crate) fn schema(command: &Schema) -> Result<Ending, Stop> {
    let text = match command.markdown {
        true => schema::reference(),
        false => format!("{:#}\n", schema::schema()),
    };
    print(text.as_bytes())
}

fn print(bytes: &[u8]) -> Result<Ending, Stop> {
    let mut stdout = Sink::stdout();
    stdout.write(bytes)?;
    stdout.flush()?;
    Ok(Ending::Complete)
}

/// A page for the program, then one for each of its commands, by the names of their files.
fn pages(program: &str) -> Vec<(String, String)> {
    let mut program = cli::command().display_name(program.to_owned()).bin_name(program.to_owned());
    // Lets the commands know what they are called in full.
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    std::iter::once(&program).chain(commands).map(page).collect()
}

fn page(command: &clap::Command) -> (String, String) {
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone())
        .source(concat!("Procession ", env!("CARGO_PKG_VERSION")))
        .manual("Procession");
    let mut page = Vec::new();
    let written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| match command.has_subcommands() {
            true => man.render_subcommands_section(&mut page),
            false => Ok(()),
        })
        .and_then(|()| notes_and_examples(&notes).to_writer(&mut page));
    written.expect("memory takes what is written to it");
    (man.get_filename(), String::from_utf8(page).expect("help is text"))
}

/// What stands below the options: paragraphs, and lines that stay lines.
fn notes_and_examples(help: &str) -> Roff {
    let mut roff = Roff::new();
    let (mut is_notes, mut is_examples) = (false, false);
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        if let Some((_, examples)) =
            paragraph.split_once("Examples:\n").or_else(|| paragraph.split_once("Example:\n"))
        {
            roff.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                roff.text([roman(line.trim_start())]);
            }
            roff.control("fi", []);
            is_examples = true;
            continue;
        }
        if !is_notes || is_examples {
            roff.control("SH", ["NOTES"]);
            (is_notes, is_examples) = (true, false);
        } else {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_says_what_it_is_called() {
        let pages = pages("falls");
        assert_eq!(pages[0].0, "falls.1");
        let commands = cli::command();
        for command in commands.get_subcommands() {
            let name = format!("falls-{}.1", command.get_name());
            let (_, page) =
                pages.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}"));
            assert!(page.contains("SH SYNOPSIS\n\\fBfalls "), "{page}");
            assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{page}");
        }
    }

    #[test]
    fn examples_keep_their_lines() {
        let roff = notes_and_examples("One.\n\nTwo.\n\nExamples:\n  a b\n  'c' \\d").to_roff();
        assert_eq!(roff, ".SH NOTES\nOne.\n.PP\nTwo.\n.SH EXAMPLES\n.nf\na b\n\\&'c' \\\\d\n.fi\n");
    }
}
