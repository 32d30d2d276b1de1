//! The registry as tasks, people and a command line find it. The tasks are this file's own.

#![expect(
    unsafe_code,
    reason = "registration names a link section; in other crates the lint does not see it"
)]

use std::collections::BTreeMap;
use std::marker::PhantomData;

use procession_macros::task;

use super::check::{fingerprint_of, no_duplicates};
use super::find::{edit_distance, find_among};
use super::function::Function;
use super::*;
use crate::payload::Payload;
use crate::task::TaskFn;

#[task(crate = crate)]
fn nothing() {}

/// Joins.
///
/// With a second paragraph.
#[task(crate = crate, idempotent)]
fn join(words: Vec<String>, (left, right): (char, char), _: u8, mut times: u32) -> Result<String, u8> {
    times = times.min(2);
    Ok(format!("{left}{}{right}", words.concat()).repeat(times as usize))
}

#[task(crate = crate)]
fn scale(x: f64, by: f32) -> f64 {
    x * f64::from(by)
}

#[task(crate = crate)]
fn names(ages: BTreeMap<String, Option<u8>>) -> BTreeMap<String, Option<u8>> {
    ages
}

/// A result that refuses to be encoded.
#[derive(serde::Deserialize)]
struct Refuses;

impl serde::Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[task(crate = crate)]
fn refuse() -> Refuses {
    Refuses
}

fn from_json(task: &TaskInfo, args: &[&str]) -> Result<Payload, String> {
    let mut payload = Payload::new();
    for (index, text) in args.iter().enumerate() {
        let mut json = serde_json::Deserializer::from_str(text);
        let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(&mut json);
        task.encode_arg(index, &mut erased, &mut payload).map_err(|error| error.to_string())?;
    }
    Ok(payload)
}

fn to_json(
    write: impl FnOnce(&mut dyn erased_serde::Serializer) -> Result<(), erased_serde::Error>,
) -> Result<String, String> {
    let mut text = Vec::new();
    let mut json = serde_json::Serializer::new(&mut text);
    write(&mut <dyn erased_serde::Serializer>::erase(&mut json)).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

/// Arguments from JSON, a call as a worker makes it, the result as JSON.
#[track_caller]
fn check_call(task: &TaskInfo, args: &[&str], expected: &str) {
    let payload = from_json(task, args).expect("the arguments are of the right types");
    let written = to_json(|to| task.decode_args(payload.as_bytes(), to));
    assert_eq!(
        written.map(|text| serde_json::from_str::<Vec<serde_json::Value>>(&text).map(|args| args.len()).ok()),
        Ok(Some(args.len()))
    );
    let mut result = Vec::new();
    task.run(payload.as_bytes(), &mut result).expect("the task runs");
    assert_eq!(to_json(|to| task.decode_result(&result, to)).as_deref(), Ok(expected));
}

#[test]
fn a_task_is_called_from_text() {
    check_call(nothing.info(), &[], "null");
    check_call(join.info(), &[r#"["a","b"]"#, r#"["<",">"]"#, "7", "3"], r#"{"Ok":"<ab><ab>"}"#);
    check_call(names.info(), &[r#"{"ada":36,"bob":null}"#], r#"{"ada":36,"bob":null}"#);
}

#[test]
fn a_typed_handle_makes_and_reads_the_same_payloads() {
    let args = from_json(scale.info(), &["3", "2.5"]).expect("they fit");
    assert_eq!(scale.payload(&(3.0, 2.5)).expect("numbers encode"), args);
    let mut result = Vec::new();
    scale.info().run(args.as_bytes(), &mut result).expect("the task runs");
    assert_eq!(scale.value(&result.into()).expect("it is one"), 7.5);
    assert!(scale.value(&vec![9].into()).is_err(), "no number has one byte");
    assert!(refuse.payload(&()).is_ok_and(|none| none.as_bytes().is_empty()));
}

#[test]
fn whole_numbers_are_accepted_where_floats_are_expected() {
    check_call(scale.info(), &["3", "2"], "6.0");
    check_call(scale.info(), &["-3", "2.5"], "-7.5");
}

#[test]
fn no_arguments_are_an_empty_list() {
    assert_eq!(to_json(|to| nothing.info().decode_args(&[], to)).as_deref(), Ok("[]"));
}

#[test]
fn arguments_read_one_by_one_are_the_typed_arguments() {
    let mut typed = Vec::new();
    <fn(f64, f32) -> f64>::encode_args(&(3.0, 2.5), &mut crate::codec::Sink::new(&mut typed))
        .expect("numbers encode");
    assert_eq!(from_json(scale.info(), &["3", "2.5"]), Ok(Payload::from(typed)));
}

#[test]
fn a_text_of_the_wrong_type_adds_nothing() {
    let mut payload = from_json(scale.info(), &["1.5"]).expect("a number");
    let before = payload.clone();
    for (index, text) in [(1, r#""two""#), (1, "[2]"), (2, "2")] {
        let mut json = serde_json::Deserializer::from_str(text);
        let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(&mut json);
        assert!(
            scale.info().encode_arg(index, &mut erased, &mut payload).is_err(),
            "argument {index}: {text}"
        );
        assert_eq!(payload, before);
    }
    let error = from_json(scale.info(), &["1", "2", "3"]).expect_err("there is one too many");
    assert_eq!(error, "task takes 2 arguments, and there is no argument 2 (counted from 0)");
    let error = from_json(scale.info(), &[r#""one""#]).expect_err("a word is no number");
    assert!(error.contains("invalid type: string \"one\", expected f64"), "{error}");
}

#[test]
fn arguments_that_do_not_decode_are_named() {
    let mut out = vec![9];
    let fault = scale.info().run(&[0; 10], &mut out).expect_err("2 bytes are no f32");
    let expected = "argument `by: f32`: value cannot be decoded: the bytes end before the value does";
    assert_eq!(fault, TaskFault::Decode(expected.to_owned()));

    let fault = scale.info().run(&[0; 13], &mut out).expect_err("there is a byte too many");
    let expected = "arguments: value cannot be decoded: 1 bytes are left over after the value";
    assert_eq!(fault, TaskFault::Decode(expected.to_owned()));
    assert_eq!(out, [9]);
}

#[test]
fn a_result_that_does_not_encode_is_a_fault_after_the_run() {
    let mut out = vec![9];
    let fault = refuse.info().run(&[], &mut out).expect_err("it refuses");
    assert_eq!(fault, TaskFault::Encode("result: value cannot be encoded: not today".to_owned()));
    assert_eq!(out, [9]);
}

#[test]
fn the_registry_knows_what_the_source_says() {
    let info = join.info();
    assert_eq!(info.path(), "procession::registry::tests::join");
    assert_eq!(info.short_path(), "registry::tests::join");
    assert_eq!(info.name(), "join");
    assert_eq!(
        info.signature(),
        "join(words: Vec<String>, arg1: (char, char), arg2: u8, times: u32) -> Result<String, u8>"
    );
    assert_eq!(info.docs(), "Joins.\n\nWith a second paragraph.");
    assert_eq!(info.returns(), "Result<String, u8>");
    assert!(info.is_idempotent());
    assert_eq!(info.default_max_attempts(), 3);
    assert!(info.place().0.ends_with("registry/tests.rs"));
    assert_eq!((nothing.info().signature().as_str(), nothing.info().returns()), ("nothing()", "()"));
    assert_eq!(nothing.info().default_max_attempts(), 1);
}

#[test]
fn an_index_is_a_place_in_the_sorted_list() {
    assert!(tasks().is_sorted_by_key(|task| task.path()));
    for (index, task) in tasks().iter().enumerate() {
        assert_eq!(task.index(), index);
        let found = u32::try_from(index).ok().and_then(entry).map(TaskInfo::path);
        assert_eq!(found, Some(task.path()));
    }
    assert!(entry(u32::MAX).is_none());
    assert_eq!(check(), Ok(()));
}

/// A task that is in no program's registry.
const fn unregistered(path: &'static str, returns: &'static str, line: u32) -> TaskInfo {
    TaskInfo::new(Definition {
        path,
        params: &[],
        returns,
        docs: "",
        idempotent: false,
        file: "src/lib.rs",
        line,
        function: NO_OP,
    })
}

fn no_op() {}

static NO_OP: &dyn Function = &Callable::new(no_op, PhantomData::<fn()>, (), Passage::<()>::CARRIER);

static SQUARE: TaskInfo = unregistered("maths::simple::square", "()", 1);
static SQUARE_AGAIN: TaskInfo = unregistered("maths::simple::square", "()", 20);
static CUBE: TaskInfo = unregistered("maths::simple::cube", "()", 3);
static OTHER_CUBE: TaskInfo = unregistered("solids::cube", "()", 4);
static TYPED_CUBE: TaskInfo = unregistered("solids::cube", "u8", 4);
static ROOT: TaskInfo = unregistered("root", "()", 5);

#[test]
fn two_tasks_of_one_path_are_refused_with_both_places() {
    assert_eq!(no_duplicates(&[&CUBE, &SQUARE, &OTHER_CUBE]), Ok(()));
    assert_eq!(
        no_duplicates(&[&CUBE, &SQUARE, &SQUARE_AGAIN]).expect_err("there are two"),
        "task `maths::simple::square` is registered twice: at src/lib.rs:1 and at src/lib.rs:20; \
         rename one of them or move it to another module"
    );
}

#[track_caller]
fn check_find(name: &str, expected: Result<&str, &str>) {
    let found = find_among(&[&CUBE, &SQUARE, &ROOT, &OTHER_CUBE], name);
    let found = found.map(TaskInfo::path).map_err(|error| error.to_string());
    assert_eq!(found.as_ref().map(|path| *path).map_err(String::as_str), expected);
}

#[test]
fn a_task_is_found_by_any_unambiguous_end_of_its_path() {
    check_find("maths::simple::square", Ok("maths::simple::square"));
    check_find("simple::square", Ok("maths::simple::square"));
    check_find("square", Ok("maths::simple::square"));
    check_find("solids::cube", Ok("solids::cube"));
    check_find("root", Ok("root"));
    check_find(
        "cube",
        Err("several tasks are named `cube`: say which of `maths::simple::cube`, `solids::cube`"),
    );
}

#[test]
fn parts_of_names_are_not_found_but_suggest() {
    check_find("quare", Err("no task is named `quare`: did you mean `simple::square`"));
    check_find("::square", Err("no task is named `::square`: did you mean `simple::square`"));
    check_find("cubes", Err("no task is named `cubes`: did you mean `cube` or `simple::cube`"));
    check_find("", Err("no task is named ``: none of the registered names is close to it"));
    check_find("elephant", Err("no task is named `elephant`: none of the registered names is close to it"));
}

#[test]
fn edit_distance_counts_changes() {
    for (a, b, distance) in [
        ("", "", 0),
        ("a", "", 1),
        ("", "ab", 2),
        ("kitten", "sitting", 3),
        ("ßa", "aß", 2),
        ("abc", "abc", 0),
    ] {
        assert_eq!((edit_distance(a, b), edit_distance(b, a)), (distance, distance), "{a} to {b}");
    }
}

#[test]
fn the_fingerprint_tells_registries_apart() {
    let prints = [
        fingerprint_of(&[]),
        fingerprint_of(&[&CUBE]),
        fingerprint_of(&[&CUBE, &SQUARE]),
        fingerprint_of(&[&OTHER_CUBE]),
        fingerprint_of(&[&TYPED_CUBE]),
    ];
    for (index, print) in prints.iter().enumerate() {
        assert!(!prints[..index].contains(print), "{prints:x?}");
    }
    assert_eq!(fingerprint_of(&[&SQUARE]), fingerprint_of(&[&SQUARE_AGAIN]), "a line is no difference");
    assert_eq!(fingerprint(), fingerprint());
}
