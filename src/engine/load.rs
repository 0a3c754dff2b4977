//! Chooses model and engine by what the user asked for and what the machine has, and never in
//! silence: what was chosen stands in the [`Description`](super::Description).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;

use super::burn::{self, BuiltinModel};
use super::ort::library::{self, Library};
use super::ort::{self, ModelSource, Provider, ProviderOptions};
use super::{Classifier, EngineError, trained};
use crate::calibration::Calibration;
use crate::device::Choice;
use crate::kernels::threads;
use crate::onnx::{self, OnnxModel};
use crate::runtime::{Host, NotFound, Origin};
use crate::spec::ModelSpec;

/// The engine the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// ONNX Runtime where its library is found, else the compiled-in model.
    #[default]
    Auto,
    /// ONNX Runtime.
    Ort,
    /// Compiled-in Rust code on Burn.
    Burn,
}

impl FromStr for EngineChoice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "ort" => Ok(Self::Ort),
            "burn" => Ok(Self::Burn),
            _ => Err(format!("'{s}' is no engine; there are auto, ort and burn")),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ort => "ort",
            Self::Burn => "burn",
        })
    }
}

/// What to load, and on what.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// An ONNX file, a training run's folder or checkpoint, or a built-in model's name; `None` for
    /// the default built-in model.
    pub model: Option<String>,
    /// The engine.
    pub engine: EngineChoice,
    /// The execution provider of ONNX Runtime.
    pub provider: Provider,
    /// The provider's options.
    pub provider_options: ProviderOptions,
    /// What Burn computes on; `None` for the CPU, or for an engine that is not Burn. Naming one
    /// chooses engine `burn`.
    pub device: Option<Choice>,
    /// Compute threads; `None` for one a core.
    pub threads: Option<usize>,
    /// How many images there will be, if that is known: ONNX Runtime starts faster for a few and
    /// runs faster for many.
    pub images: Option<usize>,
    /// Where ONNX Runtime's library is, if the user says so.
    pub ort_lib: Option<PathBuf>,
    /// Metadata given by the user, by key without `fer.`.
    pub meta: BTreeMap<String, String>,
    /// The network's own probabilities, without the calibration that its file names.
    pub uncalibrated: bool,
}

/// The model that is meant, read but not yet started.
struct Model {
    name: String,
    spec: ModelSpec,
    source: ModelSource,
    /// The compiled-in model that this is, be it by name or as a file of the same bytes.
    compiled: Option<&'static BuiltinModel>,
    notes: Vec<String>,
}

/// Loads a model into an engine.
///
/// # Errors
/// The model can't be read, the engine can't be had, or the provider can't run it; the text says
/// what to do.
pub fn load(options: &LoadOptions, host: &Host) -> Result<Box<dyn Classifier>, EngineError> {
    if let (EngineChoice::Burn, Some(number)) = (options.engine, options.provider_options.device) {
        return Err(EngineError::Unusable(format!(
            "--device {number} is a number of ONNX Runtime's providers; for --engine burn name it, as wgpu or cuda:{number}"
        )));
    }
    options
        .provider_options
        .check(options.provider)
        .map_err(EngineError::Unusable)?;
    if options.engine == EngineChoice::Burn && options.provider != Provider::Cpu {
        return Err(EngineError::Unusable(format!(
            "--provider {} belongs to --engine ort; Burn computes where --device says",
            options.provider
        )));
    }
    if let Some(device) = options.device
        && (options.engine == EngineChoice::Ort || options.provider != Provider::Cpu)
    {
        return Err(EngineError::Unusable(format!(
            "--device {device} belongs to --engine burn; ONNX Runtime computes where --provider says, and --device N is its number"
        )));
    }
    if let Some(name) = options
        .model
        .as_deref()
        .filter(|m| trained::is_trained(Path::new(m)))
    {
        return load_trained(name, options);
    }
    if let Some(folder) = options
        .model
        .as_deref()
        .filter(|m| Path::new(m).is_dir() && burn::find(m).is_none())
    {
        return Err(EngineError::Unusable(format!(
            "{folder} is a folder, and no training run's (there is no {folder}/config.toml); name an ONNX file, a run folder or \
             a built-in model ({})",
            known()
        )));
    }
    let mut model = find_model(options)?;
    if options.engine == EngineChoice::Burn || options.device.is_some() {
        return load_burn(model, options);
    }
    let located = crate::runtime::locate(options.ort_lib.as_deref(), host);
    // A library that the user named, or a provider that only it has, is not to be replaced by
    // anything.
    let named = match &located {
        Ok(found) => matches!(found.origin, Origin::Option | Origin::Environment),
        Err(e) => matches!(e, NotFound::WrongPath { .. }),
    };
    let may_be_burn =
        options.engine == EngineChoice::Auto && !named && options.provider == Provider::Cpu;
    match located
        .map_err(EngineError::from)
        .and_then(|found| library::open(&found))
    {
        Ok(library) => load_ort(model, options, library),
        Err(e) if !may_be_burn => Err(e),
        Err(e) if model.compiled.is_none() => Err(EngineError::Unusable(format!(
            "{} is not compiled in, so it needs ONNX Runtime: {e}",
            model.name
        ))),
        Err(EngineError::NotFound(_)) => {
            model.notes.push(
                "ONNX Runtime is not installed (`fer runtime install` gets it): running on burn"
                    .into(),
            );
            load_burn(model, options)
        }
        Err(e) => {
            model.notes.push(format!("{e}: running on burn"));
            load_burn(model, options)
        }
    }
}

fn load_trained(name: &str, options: &LoadOptions) -> Result<Box<dyn Classifier>, EngineError> {
    if options.engine == EngineChoice::Ort || options.provider != Provider::Cpu {
        return Err(EngineError::Unusable(format!(
            "{name} is a training run, which Burn runs; for ONNX Runtime write an ONNX file of it with `fer export \
             --onnx --run {name}`"
        )));
    }
    if !options.meta.is_empty() {
        return Err(EngineError::Unusable(
            "--meta is for ONNX files; a training run knows its own input".into(),
        ));
    }
    threads::start(options.threads);
    Ok(Box::new(trained::TrainedClassifier::load(
        Path::new(name),
        options.device.unwrap_or_default(),
    )?))
}

fn find_model(options: &LoadOptions) -> Result<Model, EngineError> {
    let named = options.model.as_deref();
    let builtin = match named {
        None => Some(burn::default_model().ok_or_else(|| {
            EngineError::Unusable("no model is compiled in; name an ONNX file with --model".into())
        })?),
        // A file counts before a built-in model of that name; a folder does not.
        Some(name) if !Path::new(name).is_file() => burn::find(name),
        Some(_) => None,
    };
    if let (None, Some(name)) = (builtin, named.filter(|n| !Path::new(n).exists())) {
        return Err(EngineError::Unusable(format!(
            "there is no file {name} and no built-in model of that name (there is {})",
            known()
        )));
    }
    let mut notes = Vec::new();
    let (name, source, header, compiled) = match builtin {
        Some(builtin) => {
            let bytes = Bytes::from_static(builtin.onnx);
            let header = onnx::read_header(&bytes, builtin.name)?;
            (
                format!("{} (built in)", builtin.name),
                ModelSource::Bytes(bytes),
                header,
                Some(builtin),
            )
        }
        None => {
            let path = PathBuf::from(named.unwrap_or_default());
            let name = path.display().to_string();
            let file = OnnxModel::read(&path)?;
            let compiled = burn::models().iter().find(|m| m.onnx == file.bytes);
            if file.flushed > 0 {
                notes.push(format!(
                    "{} weights below {:e} set to zero, for speed",
                    file.flushed,
                    onnx::flush::TINY
                ));
            }
            let source = if file.external_data {
                notes.push(
                    "weights in other files are run as they are: tiny ones are not set to zero"
                        .into(),
                );
                ModelSource::Path(path)
            } else {
                ModelSource::Bytes(file.bytes)
            };
            (name, source, file.header, compiled)
        }
    };
    let mut spec = ModelSpec::resolve(&header, &options.meta, &name)?;
    if options.uncalibrated {
        spec.calibration = Calibration::NONE;
    }
    if !spec.assumed.is_empty() {
        notes.push(format!(
            "assumed, as the file does not say: {}",
            spec.assumed.join("; ")
        ));
    }
    Ok(Model {
        name,
        spec,
        source,
        compiled,
        notes,
    })
}

/// The names of the compiled-in models.
fn known() -> String {
    burn::models()
        .iter()
        .map(|m| m.name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn load_burn(model: Model, options: &LoadOptions) -> Result<Box<dyn Classifier>, EngineError> {
    let Some(compiled) = model.compiled else {
        let Model { name, .. } = model;
        return Err(EngineError::Unusable(format!(
            "--engine burn runs compiled-in models ({}), and {name} is none; compile it in with `FER_MODEL={name} cargo \
             build --release`, or use --engine ort",
            known()
        )));
    };
    let Model {
        name, spec, notes, ..
    } = model;
    let device = options.device.unwrap_or_default();
    Ok(Box::new(burn::BurnClassifier::load(
        compiled,
        name,
        spec,
        device,
        options.threads,
        notes,
    )?))
}

fn load_ort(
    model: Model,
    options: &LoadOptions,
    library: &'static Library,
) -> Result<Box<dyn Classifier>, EngineError> {
    let session = ort::SessionOptions {
        provider: options.provider,
        provider_options: &options.provider_options,
        threads: options.threads,
        images: options.images,
    };
    let Model {
        name,
        spec,
        source,
        notes,
        ..
    } = model;
    Ok(Box::new(ort::OrtClassifier::load(
        library, &source, &name, spec, &session, notes,
    )?))
}
