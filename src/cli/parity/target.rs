//! What is compared: a model, the engine that runs it, and a provider ([`Target`]).

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use fer::classifier::Classifier;
use fer::host::Host;
use fer::ort::{Provider, UnknownProvider};
use fer::session::Session;
use fer::{Backend, LoadOptions, ModelRef};

use super::super::model_args::{self, Device, EngineArgs, EngineChoice, OrtArgs, announce};
use super::Args;

/// A model, an engine and a provider.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) model: String,
    pub(super) options: LoadOptions,
}

impl Target {
    pub(super) fn new(
        model: &str,
        engine: EngineChoice,
        provider: Provider,
        args: &Args,
    ) -> Result<Self> {
        let name = match engine {
            EngineChoice::Ort => format!("{model}@ort:{provider}"),
            _ => format!("{model}@{engine}"),
        };
        Ok(Self {
            name,
            model: model.into(),
            options: Self::options(engine, provider, None, args)?,
        })
    }

    /// Opens the model.
    pub(super) fn open(&self, host: &Host) -> Result<Session> {
        model_args::open(Some(&self.model), &self.options, host)
    }

    /// Loads the model, and says which runs where.
    pub(super) fn load(&self, host: &Host) -> Result<Box<dyn Classifier>> {
        let loaded = fer::load(&ModelRef::find(&self.model)?, &self.options, host);
        let classifier = loaded.with_context(|| self.name.clone())?;
        announce(classifier.description());
        Ok(classifier)
    }

    /// Whether it does not name one of ONNX Runtime's providers for other hardware.
    pub(super) fn on_cpu(&self) -> bool {
        !matches!(self.options.backend, Backend::Ort { provider, .. } if provider != Provider::Cpu)
    }

    /// Parses `MODEL[@ENGINE[:PROVIDER[:DEVICE]]]`; for the engine burn it is `MODEL@burn:DEVICE`.
    pub(super) fn parse(text: &str, args: &Args) -> Result<Self> {
        let wrong = |e: String| anyhow!("target '{text}': {e}");
        let (model, on) = match text.rsplit_once('@') {
            // A path may contain an @ too.
            Some((model, on)) if !Path::new(text).exists() => (model, on),
            _ => (text, "auto"),
        };
        let (engine, rest) = on
            .split_once(':')
            .map_or((on, None), |(engine, rest)| (engine, Some(rest)));
        let engine = engine.parse().map_err(wrong)?;
        let (provider, device) = match (engine, rest) {
            (_, None) => (Provider::Cpu, None),
            (EngineChoice::Burn, Some(device)) => (
                Provider::Cpu,
                Some(Device::Named(
                    model_args::parse_device(device).map_err(wrong)?,
                )),
            ),
            (_, Some(rest)) => {
                let (provider, number) = rest
                    .split_once(':')
                    .map_or((rest, None), |(p, number)| (p, Some(number)));
                let number = number
                    .map(|n| {
                        n.parse()
                            .map_err(|_| wrong(format!("'{n}' is not a device index")))
                    })
                    .transpose()?;
                (
                    provider
                        .parse()
                        .map_err(|e: UnknownProvider| wrong(e.to_string()))?,
                    number.map(Device::Number),
                )
            }
        };
        Ok(Self {
            name: text.into(),
            model: model.into(),
            options: Self::options(engine, provider, device, args)?,
        })
    }

    pub(super) fn options(
        engine: EngineChoice,
        provider: Provider,
        device: Option<Device>,
        args: &Args,
    ) -> Result<LoadOptions> {
        let on = EngineArgs {
            ort: OrtArgs {
                provider,
                memory_limit: None,
                // TF32 keeps 10 bits of a float32's 23: no parity to within 1e-5 with it.
                tf32: (provider == Provider::Cuda).then_some(false),
                provider_option: Vec::new(),
                ort_lib: args.ort_lib.clone(),
            },
            device,
            threads: args.threads,
        };
        // A calibration does not depend on the engine: it is applied to any engine's outputs.
        Ok(LoadOptions {
            uncalibrated: true,
            ..on.options(engine)?
        })
    }
}
