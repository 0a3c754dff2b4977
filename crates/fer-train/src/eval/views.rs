//! Test-time augmentation: several views of an image, whose probabilities are averaged into one
//! prediction.

use std::fmt;
use std::str::FromStr;

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Pixel, Rgb};

use fer_core::images::Pixels;

/// The views of an image that a model is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tta {
    /// The image itself.
    #[default]
    None,
    /// The image and its mirror image.
    Flip,
    /// Five windows of 11/12 of the sides (44 of 48 pixels) and their mirror images.
    TenCrop,
}

impl Tta {
    /// The number of views of an image.
    pub fn count(self) -> usize {
        match self {
            Self::None => 1,
            Self::Flip => 2,
            Self::TenCrop => 10,
        }
    }

    /// The views, [`Tta::count`] images of the size of `pixels`. A window is scaled back to it,
    /// bilinearly; windows lie at the top left, top right, bottom left, bottom right and in the
    /// centre; the mirror images follow in the same order.
    pub fn views(self, pixels: &Pixels) -> Vec<Pixels> {
        let mut views = match self {
            Self::None => return vec![pixels.clone()],
            Self::Flip => vec![pixels.clone()],
            Self::TenCrop => {
                let (width, height) = (window(pixels.width), window(pixels.height));
                let (right, bottom) = (pixels.width - width, pixels.height - height);
                let corners = [
                    (0, 0),
                    (right, 0),
                    (0, bottom),
                    (right, bottom),
                    (right / 2, bottom / 2),
                ];
                corners
                    .iter()
                    .map(|(x, y)| crop(pixels, *x, *y, width, height))
                    .collect()
            }
        };
        let mirrored: Vec<Pixels> = views.iter().map(mirror).collect();
        views.extend(mirrored);
        views
    }
}

impl FromStr for Tta {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "none" => Ok(Self::None),
            "flip" => Ok(Self::Flip),
            "tencrop" => Ok(Self::TenCrop),
            _ => Err(format!(
                "'{s}' is not a test-time augmentation; there are none, flip and tencrop"
            )),
        }
    }
}

impl fmt::Display for Tta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Flip => "flip",
            Self::TenCrop => "tencrop",
        })
    }
}

/// 11/12 of a side, rounded, at least 1.
fn window(side: usize) -> usize {
    ((side * 11 + 6) / 12).max(1)
}

/// The image, left and right exchanged.
fn mirror(pixels: &Pixels) -> Pixels {
    let c = pixels.channels;
    let rows = pixels.data.chunks_exact(pixels.width * c);
    let data = rows
        .flat_map(|row| row.chunks_exact(c).rev().flatten().copied())
        .collect();
    Pixels { data, ..*pixels }
}

/// A window, scaled to the size of the whole image.
fn crop(pixels: &Pixels, x: usize, y: usize, width: usize, height: usize) -> Pixels {
    fn scale<P: Pixel<Subpixel = u8> + 'static>(
        pixels: &Pixels,
        data: Vec<u8>,
        width: usize,
        height: usize,
    ) -> Vec<u8> {
        // `from_raw` fails only on a buffer shorter than the window, which the caller cut out
        // whole.
        let window =
            ImageBuffer::<P, _>::from_raw(width as u32, height as u32, data).unwrap_or_default();
        imageops::resize(
            &window,
            pixels.width as u32,
            pixels.height as u32,
            FilterType::Triangle,
        )
        .into_raw()
    }
    let c = pixels.channels;
    let rows = pixels
        .data
        .chunks_exact(pixels.width * c)
        .skip(y)
        .take(height);
    let data: Vec<u8> = rows
        .flat_map(|row| &row[x * c..][..width * c])
        .copied()
        .collect();
    let data = match c {
        1 => scale::<Luma<u8>>(pixels, data, width, height),
        _ => scale::<Rgb<u8>>(pixels, data, width, height),
    };
    Pixels { data, ..*pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(
        width: usize,
        height: usize,
        channels: usize,
        value: impl Fn(usize, usize, usize) -> u8,
    ) -> Pixels {
        let at = |i: usize| value(i / channels % width, i / channels / width, i % channels);
        Pixels {
            width,
            height,
            channels,
            data: (0..width * height * channels).map(at).collect(),
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for tta in [Tta::None, Tta::Flip, Tta::TenCrop] {
            assert_eq!(tta.to_string().parse(), Ok(tta));
        }
        assert!(
            "mirror"
                .parse::<Tta>()
                .unwrap_err()
                .contains("none, flip and tencrop")
        );
    }

    #[test]
    fn every_view_has_the_images_form() {
        for (width, height, channels) in
            [(48, 48, 1), (48, 48, 3), (1, 1, 1), (2, 7, 3), (13, 5, 1)]
        {
            let image = pixels(width, height, channels, |x, y, c| {
                (x * 3 + y * 5 + c * 50) as u8
            });
            for tta in [Tta::None, Tta::Flip, Tta::TenCrop] {
                let views = tta.views(&image);
                assert_eq!(views.len(), tta.count(), "{tta}");
                for v in &views {
                    assert_eq!(
                        (v.width, v.height, v.channels, v.data.len()),
                        (width, height, channels, image.data.len())
                    );
                }
            }
        }
    }

    #[test]
    fn a_mirror_image_keeps_its_colours() {
        let image = Pixels {
            width: 2,
            height: 2,
            channels: 3,
            data: (0..12).collect(),
        };
        let views = Tta::Flip.views(&image);
        assert_eq!(views[0], image);
        assert_eq!(views[1].data, [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
    }

    #[test]
    fn windows_lie_at_the_corners_and_in_the_centre() {
        // A ramp of 4 a pixel; the window of 44 pixels starts at 0, 4 or 2, and bilinear scaling
        // keeps the ramp. The middle of the picture (between pixels 23 and 24) is the middle of the
        // window: 4·(start + 21.5).
        let middle =
            |v: &Pixels| (f64::from(v.data[24 * 48 + 23]) + f64::from(v.data[24 * 48 + 24])) / 2.0;
        let across = Tta::TenCrop.views(&pixels(48, 48, 1, |x, _, _| (4 * x) as u8));
        let down = Tta::TenCrop.views(&pixels(48, 48, 1, |_, y, _| (4 * y) as u8));
        let down_middle =
            |v: &Pixels| (f64::from(v.data[23 * 48 + 24]) + f64::from(v.data[24 * 48 + 24])) / 2.0;
        for (i, (x, y)) in [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
            .into_iter()
            .enumerate()
        {
            let (x, y) = (4.0 * (f64::from(x) + 21.5), 4.0 * (f64::from(y) + 21.5));
            assert!(
                (middle(&across[i]) - x).abs() <= 1.0,
                "window {i} across: {} not {x}",
                middle(&across[i])
            );
            assert!(
                (middle(&across[5 + i]) - x).abs() <= 1.0,
                "mirrored window {i} across"
            );
            assert!(
                (down_middle(&down[i]) - y).abs() <= 1.0,
                "window {i} down: {} not {y}",
                down_middle(&down[i])
            );
        }
        assert!(
            across[0].data[0] < across[0].data[47] && across[5].data[0] > across[5].data[47],
            "mirrored"
        );
        assert_eq!(across[0].data[0], 0);
        assert_eq!(
            across[1].data[47], 188,
            "the right edge is in the right window"
        );
    }
}
