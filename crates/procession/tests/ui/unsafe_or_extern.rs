use procession::task;

#[task]
unsafe fn poke(address: usize) -> u8 {
    unsafe { *(address as *const u8) }
}

#[task]
extern "C" fn callback(x: i32) -> i32 {
    x
}

fn main() {}
