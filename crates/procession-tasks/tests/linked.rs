//! A program that only refers to the crate has all of its tasks, under the names that job specs use.

use procession_tasks as _;

#[test]
fn every_built_in_task_is_registered() {
    let signatures: Vec<String> = procession::tasks().iter().map(|task| task.signature()).collect();
    let paths: Vec<&str> = procession::tasks().iter().map(|task| task.short_path()).collect();
    assert_eq!(
        paths,
        [
            "exec::command",
            "exec::exec",
            "exec::idempotent_command",
            "faults::abort",
            "faults::deaf",
            "faults::die_every",
            "faults::echo",
            "faults::exit",
            "faults::kill_self",
            "faults::leak",
            "faults::note",
            "faults::panic",
            "faults::print",
            "faults::segv",
            "faults::sleep",
            "faults::spin",
            "faults::stderr_flood",
            "picture::mandelbrot_row",
            "tutorial::calc_partial_pi",
            "tutorial::power_n",
            "tutorial::power_n_list",
            "tutorial::square",
        ]
    );
    assert!(
        signatures.contains(&"calc_partial_pi(rank: u64, size: u64, steps: u64, h: f64) -> f64".to_owned())
    );
    assert!(signatures.contains(
        &"mandelbrot_row(y: u32, width: u32, height: u32, max_iterations: u32) -> Vec<u8>".to_owned()
    ));
    assert!(signatures.contains(&"die_every(x: i64, n: i64, how: String) -> i64".to_owned()));
}

#[test]
fn every_built_in_task_is_found_by_its_last_part_and_documented() {
    for task in procession::tasks() {
        assert_eq!(procession::find(task.name()).map(|found| found.path()), Ok(task.path()));
        assert!(!task.docs().is_empty(), "{} has no documentation", task.path());
    }
}

/// The row of the pi job spec: whole numbers for `steps`, and for a float where the argument is one.
#[test]
fn arguments_come_from_json_as_a_job_spec_writes_them() {
    let task = procession::find("calc_partial_pi").expect("it is linked");
    let mut args = procession::Payload::new();
    for (index, text) in ["0", "1", "10", "1e-1"].iter().enumerate() {
        let mut json = serde_json::Deserializer::from_str(text);
        task.encode_arg(index, &mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json), &mut args)
            .expect("the text is of the argument's type");
    }
    let mut written = Vec::new();
    let mut json = serde_json::Serializer::new(&mut written);
    task.decode_args(args.as_bytes(), &mut <dyn erased_serde::Serializer>::erase(&mut json))
        .expect("they were just encoded");
    assert_eq!(String::from_utf8(written), Ok("[0,1,10,0.1]".to_owned()));
}
