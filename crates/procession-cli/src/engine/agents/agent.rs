//! An agent as a command: it takes part in jobs until a signal asks it to leave.

use std::cell::RefCell;
use std::io;

use procession::Output;
use procession_cluster::{Agent, News, Request as Asked};

use super::stop;
use crate::cli;
use crate::echo;
use crate::exit::{Ending, Stop};
use crate::output::reason;
use crate::progress::Screen;
use crate::signals::{Request, Watch};
use crate::summary::counted;
use crate::terminal;

/// Takes part in jobs until a signal asks to leave.
pub(crate) fn agent(command: &cli::Agent) -> Result<Ending, Stop> {
    let mut agent = Agent::connect(&command.engine).map_err(|error| stop(&error))?;
    if let Some(workers) = command.workers {
        agent = agent.workers(workers);
    }
    agent = agent.configure(|pool| echo::repeat(pool.output(Output::Capture), Screen::bare()));
    let watch = Watch::start()
        .map_err(|error: io::Error| Stop::Broken(format!("cannot watch for signals: {}", reason(&error))))?;
    let say = |said: &str| {
        if !command.quiet {
            terminal::say(&terminal::printable(said));
        }
    };
    say(&format!("agent {} is there", agent.name()));
    let heard = RefCell::new(Request::Run);
    let request = || {
        let request = watch.request();
        if heard.replace(request) != request {
            watch.hear();
            say(match request {
                Request::Drain => "finishing what runs, then leaving; once more to stop it",
                Request::Run | Request::Stop => "stopping what runs",
            });
        }
        match request {
            Request::Run => Asked::Work,
            Request::Drain => Asked::Drain,
            Request::Stop => Asked::Stop,
        }
    };
    agent.run(request, |news| say(&told(&news))).map_err(|error| stop(&error))?;
    Ok(watch.signal().map_or(Ending::Complete, Ending::Signalled))
}

/// What an agent says of what happens to it.
fn told(news: &News) -> String {
    match news {
        News::Joined { job, task, workers } => {
            format!("job {job}: {task}, with {}", counted(*workers as u64, "worker"))
        }
        News::Left { job, items } => format!("job {job}: {} answered, left", counted(*items, "item")),
        News::Refused { job, why } => format!("job {job}: this agent takes no part: {why}"),
        News::Broken { job, why } => format!("job {job}: this agent cannot run anything: {why}"),
        News::Unreadable(what) => format!("a message that cannot be read: {what}"),
        News::Trouble(what) => format!("{what}; trying on"),
        News::Connected(true) => "the broker is there again".to_owned(),
        News::Connected(false) => "the broker is gone: keeping what there is until it is back".to_owned(),
        // More may be told one day.
        _ => String::new(),
    }
}
