//! Convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering (Lavin & Gray
//! 2015, arXiv 1509.09308).
//!
//! An output tile of m × m pixels of an r × r kernel depends on n × n input pixels, n = m + r − 1.
//! Input tile and kernel are treated as polynomials and evaluated at n points in each direction.
//! There the convolution is a product of values. For all channels and tiles, that is one matrix
//! product per point. Interpolation gives the output. This takes n² multiplications instead of
//! m²·r²: 36 instead of 144 with m = 4, r = 3, and 36 instead of 100 with m = 2, r = 5.
//!
//! With d the input tile, g the kernel, and Aᵀ, G, Bᵀ the matrices of [`Tile`]: `y = Aᵀ [(G g Gᵀ) ⊙
//! (Bᵀ d B)] A`. The gradients use the transposed matrices: with `z = A dy Aᵀ`, `dg = Gᵀ [z ⊙ (Bᵀ d
//! B)] G` and `dd = B [z ⊙ (G g Gᵀ)] Bᵀ`.

mod product;
mod tile;
mod transforms;

pub(super) use tile::{Tile, Tile25, Tile33, Tile43};

use std::marker::PhantomData;
use std::ops::Range;

use self::transforms::{
    CollectInput, CollectKernel, CollectOutput, ExpandInput, ExpandKernel, ExpandOutput,
};
use super::conv::Conv;
use super::gemm::Panelled;
use super::method::Method;
use super::simd::{Shared, dispatch, lanes, panel};

/// The method for a convolution and a tile.
pub(super) struct Winograd<T> {
    conv: Conv,
    /// Tiles in a column and in a row of the output.
    tiles: [usize; 2],
    tile: PhantomData<T>,
}

impl<T: Tile> Winograd<T> {
    /// For convolutions of stride 1 with this kernel and whole vectors of channels.
    pub fn new(conv: Conv) -> Option<Self> {
        let fits = conv.kernel == [T::KERNEL; 2]
            && conv.stride == [1, 1]
            && conv.channels.iter().all(|c| c % lanes() == 0);
        let tiles = conv.output().map(|side| side.div_ceil(T::OUT));
        fits.then_some(Self {
            conv,
            tiles,
            tile: PhantomData,
        })
    }
}

impl<T: Tile> Method for Winograd<T> {
    fn points(&self) -> usize {
        T::SIDE * T::SIDE
    }

    fn inner(&self) -> usize {
        self.conv.channels[0]
    }

    fn rows(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    fn lines(&self) -> usize {
        self.tiles[0]
    }

    fn slices(&self) -> usize {
        self.conv.channels[0].div_ceil(panel())
    }

    fn expand_kernel(&self, kernel: &[f32], expanded: Shared, shape: Panelled, rows: Range<usize>) {
        dispatch(ExpandKernel::<T> {
            conv: &self.conv,
            kernel,
            expanded,
            shape,
            rows,
            tile: PhantomData,
        });
    }

    fn collect_kernel(
        &self,
        expanded: &[f32],
        shape: Panelled,
        kernel: Shared,
        rows: Range<usize>,
    ) {
        dispatch(CollectKernel::<T> {
            conv: &self.conv,
            expanded,
            shape,
            kernel,
            rows,
            tile: PhantomData,
        });
    }

    fn expand_input(
        &self,
        image: &[f32],
        expanded: Shared,
        shape: Panelled,
        row: usize,
        panel: usize,
        lines: Range<usize>,
    ) {
        dispatch(ExpandInput {
            method: self,
            image,
            expanded,
            shape,
            row,
            panel,
            lines,
        });
    }

    fn collect_input(
        &self,
        expanded: &[f32],
        shape: Panelled,
        row: usize,
        panel: usize,
        image: Shared,
    ) {
        dispatch(CollectInput {
            method: self,
            expanded,
            shape,
            row,
            panel,
            image,
        });
    }

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
    ) {
        dispatch(CollectOutput {
            method: self,
            expanded,
            shape,
            row,
            panel,
            lines,
            bias,
            relu,
            image,
        });
    }

    fn expand_output(
        &self,
        gradient: &[f32],
        activated: Option<&[f32]>,
        expanded: Shared,
        shape: Panelled,
        row: usize,
        panel: usize,
        sums: &mut [f32],
    ) {
        dispatch(ExpandOutput {
            method: self,
            gradient,
            activated,
            expanded,
            shape,
            row,
            panel,
            sums,
        });
    }
}
