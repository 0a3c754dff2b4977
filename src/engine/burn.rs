//! The `burn` engine: models that were compiled in, as Rust code that the build script generated from ONNX files, run on
//! Burn's flex backend on the CPU.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Classifier, Description, EngineError};
use crate::kernels::threads::{self, FlushToZero};
use crate::spec::ModelSpec;

/// A compiled-in model.
pub struct BuiltinModel {
    /// The ONNX file's name without `.onnx`.
    pub name: &'static str,
    /// The ONNX file that the code was generated from, tiny weights flushed.
    pub onnx: &'static [u8],
    /// Loads the embedded weights and returns the forward pass: `[N, H, W, C]` or `[N, C, H, W]` → `[N, classes]`.
    load: fn(&Device) -> Forward,
}

type Forward = Box<dyn Fn(Tensor<4>) -> Tensor<2> + Send>;

// Defines `MODELS: &[BuiltinModel]`, the default model first, and a module a model.
include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The compiled-in models, the default one first.
pub fn models() -> &'static [BuiltinModel] {
    MODELS
}

/// The model that is used when none is named.
pub fn default_model() -> Option<&'static BuiltinModel> {
    MODELS.first()
}

/// The compiled-in model of that name.
pub fn find(name: &str) -> Option<&'static BuiltinModel> {
    MODELS.iter().find(|m| m.name == name)
}

/// A compiled-in model on Burn's flex backend.
pub struct BurnClassifier {
    spec: ModelSpec,
    description: Description,
    device: Device,
    forward: Forward,
}

impl BurnClassifier {
    /// Loads a model's embedded weights; `threads` as in [`threads::start`].
    pub fn load(
        model: &BuiltinModel,
        name: String,
        spec: ModelSpec,
        threads: Option<usize>,
        notes: Vec<String>,
    ) -> Self {
        threads::start(threads);
        let device = Device::flex();
        let forward = (model.load)(&device);
        let description = Description {
            engine: "burn",
            provider: "cpu".into(),
            model: name,
            library: "Burn, flex backend".into(),
            notes,
        };
        Self { spec, description, device, forward }
    }
}

impl Classifier for BurnClassifier {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
        let _flushed = FlushToZero::new();
        let data = TensorData::new(input.to_vec(), self.spec.input_shape(n));
        let output = (self.forward)(Tensor::from_data(data, &self.device));
        output
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|e| EngineError::Unusable(format!("Burn's answer is not float32: {e:?}")))
    }
}
