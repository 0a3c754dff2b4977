//! The compute threads, and their treatment of subnormal numbers.
//!
//! Weights that L2 regularization drives towards zero become subnormal numbers (below 1.2e-38 in
//! `f32`). Many processors compute up to a hundred times slower with them. Compute threads
//! therefore treat them as zero and write zero instead: flush-to-zero and denormals-are-zero on x86
//! (MXCSR), FZ on Arm (FPCR). Elsewhere nothing is changed.

use std::marker::PhantomData;
use std::sync::Once;

/// Starts the compute threads of Burn and the kernels: the given number, or one per core. They
/// flush subnormal numbers.
///
/// Only the first call in a process has an effect, and only if the program has not started rayon's
/// global pool itself. In that case the program's own threads stay as they are.
pub fn start(threads: Option<usize>) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Fails only if the program already has a pool, which stays.
        let _ = pool(threads).build_global();
    });
}

/// A pool with this many threads, or one per core, that flush subnormal numbers.
fn pool(threads: Option<usize>) -> rayon::ThreadPoolBuilder {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.start_handler(|_| std::mem::forget(FlushToZero::new()))
}

/// Makes the calling thread flush subnormal numbers until this is dropped.
///
/// Results may differ by up to 1.2e-38. (Rust and LLVM assume the default mode when they compute
/// constants. None of the constants here depends on subnormal numbers.)
#[must_use = "the mode lasts as long as this"]
pub struct FlushToZero {
    before: u64,
    /// The mode belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl FlushToZero {
    /// Sets the mode of this thread.
    pub fn new() -> Self {
        let before = mode();
        set_mode(before | FLUSH);
        Self {
            before,
            thread: PhantomData,
        }
    }
}

impl Default for FlushToZero {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FlushToZero {
    fn drop(&mut self) {
        set_mode(self.before);
    }
}

/// Flush-to-zero and denormals-are-zero.
#[cfg(target_arch = "x86_64")]
const FLUSH: u64 = 1 << 15 | 1 << 6;

#[cfg(target_arch = "x86_64")]
fn mode() -> u64 {
    let mut mxcsr = 0u32;
    // SAFETY: writes four bytes to the variable.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &mut mxcsr, options(nostack, preserves_flags))
    };
    mxcsr.into()
}

#[cfg(target_arch = "x86_64")]
fn set_mode(mode: u64) {
    let mxcsr = mode as u32;
    // SAFETY: a value that was read from the register, with bits that every x86-64 processor has.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &mxcsr, options(nostack, preserves_flags)) };
}

/// FZ.
#[cfg(target_arch = "aarch64")]
const FLUSH: u64 = 1 << 24;

#[cfg(target_arch = "aarch64")]
fn mode() -> u64 {
    let fpcr;
    // SAFETY: reads a register of this thread.
    unsafe {
        std::arch::asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags))
    };
    fpcr
}

#[cfg(target_arch = "aarch64")]
fn set_mode(mode: u64) {
    // SAFETY: a value that was read from the register, with a bit that every AArch64 processor has.
    unsafe {
        std::arch::asm!("msr fpcr, {}", in(reg) mode, options(nomem, nostack, preserves_flags))
    };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FLUSH: u64 = 0;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn mode() -> u64 {
    0
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn set_mode(_: u64) {}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Half of the smallest normal number, and a tenth of a subnormal one.
    fn subnormal() -> [f32; 2] {
        [
            black_box(f32::MIN_POSITIVE) * black_box(0.5),
            black_box(1e-39f32) * black_box(0.1),
        ]
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn subnormal_numbers_are_zero_on_compute_threads_and_come_back_elsewhere() {
        // Not the global pool, which another test may have started without this.
        let pool = pool(Some(2)).build().unwrap();
        assert!(subnormal().iter().all(|x| *x > 0.0));
        {
            let _flushed = FlushToZero::new();
            assert_eq!(subnormal(), [0.0; 2]);
        }
        assert!(
            subnormal().iter().all(|x| *x > 0.0),
            "the mode before is there again"
        );
        for found in pool.broadcast(|_| subnormal()) {
            assert_eq!(found, [0.0; 2]);
        }
    }
}
