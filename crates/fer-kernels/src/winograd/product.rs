//! The products of a tile's matrices with small squares of vectors, unrolled.

use std::mem::MaybeUninit;

use pulp::Simd;

use super::tile::{Matrix, SIZE};
use crate::simd::inlined;

/// Repeats a block for each value below a constant bound, as code. The compiler then evaluates what
/// depends only on that value. It does not unroll loops of this size itself.
macro_rules! unroll {
    ($i:ident in 0..$bound:expr => $body:block) => {
        unroll!(@ $i, $bound, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $i:ident, $bound:expr, $body:block, $($value:literal)*) => {
        $({
            let $i = $value;
            if $i < $bound $body
        })*
    };
}

/// `M x Mᵀ` for the first `rows × columns` of M, or of its transpose: `read(row, column)` gives x,
/// and `write(row, column, value)` stores the product.
///
/// Sizes and matrix are constants where this is inlined, so only additions and multiplications
/// remain.
#[inline(always)]
#[allow(
    clippy::needless_range_loop,
    reason = "a column of `half`, which has rows"
)]
pub(super) fn sandwich<S: Simd>(
    simd: S,
    matrix: &'static Matrix,
    transposed: bool,
    rows: usize,
    columns: usize,
    read: impl Fn(usize, usize) -> S::f32s,
    mut write: impl FnMut(usize, usize, S::f32s),
) {
    let mut half = [[MaybeUninit::<S::f32s>::uninit(); SIZE]; SIZE];
    for column in 0..columns {
        let product = product(
            simd,
            matrix,
            transposed,
            rows,
            columns,
            inlined!(|j| read(j, column)),
        );
        unroll!(i in 0..rows => {
            half[i][column].write(product[i]);
        });
    }
    for (i, half) in half.iter().enumerate().take(rows) {
        // SAFETY: the loop above has written `rows × columns` of it.
        let product = product(
            simd,
            matrix,
            transposed,
            rows,
            columns,
            inlined!(|j| unsafe { half[j].assume_init() }),
        );
        unroll!(k in 0..rows => {
            write(i, k, product[k]);
        });
    }
}

/// `M x` for the first `rows × columns` of M, or of its transpose.
#[inline(always)]
fn product<S: Simd>(
    simd: S,
    matrix: &'static Matrix,
    transposed: bool,
    rows: usize,
    columns: usize,
    read: impl Fn(usize) -> S::f32s,
) -> [S::f32s; SIZE] {
    let mut x = [simd.splat_f32s(0.0); SIZE];
    unroll!(j in 0..columns => {
        x[j] = read(j);
    });
    let mut product = [simd.splat_f32s(0.0); SIZE];
    unroll!(i in 0..rows => {
        let mut sum = None;
        unroll!(j in 0..columns => {
            let factor = if transposed { matrix[j][i] } else { matrix[i][j] };
            if factor != 0.0 {
                sum = Some(match (sum, factor) {
                    (None, 1.0) => x[j],
                    (None, _) => simd.mul_f32s(simd.splat_f32s(factor), x[j]),
                    (Some(sum), 1.0) => simd.add_f32s(sum, x[j]),
                    (Some(sum), -1.0) => simd.sub_f32s(sum, x[j]),
                    (Some(sum), _) => simd.mul_add_e_f32s(simd.splat_f32s(factor), x[j], sum),
                });
            }
        });
        product[i] = sum.unwrap_or(product[i]);
    });
    product
}
