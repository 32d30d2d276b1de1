//! Time from left to right: the sessions one after the other, without the time between them.

/// The time that a session took, from its first to its last sign of life. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) session: i64,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

impl Span {
    /// Makes room for a point in time.
    pub(crate) fn include(&mut self, time: f64) {
        self.start = self.start.min(time);
        self.end = self.end.max(time);
    }

    /// How long it is: never nothing, so that it can be divided by.
    pub(crate) fn seconds(&self) -> f64 {
        (self.end - self.start).max(1e-6)
    }
}

/// Where points in time are, as shares of a figure's width.
#[derive(Debug)]
pub(crate) struct Axis {
    /// In the order of their sessions' numbers.
    pieces: Vec<Piece>,
}

/// A span and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) span: Span,
    pub(crate) left: f64,
    pub(crate) right: f64,
}

/// The gaps between sessions have this share of the width together at most.
const GAPS_MAX: f64 = 0.2;
const GAP: f64 = 0.014;
/// However short, a session can be seen.
const SHORTEST: f64 = 0.02;

impl Axis {
    /// `spans` are in the order of their sessions' numbers.
    pub(crate) fn new(spans: &[Span]) -> Axis {
        let count = spans.len() as f64;
        let gap = GAP.min(GAPS_MAX / count.max(1.0));
        let room = 1.0 - gap * (count - 1.0).max(0.0);
        let shortest = SHORTEST.min(0.5 * room / count.max(1.0));
        let total: f64 = spans.iter().map(Span::seconds).sum();
        let left_over = room - shortest * count;
        let mut left = 0.0;
        let pieces = spans.iter().map(|span| {
            let piece =
                Piece { span: *span, left, right: left + shortest + left_over * span.seconds() / total };
            left = piece.right + gap;
            piece
        });
        Axis { pieces: pieces.collect() }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn find(&self, session: i64) -> Option<usize> {
        self.pieces.binary_search_by_key(&session, |piece| piece.span.session).ok()
    }

    /// Where a point in time of a session is; None where there is no such session.
    pub(crate) fn at(&self, session: i64, time: f64) -> Option<f64> {
        Some(self.pieces[self.find(session)?].at(time))
    }
}

impl Piece {
    fn at(&self, time: f64) -> f64 {
        let share = ((time - self.span.start) / self.span.seconds()).clamp(0.0, 1.0);
        self.left + share * (self.right - self.left)
    }

    /// Points in time that are worth a label, about `distance` apart as a share of the figure's width: their distance
    /// in seconds, and seconds since the session's start with their places.
    pub(crate) fn ticks(&self, distance: f64) -> (f64, Vec<(f64, f64)>) {
        let wanted = self.span.seconds() * distance / (self.right - self.left);
        let step = nice_time(wanted);
        let count = (self.span.seconds() / step).floor() as usize;
        let ticks = (0..=count).map(|tick| {
            let seconds = tick as f64 * step;
            (seconds, self.at(self.span.start + seconds))
        });
        (step, ticks.collect())
    }
}

/// Equal pieces of every session's time.
#[derive(Debug)]
pub(crate) struct Bins {
    /// For each session: its first bin, and how many there are.
    runs: Vec<(usize, usize)>,
}

impl Bins {
    /// About `wanted` of them, and at least one a session.
    pub(crate) fn new(axis: &Axis, wanted: usize) -> Bins {
        let mut first = 0;
        let runs = axis.pieces.iter().map(|piece| {
            let bins = ((piece.right - piece.left) * wanted as f64).round().max(1.0) as usize;
            first += bins;
            (first - bins, bins)
        });
        Bins { runs: runs.collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.last().map_or(0, |(first, bins)| first + bins)
    }

    /// The bin of a point in time; None where there is no such session.
    pub(crate) fn at(&self, axis: &Axis, session: i64, time: f64) -> Option<usize> {
        let run = axis.find(session)?;
        let (first, bins) = self.runs[run];
        let span = axis.pieces[run].span;
        let share = (time - span.start) / span.seconds();
        Some(first + ((share * bins as f64).max(0.0) as usize).min(bins - 1))
    }

    /// Calls `add` with every bin that a time touches, and for how many seconds.
    pub(crate) fn spread(
        &self,
        axis: &Axis,
        session: i64,
        start: f64,
        seconds: f64,
        mut add: impl FnMut(usize, f64),
    ) {
        let Some(run) = axis.find(session) else { return };
        let (first, bins) = self.runs[run];
        let span = axis.pieces[run].span;
        let width = span.seconds() / bins as f64;
        let (from, to) = ((start - span.start).max(0.0), (start + seconds - span.start).min(span.seconds()));
        let mut bin = ((from / width) as usize).min(bins - 1);
        loop {
            let overlap = to.min((bin + 1) as f64 * width) - from.max(bin as f64 * width);
            add(first + bin, overlap.max(0.0));
            bin += 1;
            if bin >= bins || bin as f64 * width >= to {
                return;
            }
        }
    }

    /// Each session's bins, with how long each of them is.
    pub(crate) fn runs<'a>(&'a self, axis: &'a Axis) -> impl Iterator<Item = Run<'a>> {
        self.runs.iter().zip(&axis.pieces).map(|(&(first, bins), piece)| Run { piece, first, bins })
    }
}

/// The bins of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) piece: &'a Piece,
    pub(crate) first: usize,
    pub(crate) bins: usize,
}

impl Run<'_> {
    /// How long a bin is, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.piece.span.seconds() / self.bins as f64
    }

    /// Where the bin's edges are.
    pub(crate) fn edges(&self, bin: usize) -> (f64, f64) {
        let width = (self.piece.right - self.piece.left) / self.bins as f64;
        let left = self.piece.left + (bin - self.first) as f64 * width;
        (left, left + width)
    }

    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.bins
    }
}

/// The next larger duration that people count in.
fn nice_time(seconds: f64) -> f64 {
    const NICE: [f64; 20] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
        10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0,
    ];
    if seconds < 0.5 {
        return nice(seconds);
    }
    NICE.into_iter().find(|step| *step >= seconds).unwrap_or_else(|| nice(seconds / 86_400.0) * 86_400.0)
}

/// The next larger 1, 2 or 5 with zeros.
pub(crate) fn nice(number: f64) -> f64 {
    let unit = 10_f64.powf(number.max(1e-12).log10().floor());
    let factor =
        [1.0, 2.0, 5.0].into_iter().find(|factor| factor * unit >= number * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> Axis {
        Axis::new(&[
            Span { session: 1, start: 100.0, end: 130.0 },
            Span { session: 3, start: 9_000.0, end: 9_060.0 },
        ])
    }

    #[test]
    fn sessions_lie_side_by_side() {
        let axis = axis();
        assert_eq!(axis.at(1, 0.0), Some(0.0), "what was before is at the beginning");
        assert_eq!(axis.at(2, 100.0), None);
        let (end, begin, last) =
            (axis.at(1, 130.0).unwrap(), axis.at(3, 9_000.0).unwrap(), axis.at(3, 9_060.0).unwrap());
        assert!((begin - end - GAP).abs() < 1e-9, "{end} {begin}");
        assert!((last - 1.0).abs() < 1e-9, "{last}");
        assert!(last - begin > 1.8 * end && last - begin < 2.2 * end);
    }

    #[test]
    fn seconds_are_spread_and_none_is_lost() {
        let axis = axis();
        let bins = Bins::new(&axis, 90);
        for (session, start, seconds, inside) in [
            (1, 100.0, 30.0, 30.0),
            (1, 101.25, 0.01, 0.01),
            (3, 9_059.0, 5.0, 1.0),
            (3, 8_000.0, 1_010.0, 10.0),
        ] {
            let mut sum = 0.0;
            bins.spread(&axis, session, start, seconds, |bin, part| {
                assert!(bin < bins.len());
                sum += part;
            });
            assert!((sum - inside).abs() < 1e-6, "{sum} of {inside}");
        }
        bins.spread(&axis, 7, 0.0, 1.0, |_, _| panic!("there is no such session"));
        assert_eq!(bins.at(&axis, 3, 1e9), Some(bins.len() - 1));
    }

    #[test]
    fn many_sessions_and_none_find_a_place() {
        let spans: Vec<Span> = (0..500)
            .map(|session| Span { session, start: 5.0, end: if session == 0 { 1e6 } else { 5.0 } })
            .collect();
        let axis = Axis::new(&spans);
        assert!(axis.pieces().iter().all(|piece| piece.right > piece.left && piece.right < 1.0 + 1e-9));
        assert_eq!(
            Bins::new(&axis, 100).len(),
            Bins::new(&axis, 100).runs(&axis).map(|run| run.bins).sum::<usize>()
        );
        assert_eq!(Bins::new(&Axis::new(&[]), 100).len(), 0);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            [nice(0.7), nice(1.0), nice(21.0), nice(6e-5)].map(|n| (n * 1e5).round() as u64),
            [100_000, 100_000, 5_000_000, 10]
        );
        assert_eq!(
            [nice_time(0.03), nice_time(7.0), nice_time(2_000.0), nice_time(2e6)],
            [0.05, 10.0, 3_600.0, 50.0 * 86_400.0]
        );
        let (step, ticks) = axis().pieces()[1].ticks(0.1);
        assert_eq!((step, ticks.len(), ticks[1].0), (10.0, 7, 10.0));
    }
}
