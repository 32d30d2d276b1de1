#[procession::main]
fn main() -> Result<(), std::fmt::Error> {
    "no result"
}
