//! What a model's outputs are, found out by running it on noise: [`output_kind`].
//!
//! The last operator of a graph says little: a softmax may be written by hand, or stand before a
//! quantization, a mean, a clip or a product that joins classes. The outputs themselves say it:
//!
//! - They lie in 0..=1 and sum to 1 for every image: probabilities.
//! - They lie in 0..=1, even for tensors far outside the range of images: sigmoids or the like.
//! - Anything else: logits.
//!
//! Outputs that are NaN or infinite, or that do not depend on the image, show nothing.

use crate::classifier::{Classifier, EngineError};
use crate::images::Pixels;
use crate::preprocess::Preprocessor;
use crate::random::{Purpose, Random};
use crate::spec::{InputSpec, OutputKind};

/// The images: their mean gray level, the range of their values, and the number of blocks of one
/// color along a side (0 for single pixels).
const IMAGES: [(f64, f64, usize); 6] = [
    (128.0, 255.0, 0),
    (128.0, 255.0, 6),
    (90.0, 120.0, 12),
    (170.0, 120.0, 3),
    (60.0, 40.0, 6),
    (200.0, 8.0, 0),
];

/// The factors of the tensors that are far outside the range of images.
const BEYOND: [f32; 4] = [30.0, -30.0, 3.0, -3.0];

/// The number of images that a probe takes.
pub const PROBED: usize = IMAGES.len();

/// How far outside 0..=1 a value may be.
const MARGIN: f32 = 1e-4;

/// How far from 1 a sum of probabilities may be, and how much more for each class, because 8-bit
/// quantization rounds each value to a multiple of 1/256; at most [`MAX_SUM_TOLERANCE`].
const SUM_TOLERANCE: f32 = 2e-3;
const SUM_TOLERANCE_PER_CLASS: f32 = 0.5 / 256.0;
const MAX_SUM_TOLERANCE: f32 = 0.05;

/// Outputs that differ by less do not depend on the image.
const VARIATION: f32 = 1e-6;

/// Runs a model on images of noise and finds out what its output values are; `None` if they do not
/// show it. `whole` if it takes whole numbers, so that it is run on images alone.
///
/// # Errors
/// The engine failed.
pub fn output_kind(
    classifier: &mut dyn Classifier,
    whole: bool,
) -> Result<Option<OutputKind>, EngineError> {
    let spec = classifier.spec();
    let values = spec.output.values(spec.labels.len());
    let preprocessor = Preprocessor::new(&spec.input);
    let images: Vec<Vec<f32>> = (0..PROBED)
        .map(|i| preprocessor.tensor(noise(&spec.input, i)))
        .collect();
    let image_len = spec.image_len();
    let mut run = |input: &[f32]| {
        classifier.outputs(input).or_else(|_| {
            // Some files with an open batch size run on one image at a time only.
            let one_by_one = input.chunks(image_len);
            let rows = one_by_one.map(|image| classifier.outputs(image));
            rows.collect::<Result<Vec<_>, _>>()
                .map(|rows| rows.concat())
        })
    };
    // Two images are enough to show logits, which most files return that do not say it.
    let first = judge(&run(&images[..2].concat())?, &[], values);
    if first.is_some_and(|kind| matches!(kind, OutputKind::Logit | OutputKind::Logits)) {
        return Ok(first);
    }
    let mut input = images.concat();
    if !whole {
        for (factor, image) in BEYOND.iter().zip(&images) {
            input.extend(image.iter().map(|v| v * factor));
        }
    }
    let output = run(&input)?;
    let (images, beyond) = output.split_at(PROBED * values);
    Ok(judge(images, beyond, values))
}

/// What rows of `values` outputs show: those for images, and those for tensors outside the range of
/// images, if there are any.
fn judge(images: &[f32], beyond: &[f32], values: usize) -> Option<OutputKind> {
    if images.iter().any(|v| !v.is_finite()) {
        return None;
    }
    // An exponential may overflow there.
    let beyond: Vec<&[f32]> = beyond
        .chunks_exact(values)
        .filter(|row| row.iter().all(|v| v.is_finite()))
        .collect();
    let images: Vec<&[f32]> = images.chunks_exact(values).collect();
    let all = || images.iter().chain(&beyond);
    let varies = all().any(|row| {
        let pairs = row.iter().zip(images[0]);
        pairs
            .into_iter()
            .any(|(a, b)| (a - b).abs() > VARIATION * b.abs().max(1.0))
    });
    if !varies {
        return None;
    }
    let within = |row: &&[f32]| row.iter().all(|v| (-MARGIN..=1.0 + MARGIN).contains(v));
    let tolerance = SUM_TOLERANCE + SUM_TOLERANCE_PER_CLASS * values as f32;
    let sums_to_one =
        |row: &&[f32]| (row.iter().sum::<f32>() - 1.0).abs() <= tolerance.min(MAX_SUM_TOLERANCE);
    let single = values == 1;
    if !single && all().all(|row| within(row) && sums_to_one(row)) {
        return Some(OutputKind::Probabilities);
    }
    let logits = if single {
        OutputKind::Logit
    } else {
        OutputKind::Logits
    };
    if !images.iter().all(within) {
        return Some(logits);
    }
    match (beyond.is_empty(), all().all(within), single) {
        // Images alone do not show a bound.
        (true, ..) => None,
        (false, true, true) => Some(OutputKind::Probability),
        (false, true, false) => Some(OutputKind::Scores),
        (false, false, _) => Some(logits),
    }
}

/// Image number `i` of noise, of the model's size.
pub fn noise(input: &InputSpec, i: usize) -> Pixels {
    let (mean, range, blocks) = IMAGES[i % PROBED];
    let mut random = Random::new(0, Purpose::Noise, 1, i as u64);
    let (width, height, channels) = (input.width, input.height, input.channels);
    let cells = |side: usize| if blocks == 0 { side } else { blocks.min(side) };
    let (columns, rows) = (cells(width), cells(height));
    let colors: Vec<u8> = (0..columns * rows * channels)
        .map(|_| (mean + random.around(range / 2.0)).clamp(0.0, 255.0) as u8)
        .collect();
    let pixel = |p: usize| {
        let (x, y) = (p % width * columns / width, p / width * rows / height);
        let at = (y * columns + x) * channels;
        colors[at..at + channels].iter().copied()
    };
    Pixels {
        width,
        height,
        channels,
        data: (0..width * height).flat_map(pixel).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softmax(row: &[f32]) -> Vec<f32> {
        let mut row = row.to_vec();
        crate::classifier::softmax(&mut row);
        row
    }

    #[test]
    fn outputs_show_what_they_are() {
        use OutputKind::{Logit, Logits, Probabilities, Probability, Scores};
        let logits = [[2.0, -1.0, 0.5], [-0.3, 4.0, 0.1], [0.2, 0.3, 9.0]];
        let probabilities = logits.map(|row| softmax(&row)).concat();
        let quantized: Vec<f32> = probabilities
            .iter()
            .map(|p| (p * 256.0).floor() / 256.0)
            .collect();
        let sharp = [[0.0, 1.0, 0.0]; 3].concat();
        let sigmoids = [[0.9, 0.8, 0.1], [0.1, 0.1, 0.2], [1.0, 0.9, 0.9]].concat();
        let bounded = [[0.2, 0.3, 0.1], [0.1, 0.1, 0.2], [0.3, 0.2, 0.9]].concat();
        let far: Vec<f32> = bounded.iter().map(|v| v * 30.0).collect();
        let mut nan = probabilities.clone();
        nan[4] = f32::NAN;
        let nothing: [f32; 0] = [];
        // The outputs for images and beyond, the number of values, and what they show.
        type Row<'a> = (&'a str, &'a [f32], &'a [f32], usize, Option<OutputKind>);
        let rows: [Row; 14] = [
            ("softmax", &probabilities, &sharp, 3, Some(Probabilities)),
            (
                "softmax alone",
                &probabilities,
                &nothing,
                3,
                Some(Probabilities),
            ),
            ("quantized", &quantized, &sharp, 3, Some(Probabilities)),
            (
                "overflow beyond",
                &probabilities,
                &[f32::NAN; 3],
                3,
                Some(Probabilities),
            ),
            (
                "sharp, but it varies",
                &sharp,
                &probabilities,
                3,
                Some(Probabilities),
            ),
            ("logits", &logits.concat(), &nothing, 3, Some(Logits)),
            ("sigmoids", &sigmoids, &sigmoids, 3, Some(Scores)),
            ("small logits", &bounded, &far, 3, Some(Logits)),
            ("small, no more known", &bounded, &nothing, 3, None),
            ("constant", &sharp, &sharp, 3, None),
            ("NaN", &nan, &sharp, 3, None),
            (
                "one sigmoid",
                &[0.1, 0.7, 0.2],
                &[0.0, 1.0],
                1,
                Some(Probability),
            ),
            (
                "one logit",
                &[-0.1, 0.7, 0.2],
                &[-3.0, 21.0],
                1,
                Some(Logit),
            ),
            ("always 1", &[1.0; 3], &[1.0; 2], 1, None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(name, images, beyond, values, _)| (name, judge(images, beyond, *values)))
            .zip(&rows)
            .filter(|((_, found), row)| *found != row.4)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
