//! What there is before the first run: a crate of one's own, refused where it cannot be.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::{procession, run, start, within};

procession_harness::cases! {
    fn a_new_crate_says_what_comes_next() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "two words/falling-stones");
        let end = run(&["new", &dir]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), ""), "{}", end.stderr);
        assert!(end.stderr.contains(&format!("next: cd '{dir}' && cargo test")), "{}", end.stderr);
        let manifest = fs::read_to_string(Path::new(&dir).join("Cargo.toml")).expect("it is made");
        assert!(manifest.contains("name = \"falling-stones\""), "{manifest}");
        for file in [".gitignore", "README.md", "job.toml", "falls.csv", "src/main.rs"] {
            assert!(Path::new(&dir).join(file).is_file(), "{file}");
        }
    }

    fn an_empty_directory_is_taken_and_a_full_one_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("falls");
        fs::create_dir(&dir).expect("the folder can be written");
        let mut here = procession(&["new", "."]);
        here.current_dir(&dir);
        let end = start(here).finish();
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert!(end.stderr.starts_with("made falls in .:"), "{}", end.stderr);
        fs::write(dir.join("job.toml"), "mine").expect("the folder can be written");
        for there in [within(&folder, "falls"), within(&folder, "falls/job.toml")] {
            let is_named_well = !there.ends_with(".toml");
            let end = run(&["new", &there]);
            assert_eq!(end.code(), Some(2), "{}", end.stderr);
            assert!(!is_named_well || end.stderr.contains("is there already, and not empty"), "{}", end.stderr);
        }
        assert_eq!(fs::read_to_string(dir.join("job.toml")).expect("it is there"), "mine");
    }

    fn a_directory_that_no_crate_can_be_called_after_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, why) in [
            ("1st", "must begin with a letter"),
            ("two words", "a character in it is not allowed"),
            ("match", "Rust or Cargo has another use for it"),
            ("serde", "a crate of the same name"),
        ] {
            let end = run(&["new", &within(&folder, name)]);
            assert_eq!(end.code(), Some(2), "{}", end.stderr);
            assert!(end.stderr.contains(why), "{name}: {}", end.stderr);
            assert!(!folder.path().join(name).exists(), "{name}");
        }
    }

    fn a_shell_completes_commands_and_flags() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = within(&folder, "procession.bash");
        let end = run(&["completions", "bash"]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        fs::write(&script, end.stdout).expect("the folder can be written");
        for (words, complete) in [
            ("procession sta", "starmap status"),
            ("procession run --rer", "--rerun-unknown"),
        ] {
            let ask = "source \"$1\"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                       _procession procession \"${COMP_WORDS[-1]}\" x; echo \"${COMPREPLY[*]}\"";
            let mut bash = Command::new("bash");
            bash.args(["--norc", "-c", ask, "bash", &script, words]);
            let end = start(bash).finish();
            assert_eq!((end.stdout.trim_end(), end.stderr.as_str()), (complete, ""), "{words}");
        }
        for (shell, line) in [("zsh", "#compdef procession"), ("fish", "complete -c procession")] {
            let end = run(&["completions", shell]);
            assert!(end.stdout.contains(line) && end.stdout.contains("rerun-unknown"), "{}", end.stdout);
        }
        assert_eq!(run(&["completions", "tcsh"]).code(), Some(2));
    }

    fn man_pages_are_printed_or_laid_down() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "share/man1");
        let printed = run(&["man"]);
        assert_eq!(printed.code(), Some(0), "{}", printed.stderr);
        let laid_down = run(&["man", &dir]);
        assert_eq!((laid_down.code(), laid_down.stdout.as_str()), (Some(0), ""), "{}", laid_down.stderr);
        let page = |name: &str| fs::read_to_string(Path::new(&dir).join(name)).expect("it is laid down");
        assert_eq!(page("procession.1"), printed.stdout);
        assert!(page("procession-run.1").contains("rerun"));
        assert!(!Path::new(&dir).join("procession-help.1").exists(), "there is no such command");
        let end = run(&["man", "/proc/pages"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
    }

    fn no_room_for_a_crate_is_told_as_such() {
        let end = run(&["new", "/proc/falls"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert!(end.stderr.contains("cannot make /proc/falls/Cargo.toml"), "{}", end.stderr);
    }
}
