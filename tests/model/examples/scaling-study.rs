//! How far one master reaches: real pools of sleeping workers beside the model, then the model on up to 10,000 workers.
//!
//! `cargo xtask scaling-study` prints the tables of `docs/scaling.md` and draws its figure.

#[path = "study/chart.rs"]
mod chart;
#[path = "study/clock.rs"]
mod clock;

use std::time::{Duration, Instant};

use chart::{Line, draw};
use clock::timed;
use procession::Pool;
use procession_model::{Call, Costs, Report, run};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FIGURE: &str = "docs/scaling/efficiency.svg";

/// Real pools: so many workers, items that sleep so long.
const REAL: [(u32, u64); 6] =
    [(16, 10_000), (64, 10_000), (256, 10_000), (16, 50_000), (64, 50_000), (256, 50_000)];
const REAL_ITEMS_PER_WORKER: u64 = 60;

const WORKERS: [u32; 9] = [1, 4, 16, 64, 256, 1_000, 2_500, 5_000, 10_000];
/// Microseconds.
const ITEMS: [u64; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
const ITEMS_PER_WORKER: usize = 100;

#[procession::task]
fn nap(micros: u64) {
    std::thread::sleep(Duration::from_micros(micros));
}

#[procession::task]
fn nothing(x: u64) -> u64 {
    x
}

#[procession::main]
fn main() -> Result<()> {
    let costs = measured_costs()?;
    println!("\n{costs:?}\n");
    println!("| workers | item | real: makespan | modelled | real: master's time an item | modelled |");
    println!("|---|---|---|---|---|---|");
    for (workers, micros) in REAL {
        compare(&costs, workers, micros)?;
    }
    println!();
    study(&costs)
}

/// What the model is fed: the master's processor time in two real runs, of which one is all messages, one all items.
fn measured_costs() -> Result<Costs> {
    let pool = Pool::builder().workers(16).build()?;
    // One item a message, because it lasts longer than a hand-out.
    let items = 16 * REAL_ITEMS_PER_WORKER;
    let (_, message_ns) = timed(items, || {
        pool.map(nap, (0..items).map(|_| 10_000))?;
        Ok(())
    })?;
    let items = 4_000_000;
    let (_, item_ns) = timed(items, || {
        pool.map(nothing, 0..items)?;
        Ok(())
    })?;
    pool.close()?;
    println!("processor time of the master: {message_ns} ns a message and its reply, {item_ns} ns an item");
    let frame = message_ns - item_ns.min(message_ns);
    let out = item_ns / 2;
    // Sending is a system call, receiving is two and a wake-up.
    Ok(Costs {
        frame_out: frame * 2 / 5,
        frame_in: frame * 3 / 5,
        item_out: out,
        item_in: item_ns - out,
        ..Costs::default()
    })
}

fn compare(costs: &Costs, workers: u32, micros: u64) -> Result<()> {
    let items = u64::from(workers) * REAL_ITEMS_PER_WORKER;
    let pool = Pool::builder().workers(workers as usize).build()?;
    // Every worker is there, and how long an item takes is known.
    pool.map(nap, (0..u64::from(workers)).map(|_| micros))?;
    let (wall, busy) = timed(items, || {
        pool.map(nap, (0..items).map(|_| micros))?;
        Ok(())
    })?;
    pool.close()?;
    let model = run(costs, workers, Call::Map, &vec![micros * 1_000; items as usize]);
    println!(
        "| {workers} | {} ms | {:.0} ms | {:.0} ms | {:.1} µs | {:.1} µs |",
        micros / 1_000,
        wall.as_secs_f64() * 1e3,
        model.makespan_ns as f64 / 1e6,
        busy as f64 / 1e3,
        model.master_ns as f64 / items as f64 / 1e3
    );
    Ok(())
}

fn study(costs: &Costs) -> Result<()> {
    let mut lines: Vec<Line> = Vec::new();
    print!("| item |");
    WORKERS.iter().for_each(|workers| print!(" {workers} |"));
    println!("\n|---|{}", "---|".repeat(WORKERS.len()));
    let mut cost_of_event = Vec::new();
    for micros in ITEMS {
        print!("| {} |", name(micros));
        let mut line = Vec::new();
        for workers in WORKERS {
            let times = vec![micros * 1_000; ITEMS_PER_WORKER * workers as usize];
            let start = Instant::now();
            let report = run(costs, workers, Call::Map, &times);
            if micros == 10_000 {
                cost_of_event.push((workers, start.elapsed().as_nanos() as u64 / report.events, report));
            }
            let ideal = (micros * 1_000 * ITEMS_PER_WORKER as u64) as f64;
            let efficiency = ideal / report.makespan_ns as f64;
            print!(" {:.0} % |", 100.0 * efficiency);
            line.push((f64::from(workers), efficiency));
        }
        println!();
        lines.push((name(micros), line));
    }
    println!("\n| workers | events | messages | real time an event, model included |\n|---|---|---|---|");
    for (workers, ns, Report { events, messages, .. }) in cost_of_event {
        println!("| {workers} | {events} | {messages} | {ns} ns |");
    }
    draw(FIGURE, 1.0..10_000.0, &lines)
}

fn name(micros: u64) -> String {
    match micros {
        1_000_000.. => format!("{} s", micros / 1_000_000),
        1_000.. => format!("{} ms", micros / 1_000),
        _ => format!("{micros} µs"),
    }
}
