//! How much an image resolves: downscaling and back, and Gaussian blur, as one linear map along
//! each axis.

use super::Variation;
use super::linear::Matrix;

/// The share of its sides that an image is scaled down to.
pub(super) const DOWNSCALE: (f64, f64) = (0.4, 0.9);

/// The Gaussian's standard deviation, in pixels.
pub(super) const BLUR: (f64, f64) = (0.3, 1.2);

/// The map along an axis of `size` pixels: down to the variation's share of it and back, then the
/// blur.
pub(super) fn along(size: usize, variation: &Variation) -> Matrix {
    let scaled = variation.downscale.map(|share| {
        let small = ((share * size as f64).round() as usize).clamp(1, size);
        enlarged(small, size).after(&area_mean(size, small))
    });
    let blurred = variation.blur.map(|sigma| blurred(size, sigma));
    match (scaled, blurred) {
        (Some(scaled), Some(blurred)) => blurred.after(&scaled),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Matrix::new(size, size, |to, from| f64::from(u8::from(to == from))),
    }
}

/// From `size` pixels to `small`, each the mean of what it covers (OpenCV's `INTER_AREA`).
fn area_mean(size: usize, small: usize) -> Matrix {
    let ratio = size as f64 / small as f64;
    Matrix::new(small, size, |to, from| {
        let (start, end) = (
            (to as f64 * ratio).max(from as f64),
            ((to + 1) as f64 * ratio).min((from + 1) as f64),
        );
        (end - start).max(0.0) / ratio
    })
}

/// From `small` pixels back to `size`, bilinearly; pixel centers are at +0.5, and edges are
/// repeated.
fn enlarged(small: usize, size: usize) -> Matrix {
    let ratio = small as f64 / size as f64;
    Matrix::new(size, small, |to, from| {
        let place = ((to as f64 + 0.5) * ratio - 0.5).clamp(0.0, (small - 1) as f64);
        (1.0 - (place - from as f64).abs()).max(0.0)
    })
}

/// A Gaussian sampled at whole pixels up to four standard deviations away and brought to a sum of
/// 1; edges are repeated (SciPy's `gaussian_filter(mode="nearest")`).
fn blurred(size: usize, sigma: f64) -> Matrix {
    let radius = (4.0 * sigma + 0.5) as isize;
    let weight = |offset: isize| (-0.5 * (offset as f64 / sigma).powi(2)).exp();
    let weights: Vec<f64> = (-radius..=radius).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    let mut factors = vec![0.0; size * size];
    for (to, row) in factors.chunks_exact_mut(size.max(1)).enumerate() {
        for (offset, weight) in (-radius..=radius).zip(&weights) {
            row[(to as isize + offset).clamp(0, size as isize - 1) as usize] += weight / sum;
        }
    }
    Matrix::new(size, size, |to, from| factors[to * size + from])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::linear::separable;

    fn varied(image: &[f32], downscale: Option<f64>, blur: Option<f64>) -> Vec<f32> {
        let variation = Variation {
            downscale,
            blur,
            ..Variation::default()
        };
        separable(
            &along(1, &variation),
            &along(image.len(), &variation),
            image,
            image.len(),
        )
    }

    /// Lines by hand. Of 4 pixels, 0.75 are 3, each 4/3 wide; they are looked up at −1/8, 5/8, 11/8
    /// and 17/8. A Gaussian of 0.5 has the weights e⁻², e⁻⁸ and 1, over 1.2713415.
    #[test]
    fn lines_are_softened() {
        let cases = [
            ("nothing", None, None, [0.0, 12.0, 24.0, 36.0]),
            ("a half", Some(0.5), None, [6.0, 12.0, 24.0, 30.0]),
            (
                "three quarters",
                Some(0.75),
                None,
                [3.0, 12.375, 23.625, 33.0],
            ),
            ("down to a pixel", Some(0.1), None, [18.0; 4]),
            (
                "blur of half a pixel",
                None,
                Some(0.5),
                [1.283_742, 12.003_167, 23.996_833, 34.716_26],
            ),
            ("both", Some(0.1), Some(0.5), [18.0; 4]),
        ];
        let mut wrong = Vec::new();
        for (name, downscale, blur, expected) in cases {
            let found = varied(&[0.0, 12.0, 24.0, 36.0], downscale, blur);
            if found
                .iter()
                .zip(expected)
                .any(|(a, b)| (a - b).abs() > 1e-4)
            {
                wrong.push(format!("{name}: {found:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// A flat line stays flat, whatever its length.
    #[test]
    fn factors_sum_to_one() {
        let mut wrong = Vec::new();
        for size in 1..60 {
            for (downscale, blur) in [
                (Some(DOWNSCALE.0), None),
                (None, Some(BLUR.1)),
                (Some(DOWNSCALE.1), Some(BLUR.0)),
            ] {
                let flat = varied(&vec![255.0; size], downscale, blur);
                if flat.len() != size || flat.iter().any(|v| (v - 255.0).abs() > 1e-3) {
                    wrong.push(format!("{size} pixels, {downscale:?}, {blur:?}: {flat:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
