//! The behaviours that the field's own suites check, one test a line; see README.md beside this file.

#[procession::task]
fn square(x: i64) -> i64 {
    x * x
}

procession_harness::cases! {
    fn c1_map_equals_the_serial_map() {
        let pool = procession::Pool::builder().workers(2).build().unwrap();
        assert_eq!(pool.map(square, 0..10).unwrap(), (0..10).map(|x| x * x).collect::<Vec<i64>>());
        pool.close().unwrap();
    }
}

procession_harness::main!();
