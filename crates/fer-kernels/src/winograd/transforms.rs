//! Transforms images and kernels to matrices and back, one vector of channels at a time.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Winograd;
use super::product::sandwich;
use super::tile::{MOST_OUT, SIZE, Tile};
use crate::conv::Conv;
use crate::gemm::Panelled;
use crate::simd::{Shared, VECTORS, inlined};

/// The vectors of a panel that have channels, and the first channel of each.
#[inline(always)]
fn vectors<S: Simd>(panel: usize, channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..VECTORS)
        .map(move |v| (v, (panel * VECTORS + v) * S::F32_LANES))
        .filter(move |(_, first)| *first < channels)
}

/// The same for each of the inputs `rows`.
#[inline(always)]
fn kernels<S: Simd>(
    panel: usize,
    channels: usize,
    rows: &Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    vectors::<S>(panel, channels)
        .flat_map(move |(vector, first)| rows.clone().map(move |row| (vector, first, row)))
}

/// The part of `start..start + side` that lies in 0..`limit`, counted from `start`.
#[inline(always)]
fn inside(start: isize, side: usize, limit: usize) -> Range<usize> {
    let low = (-start).clamp(0, side as isize) as usize;
    let high = (limit as isize - start).clamp(low as isize, side as isize) as usize;
    low..high
}

/// A vector from there.
#[inline(always)]
unsafe fn vector_at<S: Simd>(at: *const f32) -> S::f32s {
    // SAFETY: the caller's promise that a vector can be read there.
    unsafe { at.cast::<S::f32s>().read_unaligned() }
}

/// A square part of an image, which may extend beyond the image, for one vector of its channels.
struct Window {
    image: *const f32,
    /// Values from one row of pixels to the next, and from one pixel to the next.
    steps: [usize; 2],
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Window {
    /// `image`: the vector's first channel at pixel 0.
    #[inline(always)]
    fn new(
        image: *const f32,
        [height, width]: [usize; 2],
        channels: usize,
        [top, left]: [isize; 2],
        side: usize,
    ) -> Self {
        Self {
            image: image.wrapping_offset((top * width as isize + left) * channels as isize),
            steps: [width * channels, channels],
            rows: inside(top, side, height),
            columns: inside(left, side, width),
        }
    }

    /// Whether all of it is in the image.
    #[inline(always)]
    fn is_inside(&self, side: usize) -> bool {
        self.rows.len() == side && self.columns.len() == side
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> *const f32 {
        self.image
            .wrapping_add(row * self.steps[0] + column * self.steps[1])
    }

    /// The values there; zero outside of the image.
    #[inline(always)]
    unsafe fn read<S: Simd>(&self, simd: S, row: usize, column: usize) -> S::f32s {
        if self.rows.contains(&row) && self.columns.contains(&column) {
            // SAFETY: inside, and the caller's promise that the image is what the window was made
            // for.
            unsafe { vector_at::<S>(self.at(row, column)) }
        } else {
            simd.splat_f32s(0.0)
        }
    }
}

/// Of the tiles of these lines: position of the input, of the output, and number.
#[inline(always)]
fn tiles<T: Tile>(
    method: &Winograd<T>,
    lines: Range<usize>,
) -> impl Iterator<Item = ([isize; 2], [isize; 2], usize)> {
    let columns = method.tiles[1];
    let [top, left] = [
        method.conv.padding[0] as isize,
        method.conv.padding[1] as isize,
    ];
    (lines.start * columns..lines.end * columns).map(move |number| {
        let output = [number / columns, number % columns].map(|at| (at * T::OUT) as isize);
        ([output[0] - top, output[1] - left], output, number)
    })
}

pub(super) struct ExpandKernel<'a, T> {
    pub conv: &'a Conv,
    pub kernel: &'a [f32],
    pub expanded: Shared,
    pub shape: Panelled,
    pub rows: Range<usize>,
    pub tile: PhantomData<T>,
}

impl<T: Tile> WithSimd for ExpandKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            conv,
            kernel,
            expanded,
            shape,
            rows,
            ..
        } = self;
        let (panel_step, pitch) = (shape.panel(), shape.pitch());
        let (size, width) = (T::KERNEL * T::KERNEL, VECTORS * S::F32_LANES);
        let mut values = [0.0; SIZE * SIZE * 16];
        for panel in 0..shape.panels() {
            for (vector, first, input) in kernels::<S>(panel, conv.channels[1], &rows) {
                // Kernels are [out, in, height, width]: bring the lanes, which are outputs,
                // together.
                for lane in 0..S::F32_LANES {
                    let start = ((first + lane) * conv.channels[0] + input) * size;
                    for (k, value) in kernel[start..start + size].iter().enumerate() {
                        values[k * S::F32_LANES + lane] = *value;
                    }
                }
                let start = panel * panel_step + input * width + vector * S::F32_LANES;
                // SAFETY: `values` has room for SIZE² vectors of the widest kind; the row is within
                // the buffer of that shape, and only this call writes it.
                sandwich(
                    simd,
                    &T::FILTER,
                    false,
                    T::SIDE,
                    T::KERNEL,
                    inlined!(|i, j| unsafe {
                        vector_at::<S>(values.as_ptr().add((i * T::KERNEL + j) * S::F32_LANES))
                    }),
                    inlined!(|i, j, value| unsafe {
                        let at = expanded.at((i * T::SIDE + j) * pitch + start);
                        at.cast::<S::f32s>().write_unaligned(value);
                    }),
                );
            }
        }
    }
}

pub(super) struct CollectKernel<'a, T> {
    pub conv: &'a Conv,
    pub expanded: &'a [f32],
    pub shape: Panelled,
    pub kernel: Shared,
    pub rows: Range<usize>,
    pub tile: PhantomData<T>,
}

impl<T: Tile> WithSimd for CollectKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            conv,
            expanded,
            shape,
            kernel,
            rows,
            ..
        } = self;
        let (panel_step, pitch) = (shape.panel(), shape.pitch());
        let (size, width) = (T::KERNEL * T::KERNEL, VECTORS * S::F32_LANES);
        assert!(expanded.len() >= shape.values());
        let mut values = [0.0f32; SIZE * SIZE * 16];
        for panel in 0..shape.panels() {
            for (vector, first, input) in kernels::<S>(panel, conv.channels[1], &rows) {
                let start = panel * panel_step + input * width + vector * S::F32_LANES;
                let values_start = values.as_mut_ptr();
                // SAFETY: within the buffer by its length, and as in `ExpandKernel`.
                sandwich(
                    simd,
                    &T::FILTER,
                    true,
                    T::KERNEL,
                    T::SIDE,
                    inlined!(|i, j| unsafe {
                        vector_at::<S>(expanded.as_ptr().add((i * T::SIDE + j) * pitch + start))
                    }),
                    inlined!(|i, j, value| unsafe {
                        let at = values_start.add((i * T::KERNEL + j) * S::F32_LANES);
                        at.cast::<S::f32s>().write_unaligned(value);
                    }),
                );
                for lane in 0..S::F32_LANES {
                    // SAFETY: only this call writes the kernels of this input.
                    let kernel = unsafe {
                        kernel.fresh(((first + lane) * conv.channels[0] + input) * size, size)
                    };
                    for (k, value) in kernel.iter_mut().enumerate() {
                        *value = values[k * S::F32_LANES + lane];
                    }
                }
            }
        }
    }
}

pub(super) struct ExpandInput<'a, T> {
    pub method: &'a Winograd<T>,
    pub image: &'a [f32],
    pub expanded: Shared,
    pub shape: Panelled,
    pub row: usize,
    pub panel: usize,
    pub lines: Range<usize>,
}

impl<T: Tile> WithSimd for ExpandInput<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            method,
            image,
            expanded,
            shape,
            row,
            panel,
            lines,
        } = self;
        let (panel_step, pitch) = (shape.panel(), shape.pitch());
        let (conv, width) = (&method.conv, VECTORS * S::F32_LANES);
        let channels = conv.channels[0];
        assert!(image.len() == conv.input[0] * conv.input[1] * channels);
        for (vector, first) in vectors::<S>(panel, channels) {
            for (from, _, number) in tiles(method, lines.clone()) {
                let window = Window::new(
                    image.as_ptr().wrapping_add(first),
                    conv.input,
                    channels,
                    from,
                    T::SIDE,
                );
                let start = panel * panel_step + (row + number) * width + vector * S::F32_LANES;
                // SAFETY: these rows and this panel are written by this call only.
                let write = |i: usize, j: usize, value: S::f32s| unsafe {
                    let at = expanded.at((i * T::SIDE + j) * pitch + start);
                    at.cast::<S::f32s>().write_unaligned(value);
                };
                // SAFETY: the image's length was checked.
                let anywhere = |i, j| unsafe { window.read(simd, i, j) };
                // SAFETY: as is all of the window.
                let inside = |i, j| unsafe { vector_at::<S>(window.at(i, j)) };
                if window.is_inside(T::SIDE) {
                    sandwich(simd, &T::INPUT, false, T::SIDE, T::SIDE, inside, write);
                } else {
                    sandwich(simd, &T::INPUT, false, T::SIDE, T::SIDE, anywhere, write);
                }
            }
        }
    }
}

pub(super) struct CollectInput<'a, T> {
    pub method: &'a Winograd<T>,
    pub expanded: &'a [f32],
    pub shape: Panelled,
    pub row: usize,
    pub panel: usize,
    pub image: Shared,
}

impl<T: Tile> WithSimd for CollectInput<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            method,
            expanded,
            shape,
            row,
            panel,
            image,
        } = self;
        let (panel_step, pitch) = (shape.panel(), shape.pitch());
        let (conv, width) = (&method.conv, VECTORS * S::F32_LANES);
        let ([height, image_width], channels) = (conv.input, conv.channels[0]);
        assert!(expanded.len() >= shape.values());
        for (vector, first) in vectors::<S>(panel, channels) {
            for ([top, left], _, number) in tiles(method, 0..method.tiles[0]) {
                let start = panel * panel_step + (row + number) * width + vector * S::F32_LANES;
                let (rows, columns) = (
                    inside(top, T::SIDE, height),
                    inside(left, T::SIDE, image_width),
                );
                let corner = image
                    .at(first)
                    .wrapping_offset((top * image_width as isize + left) * channels as isize);
                // SAFETY: the matrices' length was checked; `inside` keeps to the image, whose
                // channels of this panel are written by this call only.
                sandwich(
                    simd,
                    &T::INPUT,
                    true,
                    T::SIDE,
                    T::SIDE,
                    inlined!(|i, j| unsafe {
                        vector_at::<S>(expanded.as_ptr().add((i * T::SIDE + j) * pitch + start))
                    }),
                    inlined!(|i, j, value| unsafe {
                        if rows.contains(&i) && columns.contains(&j) {
                            let at = corner
                                .wrapping_add((i * image_width + j) * channels)
                                .cast::<S::f32s>();
                            at.write_unaligned(simd.add_f32s(at.read_unaligned(), value));
                        }
                    }),
                );
            }
        }
    }
}

pub(super) struct CollectOutput<'a, T> {
    pub method: &'a Winograd<T>,
    pub expanded: &'a [f32],
    pub shape: Panelled,
    pub row: usize,
    pub panel: usize,
    pub lines: Range<usize>,
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
    pub image: Shared,
}

impl<T: Tile> WithSimd for CollectOutput<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            method,
            expanded,
            shape,
            row,
            panel,
            lines,
            bias,
            relu,
            image,
        } = self;
        let (panel_step, pitch) = (shape.panel(), shape.pitch());
        let (conv, panel_width) = (&method.conv, VECTORS * S::F32_LANES);
        let ([height, width], channels) = (conv.output(), conv.channels[1]);
        assert!(expanded.len() >= shape.values() && bias.is_none_or(|b| b.len() == channels));
        let zero = simd.splat_f32s(0.0);
        for (vector, first) in vectors::<S>(panel, channels) {
            // SAFETY: `first` begins a whole vector of channels.
            let bias = bias.map_or(zero, |b| unsafe { vector_at::<S>(b.as_ptr().add(first)) });
            for (_, [top, left], number) in tiles(method, lines.clone()) {
                let start =
                    panel * panel_step + (row + number) * panel_width + vector * S::F32_LANES;
                let (rows, columns) = (inside(top, T::OUT, height), inside(left, T::OUT, width));
                let corner = image.at((top as usize * width + left as usize) * channels + first);
                // SAFETY: as in `CollectInput`.
                sandwich(
                    simd,
                    &T::OUTPUT,
                    false,
                    T::OUT,
                    T::SIDE,
                    inlined!(|i, j| unsafe {
                        vector_at::<S>(expanded.as_ptr().add((i * T::SIDE + j) * pitch + start))
                    }),
                    inlined!(|i, j, value| unsafe {
                        let mut value = simd.add_f32s(value, bias);
                        if relu {
                            value = simd.select_f32s(simd.less_than_f32s(value, zero), zero, value);
                        }
                        if rows.contains(&i) && columns.contains(&j) {
                            let at = corner.wrapping_add((i * width + j) * channels);
                            at.cast::<S::f32s>().write_unaligned(value);
                        }
                    }),
                );
            }
        }
    }
}

pub(super) struct ExpandOutput<'a, T> {
    pub method: &'a Winograd<T>,
    pub gradient: &'a [f32],
    pub activated: Option<&'a [f32]>,
    pub expanded: Shared,
    pub shape: Panelled,
    pub row: usize,
    pub panel: usize,
    pub sums: &'a mut [f32],
}

impl<T: Tile> WithSimd for ExpandOutput<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            method,
            gradient,
            activated,
            expanded,
            shape,
            row,
            panel,
            sums,
        } = self;
        let (panel_step, pitch) = (shape.panel(), shape.pitch());
        let (conv, width) = (&method.conv, VECTORS * S::F32_LANES);
        let (output, channels) = (conv.output(), conv.channels[1]);
        let len = output[0] * output[1] * channels;
        assert!(
            gradient.len() == len
                && activated.is_none_or(|a| a.len() == len)
                && sums.len() >= width
        );
        let zero = simd.splat_f32s(0.0);
        for (vector, first) in vectors::<S>(panel, channels) {
            let mut sum = zero;
            for (_, from, number) in tiles(method, 0..method.tiles[0]) {
                let window = Window::new(
                    gradient.as_ptr().wrapping_add(first),
                    output,
                    channels,
                    from,
                    T::OUT,
                );
                let activated = activated.map(|a| {
                    Window::new(
                        a.as_ptr().wrapping_add(first),
                        output,
                        channels,
                        from,
                        T::OUT,
                    )
                });
                // The tile's gradient, without what the ReLU blocked.
                let mut x = [[zero; MOST_OUT]; MOST_OUT];
                for (i, x) in x.iter_mut().enumerate().take(T::OUT) {
                    for (j, x) in x.iter_mut().enumerate().take(T::OUT) {
                        // SAFETY: the lengths of gradient and activated were checked.
                        unsafe {
                            *x = window.read(simd, i, j);
                            if let Some(activated) = &activated {
                                let on = simd.greater_than_f32s(activated.read(simd, i, j), zero);
                                *x = simd.select_f32s(on, *x, zero);
                            }
                        }
                        sum = simd.add_f32s(sum, *x);
                    }
                }
                let start = panel * panel_step + (row + number) * width + vector * S::F32_LANES;
                // SAFETY: these rows and this panel are written by this call only.
                let write = |i: usize, j: usize, value: S::f32s| unsafe {
                    let at = expanded.at((i * T::SIDE + j) * pitch + start);
                    at.cast::<S::f32s>().write_unaligned(value);
                };
                sandwich(
                    simd,
                    &T::OUTPUT,
                    true,
                    T::SIDE,
                    T::OUT,
                    inlined!(|i, j| x[i][j]),
                    write,
                );
            }
            // SAFETY: `sums` has room for a panel.
            unsafe {
                sums.as_mut_ptr()
                    .add(vector * S::F32_LANES)
                    .cast::<S::f32s>()
                    .write_unaligned(sum)
            };
        }
    }
}
