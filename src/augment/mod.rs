//! Training augmentation: the same image, a little different in each epoch.
//!
//! Every change is a pure function of the settings and of (seed, epoch, index) ([`Draw`]): a run that was interrupted and
//! resumed gets the very same pictures, whatever the number of threads and the order of the images. Each setting has its own
//! numbers: changing one leaves what the others draw as it was.
//!
//! The order is geometry ([`Geometry`]: shift, rotation, zoom, crop and flip in one interpolation), brightness and contrast,
//! random erasing. Mixup mixes whole batches, after everything else.

mod erase;
mod geometry;
mod mixup;
mod on_device;
mod tone;

use serde::{Deserialize, Serialize};

pub use erase::Erased;
pub use geometry::{Crop, Geometry};
pub use mixup::Mixup;
pub use on_device::render;

use crate::random::{Purpose, Random};

/// What training images go through: the table `[augment]` of a training preset. Every setting is off at 0, its default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Shift along each axis, uniform within ± this share of the image's width and height, of parts of pixels too; 0 to 0.5.
    /// Keras's `width_shift_range` and `height_shift_range`.
    pub shift: f32,
    /// Rotation, uniform within ± this many degrees; 0 to 180. Keras's `rotation_range`.
    pub rotation: f32,
    /// Zoom, uniform in 1 ± this, for each axis on its own; 0 to 0.5. Keras's `zoom_range`.
    pub zoom: f32,
    /// Probability that an image is mirrored, left to right; 0 to 1. Keras's `horizontal_flip` is 0.5.
    pub flip: f32,
    /// Share of the width and height that a random crop leaves out; what is left is brought back to full size; 0 to 0.5.
    /// 0.0833 leaves 44 of 48 pixels.
    pub crop: f32,
    /// Brightness: a factor uniform in 1 ± this; 0 to 1.
    pub brightness: f32,
    /// Contrast: a factor uniform in 1 ± this for the differences from the image's mean; 0 to 1.
    pub contrast: f32,
    /// Probability that a rectangle of 2 to 20 % of an image is filled with noise; 0 to 1.
    pub erase: f32,
    /// `alpha` of the distribution Beta(alpha, alpha) by which the images of a batch are mixed in pairs; 0 to 4. Below 1, most
    /// images stay almost as they are.
    pub mixup: f32,
}

/// Which augmentation of which image: equal draws give equal pictures, others have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The epoch.
    pub epoch: u32,
    /// The image, by its place in the data set, not in the epoch's order.
    pub index: u64,
}

/// What happens to one image, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    /// Where its pixels go.
    pub geometry: Geometry,
    /// A factor for all levels.
    pub brightness: f32,
    /// A factor for the differences from the mean.
    pub contrast: f32,
    /// The rectangle that noise hides.
    pub erased: Option<Erased>,
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
            ("erase", self.erase, 1.0),
            ("mixup", self.mixup, 4.0),
        ];
        match settings.into_iter().find(|(_, value, most)| !(0.0..=*most).contains(value)) {
            None => Ok(()),
            Some((key, value, most)) => Err(format!("augment.{key} is {value}; it can be from 0 (off) to {most}")),
        }
    }

    /// Whether nothing is changed at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What happens to one image of `width × height` pixels.
    pub fn variation(&self, width: usize, height: usize, draw: Draw) -> Variation {
        let random = &mut Random::new(draw.seed, Purpose::Augment, draw.epoch.into(), draw.index);
        // Every number is drawn, needed or not, so that one setting does not change the numbers of the next.
        let geometry = self.geometry(width, height, random);
        let brightness = 1.0 + random.around(self.brightness.into()) as f32;
        let contrast = 1.0 + random.around(self.contrast.into()) as f32;
        let erased = random.chance(self.erase.into()) && width * height > 0;
        Variation { geometry, brightness, contrast, erased: erased.then(|| Erased::draw(width, height, random)) }
    }

    /// Augments one image: from `pixels` (`[height, width]`) to `out` (`[height, width]`, pixel levels 0..=255, not scaled).
    /// Where nothing is drawn, the pixels come out exactly.
    ///
    /// # Panics
    /// If `pixels` or `out` is not of `width × height` values.
    pub fn apply(&self, pixels: &[u8], width: usize, height: usize, draw: Draw, out: &mut [f32]) {
        let Variation { geometry, brightness, contrast, erased } = self.variation(width, height, draw);
        geometry.resample(pixels, width, height, out);
        if (brightness, contrast) != (1.0, 1.0) {
            tone::tone(out, brightness, contrast);
        }
        if let Some(erased) = erased {
            erased.fill(out, width);
        }
    }

    /// How the batch at `step` of an epoch is mixed; `None` if mixup is off. `batch` is its number of images.
    pub fn mixup(&self, seed: u64, epoch: u32, step: u32, batch: usize) -> Option<Mixup> {
        let random = &mut Random::new(seed, Purpose::Mixup, epoch.into(), step.into());
        (self.mixup > 0.0).then(|| mixup::mixup(self.mixup.into(), batch, random))
    }

    fn geometry(&self, width: usize, height: usize, random: &mut Random) -> Geometry {
        let (shift, zoom, crop) = (f64::from(self.shift), f64::from(self.zoom), f64::from(self.crop));
        // The order of these lines is the order of the random numbers.
        Geometry {
            theta: random.around(self.rotation.into()),
            tx: random.around(shift * width as f64),
            ty: random.around(shift * height as f64),
            zx: 1.0 + random.around(zoom),
            zy: 1.0 + random.around(zoom),
            crop: Crop { left: random.between(0.0, crop), top: random.between(0.0, crop), side: 1.0 - crop },
            flip: random.chance(self.flip.into()),
        }
    }
}
