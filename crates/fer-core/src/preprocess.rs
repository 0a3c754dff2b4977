//! Pixels → tensor. Everything that feeds a model uses [`Preprocessor`].
//!
//! First gray or RGB, as the model needs. Then the model's size. Then `float32(pixel) × scale`, and
//! `(x − mean) / std` if the model has them, in the model's layout and order of colors. Color
//! first, size second: that is the order of Keras's `load_img`.

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use crate::images::Pixels;
use crate::spec::{ChannelOrder, InputSpec, Layout, Resize};

/// Turns pixels into one model's input values.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    width: usize,
    height: usize,
    channels: usize,
    layout: Layout,
    resize: Resize,
    /// For each of the model's channels, the image's channel.
    sources: Vec<usize>,
    /// The value of each of the 256 pixel levels, for each of the model's channels.
    levels: Vec<[f32; 256]>,
}

impl Preprocessor {
    /// Prepares the conversion for a model's input.
    pub fn new(spec: &InputSpec) -> Self {
        Self {
            width: spec.width,
            height: spec.height,
            channels: spec.channels,
            layout: spec.layout,
            resize: spec.resize,
            sources: match spec.order {
                ChannelOrder::Rgb => (0..spec.channels).collect(),
                ChannelOrder::Bgr => (0..spec.channels).rev().collect(),
            },
            levels: (0..spec.channels)
                .map(|c| std::array::from_fn(|p| spec.value(c, p as u8)))
                .collect(),
        }
    }

    /// One image's tensor: `height × width × channels` values in the model's layout (without the
    /// batch dimension).
    pub fn tensor(&self, pixels: Pixels) -> Vec<f32> {
        let pixels = self.pixels(pixels);
        let channels = || self.levels.iter().zip(&self.sources);
        match self.layout {
            Layout::Nhwc => pixels
                .data
                .chunks_exact(self.channels)
                .flat_map(|pixel| {
                    channels().map(|(levels, from)| levels[usize::from(pixel[*from])])
                })
                .collect(),
            Layout::Nchw => channels()
                .flat_map(|(levels, from)| {
                    let plane = pixels.data.iter().skip(*from).step_by(self.channels);
                    plane.map(|v| levels[usize::from(*v)])
                })
                .collect(),
        }
    }

    /// The image in gray or RGB, as the model needs, and in its size, before scaling.
    pub fn pixels(&self, pixels: Pixels) -> Pixels {
        let pixels = if self.channels == 1 {
            pixels.into_gray()
        } else {
            pixels.into_rgb()
        };
        if (pixels.width, pixels.height) == (self.width, self.height) {
            return pixels;
        }
        match self.resize {
            Resize::Nearest => nearest(&pixels, self.width, self.height),
            Resize::Antialias => antialias(pixels, self.width, self.height),
        }
    }
}

/// Takes the nearest pixel with PIL's coordinates for `Image.resize(…, NEAREST)`. They are summed
/// step by step in double precision, which matters where a coordinate falls on a pixel's edge.
fn nearest(from: &Pixels, width: usize, height: usize) -> Pixels {
    let coordinates = |from: usize, to: usize| -> Vec<usize> {
        let step = from as f64 / to as f64;
        let mut at = step * 0.5;
        (0..to)
            .map(|_| {
                let i = (at as usize).min(from - 1);
                at += step;
                i
            })
            .collect()
    };
    let (xs, ys) = (
        coordinates(from.width, width),
        coordinates(from.height, height),
    );
    let c = from.channels;
    let mut data = Vec::with_capacity(width * height * c);
    for y in ys {
        let row = &from.data[y * from.width * c..][..from.width * c];
        for x in &xs {
            data.extend_from_slice(&row[x * c..][..c]);
        }
    }
    Pixels {
        width,
        height,
        channels: c,
        data,
    }
}

/// Linear interpolation over all source pixels that overlap a pixel of the result.
fn antialias(from: Pixels, width: usize, height: usize) -> Pixels {
    let Pixels {
        width: w,
        height: h,
        channels,
        data,
    } = from;
    let (w, h, to_w, to_h) = (w as u32, h as u32, width as u32, height as u32);
    // `from_raw` fails only if the buffer is shorter than width × height × channels: `Pixels` holds
    // exactly that many.
    let data = match channels {
        1 => imageops::resize(
            &GrayImage::from_raw(w, h, data).unwrap_or_default(),
            to_w,
            to_h,
            FilterType::Triangle,
        )
        .into_raw(),
        _ => imageops::resize(
            &RgbImage::from_raw(w, h, data).unwrap_or_default(),
            to_w,
            to_h,
            FilterType::Triangle,
        )
        .into_raw(),
    };
    Pixels {
        width,
        height,
        channels,
        data,
    }
}
