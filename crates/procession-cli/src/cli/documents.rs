//! What the documents say can be typed, can be typed: lines of shell, and commands within sentences.
//!
//! It only reads them. What is shown with its output is run, by `tests/cmd.rs`.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::Cli;

/// How the program is called in documents.
const NAMES: [&[&str]; 2] = [&["procession"], &["cargo", "run", "--release", "--"]];

/// The README and every page of the book, by name.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = fs::read_dir(root.join("docs")).expect("the folder can be read");
    let mut paths: Vec<_> = pages.map(|entry| entry.expect("the entry can be read").path()).collect();
    paths.push(root.join("README.md"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).expect("a page is text");
        (path.file_name().expect("it is a file").to_string_lossy().into_owned(), text)
    };
    paths.iter().map(read).collect()
}

/// Blocks of a page, with what stands behind the fence; and the text around them.
fn parts(page: &str) -> (Vec<(&str, &str)>, String) {
    let mut pieces = page.split("\n```");
    let mut prose = pieces.next().unwrap_or_default().to_owned();
    let mut blocks = Vec::new();
    while let Some(block) = pieces.next() {
        blocks.push(block.split_once('\n').unwrap_or((block, "")));
        prose.push_str(pieces.next().unwrap_or_default());
    }
    (blocks, prose)
}

/// A word with a number for each of its variables.
fn filled(word: &str) -> String {
    let mut pieces = word.split('$');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '_');
        filled.push_str(if rest.len() < piece.len() { "1" } else { "$" });
        filled.push_str(rest);
    }
    filled
}

/// The calls of the program in a line of shell, each as its words.
fn calls(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("no shell reads this: {line}"));
    let words: Vec<String> = words.iter().map(|word| filled(word)).collect();
    let simple = words.split(|word| ["|", "||", "&&", ";", "&", "do"].contains(&word.as_str()));
    let call = |words: &[String]| {
        let words = words.strip_prefix(&["exec".to_owned()]).unwrap_or(words);
        let is_called = |words: &[String], name: &[&str]| {
            let is_same = |(word, part): (&String, &&str)| word.rsplit('/').next() == Some(part);
            words.len() > name.len() && words.iter().zip(name).all(is_same)
        };
        let name = NAMES.iter().find(|name| is_called(words, name))?;
        let end = words.iter().position(|word| word.starts_with('>') || word == "2>").unwrap_or(words.len());
        Some(words[name.len()..end].to_vec())
    };
    simple.filter_map(call).collect()
}

/// Why that cannot be typed. A command that is spoken of, not shown, may leave out what it is about.
fn refusal(words: &[String], is_whole: bool) -> Option<String> {
    let words = std::iter::once("procession").chain(words.iter().map(String::as_str));
    let error = Cli::command().try_get_matches_from(words).err()?;
    let is_short = error.kind() == ErrorKind::MissingRequiredArgument && !is_whole;
    (error.kind() != ErrorKind::DisplayHelp && !is_short).then(|| error.to_string())
}

#[test]
fn what_the_documents_type_can_be_typed() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (name, text) in documents() {
        let (blocks, prose) = parts(&text);
        let shell = |info: &str| ["sh", "bash", "ini"].contains(&info.split(' ').next().unwrap_or_default());
        let scripts = blocks.iter().filter(|(info, _)| shell(info));
        let scripts: Vec<String> = scripts.map(|(_, text)| text.replace("\\\n", " ")).collect();
        let lines = scripts.iter().flat_map(|text| text.lines());
        // A command within a sentence, unless something is left out of it.
        let spans = prose.split('`').skip(1).step_by(2).filter(|span| !span.contains(['…', '\n']));
        let spans = spans.filter(|span| span.starts_with("procession "));
        let lines = lines.map(|line| (line.strip_prefix("ExecStart=").unwrap_or(line), true));
        for (line, is_whole) in lines.chain(spans.map(|span| (span, false))) {
            for words in calls(line) {
                count += 1;
                wrong.extend(refusal(&words, is_whole).map(|refusal| format!("{name}: {line}\n{refusal}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "only {count} commands were found");
}

#[test]
fn a_wrong_flag_in_a_document_is_seen() {
    let calls = calls("seq 9 | procession map square --each-line - --wrokers 2 > values.jsonl # nine");
    assert_eq!(calls, [["map", "square", "--each-line", "-", "--wrokers", "2"]]);
    assert_eq!(filled("$i/$N of $(x) for $5"), "1/1 of $(x) for $5");
    assert!(refusal(&calls[0], false).is_some_and(|refusal| refusal.contains("--wrokers")));
}
