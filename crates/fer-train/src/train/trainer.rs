//! The training loop: epochs of steps (`learner`), validation, checkpoints, and when to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::batch::Batches;
use super::checkpoint::{BestEpoch, Checkpoint, DataFacts, State, Trained};
use super::config::{Best, Config};
use super::distill::Teachers;
use super::error::TrainError;
use super::learner::Learner;
use super::precision::Precision;
use super::run::{EpochRecord, RunFolder};
use super::schedule::Course;
use super::step::Score;
use super::{optimizer, step};
use crate::data::Dataset;
use crate::eval::{Evaluation, Predicted};
use crate::model::Network;
use fer_core::classifier::softmax;
use fer_core::spec::EMOTIONS;
use fer_kernels::threads::FlushToZero;

/// A checkpoint is written at the end of each epoch, and within one this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// Time after which a GPU's losses are read, at the latest.
const BETWEEN: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs are done.
    Finished,
    /// It did not get better any more.
    Stopped,
    /// It was asked to stop, and can be resumed.
    Interrupted,
}

/// How far an epoch is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// From 1.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Steps done in this epoch.
    pub step: u32,
    /// Steps of an epoch.
    pub steps: u32,
    /// Steps since the last time.
    pub new_steps: u32,
    /// Images since the last time.
    pub images: usize,
    /// Mean loss so far in this epoch.
    pub loss: f64,
    /// Accuracy so far in this epoch, 0..=1.
    pub accuracy: f64,
}

/// Hears how a run goes.
pub trait Observer {
    /// Some steps are done: one, on a CPU.
    fn step(&mut self, progress: &Progress);
    /// An epoch is done: its training and validation lines, and whether it is the best so far.
    fn epoch(&mut self, training: &EpochRecord, validation: &EpochRecord, best: bool);
}

/// What is learnt from, and what tells how well.
pub struct TrainingData<'a> {
    /// The images that are trained on.
    pub training: &'a Dataset,
    /// The images that each epoch is judged by.
    pub validation: &'a Dataset,
    /// The models that are learnt from beside the labels; none, mostly.
    pub teachers: Teachers,
    /// The emotions' shares of people's votes for each training image, if it has any; empty without
    /// votes, and where the classes are others.
    pub votes: Vec<Option<[f32; EMOTIONS.len()]>>,
}

/// What is computed on.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Where the weights are; without autodiff.
    pub device: Device,
    /// Devices that take a part of each batch beside it ([`parallel`](super::parallel)); none,
    /// mostly.
    pub others: Vec<Device>,
    /// What a step computes in.
    pub precision: Precision,
}

/// Trains from a checkpoint on, or from a fresh one, to the end of the run, and writes everything
/// into the run folder.
///
/// The checkpoint's tensors are on `compute.device`, without autodiff. When `stop` becomes true,
/// the run finishes its step, saves and returns.
///
/// # Errors
/// A file can't be written or the loss is NaN or infinite; the last checkpoint stays.
pub fn train(
    run: Checkpoint,
    material: TrainingData,
    folder: &RunFolder,
    compute: &Compute,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<StopReason, TrainError> {
    let work = || epochs(run, material, folder, compute, observer, stop);
    fer_burn::device::computed(&compute.device, work).map_err(TrainError::Device)?
}

/// As [`train`], but that a GPU's failure may be a panic.
fn epochs(
    mut run: Checkpoint,
    material: TrainingData,
    folder: &RunFolder,
    compute: &Compute,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<StopReason, TrainError> {
    let TrainingData {
        training,
        validation,
        teachers,
        votes,
    } = material;
    let _flushed = FlushToZero::new();
    let config = run.config.clone();
    let classes = run.state.data.task.classes.clone();
    let class_weights = config
        .loss
        .class_weights
        .factors(&training.labels, classes.len());
    let batches = Batches {
        dataset: training,
        augment: &config.augment,
        label_smoothing: config.loss.label_smoothing,
        class_weights: &class_weights,
        votes: &votes,
        votes_share: config.loss.votes_share,
        size: config.batch_size,
        seed: config.seed,
    };
    let mut network = run.network.clone().train();
    let mut training = Epochs {
        learner: Learner::new(&batches, teachers, compute),
        config: &config,
        folder,
        observer,
        stop,
    };
    while run.state.epoch < config.epochs && !stands_still(&config, &run) {
        let Some((trained, learning_rate)) = training.epoch(&mut run, network)? else {
            return Ok(StopReason::Interrupted);
        };
        network = trained;
        run.network = step::frozen(&network);
        let device = &compute.device;
        let best = end_epoch(&mut run, &config, learning_rate, validation, device)?;
        folder.write_checkpoint(&run, best)?;
        folder.write_history(&run.state)?;
        if let [.., trained, validated] = &run.state.history[..] {
            training.observer.epoch(trained, validated, best);
        }
    }
    let device = &compute.device;
    let best = Trained::read(&super::run::chosen(folder.path())?, device)?;
    let evaluation = evaluate(
        &best.network,
        validation,
        &classes,
        config.batch_size,
        device,
    )?;
    folder.write_history(&run.state)?;
    folder.write_results(&config, &run.state, &evaluation)?;
    Ok(if run.state.epoch < config.epochs {
        StopReason::Stopped
    } else {
        StopReason::Finished
    })
}

/// The epochs of a run: which step is next, when its scores are read, and when it is saved.
struct Epochs<'a> {
    learner: Learner<'a>,
    config: &'a Config,
    folder: &'a RunFolder,
    observer: &'a mut dyn Observer,
    stop: &'a AtomicBool,
}

/// The scores of steps that are not yet read from the device.
struct Unread {
    /// Their sum.
    sum: Option<Tensor<1>>,
    /// The number of steps.
    steps: u32,
    /// When the first of them began.
    began: Instant,
}

impl Epochs<'_> {
    /// Takes the steps of an epoch that are left. Returns the network and the last learning rate;
    /// `None` if the run was asked to stop, and is saved.
    fn epoch(
        &mut self,
        run: &mut Checkpoint,
        mut network: Network,
    ) -> Result<Option<(Network, f64)>, TrainError> {
        let order = self.learner.order(run.state.epoch);
        let steps = self.learner.steps();
        let mut learning_rate = 0.0;
        let mut saved = Instant::now();
        let mut unread = Unread {
            sum: None,
            steps: 0,
            began: Instant::now(),
        };
        while run.state.step < steps {
            if unread.steps == 0 && (self.stopped() || saved.elapsed() > CHECKPOINT_EVERY) {
                self.save(run, &network)?;
                saved = Instant::now();
                if self.stopped() {
                    return Ok(None);
                }
                unread.began = Instant::now();
            }
            learning_rate = self.learning_rate(&run.state);
            let (trained, score) =
                self.learner
                    .step(run, network, &order, self.config, learning_rate)?;
            network = trained;
            unread.sum = Some(match unread.sum.take() {
                Some(sum) => sum + score,
                None => score,
            });
            unread.steps += 1;
            let goes_on =
                run.state.step < steps && !self.stopped() && unread.began.elapsed() < BETWEEN;
            if !goes_on || unread.steps >= self.learner.steps_between() {
                self.count(&mut run.state, &mut unread)?;
            }
        }
        Ok(Some((network, learning_rate)))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn learning_rate(&self, state: &State) -> f64 {
        let steps = f64::from(self.learner.steps());
        let done = f64::from(state.epoch) + f64::from(state.step) / steps;
        let (epochs, cuts) = (self.config.epochs.into(), state.plateau.cuts);
        self.config.optimizer.learning_rate * self.config.schedule.share(done, epochs, cuts)
    }

    /// Writes a checkpoint within an epoch.
    fn save(&self, run: &mut Checkpoint, network: &Network) -> Result<(), TrainError> {
        run.network = step::frozen(network);
        if !run.network.is_finite() || !run.evaluated().is_finite() {
            return Err(TrainError::Diverged {
                loss: f64::NAN,
                epoch: run.state.epoch + 1,
                step: run.state.step,
            });
        }
        self.folder.write_checkpoint(run, false)
    }

    /// Reads the scores of the steps so far, and adds them to the epoch's.
    fn count(&mut self, state: &mut State, unread: &mut Unread) -> Result<(), TrainError> {
        let new_steps = std::mem::take(&mut unread.steps);
        let Some(sum) = unread.sum.take() else {
            return Ok(());
        };
        let score = Score::read(sum).map_err(TrainError::Device)?;
        let seen = u64::from(state.step) * self.config.batch_size as u64;
        let seen = seen.min(self.learner.images() as u64);
        let images = (seen - state.seen) as usize;
        if !score.loss().is_finite() {
            return Err(TrainError::Diverged {
                loss: score.loss() / images as f64,
                epoch: state.epoch + 1,
                step: state.step + 1 - new_steps,
            });
        }
        state.loss_sum += score.loss();
        state.correct += score.correct.round() as u64;
        state.seen = seen;
        state.seconds += unread.began.elapsed().as_secs_f64();
        unread.began = Instant::now();
        self.observer.step(&Progress {
            epoch: state.epoch + 1,
            epochs: self.config.epochs,
            step: state.step,
            steps: self.learner.steps(),
            new_steps,
            images,
            loss: state.loss_sum / state.seen as f64,
            accuracy: state.correct as f64 / state.seen as f64,
        });
        Ok(())
    }
}

/// A run that has not yet begun; `device` names what Burn computes on.
pub fn fresh(config: Config, network: Network, data: DataFacts, device: String) -> Checkpoint {
    let network = step::frozen(&network);
    Checkpoint {
        average: (config.ema > 0.0).then(|| step::frozen(&network)),
        optimizer: optimizer::build(&config.optimizer, &network),
        state: State {
            data,
            device,
            ..State::default()
        },
        network,
        config,
    }
}

fn stands_still(config: &Config, run: &Checkpoint) -> bool {
    let since = run.state.epoch - run.state.best.map_or(0, |b| b.epoch);
    config.early_stopping > 0 && since >= config.early_stopping
}

/// Validates, and brings the state to the beginning of the next epoch; true if this was the best
/// epoch so far.
fn end_epoch(
    run: &mut Checkpoint,
    config: &Config,
    learning_rate: f64,
    validation: &Dataset,
    device: &Device,
) -> Result<bool, TrainError> {
    let began = Instant::now();
    let classes = &run.state.data.task.classes;
    let evaluation = evaluate(
        run.evaluated(),
        validation,
        classes,
        config.batch_size,
        device,
    )
    .map_err(|e| match e {
        TrainError::Device(_) => e,
        e => TrainError::DivergedEvaluation {
            reason: e.to_string(),
            epoch: run.state.epoch + 1,
        },
    })?;
    let loss = evaluation.loss + optimizer::penalty(run.evaluated());
    let seconds = began.elapsed().as_secs_f64();
    let state = &mut run.state;
    let epoch = state.epoch + 1;
    let found = BestEpoch {
        epoch,
        accuracy: evaluation.accuracy,
        loss,
    };
    let best = state.best.is_none_or(|old| match config.best {
        Best::Accuracy => (found.accuracy, -found.loss) > (old.accuracy, -old.loss),
        Best::Loss => found.loss < old.loss,
    });
    if best {
        state.best = Some(found);
    }
    if config.schedule.name == Course::Plateau {
        state.plateau.observe(loss, config.schedule.every);
    }
    let line = |split: &str, loss, accuracy, seconds: f64, images: usize| EpochRecord {
        epoch,
        split: split.into(),
        loss,
        accuracy,
        learning_rate,
        seconds,
        images_per_second: images as f64 / seconds.max(1e-9),
    };
    let seen = state.seen as f64;
    let lines = [
        line(
            "training",
            state.loss_sum / seen,
            state.correct as f64 / seen,
            state.seconds,
            state.seen as usize,
        ),
        line(
            "validation",
            loss,
            evaluation.accuracy,
            seconds,
            validation.len(),
        ),
    ];
    state.history.extend(lines);
    (
        state.epoch,
        state.step,
        state.loss_sum,
        state.correct,
        state.seen,
        state.seconds,
    ) = (epoch, 0, 0.0, 0, 0, 0.0);
    Ok(best)
}

/// Evaluates a network, on a device without autodiff, in the form that it is exported in, on images
/// as they are; `classes` are their names.
///
/// # Errors
/// The outputs of the network are not finite, or the device failed.
pub fn evaluate(
    network: &Network,
    dataset: &Dataset,
    classes: &[String],
    batch_size: usize,
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let mut probabilities = step::logits_of(&network.folded(), dataset, batch_size, device)
        .map_err(TrainError::Device)?;
    probabilities
        .chunks_exact_mut(classes.len())
        .for_each(softmax);
    let answers: Vec<Predicted> = probabilities
        .chunks_exact(classes.len())
        .zip(dataset.names.iter().zip(&dataset.labels))
        .map(|(row, (name, label))| Predicted {
            name: name.clone(),
            label: usize::from(*label),
            probabilities: row.to_vec(),
        })
        .collect();
    Evaluation::new(classes, &answers).map_err(|e| TrainError::Evaluation(e.to_string()))
}
