//! The project's own rules, checked like any other promise: who may depend on whom, where `unsafe` is, how files look.
//!
//! It reads manifests, sources and documents, and starts nothing but `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A file about one noun fits in this; one that does not is split by noun.
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies in the workspace")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file of the project, by its path from the root. Those in `tests/ui` are inputs of the compiler's tests.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            let name =
                path.strip_prefix(root()).expect("it is below the root").to_string_lossy().into_owned();
            let last = name.rsplit('/').next().unwrap_or_default();
            if path.is_dir() {
                if !last.starts_with('.') && last != "target" && !name.ends_with("tests/ui") {
                    folders.push(path);
                }
            } else if last.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
                sources.insert(name, text);
            }
        }
    }
    assert!(sources.len() > 100, "only {} files were found", sources.len());
    sources
}

/// The files of which `is_wrong` says something, each with it.
fn check(rule: &str, is_wrong: impl Fn(&str, &str) -> Option<String>) {
    let wrong: Vec<String> = sources()
        .iter()
        .filter_map(|(name, text)| Some(format!("{name}: {}", is_wrong(name, text)?)))
        .collect();
    assert!(wrong.is_empty(), "{rule}\n{}", wrong.join("\n"));
}

/// The lines with code in them, without comments; strings stay.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split_once("//").map_or(line, |(code, _)| code)))
}

/// Whether the line has the keyword in a place where it does something: not as part of a name, a token or a sentence.
fn uses_unsafe(line: &str) -> bool {
    line.match_indices("unsafe").any(|(at, word)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].trim_start();
        !before.is_some_and(|letter| letter.is_alphanumeric() || "_`\"".contains(letter))
            && (["{", "fn ", "impl ", "extern ", "trait "].iter().any(|next| after.starts_with(next))
                || line[..at].trim_end().ends_with("ctor("))
    })
}

fn metadata() -> Value {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// What a crate needs to be used: its dependencies without those of its tests.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().expect("a list of dependencies");
    all.iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .filter_map(|dependency| dependency["name"].as_str())
        .collect()
}

#[test]
fn arrows_between_crates_point_one_way() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let by_name = |name: &str| {
        packages.iter().find(|package| package["name"] == name).unwrap_or_else(|| panic!("no crate {name}"))
    };
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let check = |name: &str, expected: &[&str]| {
        let all = dependencies(by_name(name));
        let of_ours: Vec<&str> = all.intersection(&ours).copied().collect();
        assert_eq!(of_ours, expected, "what {name} depends on");
    };
    check("procession-core", &[]);
    check("procession-macros", &[]);
    check("procession", &["procession-core", "procession-macros"]);
    check("procession-tasks", &["procession"]);
    check("procession-store", &[]);
    check("procession-report", &["procession-store"]);
    check("procession-cluster", &["procession"]);
    let parts = ["procession-cluster", "procession-report", "procession-store", "procession-tasks"];
    check("procession-cli", &[&["procession"][..], &parts].concat());
    check("xtask", &[]);
    assert!(dependencies(by_name("procession-core")).is_empty(), "the core depends on nothing at all");
}

#[test]
fn cargo_run_finds_one_program() {
    let metadata = metadata();
    let default: BTreeSet<&str> = metadata["workspace_default_members"]
        .as_array()
        .expect("a list of members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let programs: Vec<&str> = metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| default.contains(id)))
        .flat_map(|package| package["targets"].as_array().expect("a list of targets"))
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str())
        .collect();
    assert_eq!(programs, ["procession"], "the README's first command is `cargo run --release -- run …`");
}

#[test]
fn unsafe_is_where_the_architecture_says() {
    let text = read("ARCHITECTURE.md");
    let list = text
        .split_once("<!-- unsafe: begin -->")
        .and_then(|(_, rest)| rest.split_once("<!-- unsafe: end -->"))
        .map(|(list, _)| list)
        .expect("ARCHITECTURE.md has the list");
    let listed: BTreeSet<String> = list
        .lines()
        .filter_map(|line| Some(line.strip_prefix("* `")?.split_once('`')?.0.to_owned()))
        .collect();
    let found: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(name, text)| {
            !name.split('/').any(|part| part == "tests") && code(text).any(|(_, line)| uses_unsafe(line))
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(found, listed, "left: files with `unsafe`; right: the list in ARCHITECTURE.md");
}

#[test]
fn the_keyword_is_told_from_the_word() {
    for line in ["unsafe { f() }", "let x = unsafe {", "unsafe impl Send for X {}", "#[ctor::ctor(unsafe)]"] {
        assert!(uses_unsafe(line), "{line}");
    }
    for line in ["#![deny(unsafe_code)]", "a task cannot be `unsafe`: {", "the unsafe part", "Token![unsafe]"]
    {
        assert!(!uses_unsafe(line), "{line}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    check("a file opens with `//!`: what it is for and what it must not know", |_, text| {
        (!text.starts_with("//! ")).then(|| text.lines().next().unwrap_or_default().to_owned())
    });
}

#[test]
fn no_file_is_too_long() {
    check("a file is about one noun and has at most 500 lines: split it by noun", |_, text| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{lines} lines"))
    });
}

#[test]
fn nothing_is_allowed_or_left_undone() {
    // In two parts each, so that this file does not find itself.
    let words = [("#[al", "low("), ("#![al", "low("), ("to", "do!("), ("unimpl", "emented!("), ("db", "g!(")];
    check("use `#[expect(…, reason = …)]`, and finish what was begun", |_, text| {
        code(text).find_map(|(number, line)| {
            let found =
                words.iter().map(|(a, b)| format!("{a}{b}")).find(|word| line.contains(word.as_str()));
            found.map(|word| format!("line {number}: {word}"))
        })
    });
}

#[test]
fn the_changelog_has_this_version() {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    let text = read("CHANGELOG.md");
    let first = text.lines().find(|line| line.starts_with("## [")).unwrap_or_default();
    assert!(first.starts_with(&heading), "the first entry is {first:?}, not {heading}");
    for package in metadata()["packages"].as_array().expect("a list of packages") {
        if package["publish"].is_null() {
            assert_eq!(package["version"], env!("CARGO_PKG_VERSION"), "{}", package["name"]);
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let pages = fs::read_dir(root().join("docs")).expect("the folder can be read");
    let pages = pages.map(|entry| entry.expect("the entry can be read").file_name());
    let pages = pages.map(|name| format!("docs/{}", name.to_string_lossy()));
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "examples/embed/README.md",
        "examples/mandelbrot/README.md",
        "examples/own-tasks/README.md",
        "examples/shared-table/README.md",
    ];
    let documents = documents.map(str::to_owned).into_iter();
    for document in documents.chain(pages.filter(|page| page.ends_with(".md"))) {
        let text = read(&document);
        let folder = root().join(&document);
        let folder = folder.parent().expect("a document lies in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.starts_with("https://") {
                assert!(folder.join(path).exists(), "{document} links to {path}, which is not there");
            }
        }
    }
}

/// A row of the code map names its modules first; they exist.
#[test]
fn the_code_map_names_what_there_is() {
    let text = read("ARCHITECTURE.md");
    let mut crate_folder = None;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            crate_folder =
                heading.strip_prefix("`crates/").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
        }
        let (Some(name), Some(row)) = (crate_folder, line.strip_prefix("| `")) else {
            continue;
        };
        let modules = row.split_once(" |").map_or(row, |(modules, _)| modules);
        for module in modules.split(',').map(|module| module.trim().trim_matches('`')) {
            let base = format!("crates/{name}/src/{module}");
            let exists = [".rs", "/mod.rs"].iter().any(|end| root().join(format!("{base}{end}")).exists());
            assert!(exists, "ARCHITECTURE.md names {base}, which is not there");
        }
    }
}
