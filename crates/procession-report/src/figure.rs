//! What all figures share: a frame, axes, bars. Shares of a frame come in, points of its view box go out.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::axis::Axis;
use crate::words;

/// All figures are so wide, in units of their view box; a page scales them.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 26.0;
/// For the axis below.
const BOTTOM: f64 = 46.0;

/// The area in which data is drawn, and the margins around it.
pub(crate) struct Frame {
    pub(crate) top: f64,
    pub(crate) height: f64,
}

impl Frame {
    /// Time from left to right, with room for the sessions' names above.
    pub(crate) fn timed(height: f64) -> Frame {
        Frame { top: 30.0, height }
    }

    /// With room for three marks above.
    pub(crate) fn plain(height: f64) -> Frame {
        Frame { top: 66.0, height }
    }

    /// The place of a share of the width.
    pub(crate) fn x(&self, share: f64) -> f64 {
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    /// The place of a share of the height, counted from below.
    pub(crate) fn y(&self, share: f64) -> f64 {
        self.top + (1.0 - share) * self.height
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// A coordinate in as few letters as a page wants.
pub(crate) fn n(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A figure with what it shows in words, for who cannot see it.
pub(crate) fn svg(frame: &Frame, name: &str, about: &str, content: Markup) -> Markup {
    let height = frame.bottom() + BOTTOM;
    html! {
        svg class="figure" viewBox=(format!("0 0 {WIDTH} {}", n(height))) role="img"
            aria-label=(format!("{name}. {about}"))
        {
            (content)
        }
    }
}

/// Lines across with their numbers, from 0 to `top`.
pub(crate) fn y_grid(frame: &Frame, step: f64, top: f64, text: impl Fn(f64) -> String, unit: &str) -> Markup {
    let count = if step > 0.0 { (top / step).round() as usize } else { 0 };
    let marks: Vec<(f64, String)> = (0..=count)
        .map(|line| (line as f64 * step / top.max(f64::MIN_POSITIVE), text(line as f64 * step)))
        .collect();
    y_marks(frame, &marks, unit)
}

/// Lines across at these shares of the height.
pub(crate) fn y_marks(frame: &Frame, marks: &[(f64, String)], unit: &str) -> Markup {
    html! {
        @for (share, text) in marks {
            @let y = n(frame.y(*share));
            path class="grid" d=(format!("M{} {y}H{}", n(frame.x(0.0)), n(frame.x(1.0)))) {}
            text class="tick" x=(n(LEFT - 10.0)) y=(y) dy=".35em" text-anchor="end" { (text) }
        }
        text class="unit" x=(n(LEFT - 10.0)) y=(n(frame.top - 16.0)) text-anchor="end" { (unit) }
    }
}

/// Ticks below at these shares of the width.
pub(crate) fn x_marks(frame: &Frame, marks: &[(f64, String)], unit: &str) -> Markup {
    let bottom = frame.bottom();
    html! {
        path class="axis" d=(format!("M{} {}H{}", n(frame.x(0.0)), n(bottom), n(frame.x(1.0)))) {}
        @for (share, text) in marks {
            @let x = n(frame.x(*share));
            path class="axis" d=(format!("M{x} {}v5", n(bottom))) {}
            text class="tick" x=(x) y=(n(bottom + 20.0)) text-anchor="middle" { (text) }
        }
        text class="unit" x=(n(frame.x(1.0))) y=(n(bottom + 40.0)) text-anchor="end" { (unit) }
    }
}

/// The time of every session below, and which session it is above.
pub(crate) fn time_axis(frame: &Frame, axis: &Axis) -> Markup {
    let bottom = n(frame.bottom());
    let many = axis.pieces().len() > 1;
    // Of sessions too short for their names, one is named where there is room.
    let (mut named_to, mut ticked_to) = (-1.0, -1.0);
    html! {
        @for (place, piece) in axis.pieces().iter().enumerate() {
            @let (left, right) = (piece.left, piece.right);
            path class="axis" d=(format!("M{} {bottom}H{}", n(frame.x(left)), n(frame.x(right)))) {}
            @if place > 0 {
                @let gap = frame.x((axis.pieces()[place - 1].right + left) / 2.0);
                path class="gap" d=(format!("M{} {}V{bottom}", n(gap), n(frame.top - 22.0))) {}
            }
            @let (step, ticks) = piece.ticks(0.1);
            @for (seconds, at) in ticks {
                @let x = n(frame.x(at));
                // Not where the next session's zero is.
                @let fits = at > ticked_to && (at < right - 0.04 || seconds == 0.0 || place + 1 == axis.pieces().len());
                @if fits {
                    path class="axis" d=(format!("M{x} {bottom}v5")) {}
                    text class="tick" x=(x) y=(n(frame.bottom() + 20.0)) text-anchor="middle" {
                        (words::tick(seconds, step))
                    }
                    ({ ticked_to = at + 0.05; "" })
                }
            }
            @if many && left > named_to {
                @let (name, width) = if right - left > 0.12 {
                    (format!("session {}", piece.span.session), 0.12)
                } else {
                    (piece.span.session.to_string(), 0.03)
                };
                text class="unit" x=(n(frame.x(left))) y=(n(frame.top - 10.0)) { (name) }
                ({ named_to = left + width; "" })
            }
        }
        text class="unit" x=(n(frame.x(1.0))) y=(n(frame.bottom() + 40.0)) text-anchor="end" {
            @if many { "time since each session began" } @else { "time since the run began" }
        }
    }
}

/// A bar between shares of the frame. A line of background is left between it and the next where it is wide enough.
pub(crate) fn bar(frame: &Frame, left: f64, right: f64, low: f64, high: f64, class: &str) -> Markup {
    let (x, width) = (frame.x(left), frame.x(right) - frame.x(left));
    let gap = if width > 3.0 { 1.0 } else { 0.0 };
    // Nothing that is there is invisible.
    let height = ((high - low) * frame.height).max(1.5);
    html! {
        rect class=(class) x=(n(x)) y=(n(frame.y(low) - height)) width=(n((width - gap).max(0.6))) height=(n(height)) {}
    }
}

/// A dashed line down from its name. Names in different rows do not meet.
pub(crate) fn mark(frame: &Frame, share: f64, row: usize, text: &str) -> Markup {
    let x = frame.x(share);
    let y = frame.top - 50.0 + 20.0 * row as f64;
    let (anchor, dx) = if share > 0.86 { ("end", -6.0) } else { ("start", 6.0) };
    html! {
        path class="mark" d=(format!("M{} {}V{}", n(x), n(y - 10.0), n(frame.bottom()))) {}
        text class="name" x=(n(x + dx)) y=(n(y)) text-anchor=(anchor) { (text) }
    }
}

/// An outline of steps: for each of neighbouring bins its edges and its height. It stands on `base`; heights are
/// upwards.
pub(crate) fn steps(base: f64, bins: impl Iterator<Item = (f64, f64, f64)>) -> String {
    let mut path = String::new();
    // Where the pen is: the right edge and the height, while it is above the base.
    let mut pen: Option<(f64, String)> = None;
    for (left, right, height) in bins {
        let high = n(base - height);
        match &pen {
            Some((_, at)) if height > 0.0 && *at == high => {}
            Some(_) if height > 0.0 => drop(write!(path, "H{}V{high}", n(left))),
            Some((_, _)) => drop(write!(path, "H{}V{}Z", n(left), n(base))),
            None if height > 0.0 => drop(write!(path, "M{} {}V{high}", n(left), n(base))),
            None => {}
        }
        pen = (height > 0.0).then_some((right, high));
    }
    if let Some((right, _)) = pen {
        let _ = write!(path, "H{}V{}Z", n(right), n(base));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_one_outline_a_piece() {
        let bins = [(0.0, 1.0, 2.0), (1.0, 2.0, 2.0), (2.0, 3.0, 1.0), (3.0, 4.0, 0.0), (4.0, 5.0, 3.0)];
        assert_eq!(steps(10.0, bins.into_iter()), "M0 10V8H2V9H3V10ZM4 10V7H5V10Z");
        assert_eq!(steps(10.0, std::iter::empty()), "");
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([n(3.0), n(3.04), n(3.16), n(-0.5)], ["3", "3", "3.2", "-0.5"]);
    }
}
