//! The detector's network: compiled in, on one of Burn's devices, or in ONNX Runtime.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use fer_burn::device::{self, DeviceSpec};
use fer_burn::{Forward, describe, values};
use fer_core::classifier::Description;
use fer_core::host::Host;
use fer_faces::{Network, NetworkError, Scores};
use fer_kernels::threads::{self, FlushToZero};
#[cfg(feature = "ort")]
use fer_ort::{OrtNetwork, Provider, ProviderOptions, library};

#[cfg(feature = "ort")]
use super::onnx_file;
use crate::compiled;
use crate::load::Backend;
#[cfg(feature = "ort")]
use crate::load::needed;
use crate::load_error::LoadError;
#[cfg(feature = "ort")]
use crate::load_error::NoOnnxRuntime;

/// The detector to load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DetectorRef {
    /// The compiled-in one.
    #[default]
    Builtin,
    /// An export of YuNet: with the twelve outputs of OpenCV's file, or with one output, as
    /// `models/yunet.onnx`.
    Onnx(PathBuf),
}

/// A detector that is ready. Any number of threads may use it, one at a time.
pub struct Detector {
    runner: Mutex<Runner>,
    description: Description,
    fixed: Option<[usize; 2]>,
    scores: Scores,
}

enum Runner {
    Burn {
        forward: Forward,
        device: Device,
    },
    #[cfg(feature = "ort")]
    Ort(OrtNetwork),
}

impl Detector {
    /// Loads a detector; `threads` is the number of compute threads, `None` for one per core.
    /// With [`Backend::Auto`], the built-in detector runs as it is compiled in, a file in ONNX
    /// Runtime.
    ///
    /// # Errors
    /// The file is not such a detector, or the backend can't run it.
    pub fn load(
        which: &DetectorRef,
        backend: &Backend,
        threads: Option<usize>,
        host: &Host,
    ) -> Result<Self, LoadError> {
        match backend {
            Backend::Burn(device) => Self::on_burn(which, *device, threads),
            #[cfg(feature = "ort")]
            Backend::Ort {
                provider,
                options,
                library,
            } => {
                let found = fer_ort::runtime::locate(library.as_deref(), host);
                let library = library::open(&found.map_err(NoOnnxRuntime::from)?)?;
                Self::on_ort(which, library, *provider, options, threads)
            }
            #[cfg(feature = "ort")]
            Backend::Auto { library } => match which {
                DetectorRef::Builtin => Self::on_burn(which, DeviceSpec::default(), threads),
                DetectorRef::Onnx(path) => {
                    let name = path.display().to_string();
                    let library = needed(&name, library.as_deref(), host)?;
                    let options = ProviderOptions::default();
                    Self::on_ort(which, library, Provider::Cpu, &options, threads)
                }
            },
            #[cfg(not(feature = "ort"))]
            Backend::Auto { .. } => {
                let _ = host;
                Self::on_burn(which, DeviceSpec::default(), threads)
            }
        }
    }

    fn on_burn(
        which: &DetectorRef,
        on: DeviceSpec,
        threads: Option<usize>,
    ) -> Result<Self, LoadError> {
        if let DetectorRef::Onnx(path) = which {
            return Err(LoadError::Detector {
                model: path.display().to_string(),
                problem: "Burn runs only the built-in detector, ONNX Runtime others".into(),
            });
        }
        threads::start(threads);
        let model = compiled::detector();
        let opened = on.open()?;
        let forward = device::computed(&opened.device, || (model.load)(&opened.device));
        let forward =
            forward.map_err(|reason| device::DeviceError::Failed { choice: on, reason })?;
        Ok(Self {
            description: describe(&opened, format!("{} (built in)", model.name), Vec::new()),
            runner: Mutex::new(Runner::Burn {
                forward,
                device: opened.device,
            }),
            fixed: None,
            scores: Scores::Logits,
        })
    }

    #[cfg(feature = "ort")]
    fn on_ort(
        which: &DetectorRef,
        library: &'static library::Library,
        provider: Provider,
        options: &ProviderOptions,
        threads: Option<usize>,
    ) -> Result<Self, LoadError> {
        let onnx_file::Loaded {
            network,
            fixed,
            scores,
        } = onnx_file::load(which, library, provider, options, threads)?;
        Ok(Self {
            description: network.description().clone(),
            runner: Mutex::new(Runner::Ort(network)),
            fixed,
            scores,
        })
    }

    /// What was loaded.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl Network for Detector {
    fn anchors(&self, image: Vec<f32>, size: [usize; 2]) -> Result<Vec<f32>, NetworkError> {
        let shape = [1, 3, size[1], size[0]];
        let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match &mut *runner {
            Runner::Burn { forward, device } => {
                let _flushed = FlushToZero::new();
                let data = TensorData::new(image, shape);
                let (on, forward) = (&*device, &mut *forward);
                let outputs = move || values(forward(Tensor::from_data(data, on)));
                device::computed(device, outputs).and_then(|values| values)
            }
            #[cfg(feature = "ort")]
            Runner::Ort(network) => network
                .run(&image, shape)
                .map_err(|e| e.to_string())
                .and_then(|outputs| onnx_file::anchors(outputs, size)),
        };
        result.map_err(NetworkError)
    }

    fn scores(&self) -> Scores {
        self.scores
    }

    fn fixed_size(&self) -> Option<[usize; 2]> {
        self.fixed
    }
}
