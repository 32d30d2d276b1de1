//! How far a run is, while it runs: on a terminal what each worker does and how far it all is, elsewhere a line now and then,
//! nothing if unwelcome.
//!
//! It only ever writes to stderr. What there is to see is asked of the run's [`Activity`] by a thread, so that it goes on
//! while the run's own waits. Whoever else writes to that terminal does so [beside](Screen::aside) it.

mod canvas;
#[cfg(test)]
mod emulated;
mod log;
mod pace;
mod painter;
mod picture;

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use console::Term;

use self::canvas::{Canvas, Piece, Size};
use self::pace::{Rate, Schedule};
use crate::activity::Activity;
use crate::terminal::{self, Stream};

pub(crate) use self::picture::{Doing, Picture, Sum, Worker};

/// What is over before this is not worth a picture.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// Between two pictures: often enough for a clock in tenths, seldom enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(125);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Painted,
    Lines,
    Silent,
}

/// The progress of one run.
pub(crate) struct Progress {
    manner: Manner,
    screen: Screen,
    observer: Option<Observer>,
}

/// The thread that looks at the run. It ends when nobody can tell it to any more.
struct Observer {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// The terminal that stderr is, if it is one. Where it has a picture, all that others write there comes with the next look.
#[derive(Clone, Default)]
pub(crate) struct Screen(Option<Arc<Mutex<Shown>>>);

struct Shown {
    terminal: Term,
    canvas: Canvas,
    /// Why stdout takes no more, until whoever writes there has heard of it.
    failure: Option<io::Error>,
}

/// Stdout, on the terminal that progress is on.
struct Beside(Screen);

impl Progress {
    /// `prints_past` says that workers write to the terminal themselves, into whatever is painted there.
    pub(crate) fn new(is_welcome: bool, prints_past: bool) -> Progress {
        let screen = if prints_past { Screen::bare() } else { Screen::of_stderr() };
        let may_paint = screen.0.is_some() && !console::is_dumb();
        let manner = match (is_welcome, may_paint) {
            (false, _) => Manner::Silent,
            (true, true) => Manner::Painted,
            (true, false) => Manner::Lines,
        };
        Progress { manner, screen, observer: None }
    }

    /// Whether what each item is called will be seen.
    pub(crate) fn shows_items(&self) -> bool {
        self.manner == Manner::Painted
    }

    /// Looks at a run from here on. A system without a thread to spare runs jobs without progress.
    pub(crate) fn watch(&mut self, activity: Activity) {
        let (manner, screen) = (self.manner, self.screen.clone());
        if manner == Manner::Silent {
            return;
        }
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let (mut schedule, mut rate) = (Schedule::new(), Rate::default());
            let mut look = || activity.picture(|running, done| rate.look(running, done));
            let mut wait = FIRST_LOOK;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
                wait = LOOK_EVERY;
                match manner {
                    Manner::Painted => screen.show(look()),
                    Manner::Lines if schedule.is_due(activity.running()) => {
                        terminal::say(&log::line(&look()));
                    }
                    Manner::Lines | Manner::Silent => {}
                }
            }
        };
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(watch);
        self.observer = thread.ok().map(|thread| Observer { stop, thread });
    }

    /// Where it is shown, for other threads and for whoever writes there.
    pub(crate) fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// Takes it away.
    pub(crate) fn finish(&mut self) {
        if let Some(Observer { stop, thread }) = self.observer.take() {
            drop(stop);
            let _ = thread.join();
        }
        self.screen.end();
    }
}

impl Screen {
    /// The terminal that stderr is; bare where it is none.
    fn of_stderr() -> Screen {
        let terminal = Term::stderr();
        if !terminal.is_term() {
            return Screen::bare();
        }
        let shown = Shown { terminal, canvas: Canvas::default(), failure: None };
        Screen(Some(Arc::new(Mutex::new(shown))))
    }

    /// One that shows nothing.
    pub(crate) fn bare() -> Screen {
        Screen(None)
    }

    /// Says lines on stderr, each without its end. They begin a line of their own.
    pub(crate) fn say(&self, lines: &str) {
        let Some(mut shown) = self.shown() else { return terminal::say(lines) };
        let begin = if shown.canvas.is_midline() { "\n" } else { "" };
        shown.take(Stream::Err, format!("{begin}{lines}\n").as_bytes());
    }

    /// Writes to stderr what may end within a line. That it is closed is no reason to stop.
    pub(crate) fn pass(&self, text: &[u8]) {
        match self.shown() {
            Some(mut shown) => shown.take(Stream::Err, text),
            None => drop(terminal::put(Stream::Err, text)),
        }
    }

    /// Runs `write` while nothing of ours is on the terminal.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let Some(mut shown) = self.shown() else { return write() };
        shown.clear();
        let done = write();
        shown.paint();
        done
    }

    /// Stdout beside what is shown here, if it is the same terminal.
    pub(crate) fn beside(&self) -> Option<Box<dyn Write>> {
        (self.0.is_some() && terminal::is_one()).then(|| Box::new(Beside(self.clone())) as Box<dyn Write>)
    }

    /// Whether there is a picture, so that text waits here.
    pub(crate) fn is_painted(&self) -> bool {
        self.shown().is_some_and(|shown| shown.canvas.is_painted())
    }

    /// Whether what was written to stdout waits here.
    pub(crate) fn holds_stdout(&self) -> bool {
        self.shown().is_some_and(|shown| shown.canvas.holds(Some(Stream::Out)))
    }

    fn show(&self, picture: Picture) {
        if let Some(mut shown) = self.shown() {
            shown.canvas.set_picture(Some(picture));
            shown.paint();
        }
    }

    fn end(&self) {
        if let Some(mut shown) = self.shown() {
            shown.canvas.set_picture(None);
            shown.clear();
        }
    }

    fn shown(&self) -> Option<MutexGuard<'_, Shown>> {
        let mut shown = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        if !shown.canvas.holds(None) {
            shown.canvas.set_midline(terminal::is_midline());
        }
        Some(shown)
    }
}

impl Shown {
    /// Takes a text on its way to the terminal. Nothing is held back where there is no picture.
    fn take(&mut self, stream: Stream, text: &[u8]) {
        let is_painted = self.canvas.is_painted();
        let mut rest = text;
        loop {
            rest = self.canvas.hold(stream, rest);
            if rest.is_empty() && is_painted {
                return;
            }
            if is_painted && !self.canvas.is_midline() {
                self.paint();
            } else {
                // A line longer than may be held stays whole: the picture comes back with the next look.
                self.clear();
            }
            if rest.is_empty() {
                return;
            }
        }
    }

    fn paint(&mut self) {
        let pieces = if is_in_foreground() { self.canvas.paint(self.size()) } else { self.canvas.leave() };
        self.write(pieces);
    }

    fn clear(&mut self) {
        let pieces = self.canvas.clear(self.size());
        self.write(pieces);
    }

    fn write(&mut self, pieces: Vec<Piece>) {
        if pieces.is_empty() {
            return;
        }
        for Piece { stream, bytes } in pieces {
            match (terminal::put(stream, &bytes), stream) {
                (Err(error), Stream::Out) => self.failure = Some(error),
                // A closed stderr is no reason to stop.
                (Err(_), Stream::Err) | (Ok(()), _) => {}
            }
        }
        terminal::set_midline(self.canvas.is_midline());
    }

    fn size(&self) -> Size {
        let (rows, columns) = self.terminal.size();
        Size { rows: usize::from(rows), columns: usize::from(columns) }
    }
}

/// Whether the terminal is ours: that of a job in the background is its shell's.
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(mut shown) = self.0.shown() {
            shown.take(Stream::Out, bytes);
        }
        self.flush().map(|()| bytes.len())
    }

    /// What is held comes with the next look all the same.
    fn flush(&mut self) -> io::Result<()> {
        let failure = self.0.shown().and_then(|mut shown| shown.failure.take());
        failure.map_or(Ok(()), Err)
    }
}
