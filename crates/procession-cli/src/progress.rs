//! How far a run is, while it runs: on a terminal what each worker does and how far it all is, elsewhere a line now and then,
//! nothing if unwelcome.
//!
//! It only ever writes to stderr. What there is to see is asked of the run's [`Activity`] by a thread, so that it goes on
//! while the run's own waits. Whoever else writes to that terminal does so [beside](Screen::aside) it.

mod log;
mod pace;
mod painter;
mod picture;

use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::Term;

use self::pace::{Rate, Schedule};
use self::painter::Painter;
use self::picture::Room;
use crate::activity::Activity;
use crate::terminal;

pub(crate) use self::picture::{Doing, Picture, Sum, Worker};

/// What is over before this is not worth a picture.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// Between two pictures: often enough for a clock in tenths, seldom enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(125);

/// Who writes more often than this has the terminal for itself until the next look.
const BESIDE_EVERY: Duration = Duration::from_millis(10);

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

/// The terminal that progress is on, if it is on one.
#[derive(Clone, Default)]
pub(crate) struct Screen(Option<Arc<Mutex<Canvas>>>);

struct Canvas {
    terminal: Term,
    painter: Painter,
    /// What is to be seen, from the first look to the last.
    picture: Option<Picture>,
    painted: Option<Instant>,
    /// Somebody has begun a line and not ended it: nothing is painted before that.
    is_midline: bool,
}

/// A stream to the terminal that progress is on.
struct Beside<W> {
    screen: Screen,
    stream: W,
}

impl Progress {
    /// `prints_past` says that workers write to the terminal themselves, into whatever is painted there.
    pub(crate) fn new(is_welcome: bool, prints_past: bool) -> Progress {
        let may_paint = io::stderr().is_terminal() && !console::is_dumb() && !prints_past;
        let manner = match (is_welcome, may_paint) {
            (false, _) => Manner::Silent,
            (true, true) => Manner::Painted,
            (true, false) => Manner::Lines,
        };
        let screen = if manner == Manner::Painted { Screen::new() } else { Screen::bare() };
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
    fn new() -> Screen {
        let canvas = Canvas {
            terminal: Term::stderr(),
            painter: Painter::default(),
            picture: None,
            painted: None,
            is_midline: false,
        };
        Screen(Some(Arc::new(Mutex::new(canvas))))
    }

    /// One that shows nothing.
    pub(crate) fn bare() -> Screen {
        Screen(None)
    }

    /// Runs `write`, which writes whole lines, while nothing of ours is on the terminal.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let Some(mut canvas) = self.canvas() else { return write() };
        canvas.erase();
        let done = write();
        canvas.is_midline = false;
        canvas.paint_again();
        done
    }

    /// As [`aside`](Screen::aside), for text that may end within a line.
    pub(crate) fn pass<T>(&self, text: &[u8], write: impl FnOnce(&[u8]) -> T) -> T {
        let Some(mut canvas) = self.canvas() else { return write(text) };
        canvas.erase();
        let done = write(text);
        canvas.is_midline = text.last().map_or(canvas.is_midline, |last| *last != b'\n');
        canvas.paint_again();
        done
    }

    /// The same stream, beside what is shown here.
    pub(crate) fn beside(&self, stream: impl Write + 'static) -> Box<dyn Write> {
        match self.0 {
            Some(_) => Box::new(Beside { screen: self.clone(), stream }),
            None => Box::new(stream),
        }
    }

    fn show(&self, picture: Picture) {
        if let Some(mut canvas) = self.canvas() {
            canvas.picture = Some(picture);
            canvas.paint();
        }
    }

    fn end(&self) {
        if let Some(mut canvas) = self.canvas() {
            canvas.erase();
            canvas.picture = None;
        }
    }

    fn canvas(&self) -> Option<MutexGuard<'_, Canvas>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Canvas {
    /// Paints what had to go for somebody else.
    fn paint_again(&mut self) {
        if self.painted.is_none_or(|painted| painted.elapsed() >= BESIDE_EVERY) {
            self.paint();
        }
    }

    fn paint(&mut self) {
        let Some(picture) = self.picture.as_ref().filter(|_| !self.is_midline) else { return };
        if !is_in_foreground() {
            self.painter.forget();
            return;
        }
        let (rows, columns) = self.size();
        // The cursor has the last row. A line that ends in the last column would leave it there.
        let room = Room { rows: rows.saturating_sub(1), columns: columns.saturating_sub(1) };
        let bytes = self.painter.paint(picture.lines(room), columns);
        terminal::write(&bytes);
        self.painted = Some(Instant::now());
    }

    fn erase(&mut self) {
        let (_, columns) = self.size();
        terminal::write(&self.painter.erase(columns));
    }

    fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.terminal.size();
        (usize::from(rows), usize::from(columns))
    }
}

/// Whether the terminal is ours: that of a job in the background is its shell's.
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

impl<W: Write> Write for Beside<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = &mut self.stream;
        // Whatever it holds back would come at a time of its own.
        self.screen.pass(bytes, |bytes| stream.write_all(bytes).and_then(|()| stream.flush()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
