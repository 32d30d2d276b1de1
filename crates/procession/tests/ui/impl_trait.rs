use procession::task;

#[task]
fn sum(items: impl Iterator<Item = i64>) -> i64 {
    items.sum()
}

#[task]
fn numbers(n: u32) -> impl Iterator<Item = u32> {
    0..n
}

fn main() {}
