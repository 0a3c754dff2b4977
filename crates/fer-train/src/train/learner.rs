//! One step at a time: a batch made, its gradients, the new weights and their average.

use burn::tensor::{Device, Tensor};

use super::batch::{Batches, Resident, Tensors};
use super::checkpoint::{Checkpoint, State};
use super::config::Config;
use super::distill::Teachers;
use super::error::TrainError;
use super::parallel::Team;
use super::trainer::Compute;
use super::{ema, sam, step};
use crate::model::Network;

/// Steps after which a GPU's losses are read, at the latest.
const STEPS_BETWEEN: u32 = 32;

/// Takes the steps of a run.
pub(super) struct Learner<'a> {
    batches: &'a Batches<'a>,
    teachers: Teachers,
    device: &'a Device,
    /// The device with autodiff, and those beside it.
    learning: Device,
    others: Vec<Device>,
    team: Team,
    /// The training images on each device, where it makes its own batches.
    resident: Option<(Resident, Vec<Resident>)>,
}

impl<'a> Learner<'a> {
    pub fn new(batches: &'a Batches<'a>, teachers: Teachers, compute: &'a Compute) -> Self {
        let device = &compute.device;
        let learning = device.clone().autodiff();
        let others = compute.others.iter().map(|d| d.clone().autodiff());
        let others: Vec<Device> = others.collect();
        // A GPU makes its own batches, and is asked for its losses now and then only: it works
        // while the CPU prepares what comes next.
        let own = !fer_burn::device::is_cpu(device) && teachers.is_empty();
        let resident = own.then(|| {
            let on = |device: &Device| Resident::new(batches.dataset, device);
            (on(&learning), others.iter().map(on).collect())
        });
        Self {
            batches,
            teachers,
            device,
            team: Team::new(device, others.len(), compute.precision),
            learning,
            others,
            resident,
        }
    }

    /// The steps of an epoch.
    pub fn steps(&self) -> u32 {
        self.batches.count()
    }

    /// The training images.
    pub fn images(&self) -> usize {
        self.batches.dataset.len()
    }

    /// The order of the images in an epoch.
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        self.batches.order(epoch)
    }

    /// Steps after which scores are read.
    pub fn steps_between(&self) -> u32 {
        if fer_burn::device::is_cpu(self.device) {
            1
        } else {
            STEPS_BETWEEN
        }
    }

    /// Takes the run's next step. Returns the network with its new weights, and the step's score,
    /// which is still on the device.
    pub fn step(
        &mut self,
        run: &mut Checkpoint,
        network: Network,
        order: &[usize],
        config: &Config,
        learning_rate: f64,
    ) -> Result<(Network, Tensor<1>), TrainError> {
        let state = &mut run.state;
        // Dropout's random numbers: a function of the seed and the step, but where several GPUs
        // draw from them in turns.
        let seed = config
            .seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(state.total_steps);
        let batch = self.batch(order, state)?;
        let device = self.device;
        let seeded = || device.seed(seed);
        let passed = sam::gradients(&self.team, &network, batch, config.optimizer.sam, seeded);
        let (gradients, score) = passed.map_err(TrainError::Device)?;
        let network = step::apply(
            network,
            &mut run.optimizer,
            gradients,
            learning_rate,
            config.optimizer.clip_norm,
        );
        if let Some(average) = run.average.take() {
            let new = step::frozen(&network);
            run.average = Some(ema::update(average, &new, config.ema, state.total_steps));
        }
        state.step += 1;
        state.total_steps += 1;
        Ok((network, score))
    }

    /// The next batch on each device.
    fn batch(
        &mut self,
        order: &[usize],
        state: &State,
    ) -> Result<(Tensors, Vec<Tensors>), TrainError> {
        let (epoch, step) = (state.epoch, state.step);
        if let Some((first, rest)) = &self.resident {
            let on = |images: &Resident| images.batch(self.batches, order, epoch, step);
            return Ok((on(first), rest.iter().map(on).collect()));
        }
        let mut batch = self.batches.batch(order, epoch, step);
        self.teachers.distill(&mut batch, state.total_steps)?;
        let others = self.others.iter();
        let rest = others.map(|device| batch.clone().tensors(device)).collect();
        Ok((batch.tensors(&self.learning), rest))
    }
}
