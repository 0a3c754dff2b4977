//! What an algorithm for convolutions has to do ([`Method`]): bring images and kernels into
//! matrices, and back.

use std::ops::Range;

use super::gemm::Panelled;
use super::simd::Shared;

/// The cost of writing a value of an expanded kernel, in multiplications.
const EXPANSION: usize = 40;

/// How a convolution becomes matrix products.
///
/// All matrices are packed, `points` of each kind. *expand* goes from images or kernels to
/// matrices, *collect* goes the other way. Where a gradient flows backward, each is the adjoint of
/// the other.
pub(super) trait Method: Send + Sync {
    /// Matrices of each kind.
    fn points(&self) -> usize;
    /// The inner dimension of the products.
    fn inner(&self) -> usize;
    /// Rows per image.
    fn rows(&self) -> usize;
    /// The lines of tiles or pixels that they are for.
    fn lines(&self) -> usize;
    /// Multiplications per output channel, for this many images and for the expansion of the
    /// kernels.
    fn work(&self, images: usize) -> usize {
        self.points() * self.inner() * (self.rows() * images + EXPANSION)
    }
    /// The number of parts in which the input's channels can be expanded and collected in parallel.
    fn slices(&self) -> usize;
    /// Kernels → the given rows of `[inner, out]`.
    fn expand_kernel(&self, kernel: &[f32], expanded: Shared, shape: Panelled, rows: Range<usize>);
    /// The given rows of the gradient of `[inner, out]` → the gradient of the kernels.
    fn collect_kernel(&self, expanded: &[f32], shape: Panelled, kernel: Shared, rows: Range<usize>);
    /// One slice of an image → these lines of `[rows, inner]`, which starts at `row`.
    fn expand_input(
        &self,
        image: &[f32],
        expanded: Shared,
        shape: Panelled,
        row: usize,
        slice: usize,
        lines: Range<usize>,
    );
    /// The gradient of `[rows, inner]` from `row` on, added to one slice of the image's gradient.
    fn collect_input(
        &self,
        expanded: &[f32],
        shape: Panelled,
        row: usize,
        slice: usize,
        image: Shared,
    );
    /// These lines of one panel of `[rows, out]`, which starts at `row` → the image, with bias and
    /// ReLU.
    #[allow(
        clippy::too_many_arguments,
        reason = "a matrix, a place in it, an image, and what is done on the way"
    )]
    fn collect_output(
        &self,
        expanded: &[f32],
        shape: Panelled,
        row: usize,
        panel: usize,
        lines: Range<usize>,
        bias: Option<&[f32]>,
        relu: bool,
        image: Shared,
    );
    /// The image's gradient, zero where `activated` is not positive → one panel of `[rows, out]`,
    /// starting at `row`, and its sums over the image.
    #[allow(
        clippy::too_many_arguments,
        reason = "an image, what is done on the way, a matrix and a place in it"
    )]
    fn expand_output(
        &self,
        gradient: &[f32],
        activated: Option<&[f32]>,
        expanded: Shared,
        shape: Panelled,
        row: usize,
        panel: usize,
        sums: &mut [f32],
    );
}
