//! A strip of rows through all links of a chain.

use super::rows::{self, Depthwise, Pointwise, Pool, Sum};
use super::{Chain, Link, Source};
use crate::simd::{Scratch, dispatch};

/// Rows of a depthwise convolution's input that are kept: what a pooled row takes.
const KEPT: usize = 4;

/// The rows of one image that are in the making.
pub(super) struct Strip<'a> {
    feed: Feed<'a>,
    stages: Vec<Stage<'a>>,
}

impl<'a> Strip<'a> {
    /// Nothing is computed yet of the image of that number.
    pub fn new(chain: &Chain<'a>, image: usize) -> Self {
        let [mut height, mut width] = chain.first();
        let stages = chain.links.iter().map(|link| {
            let stage = Stage::new(link, [height, width]);
            if link.pool {
                (height, width) = (height / 2, width / 2);
            }
            stage
        });
        let stages = stages.collect();
        Self {
            feed: Feed::new(chain, image),
            stages,
        }
    }

    /// A row of the output, `[width, channels]`; the row before it was the last one, or it is the
    /// first.
    pub fn row(&mut self, row: usize, output: &mut [f32]) {
        produce(&self.feed, &mut self.stages, row, output);
    }
}

/// A link and the rows between its two convolutions.
struct Stage<'a> {
    link: &'a Link,
    height: usize,
    /// The length of a row between the convolutions, with a pixel at both ends.
    line: usize,
    /// [`KEPT`] rows, at their number modulo that, and a row of zeros. The pixels at both ends of
    /// each are zeros too.
    ring: Scratch,
    /// A row of the link's input.
    input: Scratch,
    /// The first row that was not computed yet.
    next: Option<usize>,
}

impl<'a> Stage<'a> {
    fn new(link: &'a Link, [height, width]: [usize; 2]) -> Self {
        let [inputs, outputs] = link.channels;
        let line = (width + 2) * outputs;
        let mut ring = Scratch::new((KEPT + 1) * line);
        for row in ring.chunks_exact_mut(line) {
            row[..outputs].fill(0.0);
            row[line - outputs..].fill(0.0);
        }
        ring[KEPT * line..].fill(0.0);
        Self {
            link,
            height,
            line,
            ring,
            input: Scratch::new(width * inputs),
            next: None,
        }
    }

    /// A row between the convolutions, zeros beyond the image.
    fn between(&self, row: Option<usize>) -> &[f32] {
        let at = row.filter(|row| *row < self.height);
        let at = at.map_or(KEPT, |row| row % KEPT);
        &self.ring[at * self.line..][..self.line]
    }
}

/// A row of the last stage's output.
fn produce(feed: &Feed, stages: &mut [Stage], row: usize, output: &mut [f32]) {
    let Some((stage, before)) = stages.split_last_mut() else {
        unreachable!("a chain has links")
    };
    let link = stage.link;
    let [inputs, outputs] = link.channels;
    // The first row of the input, from one above the image, and those that are needed.
    let (first, count) = if link.pool { (2 * row, 4) } else { (row, 3) };
    let end = (first + count - 1).min(stage.height);
    for row in stage.next.unwrap_or(first.saturating_sub(1))..end {
        let input = if before.is_empty() {
            feed.row(row, &mut stage.input)
        } else {
            produce(feed, before, row, &mut stage.input);
            &stage.input[..]
        };
        let between = &mut stage.ring[row % KEPT * stage.line..][..stage.line];
        dispatch(Pointwise {
            input: &input[..(stage.line / outputs - 2) * inputs],
            kernel: &link.pointwise,
            bias: &link.pointwise_bias,
            output: &mut between[outputs..stage.line - outputs],
        });
    }
    stage.next = Some(end);
    let (kernel, bias, relu) = (&link.depthwise, &link.depthwise_bias, link.relu);
    if link.pool {
        dispatch(Depthwise::<4, 2> {
            input: std::array::from_fn(|i| stage.between((first + i).checked_sub(1))),
            kernel,
            bias,
            relu,
            output,
        });
    } else {
        dispatch(Depthwise::<3, 1> {
            input: std::array::from_fn(|i| stage.between((first + i).checked_sub(1))),
            kernel,
            bias,
            relu,
            output,
        });
    }
}

/// One image of a source.
struct Feed<'a> {
    source: Source<'a>,
    size: [usize; 2],
    channels: usize,
    /// What lies beyond the image's planes.
    zeros: Scratch,
}

impl<'a> Feed<'a> {
    fn new(chain: &Chain<'a>, number: usize) -> Self {
        let batch = chain.batch;
        let one = |images: &'a [f32]| {
            let len = images.len() / batch;
            &images[number * len..][..len]
        };
        let source = match chain.source {
            Source::Image(images) => Source::Image(one(images)),
            Source::Pool(images) => Source::Pool(one(images)),
            Source::Sum(images, halves) => Source::Sum(one(images), one(halves)),
            Source::Planes(images, first) => Source::Planes(one(images), first),
        };
        let mut zeros = Scratch::new(chain.size[1]);
        zeros.fill(0.0);
        Self {
            source,
            size: chain.size,
            channels: chain.links.first().map_or(0, |link| link.channels[0]),
            zeros,
        }
    }

    /// A row of the first link's input, in the image or in `made`.
    fn row<'s>(&'s self, row: usize, made: &'s mut [f32]) -> &'s [f32] {
        let [height, width] = self.size;
        let (channels, line) = (self.channels, width * self.channels);
        match self.source {
            Source::Image(image) => return &image[row * line..][..line],
            Source::Pool(image) => dispatch(Pool {
                input: [0, 1].map(|i| &image[(2 * row + i) * line..][..line]),
                channels,
                output: made,
            }),
            Source::Sum(image, half) => dispatch(Sum {
                input: &image[row * line..][..line],
                half: &half[row / 2 * (line / 2)..][..line / 2],
                channels,
                output: made,
            }),
            Source::Planes(image, first) => {
                let input = |i: usize| {
                    let row = (2 * row + i % 3).checked_sub(1);
                    match row.filter(|row| *row < height) {
                        Some(row) => &image[(i / 3 * height + row) * width..][..width],
                        None => &self.zeros[..],
                    }
                };
                dispatch(rows::First {
                    input: std::array::from_fn(input),
                    kernel: &first.kernel,
                    bias: &first.bias,
                    output: made,
                });
            }
        }
        made
    }
}
