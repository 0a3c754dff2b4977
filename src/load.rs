//! Loads a model into an engine, as the user requested and the machine allows. The choice is never
//! silent: the [`Description`](fer_core::classifier::Description) states it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fer_burn::BurnClassifier;
use fer_burn::device::DeviceSpec;
use fer_core::calibration::Calibration;
use fer_core::classifier::{Classifier, Note, Respecified};
use fer_core::host::Host;
use fer_core::images::address;
use fer_core::model_file::FileKind;
use fer_core::onnx::{self, Header, OnnxError, OnnxModel};
use fer_core::session::{Session, SessionOptions as Joining};
use fer_core::spec::{Hints, ModelSpec, SpecError};
use fer_kernels::int8::Instructions;
#[cfg(feature = "ort")]
use fer_ort::runtime::NotFound;
#[cfg(feature = "ort")]
use fer_ort::{ModelSource, OrtClassifier, Provider, ProviderOptions, SessionOptions, library};

use crate::compiled::{self, BuiltinModel};
use crate::load_error::{LoadError, NoOnnxRuntime};
use crate::outputs::specified;

/// The model to load.
#[derive(Debug, Clone)]
pub enum ModelRef {
    /// A compiled-in model.
    Builtin(&'static BuiltinModel),
    /// An ONNX file.
    Onnx(PathBuf),
    /// A training run's folder, for its best epoch, or one of its checkpoints.
    #[cfg(feature = "train")]
    Trained(PathBuf),
}

impl ModelRef {
    /// The first compiled-in model.
    ///
    /// # Errors
    /// No model is compiled in.
    pub fn default_model() -> Result<Self, LoadError> {
        compiled::default_model()
            .map(Self::Builtin)
            .ok_or(LoadError::NoneCompiledIn)
    }

    /// Finds the model that `name` refers to: a training run's folder or checkpoint, a file, or a
    /// compiled-in model. A file takes precedence over a compiled-in model of that name, a folder
    /// does not.
    ///
    /// # Errors
    /// There is no such model.
    pub fn find(name: &str) -> Result<Self, LoadError> {
        let path = Path::new(name);
        #[cfg(feature = "train")]
        if fer_train::trained::is_trained(path) {
            return Ok(Self::Trained(path.into()));
        }
        #[cfg(not(feature = "train"))]
        if path.join("config.toml").is_file() || path.extension().is_some_and(|e| e == "ckpt") {
            return Err(LoadError::TrainNotBuiltIn { name: name.into() });
        }
        // A file of that name, such as this program, is `./fer`.
        if let Some(builtin) = compiled::find(name) {
            return Ok(Self::Builtin(builtin));
        }
        if path.is_file() {
            return Ok(Self::Onnx(path.into()));
        }
        if let Some(what) = address(name).filter(|_| !path.exists()) {
            return Err(LoadError::Onnx(OnnxError::Read {
                path: name.into(),
                source: std::io::Error::other(what),
            }));
        }
        let name = name.to_string();
        Err(if path.is_dir() {
            match FileKind::read(path) {
                Ok(kind) if kind != FileKind::Unknown => {
                    LoadError::Onnx(OnnxError::OtherKind { path: name, kind })
                }
                _ => LoadError::Folder { name },
            }
        } else if path.exists() {
            // A device or a pipe: reading it gives the error.
            return Ok(Self::Onnx(path.into()));
        } else {
            LoadError::Unknown { name }
        })
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Builtin(model) => format!("{} (built in)", model.name),
            Self::Onnx(path) => path.display().to_string(),
            #[cfg(feature = "train")]
            Self::Trained(path) => path.display().to_string(),
        }
    }
}

/// What runs the model.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The CPU. A model that is compiled in runs as such, which is faster; any other ONNX file runs
    /// in ONNX Runtime, a training run in Burn.
    Auto {
        /// ONNX Runtime's library, if the user names it.
        library: Option<PathBuf>,
    },
    /// ONNX Runtime.
    #[cfg(feature = "ort")]
    Ort {
        /// The execution provider.
        provider: Provider,
        /// The provider's options.
        options: ProviderOptions,
        /// The library, if the user names it.
        library: Option<PathBuf>,
    },
    /// Burn, on one of its devices: compiled-in models and training runs.
    Burn(DeviceSpec),
}

impl Default for Backend {
    fn default() -> Self {
        Self::Auto { library: None }
    }
}

/// How to run the model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The backend.
    pub backend: Backend,
    /// Compute threads; `None` for one per core.
    pub threads: Option<usize>,
    /// How many images there will be, if known. ONNX Runtime starts faster for a few and runs
    /// faster for many.
    pub images: Option<usize>,
    /// The user's metadata, by key without `fer.`.
    pub meta: BTreeMap<String, String>,
    /// The network's own probabilities, without the calibration in its file.
    pub uncalibrated: bool,
}

/// Loads a model and starts a thread for it, so that any number of threads can use it.
///
/// # Errors
/// As [`load`], or the system can't start a thread.
pub fn open(model: &ModelRef, options: &LoadOptions, host: &Host) -> Result<Session, LoadError> {
    let classifier = load(model, options, host)?;
    Session::start(classifier, Joining::default()).map_err(LoadError::Thread)
}

/// Loads a model.
///
/// # Errors
/// The model can't be read, the engine is not available, or the provider can't run it.
pub fn load(
    model: &ModelRef,
    options: &LoadOptions,
    host: &Host,
) -> Result<Box<dyn Classifier>, LoadError> {
    #[cfg(feature = "train")]
    if let ModelRef::Trained(path) = model {
        return load_trained(path, options);
    }
    let file = File::open(model, options)?;
    let whole = file.whole;
    let classifier = match &options.backend {
        Backend::Burn(device) => load_compiled(file, *device, options)?,
        #[cfg(feature = "ort")]
        Backend::Ort {
            provider,
            options: provider_options,
            library,
        } => {
            let found =
                fer_ort::runtime::locate(library.as_deref(), host).map_err(NoOnnxRuntime::from)?;
            let library = library::open(&found)?;
            load_ort(file, *provider, provider_options, library, options)?
        }
        Backend::Auto { library } => load_auto(file, library.as_deref(), options, host)?,
    };
    specified(classifier, whole)
}

#[cfg(feature = "train")]
fn load_trained(path: &Path, options: &LoadOptions) -> Result<Box<dyn Classifier>, LoadError> {
    let model = path.display().to_string();
    let device = match options.backend {
        Backend::Burn(device) => device,
        Backend::Auto { .. } => DeviceSpec::default(),
        #[cfg(feature = "ort")]
        Backend::Ort { .. } => return Err(LoadError::TrainedNotOnnx { model }),
    };
    // All else is in the run itself.
    let crop = options.meta.get("crop");
    if options.meta.len() > usize::from(crop.is_some()) {
        return Err(LoadError::TrainedMetadata { model });
    }
    let crop = crop.map(|text| text.parse()).transpose();
    let crop = crop.map_err(|problem: String| SpecError {
        model,
        problem: format!("its metadata 'crop' {problem}"),
        missing: None,
    })?;
    fer_kernels::threads::start(options.threads);
    let trained = fer_train::trained::TrainedClassifier::load(path, device)?;
    let spec = ModelSpec {
        crop: crop.or(trained.spec().crop),
        ..trained.spec().clone()
    };
    Ok(match crop {
        Some(_) => Box::new(Respecified::new(Box::new(trained), spec)),
        None => Box::new(trained),
    })
}

/// A model's file, read but not yet started.
pub(crate) struct File {
    pub(crate) name: String,
    spec: ModelSpec,
    /// Whether it takes whole numbers.
    whole: bool,
    #[cfg(feature = "ort")]
    pub(crate) source: ModelSource,
    /// The file's own metadata.
    #[cfg(all(feature = "ort", feature = "train"))]
    pub(crate) metadata: BTreeMap<String, String>,
    /// The compiled-in model, if this is one by name or a file of the same bytes.
    compiled: Option<&'static BuiltinModel>,
    notes: Vec<Note>,
}

impl File {
    pub(crate) fn open(model: &ModelRef, options: &LoadOptions) -> Result<Self, LoadError> {
        let name = model.name();
        let mut notes = Vec::new();
        let (bytes, header, compiled, path) = match model {
            ModelRef::Builtin(builtin) => {
                let bytes = Bytes::from_static(builtin.onnx);
                let header = onnx::read_header(&bytes, builtin.name)?;
                (bytes, header, Some(*builtin), None)
            }
            ModelRef::Onnx(path) => read(path, &mut notes)?,
            #[cfg(feature = "train")]
            ModelRef::Trained(path) => {
                let model = path.display().to_string();
                return Err(LoadError::TrainedNotOnnx { model });
            }
        };
        let hints = match model {
            ModelRef::Onnx(path) => Hints::beside(path),
            _ => Hints::default(),
        };
        let found = ModelSpec::resolve_with(&header, &options.meta, &hints, &name)?;
        let bytes = match (found.adapt, &path) {
            (true, Some(_)) => return Err(LoadError::ExternalWeights { model: name }),
            (true, None) => onnx::adapt(&bytes, &found.output, &name)?,
            (false, _) => bytes,
        };
        let mut spec = found.spec;
        if options.uncalibrated {
            spec.calibration = Calibration::NONE;
        }
        #[cfg(not(feature = "ort"))]
        let _ = (bytes, path);
        Ok(Self {
            name,
            spec,
            whole: found.whole,
            #[cfg(feature = "ort")]
            source: path.map_or(ModelSource::Bytes(bytes), ModelSource::Path),
            #[cfg(all(feature = "ort", feature = "train"))]
            metadata: header.metadata,
            compiled,
            notes,
        })
    }
}

/// An ONNX file's content: its bytes, its header, the compiled-in model of the same bytes, and its
/// path if its weights are in other files.
type Contents = (
    Bytes,
    Header,
    Option<&'static BuiltinModel>,
    Option<PathBuf>,
);

fn read(path: &Path, notes: &mut Vec<Note>) -> Result<Contents, LoadError> {
    let file = OnnxModel::read(path)?;
    if file.flushed > 0 {
        notes.push(Note::Flushed {
            weights: file.flushed,
        });
    }
    if file.external_data {
        notes.push(Note::ExternalWeights);
    }
    let compiled = compiled::models().iter().find(|m| m.onnx == file.bytes);
    let path = file.external_data.then(|| path.to_path_buf());
    Ok((file.bytes, file.header, compiled, path))
}

fn load_compiled(
    file: File,
    device: DeviceSpec,
    options: &LoadOptions,
) -> Result<Box<dyn Classifier>, LoadError> {
    let File {
        name,
        spec,
        compiled,
        mut notes,
        ..
    } = file;
    let Some(compiled) = compiled else {
        return Err(LoadError::NotCompiledIn { model: name });
    };
    if compiled.int8 {
        if !device.backend.is_cpu() {
            return Err(LoadError::Int8OnDevice {
                model: name,
                device,
            });
        }
        let instructions = Instructions::best().to_string();
        notes.push(Note::Int8 { instructions });
    }
    if !compiled.generic.is_empty() {
        notes.push(Note::Generic(compiled.generic));
    }
    let (load, threads) = (compiled.load, options.threads);
    let classifier = BurnClassifier::load(load, name, spec, device, threads, notes)?;
    Ok(Box::new(classifier))
}

#[cfg(feature = "ort")]
fn load_ort(
    file: File,
    provider: Provider,
    provider_options: &ProviderOptions,
    library: &'static library::Library,
    options: &LoadOptions,
) -> Result<Box<dyn Classifier>, LoadError> {
    let session = SessionOptions {
        provider,
        provider_options,
        threads: options.threads,
        images: options.images,
    };
    let File {
        name,
        spec,
        source,
        notes,
        ..
    } = file;
    let classifier = OrtClassifier::load(library, &source, &name, spec, &session, notes)?;
    Ok(Box::new(classifier))
}

/// The compiled-in model if it is one, else ONNX Runtime on the CPU.
fn load_auto(
    file: File,
    library: Option<&Path>,
    options: &LoadOptions,
    host: &Host,
) -> Result<Box<dyn Classifier>, LoadError> {
    if file.compiled.is_some() {
        return load_compiled(file, DeviceSpec::default(), options);
    }
    #[cfg(feature = "ort")]
    {
        let model = &file.name;
        let library = needed(model, library, host)?;
        let cpu = ProviderOptions::default();
        load_ort(file, Provider::Cpu, &cpu, library, options)
    }
    #[cfg(not(feature = "ort"))]
    {
        let _ = (library, host);
        Err(LoadError::NeedsOnnxRuntime {
            model: file.name,
            reason: NoOnnxRuntime::NotBuiltIn,
        })
    }
}

/// ONNX Runtime's library, without which a model can't run.
///
/// # Errors
/// It can't be used.
#[cfg(feature = "ort")]
pub(crate) fn needed(
    model: &str,
    library: Option<&Path>,
    host: &Host,
) -> Result<&'static library::Library, LoadError> {
    let found = fer_ort::runtime::locate(library, host).map_err(NoOnnxRuntime::from);
    let opened = found.and_then(|found| library::open(&found).map_err(NoOnnxRuntime::Library));
    opened.map_err(|reason| LoadError::NeedsOnnxRuntime {
        model: model.into(),
        reason,
    })
}

/// Loads an ONNX file into ONNX Runtime on the CPU, to check it. If ONNX Runtime is not installed
/// or not part of this build, the inner error says so.
///
/// # Errors
/// The file does not run.
pub fn open_to_check(
    path: &Path,
    uncalibrated: bool,
    host: &Host,
) -> Result<Result<Session, NoOnnxRuntime>, LoadError> {
    #[cfg(feature = "ort")]
    {
        let options = LoadOptions {
            backend: Backend::Ort {
                provider: Provider::Cpu,
                options: ProviderOptions::default(),
                library: None,
            },
            uncalibrated,
            ..LoadOptions::default()
        };
        match open(&ModelRef::Onnx(path.into()), &options, host) {
            Ok(session) => Ok(Ok(session)),
            Err(LoadError::NoOnnxRuntime(
                reason @ NoOnnxRuntime::NotFound(NotFound::Nowhere { .. }),
            )) => Ok(Err(reason)),
            Err(e) => Err(e),
        }
    }
    #[cfg(not(feature = "ort"))]
    {
        let _ = (path, uncalibrated, host);
        Ok(Err(NoOnnxRuntime::NotBuiltIn))
    }
}
