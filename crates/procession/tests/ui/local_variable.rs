use procession::task;

#[task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    let square = square(7);
    println!("{square}");
}
