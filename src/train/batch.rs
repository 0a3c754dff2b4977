//! Images → batches: in which order, varied how, with what targets; pure functions of (seed, epoch, step).

use rayon::prelude::*;

use crate::augment::{Augmentation, Draw};
use crate::data::Dataset;
use crate::model::CLASSES;
use crate::random::{Purpose, Random};

/// Keras's and this project's scale: pixels of 0..=255 become 0..=1.
pub const SCALE: f32 = 1.0 / 255.0;

/// What a step learns from.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n, height, width]` gray values, 0..=1.
    pub images: Vec<f32>,
    /// `[n, 7]`: how much each class is to be the answer, times the weight of the image's class.
    pub targets: Vec<f32>,
    /// The class that counts as the right answer.
    pub labels: Vec<u8>,
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
    /// A factor for each class.
    pub class_weights: &'a [f32],
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
        let start = step as usize * self.size;
        let chosen = &order[start..(start + self.size).min(order.len())];
        let (width, height) = (self.dataset.width, self.dataset.height);
        let pixels = width * height;
        let mut images = vec![0.0; chosen.len() * pixels];
        images.par_chunks_mut(pixels).zip(chosen).for_each(|(out, index)| {
            let draw = Draw { seed: self.seed, epoch, index: *index as u64 };
            self.augment.apply(self.dataset.image(*index), width, height, draw, out);
            out.iter_mut().for_each(|level| *level *= SCALE);
        });
        let mut labels: Vec<u8> = chosen.iter().map(|i| self.dataset.labels[*i]).collect();
        let mut targets: Vec<f32> = labels.iter().flat_map(|label| self.target(*label)).collect();
        if let Some(mix) = self.augment.mixup(self.seed, epoch, step, chosen.len()) {
            images = mixed(&images, &mix.partner, mix.lambda);
            targets = mixed(&targets, &mix.partner, mix.lambda);
            if mix.lambda < 0.5 {
                labels = mix.partner.iter().map(|p| labels[*p]).collect();
            }
        }
        Batch { images, targets, labels }
    }

    fn target(&self, label: u8) -> [f32; CLASSES] {
        let label = usize::from(label);
        let spread = self.label_smoothing / CLASSES as f64;
        std::array::from_fn(|class| {
            let own = if class == label { 1.0 - self.label_smoothing } else { 0.0 };
            (own + spread) as f32 * self.class_weights[label]
        })
    }
}

/// Each row times `share` plus its partner's times the rest.
fn mixed(rows: &[f32], partner: &[usize], share: f32) -> Vec<f32> {
    let len = rows.len() / partner.len().max(1);
    let row = |i: usize| &rows[i * len..][..len];
    (0..partner.len())
        .flat_map(|i| row(i).iter().zip(row(partner[i])).map(|(own, other)| own * share + other * (1.0 - share)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(n: usize) -> Dataset {
        Dataset {
            width: 2,
            height: 2,
            pixels: (0..n * 4).map(|p| p as u8).collect(),
            labels: (0..n).map(|i| (i % CLASSES) as u8).collect(),
            names: (0..n).map(|i| i.to_string()).collect(),
        }
    }

    fn batches<'a>(dataset: &'a Dataset, augment: &'a Augmentation, weights: &'a [f32]) -> Batches<'a> {
        Batches { dataset, augment, label_smoothing: 0.1, class_weights: weights, size: 4, seed: 5 }
    }

    #[test]
    fn an_epoch_shows_every_image_once() {
        let (data, none, ones) = (dataset(10), Augmentation::default(), [1.0; CLASSES]);
        let batches = batches(&data, &none, &ones);
        let (first, second) = (batches.order(0), batches.order(1));
        assert_ne!(first, second);
        let sizes: Vec<usize> = (0..batches.count()).map(|s| batches.batch(&first, 0, s).labels.len()).collect();
        assert_eq!(sizes, [4, 4, 2]);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        let batch = batches.batch(&first, 0, 2);
        assert_eq!(batch.images[0], f32::from(data.pixels[first[8] * 4]) * SCALE);
    }

    #[test]
    fn targets_are_smoothed_and_weighted() {
        let (data, none) = (dataset(7), Augmentation::default());
        let mut weights = [1.0; CLASSES];
        weights[3] = 2.0;
        let batches = batches(&data, &none, &weights);
        let order: Vec<usize> = (0..7).collect();
        let targets = batches.batch(&order, 0, 0).targets;
        let sums: Vec<f32> = targets.chunks(CLASSES).map(|row| row.iter().sum()).collect();
        assert!(sums.iter().zip([1.0, 1.0, 1.0, 2.0]).all(|(s, expected)| (s - expected).abs() < 1e-6), "{sums:?}");
        assert!((targets[0] - (0.9 + 0.1 / 7.0)).abs() < 1e-6, "{targets:?}");
    }

    #[test]
    fn mixed_images_and_targets_keep_their_sums() {
        let (data, ones) = (dataset(8), [1.0; CLASSES]);
        let mixup = Augmentation { mixup: 0.5, ..Default::default() };
        let batches = batches(&data, &mixup, &ones);
        let order = batches.order(3);
        let (plain, twice) = (batches.batch(&order, 3, 1), batches.batch(&order, 3, 1));
        assert_eq!(plain, twice);
        assert!(plain.targets.chunks(CLASSES).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    }
}
