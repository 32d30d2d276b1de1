use procession::task;

#[task]
fn echo<T: Copy>(value: T) -> T {
    value
}

#[task]
fn first<'a>(value: u8) -> u8 {
    value
}

#[task]
fn bounded(value: u8) -> u8
where
    u8: Copy,
{
    value
}

fn main() {}
