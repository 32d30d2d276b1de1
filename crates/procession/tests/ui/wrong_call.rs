use procession::task;

#[task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    square("seven");
}
