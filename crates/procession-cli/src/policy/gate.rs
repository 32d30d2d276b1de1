//! Start gates: nothing new is begun while the machine is too busy or short of memory.

use std::time::{Duration, Instant};

use sysinfo::System;

use super::amount;
use crate::spec::units;

/// How long a look at the machine counts.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a gate is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    /// Runnable processes, or bytes.
    Amount(f64),
    /// Of the usable cores, or of all memory.
    Percent(f64),
}

/// The gates of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Gates {
    pub(crate) max_load: Option<Mark>,
    pub(crate) min_free_memory: Option<Mark>,
}

/// What there is of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Readings {
    /// The load average of the last minute.
    pub(crate) load: f64,
    pub(crate) cores: usize,
    /// What could be had without swapping, in bytes.
    pub(crate) free: u64,
    /// In bytes.
    pub(crate) memory: u64,
}

/// The gates, and when they were looked at.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    gates: Gates,
    looked: Option<Instant>,
    is_closed: bool,
    has_spoken: bool,
}

impl Gates {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Gates::default()
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let load = self.max_load.map(|mark| format!("max_load {}", mark.show(|load| load.to_string())));
        let memory = |mark: Mark| mark.show(|bytes| units::show_size(bytes as u64));
        let memory = self.min_free_memory.map(|mark| format!("min_free_memory {}", memory(mark)));
        load.into_iter().chain(memory).collect()
    }

    /// Why nothing may be begun, if so.
    fn reason(&self, now: Readings) -> Option<String> {
        let load = self.max_load.and_then(|mark| {
            let most = mark.of(now.cores as f64);
            (now.load > most).then(|| format!("the load average is {:.2}, more than {most:.2}", now.load))
        });
        load.or_else(|| {
            let least = self.min_free_memory?.of(now.memory as f64);
            let (free, least_shown) = (units::show_memory(now.free), units::show_memory(least as u64));
            ((now.free as f64) < least).then(|| format!("free memory is {free}, less than {least_shown}"))
        })
    }
}

impl Mark {
    fn of(self, whole: f64) -> f64 {
        match self {
            Mark::Amount(amount) => amount,
            Mark::Percent(percent) => whole * percent / 100.0,
        }
    }

    fn show(self, show: impl Fn(f64) -> String) -> String {
        match self {
            Mark::Amount(amount) => show(amount),
            Mark::Percent(percent) => format!("{percent}%"),
        }
    }
}

impl Gate {
    pub(crate) fn new(gates: Gates) -> Gate {
        Gate { gates, ..Gate::default() }
    }

    /// Whether nothing may be begun now, and once what there is to say of that.
    pub(crate) fn is_closed(
        &mut self,
        now: Instant,
        read: impl FnOnce() -> Readings,
    ) -> (bool, Option<String>) {
        let is_stale = self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY);
        if self.gates.is_empty() || !is_stale {
            return (self.is_closed, None);
        }
        self.looked = Some(now);
        let reason = self.gates.reason(read());
        self.is_closed = reason.is_some();
        let words = reason.filter(|_| !self.has_spoken);
        self.has_spoken |= words.is_some();
        (self.is_closed, words)
    }
}

impl Readings {
    /// As it is now. What cannot be read keeps nothing back.
    pub(crate) fn now() -> Readings {
        let (mut free, mut memory) = (u64::MAX, 0);
        if let Ok(mut system) = System::new() {
            system.refresh_memory();
            (free, memory) = (system.available_memory(), system.total_memory());
            // A container may have less than the machine.
            if let Some(group) = system.cgroup_limits().filter(|group| group.total_memory < memory) {
                memory = group.total_memory;
                free = free.min(memory.saturating_sub(group.rss));
            }
        }
        let load = System::load_average().map_or(0.0, |load| load.one);
        Readings { load, cores: procession::cpu_count(), free, memory }
    }
}

/// Reads `4`, `2.5` or `80%`.
pub(crate) fn load(text: &str) -> Result<Mark, String> {
    const HELP: &str = "write a load average as `4` or `2.5`, or a share of the cores as `80%`";
    let (number, is_percent) = amount(text.trim());
    match number.parse::<f64>() {
        Ok(load) if load > 0.0 && load.is_finite() => {
            Ok(if is_percent { Mark::Percent(load) } else { Mark::Amount(load) })
        }
        Ok(_) => Err(format!("must be more than 0; {HELP}")),
        Err(_) => Err(format!("`{text}` is no load; {HELP}")),
    }
}

/// Reads `2GiB` or `20%`.
pub(crate) fn memory(text: &str) -> Result<Mark, String> {
    let (number, is_percent) = amount(text.trim());
    if !is_percent {
        return units::size(text)
            .map(|bytes| Mark::Amount(bytes as f64))
            .map_err(|what| format!("{what}; {}, or a share of all memory as `20%`", units::SIZE_HELP));
    }
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Mark::Percent(percent)),
        _ => Err(format!("`{text}` is no share of memory: write more than 0% and no more than 100%")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Readings = Readings { load: 1.0, cores: 4, free: 6 << 30, memory: 8 << 30 };

    #[test]
    fn marks_are_numbers_or_shares() {
        let gates = |load_mark: &str, memory_mark: &str| Gates {
            max_load: Some(load(load_mark).unwrap()),
            min_free_memory: Some(memory(memory_mark).unwrap()),
        };
        assert_eq!(gates("1", "6 GiB").reason(CALM), None);
        let reason = |gates: Gates| gates.reason(CALM).unwrap();
        assert_eq!(reason(gates("0.5", "1B")), "the load average is 1.00, more than 0.50");
        assert_eq!(reason(gates("20%", "1B")), "the load average is 1.00, more than 0.80");
        assert_eq!(reason(gates("80%", "80%")), "free memory is 6.44 GB, less than 6.87 GB");
        assert_eq!(gates("2.5", "20%").words(), ["max_load 2.5", "min_free_memory 20%"]);
        for text in ["", "0", "-1", "much", "0%", "inf", "NaN"] {
            assert!(load(text).is_err(), "{text}");
            assert!(memory(text).is_err(), "{text}");
        }
        assert!(memory("101%").is_err());
    }

    #[test]
    fn a_gate_opens_again_and_speaks_once() {
        let mut gate = Gate::new(Gates { max_load: Some(Mark::Amount(2.0)), min_free_memory: None });
        let start = Instant::now();
        let busy = Readings { load: 3.0, ..CALM };
        let mut look = |millis, now: Option<Readings>| {
            gate.is_closed(start + Duration::from_millis(millis), || {
                now.expect("it is not looked at so soon")
            })
        };
        assert_eq!(look(0, Some(CALM)), (false, None));
        assert_eq!(look(100, None), (false, None));
        assert_eq!(
            look(200, Some(busy)),
            (true, Some("the load average is 3.00, more than 2.00".to_owned()))
        );
        assert_eq!(look(300, None), (true, None));
        assert_eq!(look(400, Some(CALM)), (false, None));
        assert_eq!(look(600, Some(busy)), (true, None));
    }

    #[test]
    fn this_machine_has_memory_and_cores() {
        let Readings { load, cores, free, memory } = Readings::now();
        assert!(load >= 0.0 && cores > 0 && free > 0 && memory >= free);
    }
}
