//! `#[task]` as a strict user meets it: forbidding what can be forbidden, and denying every warning.
#![forbid(unsafe_code, nonstandard_style)]
#![deny(warnings, missing_docs, clippy::all, clippy::pedantic)]

use procession::{Payload, Task, TaskInfo, find, task, tasks};

/// Squares a number.
#[task]
fn square(x: i64) -> i64 {
    let square = x * x; // inside, the name is the function's and may be taken
    square
}

mod other {
    use procession::task;

    #[task(idempotent)]
    pub(crate) fn square(x: f64) -> f64 {
        x * x
    }
}

struct Machine;

impl Machine {
    /// A function that belongs to a type is registered without it.
    #[task]
    fn start(power: u8) -> u8 {
        power
    }
}

#[test]
fn a_handle_calls_the_plain_function() {
    assert_eq!(square(7), 49);
    assert_eq!(Machine::start(3), 3);
    let other: Task<fn(f64) -> f64> = other::square;
    assert_eq!([1.5, 2.0].map(*other).map(f64::to_bits), [2.25_f64, 4.0].map(f64::to_bits));
}

#[test]
fn all_tasks_of_the_program_are_registered_in_order() {
    let paths: Vec<&str> = tasks().iter().map(|task| task.path()).collect();
    assert_eq!(paths, ["task::other::square", "task::square", "task::start"]);
    assert_eq!(find("other::square").map(TaskInfo::index), Ok(0));
    assert_eq!(find("task::square").map(TaskInfo::index), Ok(1));
    assert_eq!(find("square").map_err(|error| error.ambiguous.len()).err(), Some(2));
}

/// As the command line does it: nothing but the task's name and text.
#[test]
fn a_task_can_be_called_knowing_only_its_name() {
    let info = find("other::square").expect("it is registered");
    let mut args = Payload::new();
    let mut json = serde_json::Deserializer::from_str("3");
    info.encode_arg(0, &mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json), &mut args)
        .expect("a whole number is accepted for a float");
    assert_eq!(args, Payload::from(3.0_f64.to_le_bytes().to_vec()));

    let mut text = Vec::new();
    let mut json = serde_json::Serializer::new(&mut text);
    info.decode_result(&9.0_f64.to_le_bytes(), &mut <dyn erased_serde::Serializer>::erase(&mut json))
        .expect("these bytes are a float");
    assert_eq!(text, b"9.0");
}
