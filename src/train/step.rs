//! One training step: batch → logits → loss → gradients → new weights.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::batch::Batch;
use super::optimizer;
use crate::model::{CLASSES, Network, SIDE};

/// What a forward and a backward pass gave.
pub struct Gradients {
    /// By parameter, those of the architecture's L2 penalties included.
    pub gradients: GradientsParams,
    /// Cross-entropy of each image, summed.
    pub cross_entropy: f64,
    /// The L2 penalties.
    pub penalty: f64,
    /// How many images were answered rightly.
    pub correct: usize,
    /// `[n, 7]`.
    pub logits: Vec<f32>,
}

/// Runs a batch forward and backward; the loss is the mean cross-entropy of the batch plus the architecture's penalties.
///
/// `network` is on a device with autodiff; its running statistics are updated.
pub fn gradients(network: &Network, batch: &Batch, device: &Device) -> Gradients {
    let n = batch.labels.len();
    let images = TensorData::new(batch.images.clone(), [n, 1, SIDE, SIDE]);
    let targets = TensorData::new(batch.targets.clone(), [n, CLASSES]);
    let logits = network.forward(Tensor::from_data(images, device));
    let targets = Tensor::<2>::from_data(targets, device);
    let loss = log_softmax(logits.clone(), 1).mul(targets).sum().div_scalar(-(n as f64));
    let mut gradients = GradientsParams::from_grads(loss.backward(), network);
    let penalty = optimizer::penalise(network, &mut gradients);
    let logits = values(logits.inner());
    let (cross_entropy, correct) = score(&logits, &batch.targets, &batch.labels);
    Gradients { gradients, cross_entropy, penalty, correct, logits }
}

/// Takes a step down the gradients.
pub fn apply(
    network: Network,
    optimizer: &mut ModuleOptimizer,
    mut gradients: GradientsParams,
    learning_rate: f64,
    clip_norm: f64,
) -> Network {
    optimizer::clip(&network, &mut gradients, clip_norm);
    optimizer.step(learning_rate, network, gradients)
}

/// The logits of any number of images, `[n, 7]`, without dropout and with running statistics.
///
/// `images`: `[n, 48, 48]`, 0..=1; `network` is on a device without autodiff.
pub fn logits(network: &Network, images: &[f32], batch_size: usize, device: &Device) -> Vec<f32> {
    let pixels = SIDE * SIDE;
    images
        .chunks(batch_size * pixels)
        .flat_map(|chunk| {
            let data = TensorData::new(chunk.to_vec(), [chunk.len() / pixels, 1, SIDE, SIDE]);
            values(network.forward(Tensor::from_data(data, device)))
        })
        .collect()
}

/// The network for evaluation: a copy without autodiff whose running statistics are up to date and its own.
pub fn frozen(network: &Network) -> Network {
    network.valid()
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    // The tensors were made of float32 and stay float32.
    tensor.into_data().try_into_vec::<f32>().unwrap_or_default()
}

/// Summed cross-entropy of the rows' softmax against the targets, and how many rows have their label as the largest.
pub fn score(logits: &[f32], targets: &[f32], labels: &[u8]) -> (f64, usize) {
    let mut sum = 0.0;
    let mut correct = 0;
    for ((row, target), label) in logits.chunks_exact(CLASSES).zip(targets.chunks_exact(CLASSES)).zip(labels) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = row.iter().map(|v| f64::from(v - max).exp()).sum::<f64>().ln() + f64::from(max);
        sum += row.iter().zip(target).map(|(v, t)| f64::from(*t) * (log_sum - f64::from(*v))).sum::<f64>();
        let best = (0..CLASSES).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        correct += usize::from(best == usize::from(*label));
    }
    (sum, correct)
}
