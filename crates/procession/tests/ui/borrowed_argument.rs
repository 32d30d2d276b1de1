use procession::task;

#[task]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[task]
fn total(data: &[Vec<f64>]) -> f64 {
    data.iter().flatten().sum()
}

#[task]
fn nested(words: Vec<(u8, &'static str)>) -> usize {
    words.len()
}

#[task]
fn elided(text: std::borrow::Cow<'_, str>) -> usize {
    text.len()
}

fn main() {}
