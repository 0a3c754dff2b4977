//! Vector instructions, chosen at run time (AVX-512, AVX2, NEON, or none), and buffers.

use std::ops::{Deref, DerefMut};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use pulp::{Arch, Simd, WithSimd};

static ARCH: LazyLock<Arch> = LazyLock::new(arch);

static LIMIT: OnceLock<usize> = OnceLock::new();

/// Limits the vectors to this many bits: 512, 256 (AVX2) or 0 (none), to test and measure what
/// other processors do. Only the first call in a process has an effect, before the kernels are
/// used.
pub fn limit(bits: usize) {
    LIMIT.get_or_init(|| bits);
}

/// The limit, if there is one; else the largest number.
pub(super) fn limited() -> usize {
    LIMIT.get().copied().unwrap_or(usize::MAX)
}

fn arch() -> Arch {
    let best = Arch::new();
    let Some(limit) = LIMIT.get() else {
        return best;
    };
    match best {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(v4) if *limit < 512 && *limit >= 256 => Arch::V3(*v4),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) if *limit >= 256 => best,
        _ if *limit >= 512 => best,
        _ => Arch::Scalar,
    }
}

/// The name of these instructions.
pub fn instructions() -> &'static str {
    match *ARCH {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) => "AVX-512",
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => "AVX2",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "NEON",
        Arch::Scalar => "no vectors",
        #[allow(unreachable_patterns, reason = "pulp may know others")]
        _ => "other vectors",
    }
}

/// Runs an operation with the widest instructions of this processor.
#[inline]
pub fn dispatch<Op: WithSimd>(operation: Op) -> Op::Output {
    ARCH.dispatch(operation)
}

/// Compiles a closure, and everything inlined into it, for the widest instructions of this
/// processor.
#[inline(always)]
pub fn vectorize<R>(operation: impl FnOnce() -> R) -> R {
    ARCH.dispatch(operation)
}

/// A closure that is always inlined. Code for the processor's instructions has to be inlined.
macro_rules! inlined {
    ($closure:expr) => {
        #[inline(always)]
        $closure
    };
}

/// Computes an expression with the widest instructions of this processor.
macro_rules! vectorized {
    ($body:expr) => {
        $crate::simd::vectorize(
            #[inline(always)]
            || $body,
        )
    };
}

pub(super) use {inlined, vectorized};

/// The number of channels in a panel: two vectors of this processor.
pub fn panel() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            VECTORS * S::F32_LANES
        }
    }
    static PANEL: LazyLock<usize> = LazyLock::new(|| dispatch(Width));
    *PANEL
}

/// Vectors per panel.
pub const VECTORS: usize = 2;

/// The number of `f32` values in a vector.
pub fn lanes() -> usize {
    panel() / VECTORS
}

/// Buffers for intermediate values whose old contents do not matter. They are kept for reuse.
static SCRATCH: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// The most buffers that are kept.
const SCRATCHES: usize = 8;

/// A buffer of `len` arbitrary values, which is returned to the pool when it is dropped.
pub(super) struct Scratch {
    buffer: Vec<f32>,
    /// The first value, which begins a line of the cache.
    start: usize,
    len: usize,
}

impl Scratch {
    /// Takes the smallest buffer that is large enough, or enlarges the largest one.
    pub fn new(len: usize) -> Self {
        let wanted = len;
        let len = wanted + 16;
        let mut kept = SCRATCH.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |b: &Vec<f32>| {
            (
                b.len() < len,
                if b.len() < len {
                    usize::MAX - b.len()
                } else {
                    b.len()
                },
            )
        };
        let best = (0..kept.len()).min_by_key(|i| fits(&kept[*i]));
        let mut buffer = best.map_or_else(Vec::new, |i| kept.swap_remove(i));
        drop(kept);
        if buffer.len() < len {
            // The old contents do not matter, so nothing is moved.
            buffer = Vec::new();
            buffer.resize(len, 0.0);
        }
        let start = buffer.as_ptr().align_offset(64).min(16);
        Self {
            buffer,
            start,
            len: wanted,
        }
    }
}

impl Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut kept = SCRATCH.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SCRATCHES {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// Values of which every 16th begins a line of the cache, so that no vector lies in two of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

/// A line of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Aligned {
    /// A copy of these values.
    pub fn new(values: &[f32]) -> Self {
        let lines = values.chunks(16).map(|values| {
            let mut line = Line([0.0; 16]);
            line.0[..values.len()].copy_from_slice(values);
            line
        });
        Self {
            lines: lines.collect(),
            len: values.len(),
        }
    }
}

impl Deref for Aligned {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: lines are values without gaps, as many as there are or more.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

/// A new buffer of `len` values.
///
/// # Safety
/// `fill` writes each of them before it returns.
pub(super) unsafe fn buffer(len: usize, fill: impl FnOnce(Shared)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(Shared {
        start: values.as_mut_ptr(),
        len,
    });
    // SAFETY: the capacity is there, and the values by the caller's promise.
    unsafe { values.set_len(len) };
    values
}

/// A mutable buffer that several threads write to, each its own part.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: a pointer to `f32`, which may be sent; code that writes through it promises in `part` not
// to overlap.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    /// All of `buffer`.
    pub fn new(buffer: &mut [f32]) -> Self {
        Self {
            start: buffer.as_mut_ptr(),
            len: buffer.len(),
        }
    }

    /// A pointer to the value at `offset`.
    #[inline(always)]
    pub fn at(self, offset: usize) -> *mut f32 {
        debug_assert!(offset <= self.len);
        // Never read or written outside of the buffer; where it is, the caller of the unsafe
        // function is at fault.
        self.start.wrapping_add(offset)
    }

    /// The buffer of `len` values from `offset`.
    #[inline(always)]
    pub fn section(self, offset: usize, len: usize) -> Self {
        assert!(offset + len <= self.len);
        Self {
            start: self.start.wrapping_add(offset),
            len,
        }
    }

    /// `len` values from `offset`, set to zero.
    ///
    /// # Safety
    /// As for [`Shared::part`], but that the values may be uninitialized.
    #[inline(always)]
    pub unsafe fn fresh<'a>(self, offset: usize, len: usize) -> &'a mut [f32] {
        assert!(offset + len <= self.len);
        // SAFETY: within the buffer by the assertion, and not shared by the caller's promise.
        unsafe {
            self.start.add(offset).write_bytes(0, len);
            self.part(offset, len)
        }
    }

    /// `len` values from `offset`, which are initialized.
    ///
    /// # Safety
    /// No other thread has these values at the same time, and the buffer outlives `'a`.
    #[inline(always)]
    pub unsafe fn part<'a>(self, offset: usize, len: usize) -> &'a mut [f32] {
        assert!(offset + len <= self.len);
        // SAFETY: within the buffer by the assertion, and not shared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), len) }
    }
}
