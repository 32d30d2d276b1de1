//! `procession new`: a crate with tasks of one's own, which builds and runs as it is.
//!
//! Its files lie in `new/template`; this file knows what it is called and where its dependencies are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::New;
use crate::diagnostic::Diagnostic;
use crate::exit::{Ending, Stop};
use crate::output::reason;
use crate::reproduce::quoted;
use crate::terminal;

/// What is made, and of what. `{{…}}` is filled in.
const FILES: [(&str, &str); 6] = [
    // Under its own name it would make a crate of its folder, which would then be left out of ours.
    ("Cargo.toml", include_str!("new/template/Cargo.toml.in")),
    (".gitignore", include_str!("new/template/gitignore")),
    ("README.md", include_str!("new/template/README.md")),
    ("job.toml", include_str!("new/template/job.toml")),
    ("falls.csv", include_str!("new/template/falls.csv")),
    ("src/main.rs", include_str!("new/template/src/main.rs")),
];

/// Does what `new` asks for.
pub(crate) fn new(command: &New) -> Result<Ending, Stop> {
    let shown = command.dir.display().to_string();
    let name = crate_name(&command.dir)?;
    if !is_free(&command.dir).map_err(|error| cannot_make(&shown, &error))? {
        let refusal = Diagnostic::new(format!("{shown} is there already, and not empty"));
        return Err(refusal.help("name a directory that is not there yet").into());
    }
    for (path, text) in FILES {
        let path = command.dir.join(path);
        let folder = path.parent().expect("each of them lies in a folder");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, filled(text, &name)));
        written.map_err(|error| cannot_make(&path.display().to_string(), &error))?;
    }
    let made = format!("made {name} in {shown}: two tasks of your own, a test of them, and a job");
    let next = format!("next: cd {} && cargo test && cargo run --release -- run job.toml", quoted(&shown));
    for line in [made, next] {
        terminal::say(&terminal::printable(&line));
    }
    Ok(Ending::Complete)
}

fn cannot_make(path: &str, error: &io::Error) -> Stop {
    Stop::Unwritable(format!("cannot make {path}: {}", reason(error)))
}

/// Whether nothing is there, or a directory with nothing in it.
fn is_free(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// The crate is called as its directory is.
fn crate_name(dir: &Path) -> Result<String, Diagnostic> {
    // Of `.` and of `..` only the file system knows the name.
    let known = dir.file_name().map(|_| dir.to_owned()).or_else(|| fs::canonicalize(dir).ok());
    let name = known.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    match misnomer(&name) {
        None => Ok(name),
        Some(why) => {
            let refusal = Diagnostic::new(format!("`{name}` cannot be the name of a crate: {why}"));
            Err(refusal.help(
                "the crate is called as its directory is: letters, digits, `-` and `_`, such as `falling-stones`",
            ))
        }
    }
}

/// Why that cannot be the name of a crate of this kind.
fn misnomer(name: &str) -> Option<&'static str> {
    /// What cannot be an identifier, and what Cargo keeps to itself.
    const KEPT: [&str; 57] = [
        "abstract",
        "alloc",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "build",
        "const",
        "continue",
        "core",
        "crate",
        "deps",
        "do",
        "dyn",
        "else",
        "enum",
        "examples",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "incremental",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "proc-macro",
        "proc_macro",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "unsafe",
        "use",
        "where",
        "while",
    ];
    let mut letters = name.chars();
    // Where there is no letter at all, the first of them is none either.
    let first = letters.next().unwrap_or_default();
    if !(first.is_ascii_alphabetic() || first == '_') {
        Some("it must begin with a letter")
    } else if name.chars().all(|c| c == '_') {
        Some("it has no letter")
    } else if !letters.all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        Some("a character in it is not allowed")
    } else if KEPT.contains(&name) {
        Some("Rust or Cargo has another use for it")
    } else if ["procession", "procession-cli", "procession_cli", "serde"].contains(&name) {
        Some("it would depend on a crate of the same name")
    } else {
        None
    }
}

/// A file of the template, for the crate `name`.
fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name)
        .replace("{{procession}}", &dependency("procession"))
        .replace("{{procession-cli}}", &dependency("procession-cli"))
}

/// Where a crate of ours comes from: the checkout that this program was built from, while it is there, else the registry.
fn dependency(name: &str) -> String {
    let version = || format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    checkout().map_or_else(version, |crates| {
        let path = crates.join(name).display().to_string();
        format!("path = {}", toml::Value::String(path))
    })
}

/// The folder of the crates in that checkout. In a registry's cache, a crate's neighbours are called otherwise.
fn checkout() -> Option<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let is_there = |name: &str| crates.join(name).join("Cargo.toml").is_file();
    (is_there("procession") && is_there("procession-cli")).then(|| crates.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates_are_told_from_others() {
        for name in ["falls", "my-falls", "_x1", "Falls"] {
            assert_eq!(misnomer(name), None, "{name}");
        }
        for name in ["1st", "a b", "fälle", "fn", "test", "serde", "procession", "-x", "__", "a.b"] {
            assert!(misnomer(name).is_some(), "{name}");
        }
        assert!(crate_name(Path::new("/")).is_err(), "a directory without a name");
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for (path, text) in FILES {
            let text = filled(text, "falls");
            assert!(!text.contains("{{"), "{path}:\n{text}");
        }
    }

    #[test]
    fn the_manifest_says_where_the_dependencies_are() {
        let manifest: toml::Table = filled(FILES[0].1, "falls").parse().expect("it is TOML");
        for name in ["procession", "procession-cli"] {
            let path = manifest["dependencies"][name]["path"].as_str().expect("this is a checkout");
            assert!(Path::new(path).join("Cargo.toml").is_file(), "{path}");
        }
    }
}
