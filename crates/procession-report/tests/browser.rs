//! The page in a real browser, if there is one: whether it fits, can be read, sorts, and runs no script but its own.

use std::path::{Path, PathBuf};
use std::process::Command;

mod invention;

/// What is asked of the page once it is loaded; the answer becomes its title.
const QUESTIONS: &str = r##"
const part = document.querySelector("#throughput .bin");
part.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: 10, clientY: 10 }));
const heads = document.querySelectorAll(".sortable th button");
heads[0].click();
const indices = [...document.querySelectorAll(".sortable tbody tr")].map((row) => Number(row.cells[0].dataset.v));
const sizes = [...document.querySelectorAll(".figure text")].map((text) => {
  const svg = text.ownerSVGElement;
  return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
});
document.title = JSON.stringify({
  overflow: document.documentElement.scrollWidth - innerWidth,
  smallest: Math.min(...sizes),
  tip: document.getElementById("tip").textContent,
  sorted: indices.every((index, at) => at === 0 || indices[at - 1] > index),
  smuggled: window.smuggled === true,
});
"##;

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// Loads a page in a window of this width and answers what the page was asked.
fn ask(browser: &Path, page: &Path, width: u32) -> serde_json::Value {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .arg("--timeout=60000")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = scraper::Html::parse_document(&String::from_utf8_lossy(&output.stdout));
    let title = scraper::Selector::parse("head > title").unwrap();
    let answer: String = dom.select(&title).next().expect("a page has a title").text().collect();
    let log = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}\n{log}"))
}

#[test]
fn a_browser_shows_it() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no Chromium on the PATH; on Debian: apt-get install chromium");
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    for items in [100, 30_000] {
        let run = temp.path().join(items.to_string());
        invention::write(&run, items, 6, 2).unwrap();
        let page = run.join("report.html");
        procession_report::write(&run, &page).unwrap();
        // The test knows the page's secret, a task did not.
        let text = std::fs::read_to_string(&page).unwrap();
        let nonce = text.split("script nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let questions = format!(
            "<script>window.smuggled = true;</script><script nonce=\"{nonce}\">{QUESTIONS}</script></body>"
        );
        std::fs::write(&page, text.replace("</body>", &questions)).unwrap();
        for width in [800, 1280] {
            let answer = ask(&browser, &page, width);
            assert!(answer["overflow"].as_f64().unwrap() <= 0.0, "{width}: {answer}");
            assert!(answer["smallest"].as_f64().unwrap() >= 11.0, "{width}: {answer}");
            assert!(answer["tip"].as_str().unwrap().contains(" ended in "), "{width}: {answer}");
            assert_eq!(answer["sorted"], true, "{width}: {answer}");
            assert_eq!(answer["smuggled"], false, "the page runs a script without its secret");
        }
    }
}
