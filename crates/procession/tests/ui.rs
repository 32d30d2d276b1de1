//! Mistakes with the attributes are reported where they are made, in words that say what to do.
//!
//! The expected words are in `ui/*.stderr`; `TRYBUILD=overwrite` writes them anew, for reading and committing.

#[test]
fn mistakes_are_reported_on_the_token() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}
