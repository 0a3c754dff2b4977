//! What this machine can run: ONNX Runtime and where fer searched for it, providers that start,
//! GPUs, built-in models, ffmpeg and cameras.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;

use fer_burn::device::{self, DeviceSpec, Listed};
use fer_core::host::Host;
use fer_core::onnx;
use fer_core::spec::ModelSpec;
use fer_kernels::int8::Instructions;
#[cfg(feature = "ort")]
use fer_ort::runtime::{self, Finding};
#[cfg(feature = "ort")]
use fer_ort::{
    ModelSource, OrtClassifier, OrtError, Provider, ProviderOptions, SessionOptions, library,
};

#[cfg(feature = "ort")]
use crate::LoadError;
use crate::compiled;

/// The findings.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// This program's version.
    pub version: String,
    /// The number of cores that this process may use.
    pub cores: usize,
    /// ONNX Runtime.
    pub onnxruntime: Library,
    /// Graphics cards, as the system lists them.
    pub gpus: Vec<String>,
    /// GPUs that Burn computes on in this build; empty if it was built without their backends.
    pub burn_devices: Vec<Listed>,
    /// The compiled-in models, the default one first.
    pub builtin_models: Vec<BuiltinModel>,
    /// What reads videos.
    #[cfg(feature = "video")]
    pub video: Video,
}

/// ffmpeg, and the cameras that it may read.
#[cfg(feature = "video")]
#[derive(Debug, Clone, Serialize)]
pub struct Video {
    /// The file of ffmpeg, if it was found.
    pub ffmpeg: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Why it can't be used.
    pub error: Option<String>,
    /// The cameras: as a source names them, and the system's name.
    pub cameras: Vec<(String, String)>,
}

#[cfg(feature = "video")]
fn examine_video(host: &Host) -> Video {
    match fer_video::Ffmpeg::find(host) {
        Ok(ffmpeg) => Video {
            ffmpeg: Some(ffmpeg.ffmpeg.display().to_string()),
            version: Some(ffmpeg.version.clone()),
            error: None,
            cameras: ffmpeg.cameras(),
        },
        Err(e) => Video {
            ffmpeg: None,
            version: None,
            error: Some(e.to_string()),
            cameras: Vec::new(),
        },
    }
}

/// ONNX Runtime's library.
#[derive(Debug, Clone, Serialize)]
pub struct Library {
    /// Its file, if one was found.
    pub path: Option<String>,
    /// Its version, if it could be opened.
    pub version: Option<String>,
    /// Why it can't be used.
    pub error: Option<String>,
    /// Where fer searched for it, in order, and what it found.
    pub search: Vec<SearchStep>,
    /// Every provider that `fer` knows.
    pub providers: Vec<ProviderState>,
}

/// One place where fer searched for the library.
#[derive(Debug, Clone, Serialize)]
pub struct SearchStep {
    /// The kind of place.
    pub origin: String,
    /// The library found there.
    pub found: Option<String>,
    /// What was found instead.
    pub reason: Option<String>,
    /// Whether this library is used.
    pub used: bool,
}

/// An execution provider on this machine.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderState {
    /// Its name.
    pub name: String,
    /// Whether the library was built with it.
    pub built_in: bool,
    /// Whether a session with a tiny model ran on it.
    pub starts: bool,
    /// Why it does not start.
    pub error: Option<String>,
    /// What the machine lacks for it, if known; the error contains it too.
    #[cfg(feature = "ort")]
    #[serde(skip)]
    pub missing: Option<fer_ort::Missing>,
}

/// A compiled-in model.
#[derive(Debug, Clone, Serialize)]
pub struct BuiltinModel {
    /// Its name.
    pub name: String,
    /// The input, e.g. `48x48x1`.
    pub input: String,
    /// Its classes.
    pub labels: Vec<String>,
    /// Its source, as its file states it.
    pub source: Option<String>,
    /// What takes time and is left to Burn, because the kernels do not support it.
    pub generic: Vec<String>,
    /// Of a model of 8-bit integers, the instructions that sum their products.
    pub int8: Option<String>,
}

/// Examines this machine. `ort_lib` is the library that the user named, if any. `try_device` is
/// [`device::examine`], in another process if a driver's crash must not end this one.
pub fn examine(
    ort_lib: Option<&Path>,
    host: &Host,
    try_device: &dyn Fn(DeviceSpec) -> Listed,
) -> Findings {
    Findings {
        version: env!("CARGO_PKG_VERSION").into(),
        cores: crate::cores(),
        onnxruntime: examine_library(ort_lib, host),
        gpus: device::cards().iter().map(card).collect(),
        burn_devices: device::list().into_iter().map(try_device).collect(),
        builtin_models: compiled::models().iter().map(builtin).collect(),
        #[cfg(feature = "video")]
        video: examine_video(host),
    }
}

/// A card in a line: name, memory, driver.
fn card(card: &device::Card) -> String {
    let memory = card.memory.map(size);
    [Some(card.name.clone()), memory, card.driver.clone()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// Bytes, in GiB.
pub fn size(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

fn builtin(model: &compiled::BuiltinModel) -> BuiltinModel {
    let header = onnx::read_header(&Bytes::from_static(model.onnx), model.name).ok();
    let spec = header
        .as_ref()
        .and_then(|h| ModelSpec::resolve(h, &Default::default(), model.name).ok());
    BuiltinModel {
        name: model.name.into(),
        input: spec
            .as_ref()
            .map(|s| format!("{}x{}x{}", s.input.width, s.input.height, s.input.channels))
            .unwrap_or_default(),
        labels: spec.map(|s| s.labels).unwrap_or_default(),
        int8: model.int8.then(|| Instructions::best().to_string()),
        generic: model.generic.iter().map(|what| what.to_string()).collect(),
        source: header.and_then(|h| {
            let said = |key: &str| h.metadata.get(&format!("fer.{key}")).cloned();
            said("source").or_else(|| {
                Some(format!(
                    "{}, trained by fer {}",
                    said("architecture")?,
                    said("version")?
                ))
            })
        }),
    }
}

#[cfg(not(feature = "ort"))]
fn examine_library(_: Option<&Path>, _: &Host) -> Library {
    Library {
        path: None,
        version: None,
        error: Some(crate::NoOnnxRuntime::NotBuiltIn.to_string()),
        search: Vec::new(),
        providers: Vec::new(),
    }
}

#[cfg(feature = "ort")]
fn examine_library(ort_lib: Option<&Path>, host: &Host) -> Library {
    let search = runtime::search_all(ort_lib, host);
    let used = search.used();
    let steps = search
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let (found, reason) = match &step.outcome {
                Finding::Found(path) => (Some(path.display().to_string()), None),
                Finding::Missing(reason) => (None, Some(reason.clone())),
            };
            SearchStep {
                origin: step.origin.to_string(),
                used: found.is_some() && search.decided_by == Some(index),
                found,
                reason,
            }
        })
        .collect();
    let opened = used.as_ref().map(library::open);
    let library = opened.as_ref().and_then(|o| o.as_ref().ok().copied());
    Library {
        path: used.as_ref().map(|u| u.path.display().to_string()),
        version: library.map(|l| format!("1.{}", l.minor_version)),
        error: opened.and_then(Result::err).map(|e| e.to_string()),
        search: steps,
        providers: library
            .map(|l| Provider::all().map(|p| try_provider(l, p)).collect())
            .unwrap_or_default(),
    }
}

/// Runs a tiny model on a provider.
#[cfg(feature = "ort")]
fn try_provider(library: &'static library::Library, provider: Provider) -> ProviderState {
    let state = |started: Option<Result<(), LoadError>>| {
        let error = started.as_ref().and_then(|s| s.as_ref().err());
        let (error, missing) = match error {
            Some(LoadError::Ort(OrtError::Provider { problem, .. })) => {
                (Some(problem.to_string()), problem.missing())
            }
            other => (other.map(ToString::to_string), None),
        };
        ProviderState {
            name: provider.to_string(),
            built_in: provider.is_built_in(),
            starts: started.is_some_and(|s| s.is_ok()),
            error,
            missing,
        }
    };
    state(provider.is_built_in().then(|| start(library, provider)))
}

/// Starts a session of a tiny model on a provider.
#[cfg(feature = "ort")]
fn start(library: &'static library::Library, provider: Provider) -> Result<(), LoadError> {
    const NAME: &str = "a tiny model";
    let model = Bytes::from(onnx::tiny_classifier());
    let header = onnx::read_header(&model, NAME)?;
    let spec = ModelSpec::resolve(&header, &Default::default(), NAME)?;
    let options = SessionOptions {
        provider,
        provider_options: &ProviderOptions::default(),
        threads: Some(1),
        images: Some(1),
    };
    let source = ModelSource::Bytes(model);
    OrtClassifier::load(library, &source, NAME, spec, &options, Vec::new())?;
    Ok(())
}
