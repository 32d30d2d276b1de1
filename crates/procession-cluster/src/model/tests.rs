//! The model: what must hold of it whatever things cost.

use super::{Costs, Fleet, Items, run};

const MS: u64 = 1_000_000;

fn items(count: u64, ns: u64) -> Items {
    Items { count, ns, spread: 0, chunk_size: Some(1), seed: 7 }
}

#[test]
fn one_item_takes_its_whole_way() {
    let costs = Costs::default();
    let report = run(&costs, Fleet { agents: 1, workers: 1 }, items(1, MS));
    let Costs {
        put, hear, item_out, item_in, take, answer, agent_item, hop, publish, consume, deliver, ..
    } = costs;
    let master = item_out + put + hear + item_in + costs.release;
    let agent = take + answer + agent_item;
    let broker = publish + consume + publish + deliver;
    assert_eq!(report.makespan_ns, MS + master + agent + broker + 4 * hop);
    assert_eq!((report.chunks, report.master_ns, report.agents_ns), (1, master, agent));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let costs = Costs::default();
    let fleet = Fleet { agents: 4, workers: 8 };
    let items = |seed| Items { count: 2_000, ns: MS, spread: 50, chunk_size: None, seed };
    assert_eq!(run(&costs, fleet, items(1)), run(&costs, fleet, items(1)));
    assert_ne!(run(&costs, fleet, items(1)), run(&costs, fleet, items(2)));
}

#[test]
fn no_run_is_shorter_than_its_work_and_a_free_cluster_comes_near() {
    let ideal = 20 * 100 * MS;
    let fleet = Fleet { agents: 4, workers: 16 };
    let report = run(&Costs::default(), fleet, items(4 * 16 * 20, 100 * MS));
    assert!(report.makespan_ns >= ideal, "{report:?}");
    assert!(report.makespan_ns < ideal * 105 / 100, "{report:?}");
}

#[test]
fn a_master_that_is_saturated_sets_the_pace() {
    let costs = Costs { put: MS, ..Costs::default() };
    let report = run(&costs, Fleet { agents: 16, workers: 16 }, items(1_000, MS));
    assert!(
        report.makespan_ns >= 1_000 * MS && report.master_ns * 100 > report.makespan_ns * 95,
        "{report:?}"
    );
}
