//! Images made worse on purpose, to see what a model's accuracy is worth away from clean pictures:
//! after Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
//! and Perturbations", 2019 (<https://arxiv.org/abs/1903.12261>), with what befalls a face that a
//! detector has cut out.
//!
//! A corrupted image is a pure function of the image, the [`Corruption`], its [`Severity`] and the
//! image's file name, from which everything random is drawn: equal for every model, order of images
//! and number of threads. Lengths are shares of the image's sides, so that they mean the same at
//! any size; noise and JPEG act on the pixels that are stored.

mod detail;
mod levels;
mod place;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use fer_core::images::Pixels;
use fer_core::random::{Purpose, Random};

/// The standard deviation of the noise, in levels of 0..=255.
pub const NOISE: [f64; 3] = [5.0, 10.0, 18.0];

/// The standard deviation of the Gaussian blur, as a share of the shorter side: 0.5, 0.75 and 1 of
/// 48 pixels.
pub const BLUR: [f64; 3] = [0.5 / 48.0, 0.75 / 48.0, 1.0 / 48.0];

/// What is added to all levels, or taken from them.
pub const BRIGHTNESS: [f64; 3] = [30.0, 60.0, 90.0];

/// What is left of the levels' differences from their mean.
pub const CONTRAST: [f64; 3] = [0.7, 0.5, 0.3];

/// The exponent of gamma, or its inverse.
pub const GAMMA: [f64; 3] = [1.4, 2.0, 3.0];

/// JPEG's quality, as libjpeg counts it.
pub const JPEG: [u8; 3] = [60, 30, 12];

/// The share of the sides' pixels that pixelation leaves: 36, 32 and 24 of 48.
pub const PIXELATION: [f64; 3] = [3.0 / 4.0, 2.0 / 3.0, 1.0 / 2.0];

/// How much larger or smaller than the image the window is that a crop spreads over it, as a share
/// of its sides.
pub const CROP: [f64; 3] = [0.1, 0.2, 0.3];

/// How far an image is shifted, as a share of its sides and in whole pixels: 3, 6 and 9 of 48.
pub const SHIFT: [f64; 3] = [3.0 / 48.0, 6.0 / 48.0, 9.0 / 48.0];

/// The rotation in degrees, to either side.
pub const ROTATION: [f64; 3] = [10.0, 20.0, 30.0];

/// Histogram equalization: the gain of the levels before it, clipped, and the share of the
/// equalized image in the result. The third is what a copy of FER-2013 that goes around has been
/// through.
pub const EQUALIZATION: [(f64, f64); 3] = [(1.0, 0.5), (1.0, 1.0), (1.2, 1.0)];

/// A way to make an image worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Corruption {
    /// Nearly normal noise ([`NOISE`]), the same in all channels of a pixel.
    Noise = 1,
    /// Gaussian blur ([`BLUR`]), edges repeated.
    Blur = 2,
    /// All levels lighter or darker by as much ([`BRIGHTNESS`]), clipped.
    Brightness = 3,
    /// Levels drawn together around their mean ([`CONTRAST`]).
    Contrast = 4,
    /// `255 · (level / 255)^γ` or its inverse ([`GAMMA`]).
    Gamma = 5,
    /// Written as JPEG and read again ([`JPEG`]), colors at half the resolution.
    Jpeg = 6,
    /// Blocks of their pixels' mean ([`PIXELATION`]).
    Pixelation = 7,
    /// A window about the middle that is smaller or larger than the image ([`CROP`]), edges
    /// repeated.
    Crop = 8,
    /// Moved along one of eight directions ([`SHIFT`]), edges repeated.
    Shift = 9,
    /// Turned about the middle ([`ROTATION`]), edges repeated.
    Rotation = 10,
    /// All levels made equally frequent ([`EQUALIZATION`]).
    Equalization = 11,
}

impl Corruption {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::Noise,
        Self::Blur,
        Self::Brightness,
        Self::Contrast,
        Self::Gamma,
        Self::Jpeg,
        Self::Pixelation,
        Self::Crop,
        Self::Shift,
        Self::Rotation,
        Self::Equalization,
    ];

    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Gamma => "gamma",
            Self::Jpeg => "jpeg",
            Self::Pixelation => "pixelation",
            Self::Crop => "crop",
            Self::Shift => "shift",
            Self::Rotation => "rotation",
            Self::Equalization => "equalization",
        }
    }

    /// The corrupted image, of the form of `pixels`. Of `name`, the image's name with `/` between
    /// folders, only the file name counts: it decides noise, directions and signs, the same at
    /// every severity.
    ///
    /// # Errors
    /// The image can't be written as JPEG, which holds sides of up to 65,500 pixels; the text does
    /// not name it.
    pub fn apply(self, severity: Severity, pixels: &Pixels, name: &str) -> Result<Pixels, String> {
        let mut random = self.random(name);
        Ok(match self {
            Self::Noise => levels::noise(pixels, severity.of(NOISE), &mut random),
            Self::Blur => detail::blur(pixels, severity.of(BLUR)),
            Self::Brightness => {
                levels::brightness(pixels, sign(&mut random) * severity.of(BRIGHTNESS))
            }
            Self::Contrast => levels::contrast(pixels, severity.of(CONTRAST)),
            Self::Gamma => levels::gamma(pixels, severity.of(GAMMA).powf(sign(&mut random))),
            Self::Jpeg => return detail::jpeg(pixels, severity.of(JPEG)),
            Self::Pixelation => detail::pixelation(pixels, severity.of(PIXELATION)),
            Self::Crop => place::crop(pixels, 1.0 + sign(&mut random) * severity.of(CROP)),
            Self::Shift => place::shift(pixels, direction(&mut random), severity.of(SHIFT)),
            Self::Rotation => place::rotation(pixels, sign(&mut random) * severity.of(ROTATION)),
            Self::Equalization => {
                let (gain, share) = severity.of(EQUALIZATION);
                levels::equalization(pixels, gain, share)
            }
        })
    }

    /// The random numbers of an image: keyed by the first 128 bits of its file name's SHA-256 and
    /// by the corruption.
    fn random(self, name: &str) -> Random {
        let file = name.rsplit('/').next().unwrap_or(name);
        let digest = Sha256::digest(file.as_bytes());
        let word = |at: usize| {
            digest[at..at + 8]
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        Random::new(word(0), Purpose::Corruption, word(8), self as u64)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Corruption {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|c| c.name() == s)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("'{s}' is not a corruption; there are {names}, and all for all of them")
            })
    }
}

impl Serialize for Corruption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Some of the corruptions, or all: each once, in the order of [`Corruption::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(pub Vec<Corruption>);

impl FromStr for Selection {
    type Err = String;

    /// `all`, or names with commas between them.
    fn from_str(s: &str) -> Result<Self, String> {
        let named = s.split(',').map(|name| match name.trim() {
            "all" => Ok(Corruption::ALL.to_vec()),
            name => name.parse().map(|corruption| vec![corruption]),
        });
        let mut corruptions = named.collect::<Result<Vec<_>, _>>()?.concat();
        corruptions.sort_unstable();
        corruptions.dedup();
        Ok(Self(corruptions))
    }
}

/// How strong a corruption is. Models of 62 to 68 % of FER-2013's PublicTest lose 1 to 2 points at
/// 1, 3 to 6 at 2 and 9 to 13 at 3, on the average of all corruptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Hardly seen.
    One,
    /// Plainly seen; people still read the face without effort.
    Two,
    /// As bad as pictures in use get.
    Three,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// Its entry of a table.
    fn of<T: Copy>(self, table: [T; 3]) -> T {
        table[self as usize]
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as usize + 1)
    }
}

/// The state of the images that a model is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// As they are.
    Clean,
    /// Corrupted.
    Corrupted(Corruption, Severity),
}

impl Condition {
    /// The images as they are, then every severity of each of `corruptions`.
    pub fn all(corruptions: &[Corruption]) -> Vec<Self> {
        let each = |corruption: &Corruption| {
            Severity::ALL.map(|severity| Self::Corrupted(*corruption, severity))
        };
        [Self::Clean]
            .into_iter()
            .chain(corruptions.iter().flat_map(each))
            .collect()
    }
}

impl Condition {
    /// The image in this condition; `name` seeds what is drawn for it.
    ///
    /// # Errors
    /// The corruption can't be made of this image.
    pub(crate) fn apply<'a>(
        self,
        pixels: &'a Pixels,
        name: &str,
    ) -> Result<Cow<'a, Pixels>, String> {
        match self {
            Self::Clean => Ok(Cow::Borrowed(pixels)),
            Self::Corrupted(corruption, severity) => {
                corruption.apply(severity, pixels, name).map(Cow::Owned)
            }
        }
    }
}

/// −1 or 1.
fn sign(random: &mut Random) -> f64 {
    if random.chance(0.5) { 1.0 } else { -1.0 }
}

/// One of the eight neighbors of a pixel, as steps along columns and rows.
fn direction(random: &mut Random) -> (i8, i8) {
    [
        (-1, -1),
        (0, -1),
        (1, -1),
        (-1, 0),
        (1, 0),
        (-1, 1),
        (0, 1),
        (1, 1),
    ][random.below(8)]
}

/// The level, rounded and kept within 0..=255.
fn level(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Changes each channel on its own: `change` gets its levels, `[height, width]`, and gives as many
/// values.
fn by_channel(pixels: &Pixels, change: impl Fn(&[u8]) -> Vec<f32>) -> Pixels {
    let mut data = vec![0; pixels.data.len()];
    for channel in 0..pixels.channels {
        let plane: Vec<u8> = pixels
            .data
            .iter()
            .skip(channel)
            .step_by(pixels.channels)
            .copied()
            .collect();
        let places = data.iter_mut().skip(channel).step_by(pixels.channels);
        places
            .zip(change(&plane))
            .for_each(|(place, value)| *place = level(value.into()));
    }
    Pixels { data, ..*pixels }
}

#[cfg(test)]
mod tests;
