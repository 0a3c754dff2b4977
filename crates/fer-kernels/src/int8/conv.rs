//! Convolution of bytes, also of one pixel: a matrix product.
//!
//! An image is copied with its padding, in which each byte stands for 0. So all taps of the kernel
//! are there for each pixel of the output, and none needs its own code. The zero point of the input
//! is taken out of the sums through the bias.

use super::instructions::Instructions;
use super::pass::Threads;
use super::tile::{CHANNELS, Finish, Kernels, PIXELS, Sums};

/// The most bytes of padded images that are processed at a time, so that they stay in the L2 cache.
const WORKING_SET: usize = 192 << 10;

/// Tiles of one task, where threads share an image.
const TILES: usize = 16;

/// The shape of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Height, width and channels.
    pub input: [usize; 3],
    /// Output channels.
    pub outputs: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Pixels that stand for 0 above, left, below and right.
    pub padding: [usize; 4],
    /// The byte of the input that stands for 0.
    pub zero: u8,
}

/// What becomes of `sum + bias`, by output channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The byte `zero + (sum + bias) × scale`, rounded half to even, `least` to 255.
    Bytes {
        /// By output channel; finite.
        scale: Vec<f32>,
        /// The byte that stands for 0.
        zero: u8,
        /// The smallest byte: `zero` for ReLU.
        least: u8,
    },
    /// The number `(sum + bias) × scale + shift`.
    Floats {
        /// By output channel; finite.
        scale: Vec<f32>,
        /// By output channel.
        shift: Vec<f32>,
        /// Whether negative numbers become 0.
        relu: bool,
    },
}

/// Where the output goes: `[height, width, channels]` of all images.
#[derive(Debug)]
pub enum Target<'a> {
    /// Of [`Output::Bytes`].
    Bytes(&'a mut [u8]),
    /// Of [`Output::Floats`].
    Floats(&'a mut [f32]),
}

/// A [`Target`] that several threads write to, each its own part.
#[derive(Clone, Copy)]
enum Shared {
    Bytes(*mut u8),
    Floats(*mut f32),
}

// SAFETY: pointers to numbers, which may be sent; threads write to different parts.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

/// Channels of the output that are computed together.
struct Block {
    first: usize,
    vectors: usize,
    /// The first of its weights, in bytes.
    weights: usize,
}

/// A convolution with its weights in the order in which they are read.
pub struct Prepared {
    conv: Conv,
    kernels: &'static Kernels,
    blocks: Vec<Block>,
    weights: Lines,
    /// By output channel, with zeros up to whole vectors.
    bias: Vec<i32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    limits: [f32; 2],
    /// The output's byte that stands for 0; `None` for numbers.
    zero: Option<u8>,
    /// Where each pixel of the output begins in a padded image, in bytes.
    pixels: Vec<usize>,
    /// How far each tap is from there.
    taps: Vec<usize>,
}

/// Bytes that begin at a line of the cache.
struct Lines(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Conv {
    /// Height, width and channels of the output; 0 if the kernel is larger than the padded input.
    pub fn output(&self) -> [usize; 3] {
        let [height, width] = std::array::from_fn(|i| {
            let padded = self.input[i] + self.padding[i] + self.padding[i + 2];
            let rest = padded.checked_sub(self.kernel[i]);
            rest.map_or(0, |rest| rest / self.stride[i] + 1)
        });
        [height, width, self.outputs]
    }

    /// The number of products of one image.
    pub fn products(&self) -> usize {
        let [height, width, outputs] = self.output();
        height * width * outputs * self.input[2] * self.kernel[0] * self.kernel[1]
    }

    /// Height and width with the padding.
    fn padded(&self) -> [usize; 2] {
        std::array::from_fn(|i| self.input[i] + self.padding[i] + self.padding[i + 2])
    }

    /// Whether the input has no pixels around it.
    fn is_bare(&self) -> bool {
        self.padding == [0; 4]
    }
}

impl Prepared {
    /// `kernel` is `[outputs, channels, height, width]`, `bias` is by output channel.
    ///
    /// # Panics
    /// The lengths do not fit the shape, a kernel or a stride is 0, a scale is not finite, or the
    /// processor does not have the instructions.
    pub fn new(
        conv: Conv,
        kernel: &[i8],
        bias: &[i32],
        output: Output,
        instructions: Instructions,
    ) -> Self {
        let [height, width] = conv.kernel;
        // Else a pixel of the output could begin outside of the image.
        let moves = conv.kernel.iter().chain(&conv.stride).all(|n| *n > 0);
        assert!(moves, "kernel and stride of {conv:?}");
        let per_output = conv.input[2] * height * width;
        assert_eq!(
            kernel.len(),
            conv.outputs * per_output,
            "kernel of {conv:?}"
        );
        assert_eq!(bias.len(), conv.outputs, "bias of {conv:?}");
        let kernels = instructions.kernels(kernel);
        let padded = conv.outputs.next_multiple_of(kernels.lanes);
        let mut all = vec![0; padded];
        for (i, bias) in bias.iter().enumerate() {
            let of = &kernel[i * per_output..(i + 1) * per_output];
            let sum = of.iter().fold(0i32, |sum, w| sum.wrapping_add((*w).into()));
            all[i] = bias.wrapping_sub(sum.wrapping_mul(conv.zero.into()));
        }
        let (mut scale, mut shift, limits, zero) = match output {
            Output::Bytes { scale, zero, least } => {
                let limits = [least, 255].map(|limit| f32::from(limit) - f32::from(zero));
                (scale, vec![0.0; conv.outputs], limits, Some(zero))
            }
            Output::Floats { scale, shift, relu } => {
                let least = if relu { 0.0 } else { f32::NEG_INFINITY };
                (scale, shift, [least, f32::INFINITY], None)
            }
        };
        assert!(scale.iter().all(|s| s.is_finite()), "scales of {conv:?}");
        assert_eq!(
            [scale.len(), shift.len()],
            [conv.outputs; 2],
            "scales of {conv:?}"
        );
        scale.resize(padded, 0.0);
        shift.resize(padded, 0.0);
        let (blocks, weights) = pack(conv, kernel, kernels);
        let pixel = conv.input[2].next_multiple_of(kernels.group) * kernels.bytes;
        let row = conv.padded()[1] * pixel;
        let [out_height, out_width, _] = conv.output();
        let places = |[height, width]: [usize; 2], [down, right]: [usize; 2]| {
            let place = move |y| (0..width).map(move |x| y * down * row + x * right * pixel);
            (0..height).flat_map(place).collect()
        };
        Self {
            conv,
            kernels,
            blocks,
            weights,
            bias: all,
            scale,
            shift,
            limits,
            zero,
            pixels: places([out_height, out_width], conv.stride),
            taps: places(conv.kernel, [1, 1]),
        }
    }

    /// Its shape.
    pub fn conv(&self) -> &Conv {
        &self.conv
    }

    /// The convolution of the images in `input`.
    ///
    /// # Panics
    /// The lengths are not those of some images, or the target is of the other kind.
    pub fn forward(&self, input: &[u8], target: Target, threads: Threads) {
        let [in_len, out_len] =
            [self.conv.input, self.conv.output()].map(|dims| dims.iter().product::<usize>());
        let (len, target) = match (target, self.zero) {
            (Target::Bytes(values), Some(_)) => (values.len(), Shared::Bytes(values.as_mut_ptr())),
            (Target::Floats(values), None) => (values.len(), Shared::Floats(values.as_mut_ptr())),
            _ => panic!("a target of another kind of {:?}", self.conv),
        };
        let images = input.len() / in_len.max(1);
        assert_eq!(input.len(), images * in_len, "input of {:?}", self.conv);
        assert_eq!(len, images * out_len, "output of {:?}", self.conv);
        if len == 0 {
            return;
        }
        let padded_len = self.padded_len();
        let group = (WORKING_SET / padded_len.max(1)).clamp(1, images);
        let mut room = Vec::new();
        for (index, images) in input.chunks(group * in_len).enumerate() {
            let target = target.after(index * group * out_len);
            let padded = self.pad(images, &mut room);
            let pixels = images.len() / in_len * self.pixels.len();
            match threads {
                Threads::One => {
                    for block in &self.blocks {
                        self.block(padded, block, 0, pixels, target);
                    }
                }
                Threads::Team => {
                    let size = TILES * PIXELS;
                    let parts = pixels.div_ceil(size);
                    threads.each(parts * self.blocks.len(), |task| {
                        let (block, first) = (&self.blocks[task / parts], task % parts * size);
                        self.block(padded, block, first, pixels.min(first + size), target);
                    });
                }
            }
        }
    }

    /// The bytes of a padded image.
    fn padded_len(&self) -> usize {
        let [height, width] = self.conv.padded();
        let Kernels { group, bytes, .. } = *self.kernels;
        height * width * self.conv.input[2].next_multiple_of(group) * bytes
    }

    /// Images with their padding, as the kernels take them, in `room` if they are not so already.
    fn pad<'a>(&self, images: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
        let Kernels { group, bytes, .. } = *self.kernels;
        let [height, width, channels] = self.conv.input;
        if bytes == 1 && self.conv.is_bare() && channels % group == 0 {
            return images;
        }
        let count = images.len() / (height * width * channels);
        let len = count * self.padded_len();
        // What is around images of one size stays.
        if room.len() < len {
            room.clear();
            match bytes {
                1 => room.resize(len, self.conv.zero),
                _ => {
                    let zero = u16::from(self.conv.zero).to_ne_bytes();
                    room.extend(zero.iter().cycle().take(len));
                }
            }
        }
        let pixel = channels.next_multiple_of(group) * bytes;
        let [top, left, ..] = self.conv.padding;
        let [_, padded_width] = self.conv.padded();
        let rows = images.chunks_exact(width * channels).enumerate();
        for (row, values) in rows {
            let (image, y) = (row / height, row % height);
            let start = image * self.padded_len() + ((top + y) * padded_width + left) * pixel;
            let to = &mut room[start..start + width * pixel];
            match (bytes, channels % group) {
                (1, 0) => to.copy_from_slice(values),
                (1, _) => match channels {
                    1 => spread::<1>(values, to, pixel),
                    3 => spread::<3>(values, to, pixel),
                    _ => {
                        let pixels = values.chunks_exact(channels);
                        for (to, from) in to.chunks_exact_mut(pixel).zip(pixels) {
                            to[..channels].copy_from_slice(from);
                        }
                    }
                },
                (_, 0) => widen(values, to),
                _ => {
                    let pixels = values.chunks_exact(channels);
                    for (to, from) in to.chunks_exact_mut(pixel).zip(pixels) {
                        widen(from, to);
                    }
                }
            }
        }
        &room[..len]
    }

    /// Some channels of the pixels from `first` to `end` of all images together.
    fn block(&self, padded: &[u8], block: &Block, first: usize, end: usize, target: Shared) {
        let Kernels { lanes, group, .. } = *self.kernels;
        let (image_len, steps) = (self.padded_len(), self.conv.input[2].div_ceil(group));
        let range = block.first..block.first + block.vectors * lanes;
        let mut finish = Finish {
            summed: range.len(),
            channels: range.len().min(self.conv.outputs - block.first),
            pixels: 0,
            bias: &self.bias[range.clone()],
            scale: &self.scale[range.clone()],
            shift: &self.shift[range],
            limits: self.limits,
            zero: self.zero.unwrap_or_default().into(),
            stride: self.conv.outputs,
        };
        let sum = self.kernels.sum[block.vectors - 1];
        // SAFETY: within the weights, where `pack` put this block.
        let weights = unsafe { self.weights.start().add(block.weights) };
        let mut sums = Sums([0; PIXELS * CHANNELS]);
        let (mut image, mut place) = (first / self.pixels.len(), first % self.pixels.len());
        let mut next = first;
        while next < end {
            finish.pixels = (end - next).min(PIXELS);
            let mut at = [padded.as_ptr(); PIXELS];
            for (i, at) in at.iter_mut().enumerate() {
                // Of a tile that is not full, the last pixel is computed several times.
                let offset = image * image_len + self.pixels[place];
                debug_assert!(offset < padded.len());
                // SAFETY: within the padded images.
                *at = unsafe { padded.as_ptr().add(offset) };
                if i + 1 < finish.pixels {
                    place += 1;
                    if place == self.pixels.len() {
                        (image, place) = (image + 1, 0);
                    }
                }
            }
            // SAFETY: `kernels` asserted the instructions. All taps of a pixel lie in its padded
            // image. The pixels and channels exist, and only this task writes them.
            unsafe {
                sum(&at, &self.taps, steps, weights, &mut sums);
                match target.after(next * self.conv.outputs + block.first) {
                    Shared::Bytes(output) => (self.kernels.to_bytes)(&sums, &finish, output),
                    Shared::Floats(output) => (self.kernels.to_floats)(&sums, &finish, output),
                }
            }
            next += finish.pixels;
            place += 1;
            if place == self.pixels.len() {
                (image, place) = (image + 1, 0);
            }
        }
    }
}

impl Shared {
    /// From this value on.
    fn after(self, values: usize) -> Self {
        match self {
            Self::Bytes(start) => Self::Bytes(start.wrapping_add(values)),
            Self::Floats(start) => Self::Floats(start.wrapping_add(values)),
        }
    }
}

impl Lines {
    fn new(bytes: &[u8]) -> Self {
        let lines = bytes.chunks(64).map(|bytes| {
            let mut line = Line([0; 64]);
            line.0[..bytes.len()].copy_from_slice(bytes);
            line
        });
        Self(lines.collect())
    }

    fn start(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

/// Copies pixels of a known number of bytes, `pixel` bytes apart.
fn spread<const BYTES: usize>(from: &[u8], to: &mut [u8], pixel: usize) {
    for (to, from) in to.chunks_exact_mut(pixel).zip(from.as_chunks::<BYTES>().0) {
        to[..BYTES].copy_from_slice(from);
    }
}

/// Bytes → words of the same values.
fn widen(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.as_chunks_mut::<2>().0.iter_mut().zip(from) {
        *to = u16::from(*from).to_ne_bytes();
    }
}

/// The blocks of output channels, about equally large, and their weights, each block's as
/// [`super::tile`] has them.
fn pack(conv: Conv, kernel: &[i8], kernels: &Kernels) -> (Vec<Block>, Lines) {
    let Kernels {
        lanes,
        group,
        bytes,
        ..
    } = *kernels;
    let [_, _, channels] = conv.input;
    let taps = conv.kernel[0] * conv.kernel[1];
    let vectors = conv.outputs.div_ceil(lanes);
    let count = vectors.div_ceil(kernels.sum.len());
    let mut packed = Vec::new();
    let mut blocks = Vec::with_capacity(count);
    let mut first = 0;
    for i in 0..count {
        let end = (i + 1) * vectors / count;
        blocks.push(Block {
            first: first * lanes,
            vectors: end - first,
            weights: packed.len(),
        });
        for tap in 0..taps {
            for input in (0..channels).step_by(group) {
                for output in first * lanes..end * lanes {
                    for input in input..input + group {
                        let exists = output < conv.outputs && input < channels;
                        let at = (output * channels + input) * taps + tap;
                        let weight = if exists { kernel[at] } else { 0 };
                        match bytes {
                            1 => packed.push(weight.to_ne_bytes()[0]),
                            _ => packed.extend(i16::from(weight).to_ne_bytes()),
                        }
                    }
                }
            }
        }
        first = end;
    }
    (blocks, Lines::new(&packed))
}
