//! The transport alone: what ipc-channel costs between two processes, with nothing of ours in between.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Instant;

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};

const ECHO_VARIABLE: &str = "PROCESSION_BENCH_ECHO";
const ROUND_TRIPS: u64 = 20_000;
const MESSAGES: u64 = 200_000;

/// Both directions, as the echo process hands them over.
type Ends = (IpcSender<(u64, u64)>, IpcReceiver<(u64, u64)>);

/// Whether this process is the other end of the measurement.
pub(crate) fn is_echo() -> bool {
    std::env::var_os(ECHO_VARIABLE).is_some()
}

/// Sends back every message whose second number is not 0.
pub(crate) fn echo() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: echo process: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let name = std::env::var(ECHO_VARIABLE)?;
    let (to_us, ours) = ipc::channel()?;
    let (theirs, from_us) = ipc::channel()?;
    IpcSender::<Ends>::connect(name)?.send((to_us, from_us))?;
    while let Ok((number, answer)) = ours.recv() {
        if answer != 0 {
            theirs.send((number, answer))?;
        }
    }
    Ok(())
}

/// Nanoseconds per message there and back.
pub(crate) fn ping_pong() -> Result<f64, Box<dyn Error>> {
    with_echo(|sender, receiver| {
        let start = Instant::now();
        for number in 0..ROUND_TRIPS {
            sender.send((number, 1))?;
            receiver.recv()?;
        }
        Ok(start.elapsed().as_nanos() as f64 / ROUND_TRIPS as f64)
    })
}

/// Nanoseconds per message one way.
pub(crate) fn stream() -> Result<f64, Box<dyn Error>> {
    with_echo(|sender, receiver| {
        let start = Instant::now();
        for number in 0..MESSAGES {
            sender.send((number, u64::from(number + 1 == MESSAGES)))?;
        }
        receiver.recv()?;
        Ok(start.elapsed().as_nanos() as f64 / MESSAGES as f64)
    })
}

fn with_echo(
    measure: impl FnOnce(IpcSender<(u64, u64)>, &IpcReceiver<(u64, u64)>) -> Result<f64, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let (server, name) = IpcOneShotServer::<Ends>::new()?;
    let mut child = Command::new(std::env::current_exe()?).env(ECHO_VARIABLE, name).spawn()?;
    let (_, (sender, receiver)) = server.accept()?;
    let result = measure(sender, &receiver);
    drop(receiver);
    child.wait()?;
    result
}
