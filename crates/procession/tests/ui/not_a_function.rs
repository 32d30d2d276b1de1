use procession::task;

#[task]
struct Square;

#[task]
#[derive(Clone)]
pub(crate) enum Shape {
    Round,
}

#[task]
impl Square {}

#[task]
const TEN: i64 = 10;

fn main() {}
