//! Chooses model and engine by what the user asked for and what the machine has, and never in silence: what was chosen
//! stands in the [`Description`](super::Description).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;

use super::burn::{self, BuiltinModel};
use super::ort::{self, Provider, ProviderOptions};
use super::{Classifier, EngineError};
use crate::onnx::OnnxModel;
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
    /// An ONNX file or a built-in model's name; `None` for the default built-in model.
    pub model: Option<String>,
    /// The engine.
    pub engine: EngineChoice,
    /// The execution provider of ONNX Runtime.
    pub provider: Provider,
    /// The provider's options.
    pub provider_options: ProviderOptions,
    /// Compute threads; `None` for one a core.
    pub threads: Option<usize>,
    /// How many images there will be, if that is known: ONNX Runtime starts faster for a few and runs faster for many.
    pub images: Option<usize>,
    /// Where ONNX Runtime's library is, if the user says so.
    pub ort_lib: Option<PathBuf>,
    /// Metadata given by the user, by key without `fer.`.
    pub meta: BTreeMap<String, String>,
}

/// The model that is meant, read but not yet started.
struct Model {
    name: String,
    path: Option<PathBuf>,
    builtin: Option<&'static BuiltinModel>,
    file: Option<OnnxModel>,
    spec: ModelSpec,
}

/// Loads a model into an engine.
///
/// # Errors
/// The model can't be read, the engine can't be had, or the provider can't run it; the text says what to do.
pub fn load(options: &LoadOptions, host: &Host) -> Result<Box<dyn Classifier>, EngineError> {
    options.provider_options.check(options.provider).map_err(EngineError::Unusable)?;
    if options.engine == EngineChoice::Burn && options.provider != Provider::Cpu {
        return Err(EngineError::Unusable(format!(
            "--engine burn runs on the CPU; --provider {} belongs to --engine ort",
            options.provider
        )));
    }
    let model = find_model(options)?;
    match options.engine {
        EngineChoice::Burn => load_burn(model, options, None),
        EngineChoice::Ort => load_ort(&model, options, host),
        EngineChoice::Auto => match crate::runtime::locate(options.ort_lib.as_deref(), host) {
            // A library that the user named, or a provider that only it has, is not to be replaced by anything.
            Err(e) if matches!(e, NotFound::WrongPath { .. }) || options.provider != Provider::Cpu => Err(e.into()),
            Err(e) if model.builtin.is_none() => {
                Err(EngineError::Unusable(format!("{} is not compiled in, so it needs ONNX Runtime: {e}", model.name)))
            }
            Err(_) => load_burn(model, options, Some("ONNX Runtime is not installed".into())),
            Ok(found) => match ort::library::open(&found) {
                Err(e)
                    if model.builtin.is_some()
                        && options.provider == Provider::Cpu
                        && !matches!(found.origin, Origin::Option | Origin::Environment) =>
                {
                    load_burn(model, options, Some(e.to_string()))
                }
                _ => load_ort(&model, options, host),
            },
        },
    }
}

fn find_model(options: &LoadOptions) -> Result<Model, EngineError> {
    let named = options.model.as_deref();
    let is_file = |name: &str| Path::new(name).exists();
    let builtin =
        match named {
            None => Some(burn::default_model().ok_or_else(|| {
                EngineError::Unusable("no model is compiled in; name an ONNX file with --model".into())
            })?),
            Some(name) if !is_file(name) => burn::find(name),
            Some(_) => None,
        };
    if let Some(builtin) = builtin {
        let header = crate::onnx::read_header(&Bytes::from_static(builtin.onnx), builtin.name)?;
        let spec = ModelSpec::resolve(&header, &options.meta, builtin.name)?;
        let name = format!("{} (built in)", builtin.name);
        return Ok(Model { name, path: None, builtin: Some(builtin), file: None, spec });
    }
    let path = PathBuf::from(named.unwrap_or_default());
    if !path.exists() {
        let known: Vec<&str> = burn::models().iter().map(|m| m.name).collect();
        return Err(EngineError::Unusable(format!(
            "there is no file {} and no built-in model of that name (there is {})",
            path.display(),
            known.join(", ")
        )));
    }
    let file = OnnxModel::read(&path)?;
    let name = path.display().to_string();
    let spec = ModelSpec::resolve(&file.header, &options.meta, &name)?;
    let builtin = burn::models().iter().find(|m| m.onnx == file.bytes);
    Ok(Model { name, path: Some(path), builtin, file: Some(file), spec })
}

fn load_burn(model: Model, options: &LoadOptions, because: Option<String>) -> Result<Box<dyn Classifier>, EngineError> {
    let Some(builtin) = model.builtin else {
        let known: Vec<&str> = burn::models().iter().map(|m| m.name).collect();
        return Err(EngineError::Unusable(format!(
            "--engine burn runs compiled-in models ({}), and {} is none; compile it in with `FER_MODEL={} cargo build \
             --release`, or use --engine ort",
            known.join(", "),
            model.name,
            model.name
        )));
    };
    let notes = because.into_iter().collect();
    Ok(Box::new(burn::BurnClassifier::load(builtin, model.name, model.spec, options.threads, notes)))
}

fn load_ort(model: &Model, options: &LoadOptions, host: &Host) -> Result<Box<dyn Classifier>, EngineError> {
    let found = crate::runtime::locate(options.ort_lib.as_deref(), host)?;
    let library = ort::library::open(&found)?;
    let mut notes = Vec::new();
    let source = match (&model.file, &model.path, model.builtin) {
        (Some(file), Some(path), _) if file.external_data => {
            notes.push("weights in external files are run as they are: tiny ones are not flushed".into());
            ort::ModelSource::Path(path)
        }
        (Some(file), ..) => {
            if file.flushed > 0 {
                let tiny = crate::onnx::flush::TINY;
                notes.push(format!("{} weights smaller than {tiny:e} set to zero, for speed", file.flushed));
            }
            ort::ModelSource::Bytes(&file.bytes)
        }
        (None, _, Some(builtin)) => ort::ModelSource::Bytes(builtin.onnx),
        (None, _, None) => return Err(EngineError::Unusable(format!("{} has no ONNX file", model.name))),
    };
    if !model.spec.assumed.is_empty() {
        notes.push(format!("assumed, as the file does not say: {}", model.spec.assumed.join("; ")));
    }
    let session = ort::SessionOptions {
        provider: options.provider,
        provider_options: &options.provider_options,
        threads: options.threads,
        images: options.images,
    };
    Ok(Box::new(ort::OrtClassifier::load(library, source, &model.name, model.spec.clone(), &session, notes)?))
}
