mod inner {
    #[procession::task]
    fn square(x: i64) -> i64 {
        x * x
    }
}

fn main() {
    inner::square(7);
}
