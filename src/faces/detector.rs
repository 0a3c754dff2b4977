//! The detector's network: compiled in, on one of Burn's devices, or an ONNX file in ONNX Runtime.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use bytes::Bytes;
use fer_burn::device::{self, DeviceSpec};
use fer_burn::{Forward, describe, values};
use fer_core::classifier::Description;
use fer_core::host::Host;
use fer_core::onnx;
use fer_faces::{ANCHOR, Network, NetworkError, STRIDES, anchor_count};
use fer_kernels::threads::{self, FlushToZero};
#[cfg(feature = "ort")]
use fer_ort::{
    ModelSource, OrtNetwork, Output, Provider, ProviderOptions, SessionOptions, library,
};

use crate::compiled;
use crate::load::Backend;
use crate::load_error::{LoadError, NoOnnxRuntime};

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
}

enum Runner {
    Burn {
        forward: Forward,
        device: Device,
    },
    #[cfg(feature = "ort")]
    Ort(OrtNetwork),
}

/// The names of the outputs of OpenCV's file, without the stride, and their values an anchor.
const PARTS: [(&str, usize); 4] = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)];

/// Width and height of the image on which a provider is tried.
const TRIAL: usize = 64;

impl Detector {
    /// Loads a detector; `threads` is the number of compute threads, `None` for one per core.
    /// [`Backend::Auto`] takes ONNX Runtime if its library is found, else the compiled-in detector.
    ///
    /// # Errors
    /// The file is no such detector, or the backend can't run it.
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
            Backend::Auto { library } => {
                let found = fer_ort::runtime::locate(library.as_deref(), host);
                let opened = found
                    .map_err(NoOnnxRuntime::from)
                    .and_then(|found| library::open(&found).map_err(NoOnnxRuntime::Library));
                match (opened, which) {
                    (Ok(library), _) => {
                        let options = ProviderOptions::default();
                        Self::on_ort(which, library, Provider::Cpu, &options, threads)
                    }
                    // The classifier's notes say that ONNX Runtime is missing.
                    (Err(_), DetectorRef::Builtin) => {
                        Self::on_burn(which, DeviceSpec::default(), threads)
                    }
                    (Err(reason), DetectorRef::Onnx(path)) => Err(LoadError::NeedsOnnxRuntime {
                        model: path.display().to_string(),
                        reason,
                    }),
                }
            }
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
            return Err(LoadError::NeedsOnnxRuntime {
                model: path.display().to_string(),
                reason: NoOnnxRuntime::NotBuiltIn,
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
        })
    }

    #[cfg(feature = "ort")]
    fn on_ort(
        which: &DetectorRef,
        library: &'static library::Library,
        provider: Provider,
        provider_options: &ProviderOptions,
        threads: Option<usize>,
    ) -> Result<Self, LoadError> {
        let (name, bytes) = match which {
            DetectorRef::Builtin => {
                let model = compiled::detector();
                (
                    format!("{} (built in)", model.name),
                    Bytes::from_static(model.onnx),
                )
            }
            DetectorRef::Onnx(path) => {
                let file = onnx::OnnxModel::read(path)?;
                (path.display().to_string(), file.bytes)
            }
        };
        let fixed = input_size(&bytes, &name)?;
        let [width, height] = fixed.unwrap_or([TRIAL; 2]);
        let options = SessionOptions {
            provider,
            provider_options,
            threads,
            // Sizes change, so that layouts for one size don't pay.
            images: None,
        };
        let shape = [1, 3, height, width];
        let source = ModelSource::Bytes(bytes);
        let mut network = OrtNetwork::load(library, &source, &name, shape, &options, Vec::new())?;
        let description = network.description().clone();
        // The names and the number of the outputs are those of a detector, or it is none.
        let trial = network.run(&vec![0.0; 3 * width * height], shape);
        let trial = trial.map_err(|e| e.to_string());
        let trial = trial.and_then(|outputs| anchors(outputs, [width, height]));
        trial.map_err(|problem| LoadError::Detector {
            model: name,
            problem,
        })?;
        Ok(Self {
            runner: Mutex::new(Runner::Ort(network)),
            description,
            fixed,
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
                let outputs = || values(forward(Tensor::from_data(data, &*device)));
                device::computed(device, outputs).and_then(|values| values)
            }
            #[cfg(feature = "ort")]
            Runner::Ort(network) => network
                .run(&image, shape)
                .map_err(|e| e.to_string())
                .and_then(|outputs| anchors(outputs, size)),
        };
        result.map_err(NetworkError)
    }

    fn fixed_size(&self) -> Option<[usize; 2]> {
        self.fixed
    }
}

/// Width and height, if the file fixes them.
#[cfg(feature = "ort")]
fn input_size(bytes: &Bytes, name: &str) -> Result<Option<[usize; 2]>, LoadError> {
    let header = onnx::read_header(bytes, name)?;
    let wrong = |problem: &str| LoadError::Detector {
        model: name.to_owned(),
        problem: problem.to_owned(),
    };
    let [input] = &header.inputs[..] else {
        return Err(wrong("it has not one input"));
    };
    match input.dims.as_deref().unwrap_or_default()[..] {
        [None | Some(1), Some(3), Some(height), Some(width)]
            if [width, height]
                .iter()
                .all(|side| side % 32 == 0 && (320..=4096).contains(side)) =>
        {
            Ok(Some([width, height]))
        }
        [None | Some(1), Some(3), None, None] => Ok(None),
        _ => Err(wrong(
            "its input is not [1, 3, height, width] of any size, or of multiples of 32 from 320",
        )),
    }
}

/// One value after the other for each anchor, from one output or from the twelve of OpenCV's file.
#[cfg(feature = "ort")]
fn anchors(mut outputs: Vec<Output>, size: [usize; 2]) -> Result<Vec<f32>, String> {
    let wanted = anchor_count(size) * ANCHOR;
    if let [output] = &mut outputs[..] {
        let values = std::mem::take(&mut output.values);
        return match values.len() {
            found if found == wanted => Ok(values),
            found => Err(format!("its output has {found} values, not {wanted}")),
        };
    }
    let mut all = Vec::with_capacity(wanted);
    for stride in STRIDES {
        let cells = (size[0] / stride) * (size[1] / stride);
        let part = |(part, width): (&str, usize)| {
            let name = format!("{part}_{stride}");
            let output = outputs.iter().find(|output| output.name == name);
            let values = output.map(|output| &output.values[..]);
            match values {
                Some(values) if values.len() == cells * width => Ok((values, width)),
                Some(values) => Err(format!("its output {name} has {} values", values.len())),
                None => Err(format!("it has no output {name}")),
            }
        };
        let parts = PARTS.map(part).into_iter().collect::<Result<Vec<_>, _>>()?;
        for cell in 0..cells {
            for (values, width) in &parts {
                all.extend_from_slice(&values[cell * width..][..*width]);
            }
        }
    }
    Ok(all)
}
