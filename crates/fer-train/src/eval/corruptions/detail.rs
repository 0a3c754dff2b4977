//! Corruptions that take detail away: blur, JPEG, pixelation.

use libjpeg_turbo_rs::{PixelFormat, Subsampling};

use super::{by_channel, level};
use fer_core::images::{self, Pixels};

/// Gaussian blur; `deviation` is a share of the shorter side. The weights reach three deviations
/// far, and edges are repeated.
pub(super) fn blur(pixels: &Pixels, deviation: f64) -> Pixels {
    let deviation = deviation * pixels.width.min(pixels.height) as f64;
    let reach = (3.0 * deviation).ceil() as usize;
    let weight = |i: usize| (-0.5 * ((i as f64 - reach as f64) / deviation).powi(2)).exp();
    let weights: Vec<f64> = (0..=2 * reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let weights: Vec<f32> = weights.iter().map(|w| (w / sum) as f32).collect();
    by_channel(pixels, |plane| {
        let plane: Vec<f32> = plane.iter().map(|v| f32::from(*v)).collect();
        let across = transposed(&along_rows(&plane, pixels.width, &weights), pixels.width);
        transposed(&along_rows(&across, pixels.height, &weights), pixels.height)
    })
}

/// Each value becomes the weighted sum of its row's values around it.
fn along_rows(plane: &[f32], width: usize, weights: &[f32]) -> Vec<f32> {
    let reach = weights.len() / 2;
    let mut out = Vec::with_capacity(plane.len());
    let mut padded = vec![0.0; width + 2 * reach];
    for row in plane.chunks_exact(width) {
        padded[..reach].fill(row[0]);
        padded[reach..reach + width].copy_from_slice(row);
        padded[reach + width..].fill(row[width - 1]);
        let sum = |window: &[f32]| window.iter().zip(weights).map(|(v, w)| v * w).sum::<f32>();
        out.extend(padded.windows(weights.len()).map(sum));
    }
    out
}

/// Rows as columns.
fn transposed(plane: &[f32], width: usize) -> Vec<f32> {
    (0..width)
        .flat_map(|x| plane.iter().skip(x).step_by(width).copied())
        .collect()
}

/// Writes the image as a baseline JPEG, as libjpeg does by default, and reads it again.
///
/// # Errors
/// It can't be written: a side is too long.
pub(super) fn jpeg(pixels: &Pixels, quality: u8) -> Result<Pixels, String> {
    let (format, subsampling) = match pixels.channels {
        1 => (PixelFormat::Grayscale, Subsampling::S444),
        _ => (PixelFormat::Rgb, Subsampling::S420),
    };
    let Pixels {
        data,
        width,
        height,
        ..
    } = pixels;
    let failed = |reason: String| format!("can't be made a JPEG: {reason}");
    let file = libjpeg_turbo_rs::compress(data, *width, *height, format, quality, subsampling)
        .map_err(|e| failed(e.to_string()))?;
    images::decode(&file).map_err(|e| failed(e.to_string()))
}

/// Divides the image into blocks, `share` times as many along each side as it has pixels, and gives
/// each the mean of its pixels.
pub(super) fn pixelation(pixels: &Pixels, share: f64) -> Pixels {
    let Pixels {
        width,
        height,
        channels,
        ..
    } = *pixels;
    let blocks = |side: usize| ((share * side as f64).round() as usize).max(1);
    let (across, down) = (blocks(width), blocks(height));
    // The block that a pixel's middle is in.
    let block = |at: usize, side: usize, blocks: usize| (2 * at + 1) * blocks / (2 * side);
    let place = |i: usize| {
        let (x, y) = (i / channels % width, i / channels / width);
        (block(y, height, down) * across + block(x, width, across)) * channels + i % channels
    };
    let mut sums = vec![(0u64, 0u64); across * down * channels];
    for (i, value) in pixels.data.iter().enumerate() {
        let (sum, count) = &mut sums[place(i)];
        *sum += u64::from(*value);
        *count += 1;
    }
    let mean = |i: usize| {
        let (sum, count) = sums[place(i)];
        level(sum as f64 / count as f64)
    };
    Pixels {
        data: (0..pixels.data.len()).map(mean).collect(),
        ..*pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: usize, height: usize, data: &[u8]) -> Pixels {
        Pixels {
            width,
            height,
            channels: 1,
            data: data.to_vec(),
        }
    }

    #[test]
    fn pixelation_by_hand() {
        let colors = Pixels {
            width: 2,
            height: 1,
            channels: 3,
            data: vec![0, 10, 20, 100, 30, 21],
        };
        let rows = [
            (
                "halves",
                gray(4, 2, &[0, 4, 10, 20, 8, 12, 30, 40]),
                0.5,
                vec![6, 6, 25, 25, 6, 6, 25, 25],
            ),
            ("thirds", gray(3, 1, &[1, 2, 6]), 1.0 / 3.0, vec![3, 3, 3]),
            // Two blocks of five pixels: the middle pixel's middle is the second's start.
            (
                "uneven",
                gray(5, 1, &[0, 10, 20, 40, 60]),
                0.4,
                vec![5, 5, 40, 40, 40],
            ),
            ("one pixel", gray(1, 1, &[77]), 0.25, vec![77]),
            ("colors", colors, 0.5, vec![50, 20, 21, 50, 20, 21]),
        ];
        let mut wrong = Vec::new();
        for (name, from, share, expected) in rows {
            let to = pixelation(&from, share).data;
            if to != expected {
                wrong.push(format!("{name}: {to:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// A point of 255 becomes the kernel: at σ = 1, `exp(−d²/2)` over their sum from −3 to 3,
    /// 2.505951, along each side.
    #[test]
    fn a_blurred_point_is_the_kernel() {
        let mut point = gray(9, 9, &[0; 81]);
        point.data[4 * 9 + 4] = 255;
        let blurred = blur(&point, 1.0 / 9.0);
        let row = |y: usize| &blurred.data[9 * y + 4..9 * y + 8];
        assert_eq!(
            row(4),
            [41, 25, 5, 0],
            "255 · 0.399050² = 40.61, · exp(−1/2) = 24.63, · exp(−2) = 5.50"
        );
        assert_eq!(row(5), [25, 15, 3, 0]);
        let even = gray(7, 3, &[200; 21]);
        assert_eq!(blur(&even, 0.5), even, "edges are repeated");
        assert_eq!(blur(&gray(1, 1, &[9]), 0.01).data, [9]);
    }

    #[test]
    fn jpeg_keeps_an_even_image_and_the_form() {
        for channels in [1, 3] {
            for (width, height) in [(1, 1), (48, 48), (3, 50)] {
                let even = Pixels {
                    width,
                    height,
                    channels,
                    data: vec![128; width * height * channels],
                };
                assert_eq!(
                    jpeg(&even, 10),
                    Ok(even.clone()),
                    "level 128 is coefficient 0"
                );
            }
        }
        let long = Pixels {
            width: 70_000,
            height: 1,
            channels: 1,
            data: vec![0; 70_000],
        };
        let error = jpeg(&long, 50).unwrap_err();
        assert!(error.starts_with("can't be made a JPEG: "), "{error}");
    }
}
