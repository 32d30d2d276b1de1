//! A picture in rows: work whose items cost very different amounts.

use procession::task;

/// One row of a picture of the Mandelbrot set, one byte for each pixel: 0 inside, lighter the faster it escapes.
///
/// The picture shows the plane from −2.25 to 0.75 across and from −1.5 to 1.5 down, whatever its size.
/// Rows through the middle take `max_iterations` for most of their pixels, those at the edges only a few.
///
/// ```
/// use procession_tasks::picture::mandelbrot_row;
///
/// let middle = mandelbrot_row(32, 64, 64, 100);
/// assert_eq!(middle.len(), 64);
/// assert_eq!(middle[48], 0); // 0 + 0i, inside
/// assert!(middle[0] > 200); // −2.25 + 0i, outside at once
/// ```
///
/// # Panics
/// If `y` is not below `height`.
#[task(idempotent)]
pub fn mandelbrot_row(y: u32, width: u32, height: u32, max_iterations: u32) -> Vec<u8> {
    assert!(y < height, "row {y} is not in a picture of {height} rows");
    let imaginary = 3.0 * f64::from(y) / f64::from(height) - 1.5;
    (0..width)
        .map(|x| {
            let real = 3.0 * f64::from(x) / f64::from(width) - 2.25;
            match iterations_to_escape(real, imaginary, max_iterations) {
                Some(iterations) => shade(iterations, max_iterations),
                None => 0,
            }
        })
        .collect()
}

/// How many steps of z² + c it takes to be sure that z grows without bound. `None`: more than `max_iterations`.
fn iterations_to_escape(real: f64, imaginary: f64, max_iterations: u32) -> Option<u32> {
    let (mut re, mut im) = (0.0, 0.0);
    (0..max_iterations).find(|_| {
        (re, im) = (re * re - im * im + real, 2.0 * re * im + imaginary);
        re * re + im * im > 4.0
    })
}

/// From 255 for a point that escapes at once down to 1, so that no point outside looks like one inside.
fn shade(iterations: u32, max_iterations: u32) -> u8 {
    let darkness = 254 * u64::from(iterations) / u64::from(max_iterations.max(1));
    255 - u8::try_from(darkness).unwrap_or(254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_symmetric() {
        for y in 1..32 {
            assert_eq!(mandelbrot_row(y, 64, 64, 50), mandelbrot_row(64 - y, 64, 64, 50), "row {y}");
        }
    }

    #[test]
    fn points_inside_never_escape() {
        assert_eq!(iterations_to_escape(0.0, 0.0, 1000), None);
        assert_eq!(iterations_to_escape(-1.0, 0.0, 1000), None);
        assert_eq!(iterations_to_escape(2.0, 2.0, 1000), Some(0));
    }

    #[test]
    fn empty_pictures_are_empty() {
        assert_eq!(mandelbrot_row(0, 0, 1, 10), Vec::<u8>::new());
        assert_eq!(mandelbrot_row(0, 2, 1, 0), [0, 0]);
    }
}
