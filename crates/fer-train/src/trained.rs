//! Networks as `fer train` left them: a run folder or a checkpoint, run by Burn.

use std::path::Path;

use burn::tensor::Device;

use crate::model::Network;
use crate::train::checkpoint::{CheckpointError, Trained};
use crate::train::{TrainError, run, step};
use fer_burn::describe;
use fer_burn::device::{self, DeviceError, DeviceSpec};
use fer_core::classifier::{Classifier, Description, EngineError, Note};
use fer_core::spec::ModelSpec;
use fer_kernels::threads::FlushToZero;

/// True if a model's path means a run folder or a checkpoint.
pub fn is_trained(path: &Path) -> bool {
    path.join("config.toml").is_file()
        || path.is_file() && path.extension().is_some_and(|e| e == "ckpt")
}

/// A training run that can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TrainedError {
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder holds no run that is far enough.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// The checkpoint can't be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A trained network on a device of Burn's.
pub struct TrainedClassifier {
    spec: ModelSpec,
    description: Description,
    device: Device,
    network: Network,
}

impl TrainedClassifier {
    /// Loads a checkpoint, or the best one of a run folder.
    ///
    /// # Errors
    /// There is no whole checkpoint, or the device can't be had.
    pub fn load(path: &Path, on: DeviceSpec) -> Result<Self, TrainedError> {
        let on = on.open()?;
        let file = if path.is_dir() {
            run::chosen(path)?
        } else {
            path.to_path_buf()
        };
        let trained = Trained::read(&file, &on.device)?;
        let mut notes = Vec::new();
        if trained.state.epoch < trained.config.epochs {
            notes.push(Note::Unfinished {
                progress: trained.progress(),
                epochs: trained.config.epochs,
            });
        }
        let description = describe(&on, file.display().to_string(), notes);
        Ok(Self {
            spec: trained.spec(),
            description,
            network: step::frozen(&trained.network).folded(),
            device: on.device,
        })
    }
}

impl Classifier for TrainedClassifier {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
        let _flushed = FlushToZero::new();
        device::computed(&self.device, || {
            step::logits(&self.network, input, n.max(1), &self.device)
        })
        .and_then(|logits| logits)
        .map_err(|reason| EngineError::Run {
            model: self.description.model.clone(),
            engine: format!("Burn on {}", self.description.provider),
            reason,
        })
    }
}
