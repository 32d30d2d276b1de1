//! Draws the Mandelbrot set: `cargo run --release -p mandelbrot -- [SIZE [ITERATIONS [FILE]]]`.
//!
//! The rows cost very different amounts, and come back in order all the same: each is written as soon as the ones above
//! it are, so the picture is never in memory as a whole.

#![deny(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use procession::Pool;
use procession_tasks::picture::mandelbrot_row;

#[procession::main]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = number("SIZE", arguments.next(), 800)?;
    let iterations = number("ITERATIONS", arguments.next(), 250)?;
    let path = arguments.next().unwrap_or_else(|| "mandelbrot.png".to_owned());

    let start = Instant::now();
    let pool = Pool::new()?;
    draw(&pool, size, iterations, BufWriter::new(File::create(&path)?))?;
    let (workers, seconds) = (pool.workers(), start.elapsed().as_secs_f64());
    println!(
        "{path}: {size} × {size} pixels, at most {iterations} iterations, {workers} workers, {seconds:.2} s"
    );
    Ok(pool.close()?)
}

fn number(name: &str, text: Option<String>, default: u32) -> Result<u32, String> {
    let Some(text) = text else { return Ok(default) };
    let parsed = text.parse().ok().filter(|&number| number > 0);
    parsed.ok_or_else(|| format!("{name} is `{text}`: use a whole number above 0"))
}

/// Writes the picture as a PNG file whose palette gives each of a row's bytes its colour.
fn draw(pool: &Pool, size: u32, iterations: u32, file: impl Write) -> Result<(), Box<dyn Error>> {
    let mut encoder = png::Encoder::new(file, size, size);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette((0..=255).flat_map(colour).collect::<Vec<u8>>());
    let mut writer = encoder.write_header()?;
    let mut picture = writer.stream_writer()?;
    let rows = (0..size).map(|y| (y, size, size, iterations));
    for row in pool.istarmap(mandelbrot_row, rows) {
        picture.write_all(&row?)?;
    }
    Ok(picture.finish()?)
}

/// From the night far outside, where `shade` is 255, through white and amber to the black inside, where it is 0.
fn colour(shade: u8) -> [u8; 3] {
    const STOPS: [(f64, [f64; 3]); 6] = [
        (0.0, [0.0, 7.0, 60.0]),
        (0.25, [20.0, 80.0, 180.0]),
        (0.5, [237.0, 250.0, 255.0]),
        (0.7, [255.0, 170.0, 0.0]),
        (0.9, [110.0, 20.0, 10.0]),
        (1.0, [0.0, 0.0, 0.0]),
    ];
    // Most points escape early: the root gives them most of the colours.
    let depth = (f64::from(255 - shade) / 255.0).powf(0.3);
    let above = STOPS.iter().position(|&(at, _)| at >= depth).unwrap_or(STOPS.len() - 1).max(1);
    let ((from, low), (to, high)) = (STOPS[above - 1], STOPS[above]);
    let share = (depth - from) / (to - from);
    std::array::from_fn(|channel| (low[channel] + share * (high[channel] - low[channel])) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    procession::before_main!();

    #[test]
    fn the_picture_is_the_set_the_right_way_round() {
        let pool = Pool::builder().workers(2).build().unwrap();
        let mut file = Vec::new();
        draw(&pool, 64, 100, &mut file).unwrap();
        pool.close().unwrap();

        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; 64 * 64];
        reader.next_frame(&mut pixels).unwrap();
        let inside = |x: usize, y: usize| pixels[64 * y + x] == 0;
        assert!(inside(48, 32), "0 + 0i, in the heart");
        assert!(inside(27, 32), "−1 + 0i, in the disc left of it");
        assert!(!inside(60, 32), "0.56 + 0i, right of the heart");
        assert!((0..64).all(|i| !inside(i, 0) && !inside(0, i)), "the set does not reach the edges");
    }

    #[test]
    fn the_palette_runs_from_night_to_black() {
        assert_eq!(colour(255), [0, 7, 60]);
        assert_eq!(colour(0), [0, 0, 0]);
    }
}
