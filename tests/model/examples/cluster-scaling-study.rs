//! How far one master reaches over a cluster: real agents beside the model, then the model on up to 1,000 nodes.
//!
//! `cargo xtask cluster-scaling-study` prints the tables of `docs/cluster-scaling.md` and draws its figures.

#[path = "study/chart.rs"]
mod chart;
#[path = "study/clock.rs"]
mod clock;
#[path = "study/measure.rs"]
mod measure;
#[path = "study/reach.rs"]
mod reach;
#[path = "study/site.rs"]
mod site;
#[path = "study/tasks.rs"]
mod tasks;

use site::Site;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[procession::main]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [site::AGENT, address, workers] => site::serve(address, workers),
        [] => {
            let site = Site::start()?;
            let costs = measure::costs(&site)?;
            measure::compare(&site, &costs)?;
            drop(site);
            reach::study(&costs)
        }
        ["model"] => reach::study(&measure::page()),
        other => Err(format!("unknown arguments: {other:?}").into()),
    }
}
