use procession::task;

#[task]
fn square(x: i64) -> i64 {
    let unused = 1;
    x.to_string()
}

fn main() {}
