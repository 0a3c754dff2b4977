//! Turns panics of third-party code into errors. An image decoder that panics costs one image, and
//! a driver that can't start costs one device, but not the program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread becomes an error. A panic hook should then print nothing.
pub fn are_caught() -> bool {
    CAUGHT.get()
}

/// Runs a function that may panic. After a panic, nothing that it was working on may be used.
///
/// # Errors
/// The panic's message.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    result.map_err(|panic| said(&*panic))
}

/// The first line of a panic's message.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.and_then(|text| text.lines().next())
        .unwrap_or("it panicked")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(
            caught(|| -> u8 { panic!("no {}\nat all", "good") }),
            Err("no good".to_string())
        );
        let inner = caught(|| {
            let _ = caught(|| panic!("inner"));
            are_caught()
        });
        assert_eq!((inner, are_caught()), (Ok(true), false));
    }
}
