use procession::task;

struct Handle(u32);

#[task]
fn argument(first: i64, handle: Handle) -> i64 {
    first + i64::from(handle.0)
}

#[task]
fn result(index: u32) -> Handle {
    Handle(index)
}

fn main() {}
