//! Products of packed matrices. Convolutions spend most of their time here.
//!
//! A *packed* matrix of `rows × columns` is a sequence of panels of [`panel()`] columns (the last
//! one padded). Each panel is `rows × panel()` and contiguous. Operands and results are always in
//! this form: the transforms of `winograd.rs` and `patches.rs` write it directly, so there is no
//! packing step.
//!
//! The kernel keeps `R × 2` vectors of the result in registers, with R = 12 for 32 registers and 6
//! for 16 (Goto & van de Geijn 2008). In each step it multiplies two vectors of B by R single
//! values of A.
//!
//! [`panel()`]: super::simd::panel

use pulp::{Simd, WithSimd};

use super::simd::{Scratch, Shared, VECTORS, dispatch, inlined, panel};
use super::team::parallel;

/// The length of the sums before they are stored in the result and loaded again, so that a panel of
/// B stays in the L1 cache.
const DEPTH: usize = 512;

/// Rows of the result that one task computes.
const ROWS: usize = 96;

/// Of fewer tasks, each computes one panel of the result's columns.
const FEW: usize = 32;

/// A packed operand: `batch` matrices of `rows × columns`, one after another, with `pitch` values
/// from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panelled {
    /// The number of matrices.
    pub batch: usize,
    /// Rows of each matrix.
    pub rows: usize,
    /// Columns of each matrix.
    pub columns: usize,
}

impl Panelled {
    /// The distance from one matrix to the next. It is one panel row more than needed: powers of
    /// two would map all matrices to the same few cache lines. Inner loops ask for it once: it
    /// looks up the processor's vectors, which the compiler can't take out of them.
    pub fn pitch(self) -> usize {
        self.panels() * self.panel() + panel()
    }

    /// The distance from one panel to the next.
    pub fn panel(self) -> usize {
        self.rows * panel()
    }

    /// Panels of each matrix.
    pub fn panels(self) -> usize {
        self.columns.div_ceil(panel())
    }

    /// The number of values of all matrices, including padding.
    pub fn values(self) -> usize {
        self.batch * self.pitch()
    }
}

/// `c = a · b` for each matrix of the batch: `[rows, inner] · [inner, columns]`.
pub fn multiply(a: &[f32], a_shape: Panelled, b: &[f32], b_shape: Panelled, c: &mut [f32]) {
    let c_shape = Panelled {
        columns: b_shape.columns,
        ..a_shape
    };
    assert!(a_shape.batch == b_shape.batch && a_shape.columns == b_shape.rows);
    assert!(
        a.len() >= a_shape.values() && b.len() >= b_shape.values() && c.len() >= c_shape.values()
    );
    let c = Shared::new(c);
    let (blocks, panels) = (a_shape.rows.div_ceil(ROWS), b_shape.panels());
    let parts = if a_shape.batch * blocks < FEW {
        panels
    } else {
        1
    };
    parallel(a_shape.batch * blocks * parts, |task| {
        let (rest, part) = (task / parts, task % parts);
        let (matrix, block) = (rest / blocks, rest % blocks);
        let rows = block * ROWS..a_shape.rows.min((block + 1) * ROWS);
        dispatch(Multiply {
            a: a[matrix * a_shape.pitch()..].as_ptr(),
            a_shape,
            b: b[matrix * b_shape.pitch()..].as_ptr(),
            b_shape,
            c: c.at(matrix * c_shape.pitch()),
            rows,
            columns: part * panels / parts..(part + 1) * panels / parts,
        });
    });
}

/// Values of a line of the cache.
const LINE: usize = 16;

/// How many values ahead of its use B is brought into the L2 cache, where it is read for the first
/// time.
const AHEAD: usize = 2048;

/// Brings the line of the cache at an address, which need not be one, into the L2 cache.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

struct Multiply {
    a: *const f32,
    a_shape: Panelled,
    b: *const f32,
    b_shape: Panelled,
    c: *mut f32,
    rows: std::ops::Range<usize>,
    /// Panels.
    columns: std::ops::Range<usize>,
}

impl WithSimd for Multiply {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            a,
            a_shape,
            b,
            b_shape,
            c,
            rows,
            columns,
        } = self;
        let width = VECTORS * S::F32_LANES;
        let inner = a_shape.columns;
        // DEPTH is a multiple of every panel width.
        for depth in (0..inner).step_by(DEPTH) {
            let steps = DEPTH.min(inner - depth);
            for column in columns.clone() {
                for_rows::<S>(
                    rows.clone(),
                    inlined!(|row, count| {
                        // The first block reads B from afar.
                        let ahead = if row == rows.start { AHEAD } else { 0 };
                        // SAFETY: `multiply` has checked the buffers' lengths against the shapes,
                        // within which all offsets lie; no other task writes these rows and
                        // columns of this matrix.
                        unsafe {
                            let product = Product {
                                a: a.add(depth * a_shape.rows + row * width),
                                a_row: width,
                                a_step: 1,
                                a_panel: a_shape.panel(),
                                per_panel: width,
                                b: b.add(column * b_shape.panel() + depth * width),
                                steps,
                                c: c.add(column * a_shape.rows * width + row * width),
                                c_row: width,
                                add: depth > 0,
                                ahead,
                            };
                            product.run(simd, count);
                        }
                    }),
                );
            }
        }
    }
}

/// `c = aᵀ · b` for each matrix of the batch: `[inner, rows]ᵀ · [inner, columns]`. With `add`, the
/// product is added to `c`.
pub fn multiply_transposed(
    a: &[f32],
    a_shape: Panelled,
    b: &[f32],
    b_shape: Panelled,
    c: &mut [f32],
    add: bool,
) {
    let c_shape = Panelled {
        batch: a_shape.batch,
        rows: a_shape.columns,
        columns: b_shape.columns,
    };
    assert!(a_shape.batch == b_shape.batch && a_shape.rows == b_shape.rows);
    assert!(
        a.len() >= a_shape.values() && b.len() >= b_shape.values() && c.len() >= c_shape.values()
    );
    let c = Shared::new(c);
    // A task has as many panels of A as give about ROWS rows of the result.
    let span = (ROWS / panel()).max(1);
    let blocks = a_shape.panels().div_ceil(span);
    parallel(a_shape.batch * blocks, |task| {
        let (matrix, block) = (task / blocks, task % blocks);
        dispatch(MultiplyTransposed {
            a: a[matrix * a_shape.pitch()..].as_ptr(),
            a_shape,
            b: b[matrix * b_shape.pitch()..].as_ptr(),
            b_shape,
            c: c.at(matrix * c_shape.pitch()),
            panels: block * span..a_shape.panels().min((block + 1) * span),
            add,
        });
    });
}

struct MultiplyTransposed {
    a: *const f32,
    a_shape: Panelled,
    b: *const f32,
    b_shape: Panelled,
    c: *mut f32,
    panels: std::ops::Range<usize>,
    add: bool,
}

impl WithSimd for MultiplyTransposed {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            a,
            a_shape,
            b,
            b_shape,
            c,
            panels,
            add,
        } = self;
        let width = VECTORS * S::F32_LANES;
        for depth in (0..a_shape.rows).step_by(DEPTH) {
            let steps = DEPTH.min(a_shape.rows - depth);
            for column in 0..b_shape.panels() {
                for panel in panels.clone() {
                    let rows = width.min(a_shape.columns - panel * width);
                    for_rows::<S>(
                        0..rows,
                        inlined!(|row, count| {
                            // SAFETY: as in `Multiply`; no other task has these panels of this
                            // matrix's A.
                            unsafe {
                                let product = Product {
                                    a: a.add(panel * a_shape.panel() + depth * width + row),
                                    a_row: 1,
                                    a_step: width,
                                    a_panel: 0,
                                    per_panel: steps,
                                    b: b.add(column * b_shape.panel() + depth * width),
                                    steps,
                                    c: c.add(
                                        column * a_shape.columns * width
                                            + (panel * width + row) * width,
                                    ),
                                    c_row: width,
                                    add: add || depth > 0,
                                    ahead: 0,
                                };
                                product.run(simd, count);
                            }
                        }),
                    );
                }
            }
        }
    }
}

/// The transposes of a batch of packed matrices.
pub fn transpose(a: &[f32], shape: Panelled) -> Scratch {
    let transposed_shape = Panelled {
        batch: shape.batch,
        rows: shape.columns,
        columns: shape.rows,
    };
    let mut transposed = Scratch::new(transposed_shape.values());
    let target = Shared::new(&mut transposed);
    let width = panel();
    parallel(shape.batch * transposed_shape.panels(), |task| {
        let (matrix, column) = (
            task / transposed_shape.panels(),
            task % transposed_shape.panels(),
        );
        let rows = column * width..shape.rows.min((column + 1) * width);
        for source in 0..shape.panels() {
            let columns = source * width..shape.columns.min((source + 1) * width);
            let from = &a[matrix * shape.pitch() + source * shape.panel() + rows.start * width..]
                [..rows.len() * width];
            let to = matrix * transposed_shape.pitch()
                + column * transposed_shape.panel()
                + columns.start * width;
            // SAFETY: each panel of the result is written by one task.
            let to = unsafe { target.part(to, columns.len() * width) };
            for (i, to) in to.chunks_exact_mut(width).enumerate() {
                for (to, from) in to.iter_mut().zip(from.chunks_exact(width)) {
                    *to = from[i];
                }
            }
        }
    });
    transposed
}

/// Cuts `rows` into blocks that fit the registers, and calls `body` with the start and the count of
/// each.
#[inline(always)]
pub(super) fn for_rows<S: Simd>(rows: std::ops::Range<usize>, mut body: impl FnMut(usize, usize)) {
    let most = if S::REGISTER_COUNT >= 32 { 12 } else { 6 };
    let mut row = rows.start;
    while row < rows.end {
        let count = most.min(rows.end - row);
        body(row, count);
        row += count;
    }
}

/// One block of a product: a few rows of A times one panel of B.
///
/// The value of A for row `r` and step `k` is at
/// `a + (k / per_panel) * a_panel + (k % per_panel) * a_step + r * a_row`.
pub(super) struct Product {
    pub a: *const f32,
    pub a_row: usize,
    pub a_step: usize,
    pub a_panel: usize,
    pub per_panel: usize,
    pub b: *const f32,
    pub steps: usize,
    pub c: *mut f32,
    /// The distance from one row of C to the next.
    pub c_row: usize,
    /// Whether the result is added to the old contents.
    pub add: bool,
    /// How many values of B ahead are brought into the cache; 0 for none.
    pub ahead: usize,
}

impl Product {
    #[inline(always)]
    /// Computes it for this many rows, at most those of a block.
    ///
    /// # Safety
    /// All of A, B and C that the fields span can be read and written.
    pub unsafe fn run<S: Simd>(self, simd: S, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 => self.rows::<S, 1>(simd),
                2 => self.rows::<S, 2>(simd),
                3 => self.rows::<S, 3>(simd),
                4 => self.rows::<S, 4>(simd),
                5 => self.rows::<S, 5>(simd),
                6 => self.rows::<S, 6>(simd),
                7 => self.rows::<S, 7>(simd),
                8 => self.rows::<S, 8>(simd),
                9 => self.rows::<S, 9>(simd),
                10 => self.rows::<S, 10>(simd),
                11 => self.rows::<S, 11>(simd),
                _ => self.rows::<S, 12>(simd),
            }
        }
    }

    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "constant bounds, by which the loops are unrolled"
    )]
    unsafe fn rows<S: Simd, const R: usize>(self, simd: S) {
        if R > 6 && S::REGISTER_COUNT < 32 {
            return;
        }
        let width = VECTORS * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
        let mut b = self.b.cast::<S::f32s>();
        let mut panel = self.a;
        let mut left = self.steps;
        // SAFETY: the caller's promise that all of A, B and C that the shapes span can be read and
        // written.
        unsafe {
            while left > 0 {
                let steps = self.per_panel.min(left);
                let mut a = panel;
                for _ in 0..steps {
                    let values: [S::f32s; VECTORS] =
                        [b.read_unaligned(), b.add(1).read_unaligned()];
                    if self.ahead > 0 {
                        let next = b.cast::<f32>().wrapping_add(self.ahead);
                        prefetch(next);
                        if width > LINE {
                            prefetch(next.wrapping_add(LINE));
                        }
                    }
                    for r in 0..R {
                        let factor = simd.splat_f32s(*a.add(r * self.a_row));
                        for v in 0..VECTORS {
                            sums[r][v] = simd.mul_add_e_f32s(factor, values[v], sums[r][v]);
                        }
                    }
                    a = a.add(self.a_step);
                    b = b.add(VECTORS);
                }
                left -= steps;
                panel = panel.wrapping_add(self.a_panel);
            }
            for r in 0..R {
                let c = self.c.add(r * self.c_row).cast::<S::f32s>();
                for v in 0..VECTORS {
                    let c = c.add(v);
                    let sum = if self.add {
                        simd.add_f32s(c.read_unaligned(), sums[r][v])
                    } else {
                        sums[r][v]
                    };
                    c.write_unaligned(sum);
                }
            }
        }
    }
}
