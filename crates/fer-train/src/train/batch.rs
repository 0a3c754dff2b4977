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
mod tests;
