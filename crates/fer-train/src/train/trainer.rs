//! The training loop: epochs of steps, validation, checkpoints, and when to end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::batch::{Batches, Resident, Tensors};
use super::checkpoint::{BestEpoch, Checkpoint, CheckpointError, DataFacts, State, Trained};
use super::config::{Best, Config, ConfigError};
use super::distill::Teachers;
use super::parallel::Team;
use super::precision::Precision;
use super::run::{EpochRecord, RunFolder};
use super::schedule::Course;
use super::step::Score;
use super::{ema, optimizer, sam, step};
use crate::data::Dataset;
use crate::eval::{Evaluation, Predicted};
use crate::model::Network;
use fer_core::classifier::{EngineError, softmax};
use fer_core::spec::EMOTIONS;
use fer_kernels::threads::FlushToZero;

/// A checkpoint is written at the end of each epoch, and within one this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// Steps after which a GPU's losses are read, at the latest.
const STEPS_BETWEEN: u32 = 32;

/// Time after which they are.
const BETWEEN: Duration = Duration::from_secs(5);

/// A run that can't begin or go on; one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The run folder can't be used.
    #[error("{0}")]
    Folder(String),
    /// A new run's folder can't be made.
    #[error("can't make the run folder {path} ({source})")]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A new run's folder holds something.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The run has no checkpoint.
    #[error("the run in {path} has saved nothing yet")]
    NothingSaved {
        /// The run's folder.
        path: PathBuf,
    },
    /// A file of the run can't be written.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint can't be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The loss is NaN or infinite.
    #[error("the loss is {loss} in epoch {epoch}, step {step}: the run diverged")]
    Diverged {
        /// NaN or infinite.
        loss: f64,
        /// From 1.
        epoch: u32,
        /// From 1; the first of those whose losses were read together.
        step: u32,
    },
    /// What Burn computes on failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// The network's outputs for the validation images are not finite.
    #[error("{reason}: the run diverged in epoch {epoch}")]
    DivergedEvaluation {
        /// What is wrong with them.
        reason: String,
        /// From 1.
        epoch: u32,
    },
    /// A teacher failed.
    #[error("a teacher gives no predictions: {0}")]
    Teacher(#[from] EngineError),
    /// The evaluation failed.
    #[error("{0}")]
    Evaluation(String),
    /// A picture can't be drawn or written.
    #[error("{0}")]
    Picture(String),
}

impl TrainError {
    /// `path` can't be written.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.into(),
            source,
        }
    }
}

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

/// Is told how a run goes.
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
    /// Devices that take a part of each batch beside it ([`Team`]); none, mostly.
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
    let Compute {
        device,
        others,
        precision,
    } = compute;
    let TrainingData {
        training,
        validation,
        mut teachers,
        votes,
    } = material;
    let _flushed = FlushToZero::new();
    let config = run.config.clone();
    let class_weights = config
        .loss
        .class_weights
        .factors(&training.labels, run.state.data.task.classes.len());
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
    let steps = batches.count();
    let learner = device.clone().autodiff();
    let other_learners: Vec<Device> = others
        .iter()
        .map(|device| device.clone().autodiff())
        .collect();
    let team = Team::new(device, others.len(), *precision);
    // A GPU makes its own batches, and is asked for its losses now and then only: it works while
    // the CPU prepares what comes next.
    let on_cpu = fer_burn::device::is_cpu(device);
    let resident = (!on_cpu && teachers.is_empty()).then(|| {
        let on = |learner: &Device| Resident::new(training, learner);
        (
            on(&learner),
            other_learners.iter().map(on).collect::<Vec<_>>(),
        )
    });
    let steps_between = if on_cpu { 1 } else { STEPS_BETWEEN };
    let mut network = run.network.clone().train();
    while run.state.epoch < config.epochs && !stands_still(&config, &run) {
        let epoch = run.state.epoch;
        let order = batches.order(epoch);
        let mut learning_rate = 0.0;
        let mut saved = Instant::now();
        let mut began = Instant::now();
        // The sum of the scores that are not yet read, and of how many steps they are.
        let mut unread: Option<Tensor<1>> = None;
        let mut new_steps = 0;
        while run.state.step < steps {
            if new_steps == 0
                && (stop.load(Ordering::Relaxed) || saved.elapsed() > CHECKPOINT_EVERY)
            {
                run.network = step::frozen(&network);
                if !run.network.is_finite() || !run.evaluated().is_finite() {
                    return Err(TrainError::Diverged {
                        loss: f64::NAN,
                        epoch: epoch + 1,
                        step: run.state.step,
                    });
                }
                folder.write_checkpoint(&run, false)?;
                saved = Instant::now();
                if stop.load(Ordering::Relaxed) {
                    return Ok(StopReason::Interrupted);
                }
                began = Instant::now();
            }
            let state = &mut run.state;
            // Dropout's random numbers: a function of the seed and the step, but where several GPUs
            // draw from them in turns.
            let seed = config
                .seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(state.total_steps);
            let done = f64::from(epoch) + f64::from(state.step) / f64::from(steps);
            let share = config
                .schedule
                .share(done, config.epochs.into(), state.plateau.cuts);
            learning_rate = config.optimizer.learning_rate * share;
            let batch: (Tensors, Vec<Tensors>) = match &resident {
                Some((first, rest)) => {
                    let on = |images: &Resident| images.batch(&batches, &order, epoch, state.step);
                    (on(first), rest.iter().map(on).collect())
                }
                None => {
                    let mut batch = batches.batch(&order, epoch, state.step);
                    teachers.distill(&mut batch, state.total_steps)?;
                    let rest = other_learners
                        .iter()
                        .map(|learner| batch.clone().tensors(learner))
                        .collect();
                    (batch.tensors(&learner), rest)
                }
            };
            let passed = sam::gradients(&team, &network, batch, config.optimizer.sam, || {
                device.seed(seed)
            });
            let (gradients, score) = passed.map_err(TrainError::Device)?;
            let score = match unread.take() {
                Some(sum) => sum + score,
                None => score,
            };
            new_steps += 1;
            network = step::apply(
                network,
                &mut run.optimizer,
                gradients,
                learning_rate,
                config.optimizer.clip_norm,
            );
            if let Some(average) = run.average.take() {
                run.average = Some(ema::update(
                    average,
                    &step::frozen(&network),
                    config.ema,
                    state.total_steps,
                ));
            }
            state.step += 1;
            state.total_steps += 1;
            let goes_on =
                state.step < steps && !stop.load(Ordering::Relaxed) && began.elapsed() < BETWEEN;
            if goes_on && new_steps < steps_between {
                unread = Some(score);
                continue;
            }
            let score = Score::read(score).map_err(TrainError::Device)?;
            let seen =
                (u64::from(state.step) * config.batch_size as u64).min(training.len() as u64);
            let images = (seen - state.seen) as usize;
            if !score.loss().is_finite() {
                let loss = score.loss() / images as f64;
                return Err(TrainError::Diverged {
                    loss,
                    epoch: epoch + 1,
                    step: state.step + 1 - new_steps,
                });
            }
            state.loss_sum += score.loss();
            state.correct += score.correct.round() as u64;
            state.seen = seen;
            state.seconds += began.elapsed().as_secs_f64();
            began = Instant::now();
            observer.step(&Progress {
                epoch: epoch + 1,
                epochs: config.epochs,
                step: state.step,
                steps,
                new_steps,
                images,
                loss: state.loss_sum / state.seen as f64,
                accuracy: state.correct as f64 / state.seen as f64,
            });
            new_steps = 0;
        }
        run.network = step::frozen(&network);
        let best = end_epoch(&mut run, &config, learning_rate, validation, device)?;
        folder.write_checkpoint(&run, best)?;
        folder.write_history(&run.state)?;
        if let [.., training, validation] = &run.state.history[..] {
            observer.epoch(training, validation, best);
        }
    }
    let best = Trained::read(&super::run::chosen(folder.path())?, device)?;
    let evaluation = evaluate(
        &best.network,
        validation,
        &run.state.data.task.classes,
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
