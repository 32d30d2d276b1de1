//! Attributes inside and outside, a result, and the hook's place before the first statement.
#![deny(warnings)]

mod procession_in_another_place {
    pub use procession::init;
}

#[procession::main(crate = procession_in_another_place)]
#[expect(unused_variables, reason = "other attributes stay")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    #![expect(non_snake_case, reason = "and so do inner ones")]
    let Capital = "4".parse::<u8>()?;
    Ok(())
}
