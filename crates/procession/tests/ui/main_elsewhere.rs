#[procession::main]
fn start() {}

#[procession::main(threads = 4)]
fn main() {}

#[procession::main]
mod program {}
