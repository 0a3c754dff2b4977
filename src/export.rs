//! Trained networks as ONNX files: exported, calibrated, and compared with the network before they
//! are kept.

pub use fer_train::export::*;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fer_core::calibration::Calibration;
use fer_core::files;
use fer_core::host::Host;
use fer_core::spec::FaceCrop;
use fer_train::data::{DataError, Dataset, PixelForm};
use fer_train::train::checkpoint::{CheckpointError, Trained};
use fer_train::train::{TrainError, run};

use crate::{LoadError, NoOnnxRuntime, open_to_check};

/// What to export.
#[derive(Debug, Clone)]
pub enum Source {
    /// A run folder, whose best epoch counts.
    Run(PathBuf),
    /// A checkpoint.
    Checkpoint(PathBuf),
}

/// A file that was exported.
#[derive(Debug)]
pub struct Exported {
    /// The size of the file in bytes.
    pub bytes: usize,
    /// The checkpoint that it was made of.
    pub source: PathBuf,
    /// The epoch of the weights, in words.
    pub progress: String,
    /// The calibration that was fitted, if the images are enough to fit one.
    pub calibration: Option<Calibration>,
    /// The number of validation images that it was fitted on, or why there are none.
    pub validation: Result<usize, NoValidation>,
    /// The comparison with the network.
    pub checked: Checked,
    /// Why it was not compared through ONNX Runtime, if it was not.
    pub not_run: Option<NoOnnxRuntime>,
}

/// An export that left no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportFileError {
    /// The run folder has no checkpoint.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// The checkpoint can't be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run has not finished an epoch.
    #[error("{path} is of a run with no whole epoch yet")]
    NoEpoch {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The network can't be exported, or the file differs from it.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// ONNX Runtime refuses the file.
    #[error("the exported file does not run")]
    Load(#[from] LoadError),
    /// The file can't be written.
    #[error("can't write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a run's validation images are not at hand.
#[derive(Debug, thiserror::Error)]
pub enum NoValidation {
    /// The run's configuration names no data.
    #[error("the run names no data")]
    NoPath,
    /// The data can't be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data has changed since the run.
    #[error("the images of {path} are not those that the run was trained and validated on")]
    Changed {
        /// The data.
        path: PathBuf,
    },
}

/// Writes the network of `source` to `target`, whole or not at all. Calibration and comparison use
/// the run's own validation images, if they are where the run had them. `crop` says how faces are
/// cut out for the model, if the run does not say it or has it wrong.
///
/// # Errors
/// There is no network, it can't be exported, or the file differs from it.
pub fn export_file(
    source: &Source,
    target: &Path,
    crop: Option<FaceCrop>,
    host: &Host,
) -> Result<Exported, ExportFileError> {
    let write = |source| ExportFileError::Write {
        path: target.into(),
        source,
    };
    let device = Device::flex();
    let (path, mut trained) = read(source, &device)?;
    trained.config.input.crop = crop.or(trained.config.input.crop);
    let (images, validation) = match validation_images(&trained, &path) {
        Ok(images) => {
            let count = images.labels.len();
            (images, Ok(count))
        }
        Err(reason) => (Dataset::default(), Err(reason)),
    };
    let calibration = calibrate(&trained.network, &images, &device);
    let onnx = to_onnx(&trained, calibration, &device)?;
    let file = files::temporary(target).map_err(write)?;
    file.as_file().write_all(&onnx).map_err(write)?;
    let (engine, not_run) = match open_to_check(file.path(), true, host)? {
        Ok(engine) => (Some(engine), None),
        Err(reason) => (None, Some(reason)),
    };
    let checked = check(
        file.path(),
        &trained,
        &some(&images),
        &device,
        engine.as_ref(),
    )?;
    files::keep(file, target).map_err(write)?;
    Ok(Exported {
        bytes: onnx.len(),
        source: path,
        progress: trained.progress(),
        calibration,
        validation,
        checked,
        not_run,
    })
}

fn read(source: &Source, device: &Device) -> Result<(PathBuf, Trained), ExportFileError> {
    let (path, trained) = match source {
        Source::Checkpoint(path) => (path.clone(), Trained::read(path, device)?),
        Source::Run(folder) => {
            let path = run::chosen(folder)?;
            let mut trained = Trained::read(&path, device)?;
            // Where the run's data is now, if it was moved since.
            trained.config.data.path = run::read_config(folder)?.data.path;
            (path, trained)
        }
    };
    if trained.state.epoch == 0 {
        return Err(ExportFileError::NoEpoch { path });
    }
    Ok((path, trained))
}

/// Some 64 of the images, `[n, channels, height, width]`.
fn some(images: &Dataset) -> Vec<u8> {
    let every = images.labels.len().div_ceil(64).max(1);
    images
        .pixels
        .chunks_exact(images.image_len().max(1))
        .step_by(every)
        .flatten()
        .copied()
        .collect()
}

/// The validation images of the run that `source` is a checkpoint of.
fn validation_images(trained: &Trained, source: &Path) -> Result<Dataset, NoValidation> {
    let config = &trained.config;
    let path = config.data.path.as_deref().ok_or(NoValidation::NoPath)?;
    let mut catalog = crate::labeled::open(path, config.data.named_classes())?;
    if let Some(list) = &config.data.exclude {
        catalog.exclude(list)?;
    }
    let parts = run::split(config, source).divide(&catalog, config.seed)?;
    // Others might be among those that it was trained on.
    let used: Vec<usize> = parts
        .training
        .iter()
        .chain(&parts.validation)
        .copied()
        .collect();
    if catalog.hash(&used)? != trained.state.data.sha256 {
        return Err(NoValidation::Changed { path: path.into() });
    }
    let task = &trained.state.data.task;
    let form = PixelForm {
        size: Some([task.width, task.height]),
        channels: task.channels,
        resize: task.resize,
    };
    Ok(Dataset::load_as(&catalog, &parts.validation, form, &|| ())?)
}
