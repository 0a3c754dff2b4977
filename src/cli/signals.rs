//! What happens on SIGINT (Ctrl-C), SIGTERM and SIGHUP (a terminal that is closed): work that can
//! stop by itself is asked to, once; else the process ends as the signal asks, and leaves no
//! temporary file. On SIGHUP, a service loads its models anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use fer::files;

/// What the work that can stop by itself looks at.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What asks it to, if it can't look at a flag.
#[cfg(feature = "serve")]
static ASK: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Whether SIGHUP asks a service to load its models anew.
#[cfg(unix)]
static RELOADS: AtomicBool = AtomicBool::new(false);

/// Handles the signals from here on.
///
/// # Errors
/// The system does not allow it.
pub fn handle() -> Result<()> {
    listen().context("can't listen for signals")
}

/// What is said at the first signal.
#[cfg(any(feature = "train", feature = "video"))]
static SAYS: OnceLock<&'static str> = OnceLock::new();

/// The flag that the first signal sets from here on, instead of ending the process; `says` is what
/// it says then.
#[cfg(any(feature = "train", feature = "video"))]
pub fn stop_flag(says: Option<&'static str>) -> Arc<AtomicBool> {
    if let Some(says) = says {
        let _ = SAYS.set(says);
    }
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

    RELOADS.store(true, Ordering::Relaxed);
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

/// Asks the work to stop, or else ends the process by `end`.
fn received(end: impl FnOnce()) {
    match STOP.get() {
        Some(stop) if !stop.swap(true, Ordering::Relaxed) => {
            #[cfg(feature = "serve")]
            if let Some(ask) = ASK.get() {
                return ask();
            }
            #[cfg(any(feature = "train", feature = "video"))]
            SAYS.get().into_iter().for_each(super::say);
        }
        _ => {
            #[cfg(feature = "video")]
            fer::video::end_all();
            files::remove_unfinished();
            super::partial::interrupted();
            end();
        }
    }
}

#[cfg(unix)]
fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let wait = move || {
        for signal in &mut signals {
            if signal == SIGHUP && RELOADS.load(Ordering::Relaxed) {
                continue;
            }
            received(|| {
                // It does not run what libraries do at the end, as their threads are still at work.
                // It can't fail for these signals, whose default is the end of the process.
                let _ = low_level::emulate_default_handler(signal);
            });
        }
    };
    let name = "signals".to_owned();
    std::thread::Builder::new().name(name).spawn(wait)?;
    Ok(())
}

/// Whether the process was started to ignore a signal, as by `nohup`.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only reads the signal's action, into `now`, of which zeros are a value.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn listen() -> Result<(), ctrlc::Error> {
    // STATUS_CONTROL_C_EXIT, as when nothing handles Ctrl-C.
    const CONTROL_C: i32 = 0xC000_013A_u32 as i32;
    ctrlc::set_handler(|| received(|| std::process::exit(CONTROL_C)))
}
