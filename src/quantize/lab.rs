//! Runs networks on the calibration images, through ONNX Runtime on the CPU.

use bytes::Bytes;
use fer_core::classifier::{Classifier, EngineError};
use fer_core::spec::ModelSpec;
use fer_ort::library::Library;
use fer_ort::{
    ModelSource, OrtClassifier, OrtNetwork, Output, Provider, ProviderOptions, SessionOptions,
};
use fer_quantize::{FloatNetwork, Plan};

use super::QuantizeFileError;

/// Images that are classified at once.
const BATCH: usize = 64;

/// Values of the input of a batch whose tensors are looked at, and the most images of it.
const LOOKED_AT: (usize, usize) = (1 << 16, 16);

/// A network, and the images that it is run on.
pub struct Lab<'a> {
    pub library: &'static Library,
    pub network: &'a FloatNetwork,
    /// What the model expects and returns, without a calibration.
    pub spec: ModelSpec,
    pub threads: Option<usize>,
    /// `[n, image]`.
    pub images: Vec<f32>,
}

impl Lab<'_> {
    /// A file as a classifier.
    ///
    /// # Errors
    /// ONNX Runtime refuses it.
    pub fn classifier(&self, bytes: Bytes) -> Result<OrtClassifier, QuantizeFileError> {
        Ok(OrtClassifier::load(
            self.library,
            &ModelSource::Bytes(bytes),
            &self.network.name,
            self.spec.clone(),
            &self.options(&ProviderOptions::default()),
            Vec::new(),
        )?)
    }

    fn options<'a>(&self, provider_options: &'a ProviderOptions) -> SessionOptions<'a> {
        SessionOptions {
            provider: Provider::Cpu,
            provider_options,
            threads: self.threads,
            images: None,
        }
    }

    /// The number of images.
    pub fn count(&self) -> usize {
        self.images.len() / self.spec.image_len()
    }

    /// The probabilities that a file gives for the images, `[n, classes]`.
    ///
    /// # Errors
    /// ONNX Runtime refuses it, or fails.
    pub fn answers(&self, bytes: Bytes) -> Result<Vec<f32>, QuantizeFileError> {
        let mut classifier = self.classifier(bytes)?;
        let batches = self.images.chunks(BATCH * self.spec.image_len());
        let rows = batches.map(|batch| classifier.classify(batch));
        Ok(rows.collect::<Result<Vec<_>, EngineError>>()?.concat())
    }

    /// The same of a quantized network.
    ///
    /// # Errors
    /// As [`answers`](Self::answers).
    pub fn answers_of(&self, plan: &Plan) -> Result<Vec<f32>, QuantizeFileError> {
        self.answers(self.network.quantized(plan, &Default::default())?)
    }

    /// Runs a file on the images, some at a time, and hands over each of its outputs.
    ///
    /// # Errors
    /// ONNX Runtime refuses it, or fails.
    pub fn outputs(
        &self,
        bytes: Bytes,
        each: &mut dyn FnMut(&Output) -> Result<(), QuantizeFileError>,
    ) -> Result<(), QuantizeFileError> {
        let image_len = self.spec.image_len();
        let (values, most) = LOOKED_AT;
        let batch = (values / image_len).clamp(1, most);
        let batch = self.spec.fixed_batch.unwrap_or(batch);
        let (none, shape) = (ProviderOptions::default(), self.spec.input_shape(batch));
        let mut network = OrtNetwork::load(
            self.library,
            &ModelSource::Bytes(bytes),
            &self.network.name,
            shape,
            &self.options(&none),
            Vec::new(),
        )?;
        // A batch that is not full is left out, unless it is the only one.
        for images in self.batches(batch) {
            let shape = self.spec.input_shape(images.len() / image_len);
            for output in network.run(&images, shape)? {
                each(&output)?;
            }
        }
        Ok(())
    }

    /// The images in batches of this size, the last of which may be smaller where the model allows
    /// it.
    pub fn batches(&self, batch: usize) -> Vec<Vec<f32>> {
        let full = batch * self.spec.image_len();
        let mut batches: Vec<Vec<f32>> = self.images.chunks(full).map(<[f32]>::to_vec).collect();
        let fixed = self.spec.fixed_batch.is_some();
        match batches.last_mut() {
            Some(last) if fixed && last.len() < full => {
                if batches.len() > 1 {
                    batches.pop();
                } else if let Some(only) = batches.first_mut() {
                    only.resize(full, 0.0);
                }
            }
            _ => {}
        }
        batches
    }
}
