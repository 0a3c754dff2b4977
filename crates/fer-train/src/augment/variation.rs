//! What was drawn for one image, and the image varied by it, on the CPU.

use super::{Erased, Geometry, jpeg, linear, resolution, tone};

/// What happens to one image, in this order. The default leaves it as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    /// What each of the 256 levels of the source becomes, 0..=255: equalization and gamma.
    pub levels: Option<Vec<f32>>,
    /// Where its pixels go.
    pub geometry: Geometry,
    /// A factor for all levels.
    pub brightness: f32,
    /// A factor for the differences from the mean.
    pub contrast: f32,
    /// The share of its sides that it is scaled down to, and back; above 0 and up to 1.
    pub downscale: Option<f64>,
    /// The standard deviation of a Gaussian blur, in pixels, above 0.
    pub blur: Option<f64>,
    /// The quality of JPEG that it is compressed at, 1 to 100.
    pub jpeg: Option<u8>,
    /// The rectangle that noise hides.
    pub erased: Option<Erased>,
}

impl Default for Variation {
    fn default() -> Self {
        Self {
            levels: None,
            geometry: Geometry::default(),
            brightness: 1.0,
            contrast: 1.0,
            downscale: None,
            blur: None,
            jpeg: None,
            erased: None,
        }
    }
}

impl Variation {
    /// Varies one image: from `pixels` (`[channels, height, width]`) to `out` (of the same shape,
    /// pixel levels 0..=255, not scaled). Everything happens to all channels alike, but for
    /// erasing, whose noise is each channel's own; JPEG compresses each as if it were gray.
    ///
    /// # Panics
    /// If `pixels` or `out` is not of whole channels of `width × height` values, as many in both.
    pub fn apply(&self, pixels: &[u8], width: usize, height: usize, out: &mut [f32]) {
        let plane = (width * height).max(1);
        let channels = pixels.len() / plane;
        assert_eq!(
            (pixels.len(), out.len()),
            (channels * plane, pixels.len()),
            "channels of {width}x{height} pixels"
        );
        for (pixels, out) in pixels.chunks_exact(plane).zip(out.chunks_exact_mut(plane)) {
            match &self.levels {
                None => self.geometry.resample(pixels, width, height, out),
                Some(levels) => {
                    let pixels: Vec<f32> = pixels
                        .iter()
                        .map(|level| levels[usize::from(*level)])
                        .collect();
                    self.geometry.resample(&pixels, width, height, out);
                }
            }
        }
        if (self.brightness, self.contrast) != (1.0, 1.0) {
            tone::tone(out, self.brightness, self.contrast);
        }
        if self.is_softened() && !out.is_empty() {
            let down = resolution::along(height, self);
            let across = if width == height {
                down.clone()
            } else {
                resolution::along(width, self)
            };
            for plane in out.chunks_exact_mut(plane) {
                let softened = linear::separable(&down, &across, plane, width);
                plane
                    .iter_mut()
                    .zip(softened)
                    .for_each(|(level, value)| *level = value.clamp(0.0, 255.0));
            }
        }
        if let Some(quality) = self.jpeg {
            out.chunks_exact_mut(plane)
                .for_each(|plane| jpeg::compress(plane, width, quality));
        }
        if let Some(erased) = &self.erased {
            erased.fill(out, channels, width);
        }
    }

    /// Whether resolution is lost: by downscaling or blur.
    pub(super) fn is_softened(&self) -> bool {
        self.downscale.is_some() || self.blur.is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::augment::{Augmentation, Draw};

    #[test]
    fn channels_are_varied_alike_but_for_the_noise() {
        let (width, height) = (17, 11);
        let plane: Vec<u8> = (0..width * height).map(|i| (i * 37 % 251) as u8).collect();
        let pixels = plane.repeat(3);
        let augmentation = Augmentation {
            shift: 0.2,
            rotation: 20.0,
            scale: [0.8, 1.25],
            flip: 0.5,
            brightness: 0.3,
            gamma: 0.3,
            equalize: 0.5,
            downscale: 0.5,
            blur: 0.5,
            jpeg: 0.5,
            ..Augmentation::default()
        };
        let erasing = Augmentation {
            erase: 1.0,
            ..Augmentation::default()
        };
        for index in 0..20 {
            let draw = Draw {
                seed: 3,
                epoch: 1,
                index,
            };
            let mut gray = vec![0.0; plane.len()];
            let mut color = vec![0.0; pixels.len()];
            augmentation.apply(&plane, width, height, draw, &mut gray);
            augmentation.apply(&pixels, width, height, draw, &mut color);
            for channel in color.chunks(plane.len()) {
                // The mean that contrast and brightness go by is of all channels, summed otherwise.
                let apart = channel.iter().zip(&gray).map(|(a, b)| (a - b).abs());
                let apart = apart.filter(|d| *d > 1e-3).count();
                assert!(
                    apart * 50 < plane.len(),
                    "image {index}: {apart} levels apart"
                );
            }
            erasing.apply(&pixels, width, height, draw, &mut color);
            let [red, green, blue] = [0, 1, 2].map(|c| &color[c * plane.len()..][..plane.len()]);
            assert!(
                red != green && green != blue,
                "image {index}: the noise is the same"
            );
        }
    }
}
