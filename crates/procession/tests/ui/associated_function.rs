use procession::task;

struct Machine;

impl Machine {
    #[task]
    fn run(x: i64) -> i64 {
        x
    }
}

fn main() {}
