//! The `burn` engine: models that were compiled in, as Rust code that the build script generated
//! from ONNX files, run by Burn on the CPU (backend flex) or another device.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Classifier, Description, EngineError};
use crate::device::{self, Backend, Choice, Opened};
use crate::kernels::threads::{self, FlushToZero};
use crate::spec::ModelSpec;
use crate::train::step;

/// A compiled-in model.
pub struct BuiltinModel {
    /// The ONNX file's name without `.onnx`.
    pub name: &'static str,
    /// The ONNX file that the code was generated from, tiny weights flushed.
    pub onnx: &'static [u8],
    /// What takes time and is left to Burn, as the kernels lack it: each kind with its layers or
    /// outputs, e.g. `Conv2d in groups (conv2d3)`.
    pub generic: &'static [&'static str],
    /// Loads the embedded weights and returns the forward pass: `[N, H, W, C]` or `[N, C, H, W]` →
    /// `[N, classes]`.
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

/// A compiled-in model on a device of Burn's.
pub struct BurnClassifier {
    spec: ModelSpec,
    description: Description,
    device: Device,
    forward: Forward,
}

impl BurnClassifier {
    /// Loads a model's embedded weights; `threads` as in [`threads::start`].
    ///
    /// # Errors
    /// The device can't be had.
    pub fn load(
        model: &BuiltinModel,
        name: String,
        spec: ModelSpec,
        on: Choice,
        threads: Option<usize>,
        mut notes: Vec<String>,
    ) -> Result<Self, EngineError> {
        if !model.generic.is_empty() {
            let generic = model.generic.join(", ");
            notes.push(format!(
                "computed by Burn, as the kernels lack it: {generic}"
            ));
        }
        threads::start(threads);
        let opened = on.open()?;
        let forward =
            device::computed(&opened.device, || (model.load)(&opened.device)).map_err(failed)?;
        let description = describe(&opened, name, notes);
        Ok(Self {
            spec,
            description,
            device: opened.device,
            forward,
        })
    }
}

fn failed(why: String) -> EngineError {
    EngineError::Unusable(format!("the device failed: {why}"))
}

/// What a classifier on this device says of itself.
pub fn describe(on: &Opened, model: String, mut notes: Vec<String>) -> Description {
    if on.choice.backend == Backend::Cuda {
        notes.push("Burn may multiply float32 as TF32 there".into());
    }
    let provider = if on.is_cpu() {
        "cpu".into()
    } else {
        on.name.clone()
    };
    Description {
        engine: "burn",
        provider,
        model,
        library: format!("Burn, {} backend", on.choice.backend),
        notes,
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
        let answer = || step::values((self.forward)(Tensor::from_data(data, &self.device)));
        device::computed(&self.device, answer)
            .and_then(|values| values)
            .map_err(failed)
    }
}
