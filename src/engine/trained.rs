//! Networks as `fer train` left them: a run folder or a checkpoint, run by Burn.

use std::path::Path;

use burn::tensor::Device;

use super::{Classifier, Description, EngineError};
use crate::kernels::threads::FlushToZero;
use crate::model::{Network, SIDE};
use crate::spec::{EMOTIONS, Layout, ModelSpec, OutputKind, Resize};
use crate::train::batch::SCALE;
use crate::train::checkpoint::Trained;
use crate::train::{run, step};

/// True if a model's path means a run folder or a checkpoint.
pub fn is_trained(path: &Path) -> bool {
    path.join("config.toml").is_file() || path.is_file() && path.extension().is_some_and(|e| e == "ckpt")
}

/// What the networks of [`crate::model`] take and answer.
pub fn spec() -> ModelSpec {
    ModelSpec {
        labels: EMOTIONS.map(String::from).to_vec(),
        layout: Layout::Nchw,
        width: SIDE,
        height: SIDE,
        channels: 1,
        scale: SCALE,
        mean: Vec::new(),
        std: Vec::new(),
        resize: Resize::Nearest,
        output: OutputKind::Logits,
        temperature: 1.0,
        fixed_batch: None,
        assumed: Vec::new(),
    }
}

/// A trained network on Burn's flex backend.
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
    /// There is no whole checkpoint.
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        let device = Device::flex();
        let unusable = |e: String| EngineError::Unusable(e);
        let file =
            if path.is_dir() { run::chosen(path).map_err(|e| unusable(e.to_string()))? } else { path.to_path_buf() };
        let trained = Trained::read(&file, &device).map_err(|e| unusable(e.to_string()))?;
        let mut notes = Vec::new();
        if trained.state.epoch < trained.config.epochs {
            notes.push(format!("its weights are those of {} of {}", trained.progress(), trained.config.epochs));
        }
        let description = Description {
            engine: "burn",
            provider: "cpu".into(),
            model: file.display().to_string(),
            library: "Burn, flex backend".into(),
            notes,
        };
        Ok(Self { spec: spec(), description, network: step::frozen(&trained.network), device })
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
        Ok(step::logits(&self.network, input, n.max(1), &self.device))
    }
}
