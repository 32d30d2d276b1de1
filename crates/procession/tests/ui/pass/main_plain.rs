#[procession::main]
fn main() {}
