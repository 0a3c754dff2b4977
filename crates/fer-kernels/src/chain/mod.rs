//! Chains of small convolutions, forward, row by row: what MobileNet-like networks consist of.
//!
//! A [`Link`] is a convolution with kernels of one pixel, a depthwise one of 3×3, a ReLU, and a 2×2
//! max pooling. Between links an image is never whole in memory: a row of the output takes three
//! rows of the depthwise convolution's input, which stay in the cache, and each of them one row of
//! the link before. A [`Source`] makes the rows of the first link's input.
//!
//! Images are `[height, width, channels]`, one after another, with channels in multiples of
//! [`LANES`]. The output is cut into strips of rows, one task each. A row is computed in the same
//! way in any strip, so that the number of threads changes no bit.

mod rows;
mod strip;
#[cfg(test)]
mod tests;

use super::simd::{Aligned, buffer};
use super::team::{parallel, tasks, together};
use strip::Strip;

/// Channels are multiples of this: a vector of AVX-512, two of AVX2.
pub const LANES: usize = 16;

/// The most channels: the kernels of a link stay in the cache.
pub const MOST: usize = 128;

/// The fewest rows of a strip. The first rows of a strip take rows that the one above has too.
const FEWEST: usize = 4;

/// A convolution of one pixel, a depthwise one of 3×3 with a padding of one pixel, and what
/// follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    channels: [usize; 2],
    /// `[inputs, outputs]`.
    pointwise: Aligned,
    pointwise_bias: Aligned,
    /// `[rows, columns, channels]`.
    depthwise: Aligned,
    depthwise_bias: Aligned,
    /// Whether ReLU follows.
    relu: bool,
    /// Whether 2×2 max pooling follows.
    pool: bool,
}

/// A layer's kernels as ONNX and Burn have them, outputs first, and its bias, zeros if it is
/// `None`.
pub type Weights<'a> = (&'a [f32], Option<&'a [f32]>);

impl Link {
    /// A link from `inputs` to `outputs` channels: kernels `[outputs, inputs]` and
    /// `[outputs, 3, 3]`.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        pointwise: Weights,
        depthwise: Weights,
        relu: bool,
        pool: bool,
    ) -> Self {
        assert!(
            supports([inputs, outputs]),
            "{inputs} and {outputs} channels"
        );
        Self {
            channels: [inputs, outputs],
            pointwise: outputs_last(pointwise.0, [inputs, outputs]),
            pointwise_bias: bias(pointwise.1, outputs),
            depthwise: outputs_last(depthwise.0, [9, outputs]),
            depthwise_bias: bias(depthwise.1, outputs),
            relu,
            pool,
        }
    }
}

/// Whether a link can have these input and output channels.
pub fn supports(channels: [usize; 2]) -> bool {
    channels
        .iter()
        .all(|channels| *channels > 0 && *channels <= MOST && channels.is_multiple_of(LANES))
}

/// A 3×3 convolution of stride 2 on three channels with a padding of one pixel, and ReLU.
#[derive(Clone, Debug, PartialEq)]
pub struct First {
    /// `[3, rows, columns, outputs]`.
    kernel: Aligned,
    bias: Aligned,
}

impl First {
    /// A convolution with kernels `[outputs, 3, 3, 3]`.
    pub fn new(outputs: usize, (kernel, shift): Weights) -> Self {
        assert!(supports([outputs; 2]), "{outputs} channels");
        Self {
            kernel: outputs_last(kernel, [27, outputs]),
            bias: bias(shift, outputs),
        }
    }
}

/// `[outputs, inputs]` → `[inputs, outputs]`.
fn outputs_last(kernel: &[f32], [inputs, outputs]: [usize; 2]) -> Aligned {
    assert_eq!(kernel.len(), inputs * outputs);
    let value = |i: usize| kernel[i % outputs * inputs + i / outputs];
    let values: Vec<f32> = (0..inputs * outputs).map(value).collect();
    Aligned::new(&values)
}

fn bias(bias: Option<&[f32]>, outputs: usize) -> Aligned {
    let bias = bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec);
    assert_eq!(bias.len(), outputs);
    Aligned::new(&bias)
}

/// What the first link of a chain takes.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// An image as it is.
    Image(&'a [f32]),
    /// Its 2×2 maxima, an odd last row or column left out.
    Pool(&'a [f32]),
    /// Its sum with one of half the height and width, each of whose pixels counts four times.
    Sum(&'a [f32], &'a [f32]),
    /// Three planes `[3, height, width]`, by a convolution.
    Planes(&'a [f32], &'a First),
}

/// Images that go through a chain.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The number of images.
    pub batch: usize,
    /// Height and width of the source's (first) image.
    pub size: [usize; 2],
    /// What the first link takes.
    pub source: Source<'a>,
    /// What follows.
    pub links: &'a [Link],
}

impl<'a> Chain<'a> {
    /// Height, width and channels of the output.
    pub fn output(&self) -> [usize; 3] {
        let [height, width] = self.links.iter().fold(self.first(), |[h, w], link| {
            if link.pool { [h / 2, w / 2] } else { [h, w] }
        });
        [
            height,
            width,
            self.links.last().map_or(0, |link| link.channels[1]),
        ]
    }

    /// Height and width of the first link's input.
    fn first(&self) -> [usize; 2] {
        match self.source {
            Source::Image(_) | Source::Sum(..) => self.size,
            Source::Pool(_) => self.size.map(|side| side / 2),
            Source::Planes(..) => self.size.map(|side| side.div_ceil(2)),
        }
    }

    /// The output of all images.
    pub fn forward(&self) -> Vec<f32> {
        self.check();
        // Rows that two strips share are computed twice, through all links between two poolings.
        let pool = self.links.iter().position(|link| link.pool);
        let Some(pool) = pool.filter(|pool| pool + 1 < self.links.len()) else {
            return self.strips();
        };
        let (links, rest) = self.links.split_at(pool + 1);
        let before = Chain { links, ..*self };
        let image = before.strips();
        let [height, width, _] = before.output();
        let after = Chain {
            batch: self.batch,
            size: [height, width],
            source: Source::Image(&image),
            links: rest,
        };
        after.forward()
    }

    /// # Panics
    /// Lengths do not fit together.
    fn check(&self) {
        let [height, width] = self.size;
        let inputs = self.links.first().map(|link| link.channels[0]);
        let inputs = inputs.unwrap_or_else(|| unreachable!("a chain has links"));
        let pixels = self.batch * height * width;
        match self.source {
            Source::Image(image) | Source::Pool(image) => assert_eq!(image.len(), pixels * inputs),
            Source::Sum(image, half) => {
                assert!(height.is_multiple_of(2) && width.is_multiple_of(2));
                assert_eq!(image.len(), pixels * inputs);
                assert_eq!(half.len(), image.len() / 4);
            }
            Source::Planes(image, first) => {
                assert_eq!(image.len(), pixels * 3);
                assert_eq!(first.bias.len(), inputs);
            }
        }
        for links in self.links.windows(2) {
            assert_eq!(links[0].channels[1], links[1].channels[0]);
        }
    }

    /// The output of links of which the last one at most pools.
    fn strips(&self) -> Vec<f32> {
        let [height, width, channels] = self.output();
        let line = width * channels;
        if self.batch * height * line == 0 {
            return Vec::new();
        }
        together(|| {
            let strips = tasks().div_ceil(self.batch);
            let rows = height.div_ceil(strips).max(FEWEST);
            let strips = height.div_ceil(rows);
            // SAFETY: the strips, each of them one task's, make up all of the buffer.
            unsafe {
                buffer(self.batch * height * line, |target| {
                    parallel(self.batch * strips, |task| {
                        let (image, first) = (task / strips, task % strips * rows);
                        let end = height.min(first + rows);
                        let mut strip = Strip::new(self, image);
                        for row in first..end {
                            let output = target.fresh((image * height + row) * line, line);
                            strip.row(row, output);
                        }
                    });
                })
            }
        })
    }
}
