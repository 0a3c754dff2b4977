//! What a model's outputs are, found out by running it on noise: [`look`].
//!
//! The last operator of a graph says little: a softmax may be written by hand, or stand before a
//! quantization, a mean, a clip or a product that joins classes. The outputs themselves say it:
//!
//! - They lie in 0..=1 and sum to 1 for every image: probabilities.
//! - They lie in 0..=1, even for tensors far outside the range of images: sigmoids or the like.
//! - None is negative, some are above 1, and they sum to the same number for every image: shares of
//!   it, as the sum of two networks' probabilities.
//! - Anything else: logits.
//!
//! Outputs that are NaN or infinite, or that do not depend on the image, show nothing. An image's
//! outputs may also depend on the other images of its batch, by a softmax over the wrong axis or a
//! mean over the batch: such outputs mean nothing.

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

/// Of the range of a model's outputs, the part by which those of an image may differ in another
/// batch. Quantization by the range of the whole batch makes some difference.
const MIXED: f32 = 0.1;

/// What a model's outputs on noise show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shown {
    /// What they are.
    Kind(OutputKind),
    /// Nothing.
    Nothing,
    /// Those of every image sum to this number: none is negative, some are above 1. Or it is what a
    /// softmax gives for both of two images, over an axis of one value.
    SharesOf(f32),
    /// Those of an image depend on the other images of its batch.
    Mixed,
}

/// Runs a model on images of noise and finds out what its output values are. `whole` if it takes
/// whole numbers, so that it is run on images alone. `known` is what its last operator gives, if
/// that is certain but for the axis: then few images are enough.
///
/// # Errors
/// The engine failed.
pub fn look(
    classifier: &mut dyn Classifier,
    whole: bool,
    known: Option<OutputKind>,
) -> Result<Shown, EngineError> {
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
    let pair = run(&images[..2].concat())?;
    if differ(&pair, &run(&images[0])?) {
        return Ok(Shown::Mixed);
    }
    // Two images are enough to show logits, which most files return that do not say it.
    let first = judge(&pair, &[], values);
    let enough = match (first, known) {
        (Shown::Kind(OutputKind::Logit | OutputKind::Logits), None) => true,
        (Shown::Kind(kind), Some(known)) => kind == known,
        // Images alone do not show a bound.
        (_, Some(known)) => matches!(known, OutputKind::Scores | OutputKind::Probability),
        _ => false,
    };
    if enough {
        return Ok(known.map_or(first, Shown::Kind));
    }
    // The same values for both images, as of a softmax over an axis of one.
    let (row, other) = pair.split_at(values);
    let constant = known == Some(OutputKind::Probabilities) && row == other;
    if constant && !sums_to(row, 1.0) {
        return Ok(Shown::SharesOf(row.iter().sum()));
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

/// Whether outputs in a batch, which begin with those of an image, differ from that image's alone.
fn differ(batch: &[f32], alone: &[f32]) -> bool {
    let finite = || batch.iter().chain(alone).filter(|v| v.is_finite());
    let highest = finite().copied().fold(f32::NEG_INFINITY, f32::max);
    let lowest = finite().copied().fold(f32::INFINITY, f32::min);
    let far = (MIXED * (highest - lowest)).max(MARGIN);
    batch.iter().zip(alone).any(|(a, b)| (a - b).abs() > far)
}

/// What rows of `values` outputs show: those for images, and those for tensors outside the range of
/// images, if there are any.
fn judge(images: &[f32], beyond: &[f32], values: usize) -> Shown {
    if images.iter().any(|v| !v.is_finite()) {
        return Shown::Nothing;
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
        return Shown::Nothing;
    }
    let within = |row: &&[f32]| row.iter().all(|v| (-MARGIN..=1.0 + MARGIN).contains(v));
    let single = values == 1;
    if !single && all().all(|row| within(row) && sums_to(row, 1.0)) {
        return Shown::Kind(OutputKind::Probabilities);
    }
    let whole: f32 = images[0].iter().sum();
    let shares = |row: &&[f32]| row.iter().all(|v| *v >= -MARGIN * whole) && sums_to(row, whole);
    if !single && whole > 1.0 && !all().all(within) && all().all(shares) {
        return Shown::SharesOf(whole);
    }
    let logits = if single {
        OutputKind::Logit
    } else {
        OutputKind::Logits
    };
    if !images.iter().all(within) {
        return Shown::Kind(logits);
    }
    match (beyond.is_empty(), all().all(within), single) {
        // Images alone do not show a bound.
        (true, ..) => Shown::Nothing,
        (false, true, true) => Shown::Kind(OutputKind::Probability),
        (false, true, false) => Shown::Kind(OutputKind::Scores),
        (false, false, _) => Shown::Kind(logits),
    }
}

/// Whether values sum to a number, but for the rounding of shares of it.
fn sums_to(row: &[f32], whole: f32) -> bool {
    let tolerance = SUM_TOLERANCE + SUM_TOLERANCE_PER_CLASS * row.len() as f32;
    (row.iter().sum::<f32>() - whole).abs() <= tolerance.min(MAX_SUM_TOLERANCE) * whole
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
        use Shown::{Kind, Nothing, SharesOf};
        let near = |a: Shown, b: Shown| match (a, b) {
            (SharesOf(a), SharesOf(b)) => (a - b).abs() < 1e-4 * b,
            _ => a == b,
        };
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
        let percent: Vec<f32> = probabilities.iter().map(|p| p * 100.0).collect();
        let pairs = [[0.3, 0.7, 0.9, 0.1], [0.5, 0.5, 0.2, 0.8]].concat();
        let both: Vec<f32> = probabilities.iter().map(|p| p * 2.0).collect();
        let nothing: [f32; 0] = [];
        // The outputs for images and beyond, the number of values, and what they show.
        type Row<'a> = (&'a str, &'a [f32], &'a [f32], usize, Shown);
        let rows: [Row; 17] = [
            ("softmax", &probabilities, &sharp, 3, Kind(Probabilities)),
            (
                "softmax alone",
                &probabilities,
                &nothing,
                3,
                Kind(Probabilities),
            ),
            ("quantized", &quantized, &sharp, 3, Kind(Probabilities)),
            (
                "overflow beyond",
                &probabilities,
                &[f32::NAN; 3],
                3,
                Kind(Probabilities),
            ),
            (
                "sharp, but it varies",
                &sharp,
                &probabilities,
                3,
                Kind(Probabilities),
            ),
            ("logits", &logits.concat(), &nothing, 3, Kind(Logits)),
            ("sigmoids", &sigmoids, &sigmoids, 3, Kind(Scores)),
            ("small logits", &bounded, &far, 3, Kind(Logits)),
            ("small, no more known", &bounded, &nothing, 3, Nothing),
            ("constant", &sharp, &sharp, 3, Nothing),
            ("NaN", &nan, &sharp, 3, Nothing),
            (
                "one sigmoid",
                &[0.1, 0.7, 0.2],
                &[0.0, 1.0],
                1,
                Kind(Probability),
            ),
            (
                "one logit",
                &[-0.1, 0.7, 0.2],
                &[-3.0, 21.0],
                1,
                Kind(Logit),
            ),
            ("always 1", &[1.0; 3], &[1.0; 2], 1, Nothing),
            ("percent", &percent, &nothing, 3, SharesOf(100.0)),
            ("two networks", &both, &both, 3, SharesOf(2.0)),
            ("two softmaxes", &pairs, &pairs, 4, Kind(Scores)),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(name, images, beyond, values, _)| (name, judge(images, beyond, *values)))
            .zip(&rows)
            .filter(|((_, found), row)| !near(*found, row.4))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
