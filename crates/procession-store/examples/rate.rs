//! How many outcomes a second the run store takes, and what they cost the two threads: `rate [ITEMS [idempotent]]`.

use std::time::{Duration, Instant, UNIX_EPOCH};

use procession_store::{Ending, Item, Job, Key, RunDir};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let items: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |items| items.parse())?;
    let temp = tempfile::tempdir_in(".")?;
    let idempotent = std::env::args().nth(2).is_some_and(|word| word == "idempotent");
    let job = Job { items: Some(items), idempotent, ..Job::default() };
    let mut writer = RunDir::create(&temp.path().join("run"), &job)?.begin("1.0", 2)?;
    let start = Instant::now();
    for index in 0..items {
        writer.hand_out(index)?;
        writer.item(Item {
            slot: Some(1),
            pid: Some(1234),
            started_at: Some(UNIX_EPOCH + Duration::from_micros(1_800_000_000_000_000 + index)),
            wall: Some(Duration::from_micros(20)),
            cpu: Some(Duration::from_micros(20)),
            peak_rss: Some(5 << 20),
            value: Some((index * index).to_string()),
            ..Item::value(index, Key::of(&index.to_le_bytes()))
        })?;
    }
    let given = start.elapsed();
    writer.finish(Ending::Complete)?;
    let recorded = start.elapsed();
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let cpu = usage.user_time().tv_sec() as f64
        + usage.user_time().tv_usec() as f64 / 1e6
        + usage.system_time().tv_sec() as f64
        + usage.system_time().tv_usec() as f64 / 1e6;
    println!(
        "{items} items given in {given:.2?}, on record in {recorded:.2?}: {:.0} a second, {:.2} µs of processor time each",
        items as f64 / recorded.as_secs_f64(),
        cpu * 1e6 / items as f64
    );
    Ok(())
}
