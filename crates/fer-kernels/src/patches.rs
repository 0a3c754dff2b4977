//! Convolution as written (im2col): each output pixel's patch of the input becomes a row of a
//! matrix, which is multiplied by the kernels.
//!
//! For everything that `winograd.rs` does not support: other strides, kernels of one pixel, one or
//! three channels.

use std::ops::Range;

use super::conv::Conv;
use super::elementwise::above_zero;
use super::gemm::Panelled;
use super::method::Method;
use super::simd::{Shared, inlined, panel, vectorized};

/// The method for a convolution.
pub(super) struct Patches {
    conv: Conv,
}

/// Values that are contiguous both in the image and in a patch.
struct Run {
    /// Position in the patch.
    panel: usize,
    /// Position in the panel.
    offset: usize,
    /// Row and column in the kernel.
    at: [usize; 2],
    channel: usize,
    len: usize,
}

impl Patches {
    /// Any convolution.
    pub fn new(conv: Conv) -> Self {
        Self { conv }
    }

    /// The runs of a slice.
    fn runs(&self, slice: usize) -> Vec<Run> {
        let channels = self.conv.channels[0];
        let of_slice = match self.slices() {
            1 => 0..channels,
            _ => slice * panel()..(slice + 1) * panel(),
        };
        let mut runs = Vec::new();
        for position in 0..self.conv.kernel.iter().product() {
            let mut channel = of_slice.start;
            while channel < of_slice.end {
                let column = position * channels + channel;
                let offset = column % panel();
                let len = (panel() - offset).min(of_slice.end - channel);
                let at = [
                    position / self.conv.kernel[1],
                    position % self.conv.kernel[1],
                ];
                runs.push(Run {
                    panel: column / panel(),
                    offset,
                    at,
                    channel,
                    len,
                });
                channel += len;
            }
        }
        runs
    }

    /// Calls `body` for each output pixel of these lines with the index of the run's values in the
    /// image, if they are inside, and in the expanded matrix.
    #[inline(always)]
    fn for_pixels(
        &self,
        run: &Run,
        shape: Panelled,
        row: usize,
        lines: Range<usize>,
        mut body: impl FnMut(Option<usize>, usize),
    ) {
        let conv = &self.conv;
        let [_, width] = conv.output();
        let (panel_step, pixel_step) = (shape.panel(), panel());
        for y in lines {
            let from_y = (y * conv.stride[0] + run.at[0])
                .checked_sub(conv.padding[0])
                .filter(|y| *y < conv.input[0]);
            for x in 0..width {
                let from_x = (x * conv.stride[1] + run.at[1])
                    .checked_sub(conv.padding[1])
                    .filter(|x| *x < conv.input[1]);
                let image = from_y
                    .zip(from_x)
                    .map(|(y, x)| (y * conv.input[1] + x) * conv.channels[0] + run.channel);
                body(
                    image,
                    run.panel * panel_step + (row + y * width + x) * pixel_step + run.offset,
                );
            }
        }
    }
}

impl Method for Patches {
    fn points(&self) -> usize {
        1
    }

    fn inner(&self) -> usize {
        self.conv.kernel.iter().product::<usize>() * self.conv.channels[0]
    }

    fn rows(&self) -> usize {
        self.conv.output().iter().product()
    }

    fn lines(&self) -> usize {
        self.conv.output()[0]
    }

    fn slices(&self) -> usize {
        let channels = self.conv.channels[0];
        if channels.is_multiple_of(panel()) {
            channels / panel()
        } else {
            1
        }
    }

    fn expand_kernel(&self, kernel: &[f32], expanded: Shared, shape: Panelled, rows: Range<usize>) {
        let [inputs, outputs] = self.conv.channels;
        let size: usize = self.conv.kernel.iter().product();
        for column in 0..shape.panels() {
            // SAFETY: only this call writes these rows.
            let expanded = unsafe {
                expanded.part(
                    column * shape.panel() + rows.start * panel(),
                    rows.len() * panel(),
                )
            };
            for (row, values) in rows.clone().zip(expanded.chunks_exact_mut(panel())) {
                let (position, input) = (row / inputs, row % inputs);
                for (output, value) in (column * panel()..outputs).zip(values) {
                    *value = kernel[(output * inputs + input) * size + position];
                }
            }
        }
    }

    fn collect_kernel(
        &self,
        expanded: &[f32],
        shape: Panelled,
        kernel: Shared,
        rows: Range<usize>,
    ) {
        let [inputs, outputs] = self.conv.channels;
        let size: usize = self.conv.kernel.iter().product();
        for column in 0..shape.panels() {
            let start = column * shape.panel();
            for row in rows.clone() {
                let (position, input) = (row / inputs, row % inputs);
                let values = &expanded[start + row * panel()..];
                for (output, value) in
                    (column * panel()..outputs.min((column + 1) * panel())).zip(values)
                {
                    // SAFETY: only this call writes these rows' values of the kernels.
                    unsafe { *kernel.at((output * inputs + input) * size + position) = *value };
                }
            }
        }
    }

    fn expand_input(
        &self,
        image: &[f32],
        expanded: Shared,
        shape: Panelled,
        row: usize,
        slice: usize,
        lines: Range<usize>,
    ) {
        let runs = self.runs(slice);
        vectorized!({
            for run in &runs {
                let copy = |len: usize| {
                    self.for_pixels(
                        run,
                        shape,
                        row,
                        lines.clone(),
                        inlined!(|from, to| {
                            // SAFETY: these rows and columns are written by this call only.
                            let to = unsafe { expanded.part(to, len) };
                            match from {
                                Some(from) => to.copy_from_slice(&image[from..from + len]),
                                None => to.fill(0.0),
                            }
                        }),
                    );
                };
                // Known lengths are copied without a call.
                match run.len {
                    1 => copy(1),
                    16 => copy(16),
                    32 => copy(32),
                    len => copy(len),
                }
            }
        });
    }

    fn collect_input(
        &self,
        expanded: &[f32],
        shape: Panelled,
        row: usize,
        slice: usize,
        image: Shared,
    ) {
        let runs = self.runs(slice);
        vectorized!({
            for run in &runs {
                self.for_pixels(
                    run,
                    shape,
                    row,
                    0..self.lines(),
                    inlined!(|to, from| {
                        if let Some(to) = to {
                            // SAFETY: this slice's channels of the image are written by this call
                            // only.
                            let to = unsafe { image.part(to, run.len) };
                            for (to, from) in to.iter_mut().zip(&expanded[from..from + run.len]) {
                                *to += from;
                            }
                        }
                    }),
                );
            }
        });
    }

    fn collect_output(
        &self,
        expanded: &[f32],
        shape: Panelled,
        row: usize,
        column: usize,
        lines: Range<usize>,
        bias: Option<&[f32]>,
        relu: bool,
        image: Shared,
    ) {
        let channels = self.conv.channels[1];
        let (first, width) = (column * panel(), self.conv.output()[1]);
        let pixels = lines.start * width..lines.end * width;
        let len = panel().min(channels - first);
        let start = column * shape.panel() + (row + pixels.start) * panel();
        let expanded = &expanded[start..][..pixels.len() * panel()];
        let zero = vec![0.0; len];
        let bias = bias.map_or(&zero[..], |b| &b[first..first + len]);
        vectorized!({
            for (pixel, from) in pixels.zip(expanded.chunks_exact(panel())) {
                // SAFETY: this panel's channels of these lines are written by this call only.
                let to = unsafe { image.fresh(pixel * channels + first, len) };
                for ((to, from), bias) in to.iter_mut().zip(from).zip(bias) {
                    let value = from + bias;
                    *to = if relu { above_zero(value) } else { value };
                }
            }
        });
    }

    fn expand_output(
        &self,
        gradient: &[f32],
        activated: Option<&[f32]>,
        expanded: Shared,
        shape: Panelled,
        row: usize,
        column: usize,
        sums: &mut [f32],
    ) {
        let channels = self.conv.channels[1];
        let (first, rows) = (column * panel(), self.rows());
        let len = panel().min(channels - first);
        sums.fill(0.0);
        // SAFETY: these rows and this panel are written by this call only.
        let expanded =
            unsafe { expanded.part(column * shape.panel() + row * panel(), rows * panel()) };
        vectorized!({
            for (pixel, to) in expanded.chunks_exact_mut(panel()).enumerate() {
                let from = &gradient[pixel * channels + first..][..len];
                let to = &mut to[..len];
                match activated {
                    None => to.copy_from_slice(from),
                    Some(activated) => {
                        let activated = &activated[pixel * channels + first..][..len];
                        for ((to, from), activated) in to.iter_mut().zip(from).zip(activated) {
                            *to = if *activated > 0.0 { *from } else { 0.0 };
                        }
                    }
                }
                for (sum, value) in sums.iter_mut().zip(to) {
                    *sum += *value;
                }
            }
        });
    }
}
