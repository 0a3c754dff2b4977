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
