//! What the model of a cluster is fed, and how it does beside real clusters.

use std::time::Duration;

use procession::Payload;
use procession_cluster::model::{self, Costs, Fleet, Items, Report};

use super::Result;
use super::site::{Real, Site};
use super::tasks::{nap, nothing};

/// Publishes that a broker takes, from `nats bench`'s own documentation: 403,828 a second.
const PUBLISH: u64 = 2_476;
/// Chunks that it hands out and hears acknowledged: 290,438 a second.
const CONSUME: u64 = 3_443;
/// Messages that it hands on to an ordered consumer: 1,201,540 a second.
const DELIVER: u64 = 832;
/// Nobody publishes what a renewal takes. No more than an acknowledged message.
const RENEW: u64 = CONSUME;

/// One chunk at a time, for the way that it takes.
const LONELY: u64 = 400;
/// Items of the run that is all items.
const MANY: u64 = 2_000_000;
const STORED: u64 = 20_000;

/// Real clusters: so many agents, of so many workers, and milliseconds that a chunk sleeps.
const REAL: [(u32, u32, u64); 9] = [
    (1, 4, 10),
    (2, 4, 10),
    (1, 16, 100),
    (4, 16, 100),
    (16, 4, 100),
    (1, 64, 1_000),
    (4, 64, 1_000),
    (16, 16, 1_000),
    (16, 64, 1_000),
];
const REAL_MS: u64 = 6_000;

/// What was measured for the page.
pub(crate) fn page() -> Costs {
    Costs {
        put: 66_000,
        hear: 66_000,
        release: 65_000,
        item_out: 425,
        item_in: 425,
        hello: 10_000,
        hello_held: 200,
        take: 302_000,
        answer: 302_000,
        agent_item: 560,
        hop: 168_000,
        publish: PUBLISH,
        consume: CONSUME,
        deliver: DELIVER,
        purge: 67_600,
        renew: RENEW,
    }
}

/// What was measured here. It says so as it goes.
pub(crate) fn costs(site: &Site) -> Result<Costs> {
    let (stored, purged) = model::store_and_purge(&site.address, STORED)?;
    let rate = |took: Duration| STORED as f64 / took.as_secs_f64();
    println!("the broker here stores {:.0} messages a second, and deletes {:.0}", rate(stored), rate(purged));
    let lonely = site.run((1, 1), nothing.info(), numbers(LONELY)?, |options| {
        (options.stream.chunk_size, options.stream.buffer) = (Some(1), Some(1));
    })?;
    let way = lonely.wall.as_nanos() as u64 / LONELY;
    println!("a chunk that is alone takes {:.2} ms from the input to the result", way as f64 / 1e6);
    let items = site.run((1, 2), nothing.info(), numbers(MANY)?, |options| {
        options.stream.chunk_size = Some(4_096);
    })?;
    let (master_item, agent_item) = (each(items.master, MANY), each(items.agents, MANY));
    let chunks = 4 * 16 * 60;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(site.run((4, 16), nap.info(), naps(chunks, 100)?, one_a_chunk)?);
    }
    let median = |of: fn(&Real) -> Duration| {
        let mut times: Vec<u64> = runs.iter().map(|run| each(of(run), chunks)).collect();
        times.sort_unstable();
        times[1]
    };
    let master = median(|run| run.master) - master_item;
    let (agent, broker) = (median(|run| run.agents), median(|run| run.broker));
    println!(
        "processor time of a chunk: {master} ns of the master, {agent} ns of an agent, {broker} ns of the broker"
    );
    println!("processor time of an item: {master_item} ns of the master, {agent_item} ns of an agent");
    let purge = purged.as_nanos() as u64 / STORED;
    // An item alone: what its way takes beside what all of them do.
    let known = master + agent + 2 * PUBLISH + CONSUME + DELIVER;
    let costs = Costs {
        put: master / 3,
        hear: master / 3,
        release: master - 2 * (master / 3),
        item_out: master_item / 2,
        item_in: master_item - master_item / 2,
        take: agent / 2,
        answer: agent - agent / 2,
        agent_item,
        hop: way.saturating_sub(known).max(40_000) / 4,
        publish: PUBLISH,
        consume: CONSUME,
        deliver: DELIVER,
        purge,
        renew: RENEW,
        ..Costs::default()
    };
    println!("\n{costs:?}\n");
    Ok(costs)
}

/// Real clusters beside modelled ones.
pub(crate) fn compare(site: &Site, costs: &Costs) -> Result<()> {
    println!(
        "| agents × workers | chunk | real: makespan | modelled | real: time a chunk of master | agent | broker | \
         processors in use |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (agents, workers, ms) in REAL {
        let chunks = u64::from(agents * workers) * REAL_MS / ms;
        let Real { wall, master, agents: theirs, broker } =
            site.run((agents, workers), nap.info(), naps(chunks, ms)?, one_a_chunk)?;
        let items = Items { count: chunks, ns: ms * 1_000_000, spread: 0, chunk_size: Some(1), seed: 1 };
        let Report { makespan_ns, .. } = model::run(costs, Fleet { agents, workers }, items);
        println!(
            "| {agents} × {workers} | {ms} ms | {:.0} ms | {:.0} ms | {:.0} µs | {:.0} µs | {:.0} µs | {:.1} |",
            wall.as_secs_f64() * 1e3,
            makespan_ns as f64 / 1e6,
            each(master, chunks) as f64 / 1e3,
            each(theirs, chunks) as f64 / 1e3,
            each(broker, chunks) as f64 / 1e3,
            (master + theirs + broker).as_secs_f64() / wall.as_secs_f64(),
        );
    }
    Ok(())
}

fn one_a_chunk(options: &mut procession_cluster::JobOptions) {
    options.stream.chunk_size = Some(1);
}

fn each(time: Duration, count: u64) -> u64 {
    time.as_nanos() as u64 / count
}

fn numbers(count: u64) -> Result<Vec<Payload>> {
    Ok((0..count).map(|number| nothing.payload(&(number,))).collect::<std::result::Result<_, _>>()?)
}

fn naps(count: u64, ms: u64) -> Result<Vec<Payload>> {
    Ok((0..count).map(|_| nap.payload(&(ms,))).collect::<std::result::Result<_, _>>()?)
}
