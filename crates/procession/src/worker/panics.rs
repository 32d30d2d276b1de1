//! Turns a task's panic into data: message, place, stack. Panics of other threads print as usual.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use super::quietly;
use crate::stack::Stack;
use crate::wire::PanicReport;

thread_local! {
    static IS_CAPTURING: Cell<bool> = const { Cell::new(false) };
    static CAPTURED: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// Puts a hook before the present one. Once per process.
pub(super) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Where a panic aborts, nobody will send a report: standard error is all there is.
            if !IS_CAPTURING.get() || cfg!(panic = "abort") {
                return earlier(info);
            }
            let report = capture(info);
            if let Some(first) = CAPTURED.replace(Some(report)) {
                // A second panic may mean that the process aborts, so both are printed.
                eprintln!("panicked at {}: {}", first.location, first.message);
                earlier(info);
            }
        }));
    });
}

/// Runs something whose panics are to be captured on this thread.
pub(super) fn capturing<R>(run: impl FnOnce() -> R) -> R {
    CAPTURED.set(None);
    IS_CAPTURING.set(true);
    let result = run();
    IS_CAPTURING.set(false);
    result
}

/// Makes the report of a panic that was caught.
pub(super) fn report(payload: Box<dyn Any + Send>) -> PanicReport {
    let message = message_of(&*payload);
    // A payload's destructor may panic in its turn; then the payload is leaked.
    if let Err(second) = capturing_nothing(|| quietly(|| drop(payload))) {
        std::mem::forget(second);
    }
    match CAPTURED.take() {
        Some(report) if report.message == message => report,
        // The hook saw another panic last, which the task caught by itself.
        Some(_) | None => PanicReport { message, location: String::new(), stack: Stack::default() },
    }
}

fn capturing_nothing<R>(run: impl FnOnce() -> R) -> R {
    let kept = CAPTURED.take();
    let result = run();
    CAPTURED.set(kept);
    result
}

fn capture(info: &PanicHookInfo<'_>) -> PanicReport {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    PanicReport { message: message_of(info.payload()), location, stack: stack() }
}

/// The master gives it names, if anybody asks: here that would take the item's time and memory, and a lock that the
/// standard library wants again when there is no memory for it.
fn stack() -> Stack {
    let is_unwanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "0");
    if is_unwanted { Stack::default() } else { Stack::take() }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic with a value that is no text".to_owned()
    }
}
