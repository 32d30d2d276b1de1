use procession::task;

#[task(idempotant)]
fn square(x: i64) -> i64 {
    x * x
}

#[task(idempotent, retries = 3)]
fn cube(x: i64) -> i64 {
    x * x * x
}

#[task(idempotent, idempotent)]
fn twice(x: i64) -> i64 {
    2 * x
}

#[task(crate)]
fn nowhere(x: i64) -> i64 {
    x
}

fn main() {}
