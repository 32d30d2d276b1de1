use procession::task;

struct Machine;

impl Machine {
    #[task]
    fn run(&self, x: i64) -> i64 {
        x
    }
}

fn main() {}
