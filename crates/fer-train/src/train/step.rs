//! One training step: batch → logits → loss → gradients → new weights.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::batch::{SCALE, Tensors};
use super::optimizer;
use super::precision::Precision;
use crate::data::Dataset;
use crate::model::Network;

/// What a forward and a backward pass gave; all of it on the device that computed it.
pub struct Pass {
    /// By parameter, those of the architecture's L2 penalties included.
    pub gradients: GradientsParams,
    /// `[n, classes]`.
    pub logits: Tensor<2>,
    /// What [`Score::read`] reads.
    pub score: Tensor<1>,
}

/// How well images were predicted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Cross-entropy of each image, summed.
    pub cross_entropy: f64,
    /// The L2 penalties, once for each image.
    pub penalties: f64,
    /// How many images were predicted rightly.
    pub correct: f64,
}

impl Score {
    /// Waits for the device and reads a [`Pass::score`], or a sum of several.
    ///
    /// # Errors
    /// The device failed.
    pub fn read(score: Tensor<1>) -> Result<Self, String> {
        let data = score.try_into_data().map_err(|e| e.to_string())?;
        match data.iter::<f64>().collect::<Vec<_>>()[..] {
            [cross_entropy, penalties, correct] => Ok(Self {
                cross_entropy,
                penalties,
                correct,
            }),
            _ => Err("the device returned other numbers than were asked for".into()),
        }
    }

    /// The loss of the images, summed.
    pub fn loss(&self) -> f64 {
        self.cross_entropy + self.penalties
    }
}

/// Runs a batch forward and backward; the loss is the mean cross-entropy of the batch plus the
/// architecture's penalties.
///
/// The network, whose running statistics are updated, and the batch are on a device with autodiff.
/// Nothing waits for the device.
pub fn gradients(network: &Network, batch: Tensors, precision: Precision) -> Pass {
    let Tensors {
        images,
        targets,
        labels,
    } = batch;
    let n = images.dims()[0] as f64;
    let logits = network
        .forward(images.cast(precision.dtype()))
        .cast(FloatDType::F32);
    let loss = log_softmax(logits.clone(), 1)
        .mul(targets)
        .sum()
        .div_scalar(-n);
    let scale = precision.loss_scale();
    let scaled = if scale == 1.0 {
        loss.clone()
    } else {
        loss.clone().mul_scalar(scale)
    };
    let mut gradients = GradientsParams::from_grads(scaled.backward(), network);
    if scale != 1.0 {
        optimizer::scale(network, &mut gradients, 1.0 / scale);
    }
    let cross_entropy = loss.inner().mul_scalar(n);
    let penalty = optimizer::penalise(network, &mut gradients);
    let penalties = penalty.map_or_else(
        || cross_entropy.zeros_like(),
        |penalty| penalty.mul_scalar(n),
    );
    let logits = logits.inner();
    let right = logits
        .clone()
        .argmax(1)
        .equal(labels.inner())
        .int()
        .sum()
        .float();
    Pass {
        gradients,
        logits,
        score: Tensor::cat(vec![cross_entropy, penalties, right], 0),
    }
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

/// The logits of any number of images, `[n, classes]`, without dropout and with running statistics.
///
/// `images`: `[n, channels, height, width]`, 0..=1; `network` is on a device without autodiff.
///
/// # Errors
/// The device failed.
pub fn logits(
    network: &Network,
    images: &[f32],
    batch_size: usize,
    device: &Device,
) -> Result<Vec<f32>, String> {
    let [channels, height, width] = network.input();
    let pixels = channels * height * width;
    let mut logits = Vec::with_capacity(images.len() / pixels * network.classes());
    for chunk in images.chunks(batch_size * pixels) {
        let shape = [chunk.len() / pixels, channels, height, width];
        let data = TensorData::new(chunk.to_vec(), shape);
        logits.extend(fer_burn::values(
            network.forward(Tensor::from_data(data, device)),
        )?);
    }
    Ok(logits)
}

/// The logits of all images of a data set, `[n, classes]`, as [`logits`].
///
/// # Errors
/// The device failed.
pub fn logits_of(
    network: &Network,
    dataset: &Dataset,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<f32>, String> {
    let mut found = Vec::with_capacity(dataset.len() * network.classes());
    // A batch at a time: as float32, a data set takes four times its memory.
    let batch = (batch_size * dataset.image_len()).max(1);
    for pixels in dataset.pixels.chunks(batch) {
        let images: Vec<f32> = pixels.iter().map(|p| f32::from(*p) * SCALE).collect();
        found.extend(logits(network, &images, batch_size, device)?);
    }
    Ok(found)
}

/// The network for evaluation: a copy without autodiff whose running statistics are up to date and
/// its own.
pub fn frozen(network: &Network) -> Network {
    network.valid()
}
