//! What happens on SIGINT (Ctrl-C) and SIGTERM: work that can stop by itself is asked to, once;
//! else the process ends as the signal asks, and leaves no temporary file. On SIGHUP, a service
//! loads its models anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use fer::files;

/// The exit code of work that was asked to stop a second time.
const INTERRUPTED: i32 = 1;

/// What the work that can stop by itself looks at.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What asks it to, if it can't look at a flag.
#[cfg(feature = "serve")]
static ASK: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Handles the signals from here on.
///
/// # Errors
/// The system does not allow it.
pub fn handle() -> Result<()> {
    listen().context("can't listen for signals")
}

/// The flag that the first signal sets from here on, instead of ending the process.
#[cfg(any(feature = "train", feature = "video"))]
pub fn stop_flag() -> Arc<AtomicBool> {
    Arc::clone(STOP.get_or_init(Arc::default))
}

/// Calls `ask` at the first signal from here on, instead of ending the process.
#[cfg(feature = "serve")]
pub fn on_stop(ask: impl Fn() + Send + Sync + 'static) {
    // Once a process: nothing asked before.
    let _ = ASK.set(Box::new(ask));
    STOP.get_or_init(Arc::default);
}

/// Calls `reload` at each SIGHUP from here on, on a thread of its own.
///
/// # Errors
/// The system does not allow it.
#[cfg(all(unix, feature = "serve"))]
pub fn on_hangup(reload: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::SIGHUP;
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGHUP])?;
    let wait = move || signals.forever().for_each(|_| reload());
    std::thread::Builder::new()
        .name("reload".to_owned())
        .spawn(wait)?;
    Ok(())
}

/// This system lacks SIGHUP.
#[cfg(all(not(unix), feature = "serve"))]
pub fn on_hangup(_: impl Fn() + Send + 'static) -> std::io::Result<()> {
    Ok(())
}

/// Asks the work to stop, or else ends the process by `end`, whose argument is the exit code if it
/// is not the signal's own.
fn received(end: impl FnOnce(Option<i32>)) {
    match STOP.get() {
        Some(stop) if !stop.swap(true, Ordering::Relaxed) => {
            #[cfg(feature = "serve")]
            if let Some(ask) = ASK.get() {
                return ask();
            }
            super::say("finishing this step, then saving; once more to stop at once");
        }
        stop => {
            #[cfg(feature = "video")]
            fer::video::end_all();
            files::remove_unfinished();
            super::partial::interrupted();
            end(stop.map(|_| INTERRUPTED));
        }
    }
}

#[cfg(unix)]
fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || {
        for signal in &mut signals {
            // Neither runs what libraries do at the end, as their threads are still at work.
            received(|code| match code {
                Some(code) => low_level::exit(code),
                None => {
                    // It can't fail for these signals, whose default is the end of the process.
                    let _ = low_level::emulate_default_handler(signal);
                }
            });
        }
    };
    let name = "signals".to_owned();
    std::thread::Builder::new().name(name).spawn(wait)?;
    Ok(())
}

#[cfg(not(unix))]
fn listen() -> Result<(), ctrlc::Error> {
    // STATUS_CONTROL_C_EXIT, as when nothing handles Ctrl-C.
    const CONTROL_C: i32 = 0xC000_013A_u32 as i32;
    ctrlc::set_handler(|| received(|code| std::process::exit(code.unwrap_or(CONTROL_C))))
}
