//! The model on up to 1,000 nodes: efficiency, and who is how busy.

use std::time::Instant;

use procession_cluster::model::{Costs, Fleet, Items, Report, run};

use super::Result;
use super::chart::{Line, draw};

const CHUNKS_FIGURE: &str = "docs/scaling/cluster-chunks.svg";
const ITEMS_FIGURE: &str = "docs/scaling/cluster-items.svg";

/// Nodes, of so many workers each.
const NODES: [u32; 8] = [1, 4, 16, 64, 125, 250, 500, 1_000];
const WORKERS: u32 = 64;
const ALL: u32 = 64_000;
/// Where the figures begin: left of the lines is what they are of.
const LEFT: f64 = 10.0;
/// On the way from one machine to the other: assumed, for a network of one room.
const NETWORK: u64 = 100_000;

const MS: u64 = 1_000_000;
/// How long a chunk takes, and how many of them a worker has.
const CHUNKS: [(u64, u64); 5] =
    [(10 * MS, 10), (100 * MS, 30), (1_000 * MS, 30), (3_000 * MS, 30), (10_000 * MS, 12)];
/// The same of items whose chunks the master makes.
const ITEMS: [(u64, u64); 4] = [(10 * MS, 200), (100 * MS, 200), (1_000 * MS, 100), (10_000 * MS, 12)];
/// A fleet whose chunks of a second keep its master well busy, and ways from one machine to the other.
const FAR: Fleet = Fleet { agents: 60, workers: WORKERS };
const WAYS: [u64; 5] = [MS / 10, MS, 3 * MS, 10 * MS, 30 * MS];
/// Lengths differ by so much, in per cent.
const SPREAD: u64 = 20;

/// Everything that is modelled only.
pub(crate) fn study(measured: &Costs) -> Result<()> {
    let costs = Costs { hop: measured.hop + NETWORK, ..measured.clone() };
    println!("\nchunks of one item each:\n");
    let lines = curves(&costs, &CHUNKS, Some(1));
    draw(CHUNKS_FIGURE, LEFT..f64::from(ALL), &lines)?;
    println!("\nchunks that the master makes:\n");
    let lines = curves(&costs, &ITEMS, None);
    draw(ITEMS_FIGURE, LEFT..f64::from(ALL), &lines)?;
    ways(measured);
    Ok(())
}

/// What the way between the machines costs, where every second each worker is done with a chunk.
fn ways(measured: &Costs) {
    println!("\n| one way to the broker | efficiency |\n|---|---|");
    for network in WAYS {
        let costs = Costs { hop: measured.hop + network, ..measured.clone() };
        let items = Items {
            count: u64::from(FAR.agents * FAR.workers) * 30,
            ns: 1_000 * MS,
            spread: SPREAD,
            chunk_size: Some(1),
            seed: 1,
        };
        let report = run(&costs, FAR, items);
        let efficiency = 30e9 / report.makespan_ns as f64;
        println!("| {:.1} ms | {:.0} % |", network as f64 / MS as f64, 100.0 * efficiency);
    }
}

/// A table, and its lines in a figure.
fn curves(costs: &Costs, lengths: &[(u64, u64)], chunk_size: Option<usize>) -> Vec<Line> {
    print!("| |");
    NODES.iter().for_each(|nodes| print!(" {} |", nodes * WORKERS));
    println!("\n|---|{}", "---|".repeat(NODES.len()));
    let (mut lines, mut largest) = (Vec::new(), Vec::new());
    for &(ns, each) in lengths {
        print!("| {} |", name(ns));
        let mut line = Vec::new();
        for agents in NODES {
            let workers = u64::from(agents * WORKERS);
            let items = Items { count: workers * each, ns, spread: SPREAD, chunk_size, seed: 1 };
            let start = Instant::now();
            let report = run(costs, Fleet { agents, workers: WORKERS }, items);
            let efficiency = (ns * each) as f64 / report.makespan_ns as f64;
            print!(" {:.0} % |", 100.0 * efficiency);
            line.push((workers as f64, efficiency));
            if agents * WORKERS == ALL {
                largest.push((ns, items.count, report, start.elapsed()));
            }
        }
        println!();
        lines.push((name(ns), line));
    }
    println!(
        "\n| of {ALL} workers | chunks a second | items a chunk | master | work stream | answers | agent | waiting | model's own time an item |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (ns, count, report, took) in largest {
        let Report { makespan_ns, master_ns, work_ns, answers_ns, agents_ns, chunks, waiting_max } = report;
        let busy = |ns: u64| format!("{:.0} %", 100.0 * ns as f64 / makespan_ns as f64);
        println!(
            "| {} | {:.0} | {:.1} | {} | {} | {} | {} | {waiting_max} | {:.2} µs |",
            name(ns),
            chunks as f64 / makespan_ns as f64 * 1e9,
            count as f64 / chunks as f64,
            busy(master_ns),
            busy(work_ns),
            busy(answers_ns),
            busy(agents_ns / u64::from(ALL / WORKERS)),
            took.as_secs_f64() * 1e6 / count as f64,
        );
    }
    lines
}

fn name(ns: u64) -> String {
    match ns / MS {
        ms @ 1_000.. => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
