//! Several devices at one batch: each takes a part of the images through a copy of the network, and
//! the first, where the weights and the optimizer are, gets the mean of their gradients.
//!
//! A batch normalisation takes the statistics of its device's part, and the running ones are those
//! of the first, as in PyTorch's `DistributedDataParallel`: with another number of devices, a
//! training has other numbers.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::batch::Tensors;
use super::optimizer;
use super::precision::Precision;
use super::step::{self, Pass};
use crate::model::Network;
use fer_core::panics;

/// Devices that compute beside the first.
///
/// Each has a thread of its own for as long as this lives: Burn keeps the memory of a device by
/// thread.
#[derive(Debug)]
pub struct Team {
    precision: Precision,
    workers: Vec<Worker>,
}

/// What a worker is given: the network as it is, the whole batch on the worker's device, and its
/// part of it.
type Work = (Network, Tensors, Range<usize>);

/// What a pass gives, on the first device: gradients and score.
pub type Done = (GradientsParams, Tensor<1>);

#[derive(Debug)]
struct Worker {
    work: Sender<Work>,
    done: Receiver<Result<Done, String>>,
}

impl Worker {
    fn new(home: Device, precision: Precision) -> Self {
        let ((work, given), (gives, done)) = (channel::<Work>(), channel());
        thread::spawn(move || {
            for (network, batch, range) in given {
                let learn = || {
                    let copy = network
                        .fork(&batch.images.device().without_autodiff())
                        .train();
                    let (gradients, score) = scaled(&copy, &batch, range, precision);
                    (gradients.to_device(&home, &copy), score.to_device(&home))
                };
                // Nobody waits any more: the run has ended.
                if gives.send(panics::caught(learn)).is_err() {
                    return;
                }
            }
        });
        Self { work, done }
    }
}

impl Team {
    /// A first device, `home`, and so many others.
    pub fn new(home: &Device, others: usize, precision: Precision) -> Self {
        let workers = (0..others)
            .map(|_| Worker::new(home.clone(), precision))
            .collect();
        Self { precision, workers }
    }

    /// What [`step::gradients`] gives of a batch, divided: the gradients of its mean loss, and its
    /// score. The batch is there whole on each device: `first` on the network's, and `others`.
    ///
    /// # Errors
    /// Another device failed.
    pub fn gradients(
        &self,
        network: &Network,
        first: Tensors,
        others: Vec<Tensors>,
    ) -> Result<Done, String> {
        if self.workers.is_empty() {
            let Pass {
                gradients, score, ..
            } = step::gradients(network, first, self.precision);
            return Ok((gradients, score));
        }
        let ranges = ranges(first.images.dims()[0], 1 + self.workers.len());
        let busy = ranges.len() - 1;
        for ((worker, batch), range) in self.workers.iter().zip(others).zip(&ranges[1..]) {
            // Not a clone: clones share their running statistics. A worker that is gone is seen
            // below.
            let _ = worker
                .work
                .send((step::frozen(network), batch, range.clone()));
        }
        let (mut sum, mut score) = scaled(network, &first, ranges[0].clone(), self.precision);
        for worker in &self.workers[..busy] {
            let (mut gradients, part) = worker.done.recv().map_err(|_| "its thread is gone")??;
            optimizer::add(network, &mut sum, &mut gradients);
            score = score + part;
        }
        Ok((sum, score))
    }
}

/// Which images of a batch each device takes: as equally many as can be. Where there are fewer
/// images than devices, only the first devices work.
fn ranges(images: usize, devices: usize) -> Vec<Range<usize>> {
    let devices = devices.min(images).max(1);
    (0..devices)
        .map(|i| images * i / devices..images * (i + 1) / devices)
        .collect()
}

/// The gradients of a part of a batch, times its share of the batch, and its score.
fn scaled(network: &Network, batch: &Tensors, range: Range<usize>, precision: Precision) -> Done {
    let share = range.len() as f64 / batch.images.dims()[0] as f64;
    let Pass {
        mut gradients,
        score,
        ..
    } = step::gradients(network, batch.part(range), precision);
    optimizer::scale(network, &mut gradients, share);
    (gradients, score)
}
