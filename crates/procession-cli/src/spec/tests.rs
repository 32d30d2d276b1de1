//! What a job spec may say, and how it is refused. The tasks are this file's own.

use procession::task;

use super::*;

#[task]
fn halve(x: f64) -> f64 {
    x / 2.0
}

#[task(idempotent)]
fn join(words: Vec<String>, by: String) -> String {
    words.join(&by)
}

fn read_text(text: &str) -> Result<Job, String> {
    let text = Text::new("job.toml", text);
    parse(&text, &[], "job".to_owned(), |_| {}).map_err(|refusal| refusal.headline())
}

/// The payloads of a job's items, or the first refusal.
fn items(text: &str) -> Result<usize, String> {
    let job = read_text(text)?;
    let total = job.source.check(job.task, false).map_err(|refusal| refusal.headline())?;
    let rows = job.source.rows(job.task).map_err(|refusal| refusal.headline())?;
    let rows = rows.collect::<Result<Vec<_>, _>>().map_err(|refusal| refusal.headline())?;
    assert_eq!(total, Some(rows.len() as u64), "the check counts what is streamed");
    Ok(rows.len())
}

#[test]
fn every_source_makes_items() {
    for (input, count) in [
        ("range = { stop = 4 }", 4),
        ("range = \"0..10:3\"", 4),
        ("values = [1, 2.5]", 2),
        ("rows = [[1], [2], [3]]", 3),
        ("repeat = 5\nargs = [\"{index}\"]", 5),
        ("repeat = \"{workers}\"\nargs = [0.5]", 3),
        ("product = { x = [1, 2] }", 2),
        ("zip = { x = [1, 2] }", 2),
        ("values = []", 0),
    ] {
        let spec = format!("task = \"halve\"\n[pool]\nworkers = 3\n[input]\n{input}\n");
        assert_eq!(items(&spec), Ok(count), "{input}");
    }
    let spec = "task = \"join\"\n[input.product]\nby = ['-', '+']\nwords = [['a'], ['b', 'c'], []]\n";
    assert_eq!(items(spec), Ok(6));
}

#[test]
fn calls_default_by_arity() {
    let call = |spec: &str| read_text(spec).unwrap().call;
    assert_eq!(call("task = 'halve'\ninput.values = []"), Call::Map);
    assert_eq!(call("task = 'join'\ninput.rows = []"), Call::Starmap);
    let job = read_text("task = 'halve'\ncall = 'imap_unordered'\ninput.values = []").unwrap();
    assert!(job.results.unordered);
}

#[test]
fn refusals_point_at_what_is_wrong() {
    for (spec, refusal) in [
        ("task = 'halv'\n", "job.toml:1:8: unknown task `halv` (help: did you mean"),
        ("tsak = 'halve'\n", "job.toml:1:1: unknown key `tsak` in a job spec (help: did you mean `task`?)"),
        ("task = 'halve'\n", "job.toml:1:1: missing `input`"),
        ("task = 'join'\ncall = 'map'\n", "job.toml:2:8: `call`: `map` gives 1 argument an item"),
        ("task = 'join'\nreduce = 'sum'\n", "job.toml:2:10: `reduce`: `sum` needs numbers"),
        (
            "task = 'halve'\n[input]\nvalues = [1, 'x']\n",
            "job.toml:3:14: argument `x` of `halve`: invalid type",
        ),
        (
            "task = 'join'\n[input]\nrows = [[[1], 'x']]\n",
            "job.toml:3:11: argument `words` of `join`: invalid type",
        ),
        ("task = 'join'\n[input]\nrows = [[['a']]]\n", "job.toml:3:9: `join` takes 2 arguments"),
        (
            "task = 'halve'\n[input]\nvalues = [1]\nrange = '0..1'\n",
            "job.toml:4:1: `values` and `range` are both given",
        ),
        ("task = 'halve'\n[input]\n", "job.toml:2:2: [input] names no source"),
        ("task = 'halve'\n[input]\nfile = 'x.parquet'\n", "job.toml:3:8: `file`: cannot tell the format"),
        ("task = 'halve'\n[input]\nzip = { y = [1] }\n", "job.toml:3:9: `y` is no parameter"),
        ("task = 'halve'\n[input]\nrepeat = 2\nargs = ['{i}']\n", "job.toml:4:9: unknown name `{i}`"),
        (
            "task = 'halve'\ncall = 'apply_async'\n[pool]\nchunk_size = 2\n[input]\nvalues = [1]\n",
            "job.toml:2:8: `apply_async` hands out items one by one",
        ),
    ] {
        let found = items(spec).unwrap_err();
        assert!(found.starts_with(refusal), "{spec}\nwanted {refusal}\nfound  {found}");
    }
}

#[test]
fn a_job_may_name_its_run_directory() {
    let spec = "task = 'halve'\ninput.values = []\n";
    let settings = |text: &str| read_text(&format!("{spec}{text}")).map(|job| job.run_dir);
    assert_eq!(settings(""), Ok(None));
    assert_eq!(settings("[run]\n"), Ok(None));
    let named = settings("run.dir = 'monday'").unwrap().unwrap();
    assert_eq!((named.path, named.resume), ("monday".into(), false));
    // What is typed to go on has to name it.
    assert!(named.typed.argv.windows(2).any(|words| words == ["--run-dir", "monday"]));
    assert!(settings("run.dir = ''").unwrap_err().contains("must not be empty"));
    assert!(settings("run.directory = 'x'").unwrap_err().contains("unknown key `directory` in [run]"));
}
