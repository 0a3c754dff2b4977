//! The forward pass of a network's first convolution: few input channels, so that patches would be
//! copied value by value.
//!
//! A patch's row is contiguous in the padded image. So the matrix of patches is never written: the
//! products read the padded image, and write the output where it belongs.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::conv::Conv;
use super::elementwise::above_zero;
use super::gemm::{Product, for_rows};
use super::simd::{Shared, VECTORS, buffer, dispatch, inlined, lanes, panel, vectorized};
use super::team::parallel;

/// Rows of the output that one task computes.
const ROWS: usize = 12;

/// Whether [`forward`] is for this convolution.
pub(super) fn takes(conv: &Conv) -> bool {
    conv.channels[0] < lanes() && conv.channels[1].is_multiple_of(panel())
}

/// [`Conv::forward`] with kernels as [`Patches`](super::patches::Patches) expands them.
pub(super) fn forward(
    conv: &Conv,
    input: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let (len, [height, _]) = (conv.batch * conv.output_len(), conv.output());
    let strips = height.div_ceil(ROWS);
    let fill = |output: Shared| {
        parallel(conv.batch * strips, |task| {
            let (image, strip) = (task / strips, task % strips);
            let input = &input[image * conv.input_len()..(image + 1) * conv.input_len()];
            let output = output.section(image * conv.output_len(), conv.output_len());
            let rows = strip * ROWS..height.min((strip + 1) * ROWS);
            forward_rows(conv, input, kernel, bias, relu, output, rows);
        });
    };
    // SAFETY: the strips make up all rows of all images.
    unsafe { buffer(len, fill) }
}

/// Rows of one image's output.
fn forward_rows(
    conv: &Conv,
    input: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    output: Shared,
    rows: Range<usize>,
) {
    let [inputs, outputs] = conv.channels;
    let width = conv.output()[1];
    let (padded, line) = padded(conv, input, &rows);
    let zeros = vec![0.0; outputs];
    let bias = bias.unwrap_or(&zeros);
    for (row, y) in rows.enumerate() {
        let runs = Runs {
            a: &padded[row * conv.stride[0] * line..],
            a_row: conv.stride[1] * inputs,
            count: conv.kernel[0],
            distance: line,
            len: conv.kernel[1] * inputs,
        };
        let row = output.section(y * width * outputs, width * outputs);
        // SAFETY: only this call writes this row.
        let values = unsafe { multiply_runs(runs, kernel, row, [width, outputs]) };
        vectorized!({
            for pixel in values.chunks_exact_mut(outputs) {
                for (value, bias) in pixel.iter_mut().zip(bias) {
                    let sum = *value + bias;
                    *value = if relu { above_zero(sum) } else { sum };
                }
            }
        });
    }
}

/// The rows of an image that these rows of the output depend on, with zeros around, and the length
/// of each.
fn padded(conv: &Conv, image: &[f32], rows: &Range<usize>) -> (Vec<f32>, usize) {
    let [height, width] = conv.input;
    let [inputs, _] = conv.channels;
    let [top, left, _, right] = conv.padding;
    let line = (left + width + right) * inputs;
    let first = rows.start * conv.stride[0];
    let count = (rows.len() - 1) * conv.stride[0] + conv.kernel[0];
    let mut padded = vec![0.0; count * line];
    for (row, to) in padded.chunks_exact_mut(line).enumerate() {
        let from = (first + row).checked_sub(top).filter(|y| *y < height);
        if let Some(y) = from {
            let to = &mut to[left * inputs..][..width * inputs];
            to.copy_from_slice(&image[y * width * inputs..][..width * inputs]);
        }
    }
    (padded, line)
}

/// Rows of A that lie in an image, where they may overlap: each consists of runs of contiguous
/// values.
struct Runs<'a> {
    /// From the first value on.
    a: &'a [f32],
    /// The distance from one row to the next.
    a_row: usize,
    /// The runs of a row.
    count: usize,
    /// The distance from one run to the next.
    distance: usize,
    /// The values of a run.
    len: usize,
}

/// `c = a · b`, where B is packed and C is not: `[rows, columns]`, with whole panels of columns.
/// Returns C.
///
/// # Safety
/// No other thread has C at the same time, and its buffer outlives `'c`.
unsafe fn multiply_runs<'c>(
    a: Runs,
    b: &[f32],
    c: Shared,
    [rows, columns]: [usize; 2],
) -> &'c mut [f32] {
    let inner = a.count * a.len;
    let last = (rows - 1) * a.a_row + (a.count - 1) * a.distance + a.len;
    assert!(rows * inner > 0 && columns.is_multiple_of(panel()));
    assert!(a.a.len() >= last && b.len() >= inner * columns);
    let c = c.section(0, rows * columns);
    dispatch(MultiplyRuns {
        a,
        b: b.as_ptr(),
        c: c.at(0),
        rows,
        columns,
    });
    // SAFETY: all rows of all panels are written; not shared by the caller's promise.
    unsafe { c.part(0, rows * columns) }
}

struct MultiplyRuns<'a> {
    a: Runs<'a>,
    b: *const f32,
    c: *mut f32,
    rows: usize,
    columns: usize,
}

impl WithSimd for MultiplyRuns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            a,
            b,
            c,
            rows,
            columns,
        } = self;
        let width = VECTORS * S::F32_LANES;
        let inner = a.count * a.len;
        for column in 0..columns / width {
            for_rows::<S>(
                0..rows,
                inlined!(|row, count| {
                    // SAFETY: `multiply_runs` has checked the buffers' lengths.
                    unsafe {
                        let product = Product {
                            a: a.a.as_ptr().add(row * a.a_row),
                            a_row: a.a_row,
                            a_step: 1,
                            a_panel: a.distance,
                            per_panel: a.len,
                            b: b.add(column * inner * width),
                            steps: inner,
                            c: c.add(row * columns + column * width),
                            c_row: columns,
                            add: false,
                            ahead: 0,
                        };
                        product.run(simd, count);
                    }
                }),
            );
        }
    }
}
