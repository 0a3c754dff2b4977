//! Networks as `fer train` left them: a run folder or a checkpoint, run by Burn.

use std::path::Path;

use burn::tensor::Device;

use crate::model::Network;
use crate::train::checkpoint::Trained;
use crate::train::{run, step};
use fer_burn::describe;
use fer_burn::device::{self, DeviceSpec};
use fer_core::classifier::{Classifier, Description, EngineError};
use fer_core::spec::ModelSpec;
use fer_kernels::threads::FlushToZero;

/// True if a model's path means a run folder or a checkpoint.
pub fn is_trained(path: &Path) -> bool {
    path.join("config.toml").is_file()
        || path.is_file() && path.extension().is_some_and(|e| e == "ckpt")
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
    pub fn load(path: &Path, on: DeviceSpec) -> Result<Self, EngineError> {
        let on = on.open()?;
        let unusable = |e: String| EngineError::Unusable(e);
        let file = if path.is_dir() {
            run::chosen(path).map_err(|e| unusable(e.to_string()))?
        } else {
            path.to_path_buf()
        };
        let trained = Trained::read(&file, &on.device).map_err(|e| unusable(e.to_string()))?;
        let mut notes = Vec::new();
        if trained.state.epoch < trained.config.epochs {
            notes.push(format!(
                "its weights are those of {} of {}",
                trained.progress(),
                trained.config.epochs
            ));
        }
        let description = describe(&on, file.display().to_string(), notes);
        Ok(Self {
            spec: trained.state.data.task.spec(),
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
        .map_err(|e| EngineError::Unusable(format!("the device failed: {e}")))
    }
}
