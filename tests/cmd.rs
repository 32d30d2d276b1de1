//! The command line, as transcripts: every file in `tests/cmd` is what a person would type and see.
//!
//! `TRYCMD=overwrite cargo test -p procession-cli --test cmd` writes what is seen now; read the difference before committing it.

use std::path::Path;

/// Only so that a run that hangs ends: no transcript takes seconds.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

fn transcripts_in(files: impl AsRef<Path>) -> trycmd::TestCases {
    let cases = trycmd::TestCases::new();
    // What it says to type is its name if a shell finds it.
    let folder = Path::new(env!("CARGO_BIN_EXE_procession")).parent().expect("the program is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    cases.env("PATH", format!("{}:{path}", folder.display()));
    // The harness asks for backtraces of its own, not of the program under test.
    // On a busy machine any run may take long enough for a line of progress.
    cases.env("PROCESSION_NO_PROGRESS", "1");
    cases.env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").timeout(LIMIT).case(files);
    cases
}

/// In a process of its own: to wait for a child with a limit, `trycmd` keeps descriptors as long as it lives.
fn play(name: &str) {
    let end = procession_harness::start_part(name, &[]).wait_with_output().expect("it is our child");
    print!("{}", String::from_utf8_lossy(&end.stdout));
    assert!(end.status.success(), "what is seen is not what is written");
}

procession_harness::cases! {
    fn transcripts() {
        play("play_transcripts");
    }

    fn readme() {
        play("play_readme");
    }

    fn book() {
        play("play_book");
    }
}

procession_harness::parts! {
    fn play_transcripts() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cmd");
        transcripts_in(format!("{folder}/*.trycmd")).case(format!("{folder}/*.toml")).run();
    }

    /// The README's transcripts, in a folder that holds what they read and takes what they write.
    fn play_readme() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = tempfile::tempdir().expect("a temporary folder");
        // As `<name>.in` is for every transcript: where its commands run.
        let inside = folder.path().join("README.in");
        std::fs::create_dir_all(inside.join("examples")).expect("a folder in it");
        for file in ["examples/pi.toml", "examples/faults.toml"] {
            std::fs::copy(root.join(file), inside.join(file)).expect("the file is there");
        }
        std::fs::copy(root.join("README.md"), folder.path().join("README.md")).expect("the file is there");
        transcripts_in(folder.path().join("README.md")).run();
    }

    /// Every page of `docs/`, each in a folder of its own that holds the examples and the files that the page shows.
    fn play_book() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut pages = 0;
        for entry in std::fs::read_dir(root.join("docs")).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a page is text");
            if !text.contains("\n```console\n") {
                continue;
            }
            let name = path.file_name().expect("it is a file").to_owned();
            let inside = folder.path().join(&name).with_extension("in");
            std::fs::create_dir_all(inside.join("examples")).expect("a folder for the page");
            for example in ["pi.toml", "faults.toml"] {
                let from = root.join("examples").join(example);
                std::fs::copy(from, inside.join("examples").join(example)).expect("the file is there");
            }
            for (file, content) in files_of(&text) {
                std::fs::write(inside.join(file), content).expect("the folder can be written");
            }
            std::fs::write(folder.path().join(&name), &text).expect("the folder can be written");
            pages += 1;
        }
        assert!(pages > 4, "only {pages} pages have transcripts");
        transcripts_in(folder.path().join("*.md")).run();
    }
}

/// The files that a page shows: blocks whose first line is `LANGUAGE NAME`, as in "```toml job.toml".
fn files_of(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("\n```").skip(1).step_by(2).filter_map(|block| {
        let (info, content) = block.split_once('\n')?;
        Some((info.split_once(' ')?.1, content))
    })
}

procession_harness::main!();
