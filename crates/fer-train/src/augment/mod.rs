//! Training augmentation: the same image, a little different in each epoch.
//!
//! Every change is a pure function of the settings and of (seed, epoch, index) ([`Draw`]): a run
//! that was interrupted and resumed gets the very same pictures, whatever the number of threads and
//! the order of the images. Each setting has its own numbers: changing one leaves what the others
//! draw as it was.
//!
//! The order is that of [`Variation`]'s fields: levels (equalization and gamma), geometry
//! ([`Geometry`]: shift, rotation, zoom, scale, crop and flip in one interpolation), brightness and
//! contrast, downscaling, blur, JPEG, random erasing. Mixup mixes whole batches, after everything
//! else.

mod erase;
mod geometry;
mod jpeg;
mod levels;
mod linear;
mod mixup;
mod on_device;
mod resolution;
mod tone;
mod variation;

use serde::{Deserialize, Serialize};

pub use erase::Erased;
pub use geometry::{Crop, Geometry};
pub use levels::equalized;
pub use mixup::Mixup;
pub use on_device::render;
pub use variation::Variation;

use fer_core::random::{Purpose, Random};

/// What training images go through: the table `[augment]` of a training preset. Every setting is
/// off by default: at 0, and `scale` at `[1, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Shift along each axis, uniform within ± this share of the image's width and height, of parts
    /// of pixels too; 0 to 0.5. Keras's `width_shift_range` and `height_shift_range`.
    pub shift: f32,
    /// Rotation, uniform within ± this many degrees; 0 to 180. Keras's `rotation_range`.
    pub rotation: f32,
    /// Zoom, uniform in 1 ± this, for each axis on its own; 0 to 0.5. Keras's `zoom_range`.
    pub zoom: f32,
    /// Side of the window around the center that is spread over the result, in frames, log-uniform
    /// between these two; each 0.5 to 2, the smaller one first. Above 1, more than the frame is
    /// seen, its edges being repeated: faces that a detector finds are cut out too small or too
    /// large.
    pub scale: [f32; 2],
    /// Probability that an image is mirrored, left to right; 0 to 1. Keras's `horizontal_flip` is
    /// 0.5.
    pub flip: f32,
    /// Share of the width and height that a random crop leaves out; what is left is brought back to
    /// full size; 0 to 0.5. 0.0833 leaves 44 of 48 pixels.
    pub crop: f32,
    /// Brightness: a factor uniform in 1 ± this; 0 to 1.
    pub brightness: f32,
    /// Contrast: a factor uniform in 1 ± this for the differences from the image's mean; 0 to 1.
    pub contrast: f32,
    /// Gamma: level `l` of the source becomes `255 · (l / 255)^g`, with ln g uniform within
    /// ± ln(1 + this); 0 to 1.
    pub gamma: f32,
    /// Probability that the source's histogram is equalized; 0 to 1.
    pub equalize: f32,
    /// Probability that an image is scaled down to 0.4 to 0.9 of its sides, and back; 0 to 1.
    pub downscale: f32,
    /// Probability that an image is blurred by a Gaussian whose standard deviation is 0.3 to 1.2
    /// pixels; 0 to 1.
    pub blur: f32,
    /// Probability that an image loses what JPEG of quality 30 to 95 loses; 0 to 1.
    pub jpeg: f32,
    /// Probability that a rectangle of 2 to 20 % of an image is filled with noise; 0 to 1.
    pub erase: f32,
    /// `alpha` of the distribution Beta(alpha, alpha) by which the images of a batch are mixed in
    /// pairs; 0 to 4. Below 1, most images stay almost as they are.
    pub mixup: f32,
}

/// Which augmentation of which image: equal draws give equal pictures, others have nothing to do
/// with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The epoch.
    pub epoch: u32,
    /// The image, by its place in the data set, not in the epoch's order.
    pub index: u64,
}

/// What a side of `scale` can be.
const SCALES: std::ops::RangeInclusive<f32> = 0.5..=2.0;

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            shift: 0.0,
            rotation: 0.0,
            zoom: 0.0,
            scale: [1.0, 1.0],
            flip: 0.0,
            crop: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            gamma: 0.0,
            equalize: 0.0,
            downscale: 0.0,
            blur: 0.0,
            jpeg: 0.0,
            erase: 0.0,
            mixup: 0.0,
        }
    }
}

impl Augmentation {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// One line that names the first setting that is out of range, and the range.
    pub fn validate(&self) -> Result<(), String> {
        let settings = [
            ("shift", self.shift, 0.5),
            ("rotation", self.rotation, 180.0),
            ("zoom", self.zoom, 0.5),
            ("flip", self.flip, 1.0),
            ("crop", self.crop, 0.5),
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("gamma", self.gamma, 1.0),
            ("equalize", self.equalize, 1.0),
            ("downscale", self.downscale, 1.0),
            ("blur", self.blur, 1.0),
            ("jpeg", self.jpeg, 1.0),
            ("erase", self.erase, 1.0),
            ("mixup", self.mixup, 4.0),
        ];
        if let Some((key, value, most)) = settings
            .into_iter()
            .find(|(_, value, most)| !(0.0..=*most).contains(value))
        {
            return Err(format!(
                "augment.{key} is {value}; it can be from 0 (off) to {most}"
            ));
        }
        let [low, high] = self.scale;
        match SCALES.contains(&low) && SCALES.contains(&high) && low <= high {
            true => Ok(()),
            false => Err(format!(
                "augment.scale is [{low}, {high}]; it can be two numbers from {} to {}, the \
                 smaller one first, and [1, 1] is off",
                SCALES.start(),
                SCALES.end()
            )),
        }
    }

    /// Whether nothing is changed at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What happens to the image `pixels` (`[channels, height, width]`).
    pub fn variation(&self, pixels: &[u8], width: usize, height: usize, draw: Draw) -> Variation {
        let place = |purpose| Random::new(draw.seed, purpose, draw.epoch.into(), draw.index);
        let (random, quality) = (&mut place(Purpose::Augment), &mut place(Purpose::Quality));
        // Every number is drawn, needed or not, so that one setting does not change the numbers of
        // the next, and in this order.
        let scale = self.window(quality);
        let gamma = (1.0 + f64::from(self.gamma)).powf(quality.around(1.0));
        let equalize = quality.chance(self.equalize.into());
        let downscale = sometimes(self.downscale, resolution::DOWNSCALE, quality);
        let blur = sometimes(self.blur, resolution::BLUR, quality);
        let jpeg =
            sometimes(self.jpeg, jpeg::QUALITY, quality).map(|quality| quality.round() as u8);
        let geometry = self.geometry(width, height, scale, random);
        let brightness = 1.0 + random.around(self.brightness.into()) as f32;
        let contrast = 1.0 + random.around(self.contrast.into()) as f32;
        let channels = (pixels.len() / (width * height).max(1)).max(1);
        let erased = random.chance(self.erase.into()) && width * height > 0;
        let levels = (equalize || gamma != 1.0).then(|| levels::table(pixels, equalize, gamma));
        let erased = erased.then(|| Erased::draw(channels, width, height, random));
        Variation {
            levels,
            geometry,
            brightness,
            contrast,
            downscale,
            blur,
            jpeg,
            erased,
        }
    }

    /// Augments one image: from `pixels` (`[channels, height, width]`) to `out` (of the same shape,
    /// pixel levels 0..=255, not scaled). Where nothing is drawn, the pixels come out exactly.
    ///
    /// # Panics
    /// If `pixels` or `out` is not of whole channels of `width × height` values.
    pub fn apply(&self, pixels: &[u8], width: usize, height: usize, draw: Draw, out: &mut [f32]) {
        self.variation(pixels, width, height, draw)
            .apply(pixels, width, height, out);
    }

    /// How the batch at `step` of an epoch is mixed; `None` if mixup is off. `batch` is its number
    /// of images.
    pub fn mixup(&self, seed: u64, epoch: u32, step: u32, batch: usize) -> Option<Mixup> {
        let random = &mut Random::new(seed, Purpose::Mixup, epoch.into(), step.into());
        (self.mixup > 0.0).then(|| mixup::mixup(self.mixup.into(), batch, random))
    }

    /// Draws the side of the window, in frames.
    fn window(&self, random: &mut Random) -> f64 {
        let [low, high] = self.scale.map(|side| f64::from(side).ln());
        random.between(low, high).exp()
    }

    fn geometry(&self, width: usize, height: usize, scale: f64, random: &mut Random) -> Geometry {
        let (shift, zoom, crop) = (
            f64::from(self.shift),
            f64::from(self.zoom),
            f64::from(self.crop),
        );
        // The order of these lines is the order of the random numbers.
        Geometry {
            theta: random.around(self.rotation.into()),
            tx: random.around(shift * width as f64),
            ty: random.around(shift * height as f64),
            zx: scale * (1.0 + random.around(zoom)),
            zy: scale * (1.0 + random.around(zoom)),
            crop: Crop {
                left: random.between(0.0, crop),
                top: random.between(0.0, crop),
                side: 1.0 - crop,
            },
            flip: random.chance(self.flip.into()),
        }
    }
}

/// Draws whether an image gets an effect, and how strong it is, in `range`.
fn sometimes(probability: f32, range: (f64, f64), random: &mut Random) -> Option<f64> {
    let (hit, strength) = (
        random.chance(probability.into()),
        random.between(range.0, range.1),
    );
    hit.then_some(strength)
}
