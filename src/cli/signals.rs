//! What happens on SIGINT (Ctrl-C) and SIGTERM: work that can stop by itself is asked to, once;
//! else the process ends as the signal asks, and leaves no temporary file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use fer::files;

/// The exit code of work that was asked to stop a second time.
const INTERRUPTED: i32 = 1;

/// What the work that can stop by itself looks at.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

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

/// Asks the work to stop, or else ends the process by `end`, whose argument is the exit code if it
/// is not the signal's own.
fn received(end: impl FnOnce(Option<i32>)) {
    match STOP.get() {
        Some(stop) if !stop.swap(true, Ordering::Relaxed) => {
            super::say("finishing this step, then saving; once more to stop at once");
        }
        stop => {
            files::remove_unfinished();
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
