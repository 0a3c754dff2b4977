//! Training runs: what a recipe and its data make, before the first step ([`prepare`]) and where a
//! stopped run continues ([`resume`]). The steps themselves are [`fer_train::train::train`]'s.

mod error;
mod images;
mod weights;

pub use error::TrainingError;
pub use images::Images;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fer_core::host::Host;
use fer_core::names::Tally;
use fer_train::data::{Catalog, DataError, Dataset, PixelForm};
use fer_train::train::checkpoint::{Checkpoint, CheckpointError};
use fer_train::train::distill::Teachers;
use fer_train::train::run::split;
use fer_train::train::{Config, RunFolder, trainer};

use crate::{LoadError, LoadOptions, ModelRef};

/// What happened on the way, for whoever watches.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The data set was opened; it says what was taken for what, and what was passed over.
    Opened(&'a Catalog),
    /// 16-bit images are read as having fewer bits.
    Guessed(&'a Tally),
    /// Images are left out, as a list says.
    LeftOut {
        /// How many.
        images: usize,
        /// The list.
        list: &'a Path,
    },
    /// Votes were matched with the training images.
    Votes {
        /// The file of votes.
        file: &'a Path,
        /// Images with votes.
        found: usize,
        /// All training images.
        images: usize,
        /// Images whose file name is not unique.
        ambiguous: usize,
    },
    /// Votes have a share in the targets of some images.
    VotesShare {
        /// The share, 0..=1.
        share: f64,
        /// How many images.
        images: usize,
    },
    /// A file's weights are the network's, and so are its predictions.
    WeightsEqual {
        /// The file.
        file: &'a Path,
        /// The largest difference of a probability.
        difference: f32,
    },
    /// A file's weights are the network's, and its predictions could not be compared.
    WeightsNotCompared {
        /// The file.
        file: &'a Path,
        /// Why not.
        reason: &'a LoadError,
    },
    /// A run goes on from its best checkpoint, as its last is lost or damaged.
    EarlierCheckpoint {
        /// The last checkpoint.
        last: &'a Path,
        /// What is wrong with it; `None` if it is missing.
        damage: Option<&'a CheckpointError>,
        /// The best one.
        used: &'a Path,
        /// The epoch that it was made after.
        epoch: u32,
    },
    /// A run goes on where something else computes than before.
    OtherDevice {
        /// What it began on.
        began: &'a str,
        /// What it goes on with.
        now: &'a str,
    },
}

/// Where a run takes place, and who watches.
pub struct Setting<'a> {
    /// What is computed on.
    pub device: &'a Device,
    /// Its name, as checkpoints record it.
    pub device_name: &'a str,
    /// The machine, on which teachers are loaded.
    pub host: &'a Host,
    /// Hears what happens.
    pub notice: &'a mut dyn FnMut(Notice<'_>),
    /// Decodes images: [`Dataset::load_as`], with a progress of the caller's.
    pub decode: &'a Decode<'a>,
}

/// See [`Setting::decode`].
pub type Decode<'a> = dyn Fn(&Catalog, &[usize], PixelForm) -> Result<Dataset, DataError> + 'a;

/// A run that is ready for its next step.
pub struct Prepared {
    /// The network and how far it is.
    pub checkpoint: Checkpoint,
    /// The images.
    pub images: Images,
    /// The teachers, if there are any.
    pub teachers: Teachers,
}

/// Makes a new run of a recipe.
///
/// # Errors
/// The recipe, its data or the weights that it begins with don't fit together.
pub fn prepare(config: &Config, setting: &mut Setting<'_>) -> Result<Prepared, TrainingError> {
    let images = images::load(config, &config.data.split, setting)?;
    begin(config, images, setting)
}

fn begin(
    config: &Config,
    images: Images,
    setting: &mut Setting<'_>,
) -> Result<Prepared, TrainingError> {
    let network = weights::begin(config, &images.facts.task, setting)?;
    let name = setting.device_name.to_string();
    let checkpoint = trainer::fresh(config.clone(), network, images.facts.clone(), name);
    finish(config, checkpoint, images, setting)
}

/// Continues the run in `folder`; `data` is where its data is now, if it was moved.
///
/// # Errors
/// The folder holds no run, or recipe or data are not the run's.
pub fn resume(
    path: &Path,
    data: Option<PathBuf>,
    setting: &mut Setting<'_>,
) -> Result<(RunFolder, Config, Prepared), TrainingError> {
    let (folder, mut config) = RunFolder::open(path)?;
    if data.is_some() {
        config.data.path = data;
    }
    if let Some(moved) = config.data.path.as_ref().filter(|path| !path.exists()) {
        return Err(TrainingError::DataMoved {
            data: moved.clone(),
        });
    }
    let mut checkpoint = last_whole(&folder, setting)?;
    if let Some(checkpoint) = &mut checkpoint {
        checkpoint.config.data.path.clone_from(&config.data.path);
        if checkpoint.config != config {
            return Err(TrainingError::RecipeChanged);
        }
        if checkpoint.state.device != setting.device_name {
            (setting.notice)(Notice::OtherDevice {
                began: &checkpoint.state.device,
                now: setting.device_name,
            });
        }
    }
    let images = images::load(&config, &split(&config, path), setting)?;
    let prepared = match checkpoint {
        Some(checkpoint) => {
            same_data(&config, &checkpoint, &images)?;
            finish(&config, checkpoint, images, setting)?
        }
        // It was stopped before its first checkpoint.
        None => begin(&config, images, setting)?,
    };
    Ok((folder, config, prepared))
}

/// The last checkpoint of a run, or its best where that is lost or damaged; `None` before the
/// first.
fn last_whole(
    folder: &RunFolder,
    setting: &mut Setting<'_>,
) -> Result<Option<Checkpoint>, TrainingError> {
    let [last, best] = folder.checkpoints();
    let damage = match (last.exists(), best.exists()) {
        (false, false) => return Ok(None),
        (false, true) => None,
        (true, _) => match Checkpoint::read(&last, setting.device) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(damage) => Some(damage),
        },
    };
    let checkpoint = match (Checkpoint::read(&best, setting.device), damage) {
        (Ok(checkpoint), damage) => {
            (setting.notice)(Notice::EarlierCheckpoint {
                last: &last,
                damage: damage.as_ref(),
                used: &best,
                epoch: checkpoint.state.epoch,
            });
            checkpoint
        }
        // What is wrong with the last one explains more.
        (Err(_), Some(damage)) | (Err(damage), None) => return Err(damage.into()),
    };
    Ok(Some(checkpoint))
}

/// Fails if a run began with other data.
fn same_data(
    config: &Config,
    checkpoint: &Checkpoint,
    images: &Images,
) -> Result<(), TrainingError> {
    let (began, now) = (&checkpoint.state.data, &images.facts);
    if began.sha256 != now.sha256 {
        return Err(TrainingError::OtherData {
            path: now.path.clone(),
            images: began.training,
            sha256: began.sha256.chars().take(12).collect(),
        });
    }
    if began.votes_sha256 != now.votes_sha256 {
        let file = config.loss.votes.clone().unwrap_or_default();
        return Err(TrainingError::OtherVotes { file });
    }
    Ok(())
}

/// Adds the teachers.
fn finish(
    config: &Config,
    checkpoint: Checkpoint,
    images: Images,
    setting: &Setting<'_>,
) -> Result<Prepared, TrainingError> {
    let load = |name: &String| {
        let model = ModelRef::find(name)?;
        crate::load(&model, &LoadOptions::default(), setting.host)
    };
    let models = config.loss.teachers.iter().map(load);
    let models = models.collect::<Result<Vec<_>, LoadError>>()?;
    let spec = checkpoint.state.data.task.spec();
    let teachers = Teachers::new(models, config.loss.teachers_share, &spec)?;
    Ok(Prepared {
        checkpoint,
        images,
        teachers,
    })
}
