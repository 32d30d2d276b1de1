//! What `docs/from-python.md` quotes is in the two programs, word by word, and the two print the same.

use std::path::Path;
use std::process::{Command, Output};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a text without their indentation, and without empty ones.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The fenced blocks of a page that are in that language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect()
}

#[test]
fn every_quotation_is_in_its_program() {
    let page = read("../../docs/from-python.md");
    for (language, program) in [("python", "post.py"), ("rust", "src/main.rs")] {
        let text = read(program);
        let program_lines = lines(&text);
        let blocks = blocks(&page, language);
        assert!(blocks.len() >= 8, "only {} blocks of {language}", blocks.len());
        for block in blocks {
            let quoted = lines(block);
            let is_there = program_lines.windows(quoted.len()).any(|lines| lines == quoted);
            assert!(is_there, "{program} has not:\n{block}");
        }
    }
}

/// Runs a program that must have ended by then: it takes a second or two.
fn run(program: &str, argument: Option<&Path>) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", program]).args(argument);
    command.output().expect("`timeout` starts")
}

#[test]
fn both_programs_print_the_same() {
    let ours = run(env!("CARGO_BIN_EXE_from-python"), None);
    let (stdout, stderr) = (String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&ours.stderr));
    assert!(ours.status.success(), "{stderr}");
    assert!(
        stderr.contains("3 has no value: worker lost: ") && stderr.contains("\n5 gives 50\n"),
        "{stderr}"
    );
    assert_eq!(stdout.lines().last(), Some("not yet"), "{stdout}");
    if !Command::new("python3").arg("--version").output().is_ok_and(|end| end.status.success()) {
        println!("SKIPPED: there is no python3 to compare with");
        return;
    }
    let theirs = run("python3", Some(&Path::new(env!("CARGO_MANIFEST_DIR")).join("post.py")));
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    assert_eq!(stdout, String::from_utf8_lossy(&theirs.stdout));
}
