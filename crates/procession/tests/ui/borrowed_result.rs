use procession::task;

#[task]
fn name(index: usize) -> &'static str {
    ["a", "b"][index]
}

fn main() {}
