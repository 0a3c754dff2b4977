//! Images → batches: in which order, varied how, with what targets; pure functions of (seed, epoch,
//! step).
//!
//! A batch is made on the CPU ([`Batches::batch`]), or of images that lie on a GPU ([`Resident`]).

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::augment::{Augmentation, Draw, Mixup, render};
use crate::data::Dataset;
use fer_core::random::{Purpose, Random};
use fer_core::spec::EMOTIONS;

/// Keras's and this project's scale: pixels of 0..=255 become 0..=1.
pub const SCALE: f32 = 1.0 / 255.0;

/// What a step learns from.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n, channels, height, width]` values, 0..=1.
    pub images: Vec<f32>,
    /// `[channels, height, width]` of an image.
    pub shape: [usize; 3],
    /// `[n, classes]`: how much each class is to be the prediction, times the weight of the image's
    /// class.
    pub targets: Vec<f32>,
    /// The class that counts as the right prediction.
    pub labels: Vec<u16>,
}

/// A batch where Burn computes.
#[derive(Debug, Clone)]
pub struct Tensors {
    /// `[n, channels, height, width]` values, 0..=1.
    pub images: Tensor<4>,
    /// `[n, classes]`, as [`Batch::targets`].
    pub targets: Tensor<2>,
    /// `[n, 1]`, as [`Batch::labels`].
    pub labels: Tensor<2, Int>,
}

impl Tensors {
    /// Some of the images.
    pub fn part(&self, range: Range<usize>) -> Self {
        let (start, len) = (range.start, range.len());
        Self {
            images: self.images.clone().narrow(0, start, len),
            targets: self.targets.clone().narrow(0, start, len),
            labels: self.labels.clone().narrow(0, start, len),
        }
    }
}

impl Batch {
    /// The batch on a device.
    pub fn tensors(self, device: &Device) -> Tensors {
        let n = self.labels.len();
        let [channels, height, width] = self.shape;
        let shape = [n, channels, height, width];
        let images = Tensor::from_data(TensorData::new(self.images, shape), device);
        Tensors {
            images,
            targets: targets(self.targets, n, device),
            labels: labels(&self.labels, device),
        }
    }
}

fn targets(targets: Vec<f32>, n: usize, device: &Device) -> Tensor<2> {
    let shape = [n, targets.len() / n.max(1)];
    Tensor::from_data(TensorData::new(targets, shape), device)
}

fn labels(labels: &[u16], device: &Device) -> Tensor<2, Int> {
    let numbers: Vec<i32> = labels.iter().map(|label| i32::from(*label)).collect();
    Tensor::from_data(TensorData::new(numbers, [labels.len(), 1]), device)
}

/// Turns training images into batches.
#[derive(Debug, Clone, Copy)]
pub struct Batches<'a> {
    /// The images.
    pub dataset: &'a Dataset,
    /// How they are varied.
    pub augment: &'a Augmentation,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// A factor for each class, which says how many there are.
    pub class_weights: &'a [f32],
    /// The emotions' shares of the votes for each image, if it has any; empty without votes, and
    /// where the classes are others.
    pub votes: &'a [Option<[f32; EMOTIONS.len()]>],
    /// The votes' share of a target, 0..=1; the label has the rest.
    pub votes_share: f64,
    /// Images a batch; the last of an epoch may have fewer.
    pub size: usize,
    /// Where all random numbers come from.
    pub seed: u64,
}

impl Batches<'_> {
    /// Batches an epoch.
    pub fn count(&self) -> u32 {
        self.dataset.len().div_ceil(self.size) as u32
    }

    /// The order in which an epoch goes through the images.
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        Random::new(self.seed, Purpose::Order, epoch.into(), 0).shuffle(&mut order);
        order
    }

    /// Batch number `step` of an epoch in this order.
    pub fn batch(&self, order: &[usize], epoch: u32, step: u32) -> Batch {
        let chosen = self.chosen(order, step);
        let (width, height) = (self.dataset.width, self.dataset.height);
        let values = self.dataset.image_len();
        let mut images = vec![0.0; chosen.len() * values];
        images
            .par_chunks_mut(values)
            .zip(chosen)
            .for_each(|(out, index)| {
                let draw = Draw {
                    seed: self.seed,
                    epoch,
                    index: *index as u64,
                };
                self.augment
                    .apply(self.dataset.image(*index), width, height, draw, out);
                out.iter_mut().for_each(|level| *level *= SCALE);
            });
        let mix = self.augment.mixup(self.seed, epoch, step, chosen.len());
        if let Some(mix) = &mix {
            images = mixed(&images, mix);
        }
        let (labels, targets) = self.answers(chosen, mix.as_ref());
        Batch {
            images,
            shape: self.dataset.image_shape(),
            targets,
            labels,
        }
    }

    /// The images of batch number `step`.
    fn chosen<'a>(&self, order: &'a [usize], step: u32) -> &'a [usize] {
        let start = step as usize * self.size;
        &order[start..(start + self.size).min(order.len())]
    }

    /// Labels and targets.
    fn answers(&self, chosen: &[usize], mix: Option<&Mixup>) -> (Vec<u16>, Vec<f32>) {
        let labels: Vec<u16> = chosen.iter().map(|i| self.dataset.labels[*i]).collect();
        let targets: Vec<f32> = chosen.iter().flat_map(|i| self.target(*i)).collect();
        let Some(mix) = mix else {
            return (labels, targets);
        };
        let targets = mixed(&targets, mix);
        match mix.lambda < 0.5 {
            true => (mix.partner.iter().map(|p| labels[*p]).collect(), targets),
            false => (labels, targets),
        }
    }

    /// The target of one image: its label, smoothed, and its votes, mixed; times the weight of the
    /// label's class.
    fn target(&self, image: usize) -> impl Iterator<Item = f32> {
        let label = usize::from(self.dataset.labels[image]);
        let votes = self.votes.get(image).copied().flatten();
        let spread = self.label_smoothing / self.class_weights.len() as f64;
        (0..self.class_weights.len()).map(move |class| {
            let own = if class == label {
                1.0 - self.label_smoothing
            } else {
                0.0
            };
            let own = own + spread;
            let mixed = votes.map_or(own, |votes| {
                own + self.votes_share * (f64::from(votes[class]) - own)
            });
            mixed as f32 * self.class_weights[label]
        })
    }
}

/// Each row and its partner's, mixed.
fn mixed(rows: &[f32], mix: &Mixup) -> Vec<f32> {
    let Mixup { lambda, partner } = mix;
    let len = rows.len() / partner.len().max(1);
    let row = |i: usize| &rows[i * len..][..len];
    (0..partner.len())
        .flat_map(|i| {
            row(i)
                .iter()
                .zip(row(partner[i]))
                .map(|(own, other)| own * lambda + other * (1.0 - lambda))
        })
        .collect()
}

/// The training images on a device, a byte a pixel, which batches are made of there: what is drawn
/// for a batch goes to the device, and nothing comes back.
///
/// Not every GPU computes with bytes, so four of them lie in a 32-bit number.
#[derive(Debug, Clone)]
pub struct Resident {
    /// `[images, values / 4]`, the first value in the lowest byte.
    words: Tensor<2, Int>,
}

/// Pixels in a word.
const PACKED: usize = 4;

impl Resident {
    /// Brings the images to a device, where the batches will be: one with autodiff, to train on
    /// them.
    pub fn new(dataset: &Dataset, device: &Device) -> Self {
        let words = dataset.image_len().div_ceil(PACKED);
        let word = |pixels: &[u8]| {
            let mut bytes = [0; PACKED];
            bytes[..pixels.len()].copy_from_slice(pixels);
            i32::from_le_bytes(bytes)
        };
        let all: Vec<i32> = (0..dataset.len())
            .flat_map(|i| {
                dataset
                    .image(i)
                    .chunks(PACKED)
                    .map(word)
                    .collect::<Vec<_>>()
            })
            .collect();
        Self {
            words: Tensor::from_data(TensorData::new(all, [dataset.len(), words]), device),
        }
    }

    /// The levels of some images, `[n, values]`, 0..=255.
    fn levels(&self, chosen: &[usize], values: usize) -> Tensor<2> {
        let words = self
            .words
            .clone()
            .select(0, indices(chosen, &self.words.device()));
        let byte = |n: i32| {
            words
                .clone()
                .bitwise_right_shift_scalar(8 * n)
                .bitwise_and_scalar(255)
                .unsqueeze_dim::<3>(2)
        };
        let bytes = Tensor::cat((0..PACKED as i32).map(byte).collect(), 2);
        bytes.flatten::<2>(1, 2).narrow(1, 0, values).float()
    }

    /// What [`Batches::batch`] makes, within rounding.
    pub fn batch(&self, batches: &Batches, order: &[usize], epoch: u32, step: u32) -> Tensors {
        let chosen = batches.chosen(order, step);
        let [channels, height, width] = batches.dataset.image_shape();
        let variation = |index: &usize| {
            let draw = Draw {
                seed: batches.seed,
                epoch,
                index: *index as u64,
            };
            batches
                .augment
                .variation(batches.dataset.image(*index), width, height, draw)
        };
        let variations: Vec<_> = chosen.par_iter().map(variation).collect();
        let mut images = render(
            self.levels(chosen, batches.dataset.image_len()),
            &variations,
            width,
            height,
        )
        .mul_scalar(SCALE);
        let device = images.device();
        let mix = batches
            .augment
            .mixup(batches.seed, epoch, step, chosen.len());
        if let Some(Mixup { lambda, partner }) = &mix {
            let other = images.clone().select(0, indices(partner, &device));
            images = images.mul_scalar(*lambda) + other.mul_scalar(1.0 - lambda);
        }
        let (classes, wanted) = batches.answers(chosen, mix.as_ref());
        let n = chosen.len();
        Tensors {
            images: images.reshape([n, channels, height, width]),
            targets: targets(wanted, n, &device),
            labels: labels(&classes, &device),
        }
    }
}

fn indices(of: &[usize], device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i32> = of.iter().map(|i| *i as i32).collect();
    Tensor::from_data(TensorData::new(numbers, [of.len()]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 7;

    fn dataset(n: usize) -> Dataset {
        Dataset {
            width: 2,
            height: 2,
            channels: 1,
            pixels: (0..n * 4).map(|p| p as u8).collect(),
            labels: (0..n).map(|i| (i % CLASSES) as u16).collect(),
            names: (0..n).map(|i| i.to_string()).collect(),
            ..Dataset::default()
        }
    }

    fn batches<'a>(
        dataset: &'a Dataset,
        augment: &'a Augmentation,
        weights: &'a [f32],
    ) -> Batches<'a> {
        let (votes, votes_share) = (&[][..], 1.0);
        Batches {
            dataset,
            augment,
            label_smoothing: 0.1,
            class_weights: weights,
            votes,
            votes_share,
            size: 4,
            seed: 5,
        }
    }

    #[test]
    fn an_epoch_shows_every_image_once() {
        let (data, none, ones) = (dataset(10), Augmentation::default(), [1.0; CLASSES]);
        let batches = batches(&data, &none, &ones);
        let (first, second) = (batches.order(0), batches.order(1));
        assert_ne!(first, second);
        let sizes: Vec<usize> = (0..batches.count())
            .map(|s| batches.batch(&first, 0, s).labels.len())
            .collect();
        assert_eq!(sizes, [4, 4, 2]);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        let batch = batches.batch(&first, 0, 2);
        assert_eq!(
            batch.images[0],
            f32::from(data.pixels[first[8] * 4]) * SCALE
        );
    }

    #[test]
    fn targets_are_smoothed_and_weighted() {
        let (data, none) = (dataset(7), Augmentation::default());
        let mut weights = [1.0; CLASSES];
        weights[3] = 2.0;
        let batches = batches(&data, &none, &weights);
        let order: Vec<usize> = (0..7).collect();
        let targets = batches.batch(&order, 0, 0).targets;
        let sums: Vec<f32> = targets
            .chunks(CLASSES)
            .map(|row| row.iter().sum())
            .collect();
        assert!(
            sums.iter()
                .zip([1.0, 1.0, 1.0, 2.0])
                .all(|(s, expected)| (s - expected).abs() < 1e-6),
            "{sums:?}"
        );
        assert!((targets[0] - (0.9 + 0.1 / 7.0)).abs() < 1e-6, "{targets:?}");
    }

    #[test]
    fn targets_are_mixed_with_votes_by_their_share() {
        let (data, none) = (dataset(7), Augmentation::default());
        let weights = [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let votes = [
            Some([0.25, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0]),
            Some([0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0]),
            None,
        ];
        let order: Vec<usize> = (0..7).collect();
        // Label smoothing of 0.1 leaves a label 0.9 and spreads 0.1 / 7.
        let s = 0.1 / 7.0;
        let label = |class: usize, weight: f64| -> Vec<f64> {
            (0..CLASSES)
                .map(|c| weight * (s + if c == class { 0.9 } else { 0.0 }))
                .collect()
        };
        let rows: [(f64, Vec<f64>, Vec<f64>); 3] = [
            (0.0, label(0, 1.0), label(1, 2.0)),
            (
                1.0,
                vec![0.25, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0],
                vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
            ),
            (
                0.4,
                vec![
                    0.6 * (0.9 + s) + 0.1,
                    0.6 * s,
                    0.6 * s + 0.3,
                    0.6 * s,
                    0.6 * s,
                    0.6 * s,
                    0.6 * s,
                ],
                [
                    0.6 * s + 0.2,
                    0.6 * (0.9 + s),
                    0.6 * s,
                    0.6 * s,
                    0.6 * s + 0.2,
                    0.6 * s,
                    0.6 * s,
                ]
                .map(|t| 2.0 * t)
                .into(),
            ),
        ];
        let mut wrong = Vec::new();
        for (votes_share, first, second) in rows {
            let batches = Batches {
                votes: &votes,
                votes_share,
                ..batches(&data, &none, &weights)
            };
            // The third image has no votes, and the fourth none are known of.
            let wanted = [first, second, label(2, 1.0), label(3, 1.0)].concat();
            let found = batches.batch(&order, 0, 0);
            let near = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() < 1e-6;
            if !found.targets.iter().zip(&wanted).all(near) || found.labels != [0, 1, 2, 3] {
                wrong.push((votes_share, found.targets, wanted));
            }
            let resident = Resident::new(&data, &Device::flex()).batch(&batches, &order, 0, 0);
            let on_device: Vec<f32> = resident.targets.into_data().try_into_vec().unwrap();
            assert_eq!(
                on_device,
                batches.batch(&order, 0, 0).targets,
                "{votes_share}"
            );
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn images_on_a_device_make_the_same_batches() {
        // Three columns: a row of words is not full.
        for (channels, height) in [(1, 3), (3, 5)] {
            let values = 10 * channels * height * 3;
            on_a_device(&Dataset {
                width: 3,
                height,
                channels,
                pixels: (0..values).map(|p| (p * 29 % 256) as u8).collect(),
                ..dataset(10)
            });
        }
    }

    fn on_a_device(data: &Dataset) {
        let ones = [1.0; CLASSES];
        let quality = Augmentation {
            equalize: 0.5,
            blur: 0.5,
            jpeg: 0.5,
            ..Default::default()
        };
        let augment = Augmentation {
            shift: 0.2,
            flip: 0.5,
            erase: 0.5,
            contrast: 0.3,
            mixup: 0.5,
            ..quality
        };
        let batches = batches(data, &augment, &ones);
        let resident = Resident::new(data, &Device::flex());
        let order = batches.order(1);
        for step in 0..batches.count() {
            let expected = batches.batch(&order, 1, step);
            let found = resident.batch(&batches, &order, 1, step);
            let n = expected.labels.len();
            assert_eq!(found.images.dims(), [n, data.channels, data.height, 3]);
            let near = |found: Vec<f32>, expected: &[f32]| {
                found.len() == expected.len()
                    && found
                        .iter()
                        .zip(expected)
                        .all(|(a, b)| (a - b).abs() < 1e-5)
            };
            assert!(
                near(
                    found.images.into_data().try_into_vec().unwrap(),
                    &expected.images
                ),
                "step {step}"
            );
            assert!(
                near(
                    found.targets.into_data().try_into_vec().unwrap(),
                    &expected.targets
                ),
                "step {step}"
            );
            let labels: Vec<u16> = found
                .labels
                .into_data()
                .iter::<i64>()
                .map(|label| label as u16)
                .collect();
            assert_eq!(labels, expected.labels);
        }
    }

    #[test]
    fn mixed_images_and_targets_keep_their_sums() {
        let (data, ones) = (dataset(8), [1.0; CLASSES]);
        let mixup = Augmentation {
            mixup: 0.5,
            ..Default::default()
        };
        let batches = batches(&data, &mixup, &ones);
        let order = batches.order(3);
        let (plain, twice) = (batches.batch(&order, 3, 1), batches.batch(&order, 3, 1));
        assert_eq!(plain, twice);
        assert!(
            plain
                .targets
                .chunks(CLASSES)
                .all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5)
        );
    }
}
