//! What JPEG does to a gray image: blocks of 8x8 pixels, each a sum of cosines whose amplitudes are
//! rounded to steps (ITU-T T.81, <https://www.w3.org/Graphics/JPEG/itu-t81.pdf>). The entropy
//! coding loses nothing and is left out.
//!
//! Levels are taken and given as they are, not rounded to whole ones, as everywhere in
//! augmentation. Of an image of whole levels, the result is libjpeg's before its last rounding, but
//! for a few blocks: libjpeg computes with whole numbers, and where these lead an amplitude to the
//! next step, its block is another by a step of it.

use std::sync::LazyLock;

use super::linear::{Matrix, separable};

/// The qualities that are drawn, on libjpeg's scale of 1 to 100.
pub(super) const QUALITY: (f64, f64) = (30.0, 95.0);

/// The width and height of a block.
pub(super) const BLOCK: usize = 8;

/// The level that counts as 0: half of 256.
pub(super) const MIDDLE: f32 = 128.0;

/// Amplitudes up to this much below the middle between two steps are rounded away from 0. libjpeg
/// does the same: it rounds amplitudes to eighths before it rounds them to steps. It also keeps
/// rounding errors from deciding, and so the CPU and a GPU alike: the amplitudes of a mean are
/// whole eighths, many of which lie in the very middle.
pub(super) const TIE: f32 = 1.0 / 16.0;

/// The steps of T.81's table K.1, for luminance, at quality 50: row by row, by vertical and
/// horizontal frequency.
#[rustfmt::skip]
const LUMINANCE: [u32; BLOCK * BLOCK] = [
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// The cosine transform of a line of 8 levels (T.81, A.3.3), by frequency; orthogonal.
pub(super) static TRANSFORM: LazyLock<Matrix> = LazyLock::new(|| {
    Matrix::new(BLOCK, BLOCK, |frequency, place| {
        let norm = if frequency == 0 {
            0.125_f64.sqrt()
        } else {
            0.5
        };
        norm * ((2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0).cos()
    })
});

/// Its inverse.
pub(super) static INVERSE: LazyLock<Matrix> = LazyLock::new(|| TRANSFORM.transposed());

/// The steps of a quality of 1 to 100, as libjpeg's `jpeg_set_quality` scales the table.
pub(super) fn steps(quality: u8) -> [f32; BLOCK * BLOCK] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = if quality < 50 {
        5000 / quality
    } else {
        200 - 2 * quality
    };
    LUMINANCE.map(|step| ((step * percent + 50) / 100).clamp(1, 255) as f32)
}

/// Replaces `pixels` (`[height, width]`, levels 0..=255) by what is left of them at a quality.
/// Where a side is not a multiple of 8, its last pixel is repeated, as libjpeg does.
pub(super) fn compress(pixels: &mut [f32], width: usize, quality: u8) {
    if pixels.is_empty() {
        return;
    }
    let height = pixels.len() / width;
    let (wide, high) = (
        width.next_multiple_of(BLOCK),
        height.next_multiple_of(BLOCK),
    );
    let mut image = Vec::with_capacity(wide * high);
    for y in 0..high {
        let row = &pixels[y.min(height - 1) * width..][..width];
        image.extend((0..wide).map(|x| row[x.min(width - 1)] - MIDDLE));
    }
    let mut amplitudes = separable(&TRANSFORM, &TRANSFORM, &image, wide);
    let steps = steps(quality);
    for (y, row) in amplitudes.chunks_exact_mut(wide).enumerate() {
        let steps = steps
            .chunks_exact(BLOCK)
            .nth(y % BLOCK)
            .into_iter()
            .flatten()
            .cycle();
        row.iter_mut()
            .zip(steps)
            .for_each(|(amplitude, step)| *amplitude = rounded(*amplitude, *step));
    }
    let image = separable(&INVERSE, &INVERSE, &amplitudes, wide);
    for (row, found) in pixels.chunks_exact_mut(width).zip(image.chunks_exact(wide)) {
        row.iter_mut()
            .zip(found)
            .for_each(|(level, value)| *level = (value + MIDDLE).clamp(0.0, 255.0));
    }
}

/// The multiple of `step` that is nearest to `amplitude`.
fn rounded(amplitude: f32, step: f32) -> f32 {
    (((amplitude.abs() + TIE) / step + 0.5).floor() * step).copysign(amplitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_quality() {
        let rows = [
            (50, [16.0, 11.0, 99.0]),
            (100, [1.0, 1.0, 1.0]),
            (95, [2.0, 1.0, 10.0]),
            (75, [8.0, 6.0, 50.0]),
            (30, [27.0, 18.0, 164.0]),
            (1, [255.0, 255.0, 255.0]),
        ];
        let mut wrong = Vec::new();
        for (quality, expected) in rows {
            let steps = steps(quality);
            let found = [steps[0], steps[1], steps[63]];
            if found != expected {
                wrong.push(format!("quality {quality}: {found:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// A flat block's amplitude is eight times its level − 128, rounded to the mean's step: at
    /// quality 50, 8 · 12 = 96 is six steps of 16, 8 · 13 = 104 six and a half, which is rounded
    /// away from 0 in both directions. The last one would be 256.
    #[test]
    fn flat_blocks_are_rounded_to_their_step() {
        for (level, expected) in [
            (128.0, 128.0),
            (140.0, 140.0),
            (141.0, 142.0),
            (115.0, 114.0),
            (255.0, 255.0),
        ] {
            let mut pixels = vec![level; 64];
            compress(&mut pixels, 8, 50);
            assert!(
                pixels.iter().all(|v| (v - expected).abs() < 1e-4),
                "{level}: {:?}",
                &pixels[..8]
            );
        }
    }

    /// Of an 11x9 image, the parts outside are repeated edges: as in an image that has these edges
    /// itself.
    #[test]
    fn edges_are_repeated() {
        let (width, height) = (11, 9);
        let level = |x: usize, y: usize| ((x * 37 + y * 61) % 256) as f32;
        let mut small: Vec<f32> = (0..width * height)
            .map(|i| level(i % width, i / width))
            .collect();
        let mut large: Vec<f32> = (0..256)
            .map(|i| level((i % 16).min(width - 1), (i / 16).min(height - 1)))
            .collect();
        compress(&mut small, width, 60);
        compress(&mut large, 16, 60);
        for (row, expected) in small.chunks(width).zip(large.chunks(16)) {
            assert_eq!(row, &expected[..width]);
        }
    }
}
