//! A forward pass on one of Burn's devices, as a [`Classifier`].

use burn::tensor::{Device, Tensor, TensorData};
use fer_core::classifier::{Classifier, Description, EngineError, Note};
use fer_core::spec::ModelSpec;
use fer_kernels::threads::{self, FlushToZero};
use rayon::prelude::*;

use crate::device::{self, Backend, DeviceError, DeviceSpec, Opened};

/// A model's forward pass: `[N, H, W, C]` or `[N, C, H, W]` → `[N, classes]`.
pub type Forward = Box<dyn Fn(Tensor<4>) -> Tensor<2> + Send + Sync>;

/// The most images of a part, where a batch is computed in parts: enough for each reading of the
/// kernels, and two parts in a batch of 64. It does not depend on the number of threads.
const PART: usize = 32;

/// Waits for the device and reads a tensor's values.
///
/// # Errors
/// The device failed.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.try_into_data().map_err(|e| e.to_string())?;
    // As they are, if they are of that type.
    match data.as_slice::<f32>() {
        Ok(values) => Ok(values.to_vec()),
        Err(_) => Ok(data.iter::<f32>().collect()),
    }
}

/// A model on one of Burn's devices.
pub struct BurnClassifier {
    spec: ModelSpec,
    description: Description,
    device: Device,
    forward: Forward,
    /// Whether a first batch has computed what depends on the weights alone.
    warm: bool,
}

impl BurnClassifier {
    /// Loads a model with `load`, which creates its forward pass on a device. `threads` is as in
    /// [`threads::start`].
    ///
    /// # Errors
    /// The device can't be used or fails on the model.
    pub fn load(
        load: fn(&Device) -> Forward,
        name: String,
        spec: ModelSpec,
        on: DeviceSpec,
        threads: Option<usize>,
        notes: Vec<Note>,
    ) -> Result<Self, DeviceError> {
        threads::start(threads);
        let opened = on.open()?;
        let forward = device::computed(&opened.device, || load(&opened.device))
            .map_err(|reason| DeviceError::Failed { choice: on, reason })?;
        let description = describe(&opened, name, notes);
        Ok(Self {
            spec,
            description,
            device: opened.device,
            forward,
            warm: false,
        })
    }

    /// The outputs for `n` images.
    fn pass(&self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
        let _flushed = FlushToZero::new();
        let data = TensorData::new(input.to_vec(), self.spec.input_shape(n));
        let outputs = || values((self.forward)(Tensor::from_data(data, &self.device)));
        device::computed(&self.device, outputs)
            .and_then(|values| values)
            .map_err(|reason| EngineError::Run {
                model: self.description.model.clone(),
                engine: format!("Burn on {}", self.description.provider),
                reason,
            })
    }

    /// The images of each pass of a batch, the last of which may have fewer. On the CPU, threads
    /// with images of their own wait for each other less often than threads that share each layer.
    fn part(&self, n: usize) -> usize {
        let whole = !device::is_cpu(&self.device) || self.spec.fixed_batch.is_some();
        let parts = if whole { 1 } else { n.div_ceil(PART) };
        n.div_ceil(parts.max(1))
    }
}

/// The description of a classifier on this device.
pub fn describe(on: &Opened, model: String, mut notes: Vec<Note>) -> Description {
    if on.choice.backend == Backend::Cuda {
        notes.push(Note::Tf32);
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
        let part = self.part(n);
        if part == n {
            return self.pass(input, n);
        }
        let image = input.len() / n;
        let pass = |input: &[f32]| self.pass(input, input.len() / image);
        // All threads make the kernels, in a first pass.
        let outputs: Result<Vec<_>, _> = match self.warm {
            true => input.par_chunks(part * image).map(pass).collect(),
            false => input.chunks(part * image).map(pass).collect(),
        };
        self.warm = true;
        Ok(outputs?.concat())
    }
}
