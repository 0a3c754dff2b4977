//! The models of `fer serve`: `[NAME=]MODEL[@ENGINE[:PROVIDER[:DEVICE]]]`, and when to load them
//! anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Result, bail};
use fer::classifier::Classifier;
use fer::host::Host;
use fer::{LoadOptions, ModelRef};
use fer_serve::{LoadFailure, Source};

use super::super::model_args::{Device, EngineArgs, EngineChoice, parse_device};

/// The models that are offered.
pub(super) struct Offered(Vec<Model>);

struct Model {
    name: String,
    model: ModelRef,
    options: LoadOptions,
}

impl Offered {
    /// Parses the arguments; none is the default model.
    pub(super) fn parse(texts: &[String], engine: EngineChoice, on: &EngineArgs) -> Result<Self> {
        let models = match texts {
            [] => vec![Model::of(
                None,
                ModelRef::default_model()?,
                on.options(engine)?,
            )?],
            texts => texts
                .iter()
                .map(|text| Model::parse(text, engine, on))
                .collect::<Result<_>>()?,
        };
        let mut names = BTreeSet::new();
        if let Some(twice) = models.iter().find(|model| !names.insert(&model.name)) {
            bail!(
                "two models are named {}; give one another name, as in --model NAME=FILE",
                twice.name
            );
        }
        Ok(Self(models))
    }

    /// What loads them; `said` hears of each model that is ready.
    pub(super) fn sources(
        self,
        host: &Host,
        said: impl Fn(&dyn Classifier) + Clone + Send + 'static,
    ) -> Result<Vec<Source>> {
        let source = |model: Model| {
            let (host, said) = (host.clone(), said.clone());
            let mut loaded = None;
            let name = model.name.clone();
            let load = move |all_the_same: bool| {
                if all_the_same {
                    loaded = None;
                }
                model.load(&mut loaded, &host, &said)
            };
            Source {
                name,
                load: Box::new(load),
            }
        };
        Ok(self.0.into_iter().map(source).collect())
    }
}

impl Model {
    fn parse(text: &str, engine: EngineChoice, on: &EngineArgs) -> Result<Self> {
        let (name, rest) = match text.split_once('=') {
            // A path may contain an = too.
            Some((name, rest)) if !Path::new(text).exists() => (Some(name), rest),
            _ => (None, text),
        };
        let (path, options) = match rest.rsplit_once('@') {
            Some((path, runs)) if !Path::new(rest).exists() => (path, options(text, runs, on)?),
            _ => (rest, on.options(engine)?),
        };
        Self::of(name, ModelRef::find(path)?, options)
    }

    fn of(name: Option<&str>, model: ModelRef, options: LoadOptions) -> Result<Self> {
        let name = name.map_or_else(|| default_name(&model), str::to_owned);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            bail!(
                "'{name}' can't name a model in requests; name it with letters, digits, '-', '_' \
                 or '.', as in --model NAME=FILE"
            );
        }
        Ok(Self {
            name,
            model,
            options,
        })
    }

    /// Loads the model, unless it was loaded and its file is the same as then.
    fn load(
        &self,
        loaded: &mut Option<Option<Stamp>>,
        host: &Host,
        said: &dyn Fn(&dyn Classifier),
    ) -> Result<Option<Box<dyn Classifier>>, LoadFailure> {
        let stamp = self.stamp();
        if loaded.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        let classifier = fer::load(&self.model, &self.options, host)?;
        said(&*classifier);
        *loaded = Some(stamp);
        Ok(Some(classifier))
    }

    /// The file's; `None` for a built-in model.
    fn stamp(&self) -> Option<Stamp> {
        let path = match &self.model {
            ModelRef::Builtin(_) => return None,
            ModelRef::Onnx(path) => path.clone(),
            #[cfg(feature = "train")]
            ModelRef::Trained(path) if path.is_dir() => {
                fer::train::run::chosen(path).unwrap_or_else(|_| path.clone())
            }
            #[cfg(feature = "train")]
            ModelRef::Trained(path) => path.clone(),
        };
        let metadata = path.metadata().ok();
        Some(Stamp {
            length: metadata.as_ref().map(std::fs::Metadata::len),
            changed: metadata.and_then(|m| m.modified().ok()),
            path,
        })
    }
}

/// What tells whether a file has changed.
#[derive(PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    length: Option<u64>,
    changed: Option<SystemTime>,
}

/// A built-in model's name, or the file's without its ending.
fn default_name(model: &ModelRef) -> String {
    let path = match model {
        ModelRef::Builtin(builtin) => return builtin.name.to_owned(),
        ModelRef::Onnx(path) => path,
        #[cfg(feature = "train")]
        ModelRef::Trained(path) => path,
    };
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// What runs a model: `ENGINE[:PROVIDER[:DEVICE]]`, or `burn:DEVICE`.
fn options(text: &str, runs: &str, on: &EngineArgs) -> Result<LoadOptions> {
    let wrong = |reason: String| anyhow::anyhow!("--model {text}: {reason}");
    let (engine, rest) = match runs.split_once(':') {
        None => (runs, None),
        Some((engine, rest)) => (engine, Some(rest)),
    };
    let engine: EngineChoice = engine.parse().map_err(wrong)?;
    let mut on = on.clone();
    match (engine, rest) {
        (_, None) => {}
        (EngineChoice::Burn, Some(device)) => {
            on.device = Some(Device::Named(parse_device(device).map_err(wrong)?));
        }
        (_, Some(rest)) => {
            let (provider, number) = match rest.split_once(':') {
                None => (rest, None),
                Some((provider, number)) => (provider, Some(number)),
            };
            provide(&mut on, provider).map_err(wrong)?;
            on.device = number
                .map(|number| match number.parse() {
                    Ok(number) => Ok(Device::Number(number)),
                    Err(_) => Err(wrong(format!("'{number}' is not a device index"))),
                })
                .transpose()?;
        }
    }
    on.options(engine)
}

#[cfg(feature = "ort")]
fn provide(on: &mut EngineArgs, provider: &str) -> Result<(), String> {
    on.ort.provider = provider
        .parse()
        .map_err(|e: fer::ort::UnknownProvider| e.to_string())?;
    Ok(())
}

#[cfg(not(feature = "ort"))]
fn provide(_: &mut EngineArgs, provider: &str) -> Result<(), String> {
    Err(format!(
        "{provider} belongs to ONNX Runtime, which is not built in"
    ))
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_changed_when_the_checkpoint_that_counts_has() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join("checkpoints")).unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        let model = Model {
            name: "run".into(),
            model: ModelRef::Trained(folder.path().into()),
            options: LoadOptions::default(),
        };
        write("config.toml", "");
        write("checkpoints/last.ckpt", "1");
        let last = model.stamp();
        assert!(model.stamp() == last);
        write("checkpoints/best.ckpt", "1");
        let best = model.stamp();
        assert!(best != last);
        write("checkpoints/best.ckpt", "22");
        assert!(model.stamp() != best);
    }
}
