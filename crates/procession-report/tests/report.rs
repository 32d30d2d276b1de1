//! Pages and traces of runs of every kind: well-formed, small, escaped, and with numbers that add up.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procession_report::ErrorKind;
use procession_store::{Ending, Item, Job, Key, RunDir, Writer};
use rusqlite::Connection;
use scraper::{Html, Selector};
use serde_json::Value;
use tempfile::TempDir;

mod invention;

/// No page is larger, whatever it reports on.
const PAGE_BYTES_MAX: usize = 5_000_000;

struct Scene {
    temp: TempDir,
    run: PathBuf,
}

fn scene() -> Scene {
    let temp = tempfile::tempdir().unwrap();
    let run = temp.path().join("run");
    Scene { temp, run }
}

impl Scene {
    fn begin(&self, job: &Job, workers: u32) -> Writer {
        RunDir::create(&self.run, job).unwrap().begin("1.0", workers).unwrap()
    }

    fn change(&self, sql: &str) {
        Connection::open(self.run.join("run.sqlite")).unwrap().execute_batch(sql).unwrap();
    }

    /// The page, after a look at what every page must be.
    fn page(&self) -> Page {
        let path = self.temp.path().join("report.html");
        procession_report::write(&self.run, &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let dom = Html::parse_document(&text);
        assert!(dom.errors.is_empty(), "{:?}", &dom.errors[..dom.errors.len().min(5)]);
        assert!(text.len() < PAGE_BYTES_MAX, "{} bytes", text.len());
        for outside in ["http:", "https:", "@import", "NaN", ">inf", "\"inf"] {
            assert!(!text.contains(outside), "the page has {outside}");
        }
        let page = Page { text, dom };
        assert_eq!(page.all("script").len(), 1, "one script, and it is ours");
        assert_eq!(page.all("[src], link:not([href='data:,']), iframe, object, embed").len(), 0);
        for figure in page.dom.select(&selector("svg.figure")) {
            assert!(figure.attr("aria-label").is_some_and(|label| label.len() > 20));
        }
        page
    }

    fn trace(&self) -> Vec<Value> {
        let path = self.temp.path().join("trace.json");
        procession_report::write_trace(&self.run, &path).unwrap();
        let mut trace: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        match trace["traceEvents"].take() {
            Value::Array(events) => events,
            other => panic!("traceEvents is {other}"),
        }
    }
}

struct Page {
    text: String,
    dom: Html,
}

impl Page {
    /// The texts of all elements that a selector finds.
    fn all(&self, css: &str) -> Vec<String> {
        let selector = selector(css);
        self.dom
            .select(&selector)
            .map(|element| element.text().collect::<String>().trim().to_owned())
            .collect()
    }

    fn one(&self, css: &str) -> String {
        let mut all = self.all(css);
        assert_eq!(all.len(), 1, "{css} finds {all:?}");
        all.remove(0)
    }

    /// A column of the table below a figure, added up.
    fn sum(&self, section: &str, column: usize) -> u64 {
        let cells = self.all(&format!("#{section} .numbers tbody td:nth-child({column})"));
        assert!(!cells.is_empty(), "{section} has no numbers");
        cells.iter().map(|cell| number(cell)).sum()
    }

    fn tile(&self, name: &str) -> String {
        let names = self.all(".tile dt");
        let at =
            names.iter().position(|found| found == name).unwrap_or_else(|| panic!("no {name} in {names:?}"));
        self.all(".tile dd").swap_remove(at)
    }
}

fn selector(css: &str) -> Selector {
    Selector::parse(css).unwrap()
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn at(seconds: f64) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_secs_f64(1_795_600_000.0 + seconds))
}

fn ran(index: u64, slot: u32, start_s: f64, wall_s: f64) -> Item {
    Item {
        slot: Some(slot),
        pid: Some(1_000 + slot),
        started_at: at(start_s),
        wall: Some(Duration::from_secs_f64(wall_s)),
        ..Item::value(index, Key::of(&index.to_le_bytes()))
    }
}

fn write(writer: &mut Writer, item: Item) {
    writer.hand_out(item.index).unwrap();
    writer.item(item).unwrap();
}

#[test]
fn numbers_add_up() {
    for (items, workers, sessions) in [(100, 4, 1), (3_000, 8, 1), (20_000, 3, 4)] {
        let scene = scene();
        invention::write(&scene.run, items, workers, sessions).unwrap();
        let page = scene.page();
        assert_eq!(page.one("h1"), "galaxies");
        assert_eq!(page.one(".task code"), "sky::fit_profile(row: Galaxy, tolerance: f64) -> Profile");
        assert_eq!(number(&page.tile("items")), items);
        let (values, without) = (number(&page.tile("values")), number(&page.tile("without a value")));
        assert_eq!(values + without, items);
        assert!(without > 0);
        let counted: Vec<u64> = page.all("#outcomes b").iter().map(|count| number(count)).collect();
        assert_eq!(counted.iter().sum::<u64>(), items);
        // Every figure has all of them.
        assert_eq!((page.sum("workers", 4), page.sum("workers", 5)), (items, without));
        assert_eq!((page.sum("throughput", 3), page.sum("throughput", 4)), (values, without));
        assert_eq!((page.sum("run-times", 3), page.sum("run-times", 4)), (items, without));
        assert_eq!(page.all(".cause .count").iter().map(|count| number(count)).sum::<u64>(), without);
        let bars = page.all("#workers svg .bin rect:not(.life)").len() as u64;
        assert_eq!(bars, if items > 1_500 { 0 } else { items }, "few items are drawn one by one");
        let deaths: u64 = page.sum("workers", 3);
        assert_eq!(page.all("#workers svg .death").len() as u64, deaths + 1, "each, and the legend's");
        assert_eq!(page.all("#job table tbody tr").len() as u32, sessions);
        assert_eq!(page.all("#slowest tbody tr").len() as u64, items.min(100));
        let efficiency: f64 = page.tile("efficiency").trim_end_matches(" %").parse().unwrap();
        assert!((70.0..=100.0).contains(&efficiency), "{efficiency}");
    }
}

#[test]
fn a_million_items_fit_a_page() {
    let scene = scene();
    // As many rows as a page of a million would be made of, of each kind: what grows with the items is not in it.
    invention::write(&scene.run, 200_000, 150, 1).unwrap();
    let large = scene.page();
    assert_eq!(large.sum("workers", 4), 200_000);
    assert!(large.text.len() < 1_500_000, "{} bytes", large.text.len());
    assert!(large.all("#workers .numbers tbody tr").len() <= 128, "lanes are shared by many workers");
}

#[test]
fn nothing_of_a_task_becomes_markup() {
    const EVIL: &str =
        "</title></pre><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;\x1b[31m\0\u{202e}";
    let scene = scene();
    let job = Job {
        name: EVIL.to_owned(),
        task: EVIL.to_owned(),
        signature: EVIL.to_owned(),
        reduce: Some(EVIL.to_owned()),
        source: EVIL.to_owned(),
        items: Some(1),
        spec: Some(EVIL.to_owned()),
        argv: vec![EVIL.to_owned()],
        cwd: EVIL.into(),
        ..Job::default()
    };
    let mut writer = scene.begin(&job, 1);
    let evil = || Some(EVIL.to_owned());
    let item = Item {
        outcome: EVIL.into(),
        error: evil(),
        args: evil(),
        stderr_tail: evil(),
        backtrace: evil(),
        reproduce: evil(),
        ..ran(0, 0, 0.0, 1.0)
    };
    write(&mut writer, item);
    writer.finish(Ending::Incomplete).unwrap();
    scene.change(
        "UPDATE session SET host = (SELECT name FROM job), version = host, ending = (SELECT name FROM job)",
    );
    let page = scene.page();
    assert!(
        !page.text.contains("<script>") && !page.text.contains("<img") && !page.text.contains('\u{202e}')
    );
    let shown = page.one("h1");
    assert!(shown.starts_with("</title></pre><script>alert(1)"), "it is shown as it is: {shown}");
    assert!(shown.ends_with("\"&amp;␛[31m␀\u{fffd}"), "{shown}");
    assert_eq!(page.all("#failures pre").len(), 4, "error, stderr, backtrace, reproduce");
    let events = scene.trace();
    assert!(events.iter().any(|event| event["ph"] == "X" && event["args"]["outcome"] == EVIL));
}

#[test]
fn long_texts_are_cut() {
    let scene = scene();
    let mut writer = scene.begin(&Job { spec: Some("é".repeat(200_000)), ..Job::default() }, 1);
    for index in 0..200 {
        // A cause for each.
        let word = "&\u{1}".repeat(20_000);
        let error = format!("{}{word}", char::from_u32(0x4e00 + index as u32).unwrap());
        let (error, tail) = (Some(error.clone()), Some(error));
        write(
            &mut writer,
            Item { outcome: "panicked".into(), error, stderr_tail: tail, ..ran(index, 0, 0.0, 1.0) },
        );
    }
    writer.finish(Ending::Incomplete).unwrap();
    let page = scene.page();
    assert_eq!(page.all(".cause").len(), 50);
    assert!(page.one("#failures > .about").contains("150 items of 150 further causes"));
    assert!(page.text.len() < 2_500_000, "{} bytes", page.text.len());
}

#[test]
fn what_is_missing_does_no_harm() {
    // Nothing at all.
    let scene_empty = scene();
    scene_empty.begin(&Job { items: Some(0), ..Job::default() }, 2).finish(Ending::Complete).unwrap();
    let page = scene_empty.page();
    assert!(!page.text.contains("without a value</span>"), "no key to what is not there");
    assert_eq!((page.tile("items").as_str(), page.tile("efficiency").as_str()), ("0", "–"));
    assert_eq!(page.one(".state"), "every item has a value");
    assert!(!scene_empty.trace().iter().any(|event| event["ph"] == "X"));

    // No session: a master that was killed before it began.
    scene_empty.change("DELETE FROM session");
    assert_eq!(scene_empty.page().one(".state"), "not begun");
    scene_empty.trace();

    // Items of which only the outcome is known, and a master that was killed.
    let scene = scene();
    let mut writer = scene.begin(&Job { items: Some(10), ..Job::default() }, 2);
    write(&mut writer, Item::value(0, Key::of(b"0")));
    write(&mut writer, Item { outcome: "unknown".into(), ..Item::value(1, Key::of(b"1")) });
    write(&mut writer, Item { started_at: None, ..ran(2, 1, 0.0, 0.5) });
    write(&mut writer, Item { slot: None, pid: None, ..ran(3, 1, 0.0, 0.5) });
    write(&mut writer, Item { wall: None, ..ran(4, 1, 0.0, 0.5) });
    drop(writer);
    let page = scene.page();
    assert_eq!(page.tile("items"), "5");
    assert!(page.all(".tile p").contains(&"5 without outcome yet".to_owned()));
    assert_eq!(page.one(".state"), "running, or killed");
    let notes = page.one(".notes");
    assert!(
        notes.contains("Session 1 has no end on record") && notes.contains("3 items without a start"),
        "{notes}"
    );
    assert_eq!(scene.trace().iter().filter(|event| event["ph"] == "X").count(), 2);
}

#[test]
fn a_clock_that_went_back_is_told_of() {
    let scene = scene();
    let mut writer = scene.begin(&Job { items: Some(3), ..Job::default() }, 1);
    for (index, start_s) in [(0, 1_000.0), (1, 1_001.0), (2, 2.0)] {
        write(&mut writer, ran(index, 0, start_s, 0.5));
    }
    writer.finish(Ending::Complete).unwrap();
    scene.change("UPDATE session SET started_at = 1795600999, ended_at = 1795600003");
    scene.change("UPDATE item SET wall_s = 9e999 WHERE idx = 1; UPDATE item SET wall_s = -5 WHERE idx = 0");
    let page = scene.page();
    assert!(page.one(".notes").contains("clock went back by 16 min 37 s"), "{}", page.one(".notes"));
    assert_eq!(page.sum("workers", 4), 3);
    let events = scene.trace();
    let slices = events.iter().filter(|event| event["ph"] == "X");
    assert!(
        slices
            .clone()
            .all(|event| event["ts"].as_f64().unwrap() >= 0.0 && event["dur"].as_f64().unwrap() >= 0.0)
    );
    assert_eq!(slices.count(), 3);
}

#[test]
fn memory_is_told_of_every_worker() {
    for workers in [1, 64] {
        let scene = scene();
        let mut writer = scene.begin(&Job { items: Some(0), ..Job::default() }, workers);
        let mib = |size: u32| Some(u64::from(size) << 20);
        // The first one grows, until another takes its place.
        for (index, (start_s, size)) in (0..).zip([(1.0, 10), (40.0, 130), (80.0, 12)]) {
            write(&mut writer, Item { peak_rss: mib(size), ..ran(index, 0, start_s, 0.5) });
        }
        for slot in 1..workers {
            write(&mut writer, Item { peak_rss: mib(10), ..ran(u64::from(slot) + 2, slot, 1.0, 0.5) });
        }
        writer.finish(Ending::Complete).unwrap();
        scene.change("UPDATE session SET started_at = 1795600000, ended_at = 1795600100");
        let page = scene.page();
        let rows = page.all("#memory .numbers tbody tr");
        assert_eq!(rows.len() as u32, workers);
        let cells: Vec<String> = page.all("#memory .numbers tbody td").into_iter().take(5).collect();
        assert_eq!(cells, ["worker 0", "0", "10.0 MiB", "130 MiB", "12.0 MiB"]);
        assert_eq!(page.all("#memory svg.figure path.line").len() as u32, workers, "a line each");
        // Many cannot all be named: the one that matters is.
        let names = page.all("#memory .legend .key");
        let wanted: &[&str] = if workers == 1 {
            &["worker 0"]
        } else {
            &["worker 0, the largest: 130 MiB", "the other workers"]
        };
        assert_eq!(names, wanted);
    }
}

#[test]
fn many_short_lives_share_their_marks() {
    let scene = scene();
    let mut writer = scene.begin(&Job { items: Some(1), ..Job::default() }, 40);
    write(&mut writer, ran(0, 7, 10.0, 50.0));
    writer.finish(Ending::Complete).unwrap();
    scene.change(
        "UPDATE session SET started_at = 1795600000, ended_at = 1795600100;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
         INSERT INTO worker SELECT 1, i % 40, i, i, 1795600000 + i / 1000.0, 1795600000 + i / 1000.0 + 0.04, NULL, 9 FROM n",
    );
    let page = scene.page();
    assert_eq!((page.sum("workers", 2), page.sum("workers", 3)), (100_000, 100_000));
    assert!(page.all("#workers svg .death").len() < 5_000);
}

#[test]
fn a_trace_has_a_lane_for_every_worker() {
    let scene = scene();
    invention::write(&scene.run, 500, 3, 2).unwrap();
    let events = scene.trace();
    let of = |kind: &str| events.iter().filter(|event| event["ph"] == kind).collect::<Vec<_>>();
    let mut indices: Vec<u64> =
        of("X").iter().map(|event| event["args"]["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..500).collect::<Vec<_>>(), "every item once");
    let names: Vec<&str> = of("M")
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 6, "three workers in each of two sessions: {names:?}");
    assert!(of("i").iter().any(|event| event["name"] == "process dies: killed by SIGSEGV"));
    let done: Vec<&Value> = of("C").into_iter().filter(|event| event["name"] == "items done").collect();
    let last = |session| {
        done.iter().rev().find(|event| event["pid"] == session).unwrap()["args"]["items"].as_u64().unwrap()
    };
    assert_eq!(last(1) + last(2), 500);
    assert!(of("C").iter().any(|event| event["name"] == "memory of worker 2"));
    // Slices of a lane follow each other: a viewer would hide one that begins within another.
    let mut ends = std::collections::HashMap::new();
    for event in of("X") {
        let (start, duration) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        let end = ends.entry((event["pid"].to_string(), event["tid"].to_string())).or_insert(0.0);
        assert!(start >= *end - 0.0015, "an item at {start} begins before the one before it ends, at {end}");
        *end = start + duration;
    }
}

#[test]
fn what_was_there_stays_until_the_new_is_complete() {
    let scene = scene();
    let path = scene.temp.path().join("report.html");
    std::fs::write(&path, "old").unwrap();
    let refused = |path: &Path| procession_report::write(&scene.run, path).unwrap_err();
    assert_eq!(refused(&path).kind(), ErrorKind::NotARun);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    drop(scene.begin(&Job::default(), 1));
    let error = refused(&scene.temp.path().join("no").join("report.html"));
    assert_eq!(error.kind(), ErrorKind::Unwritable);
    assert!(error.to_string().ends_with("report.html: no such file or directory"), "{error}");
    assert_eq!(refused(scene.temp.path()).kind(), ErrorKind::Unwritable, "a directory");
    procession_report::write(&scene.run, &path).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("<!DOCTYPE html>"));
}
