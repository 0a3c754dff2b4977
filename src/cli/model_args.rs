//! The options for model, engine and provider, shared by the commands that run a model.

use std::fmt;
#[cfg(feature = "ort")]
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;
use fer::classifier::Description;
#[cfg(feature = "train")]
use fer::device::Choices;
use fer::device::DeviceSpec;
use fer::host::Host;
#[cfg(feature = "ort")]
use fer::ort::{Provider, ProviderOptions};
use fer::session::Session;
use fer::spec::parse_override;
use fer::stream::BatchSize;
use fer::{Backend, LoadOptions, ModelRef};

use super::advice;

/// The requested engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// A built-in model as it is compiled in, a file in ONNX Runtime.
    #[default]
    Auto,
    Ort,
    Burn,
}

impl FromStr for EngineChoice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "ort" => Ok(Self::Ort),
            "burn" => Ok(Self::Burn),
            _ => Err(format!(
                "'{s}' is not an engine; the engines are auto, ort and burn"
            )),
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

/// Parses the name of one of Burn's devices.
pub fn parse_device(text: &str) -> Result<DeviceSpec, String> {
    text.parse().map_err(|e| advice::with(&e))
}

#[cfg(feature = "train")]
/// Parses the names of one or several of Burn's devices.
pub fn parse_devices(text: &str) -> Result<Choices, String> {
    text.parse().map_err(|e| advice::with(&e))
}

/// A device of ONNX Runtime's provider, or one of Burn's.
#[derive(Clone, Copy, Debug)]
pub enum Device {
    Number(u32),
    Named(DeviceSpec),
}

impl FromStr for Device {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => parse_device(s).map(Self::Named),
        }
    }
}

/// What ONNX Runtime's providers take.
#[cfg(feature = "ort")]
#[derive(Args, Clone)]
pub struct OrtArgs {
    /// Execution provider of ONNX Runtime: cpu, cuda, tensorrt, openvino, directml, coreml, … The
    /// model runs there or the command fails.
    #[arg(long, default_value_t, value_name = "NAME")]
    pub provider: Provider,

    /// The most GPU memory for ONNX Runtime's arena, e.g. 2GiB or 512MiB (cuda).
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory_limit: Option<usize>,

    /// Let matrix products use TF32: on or off (cuda; ONNX Runtime's default is on).
    #[arg(long, value_name = "on|off", value_parser = parse_switch)]
    pub tf32: Option<bool>,

    /// An option that is passed to the provider unchanged, by ONNX Runtime's name (repeatable).
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub provider_option: Vec<(String, String)>,

    /// ONNX Runtime's library, a file or its folder [default: searched, see `fer doctor`].
    #[arg(long, value_name = "PATH")]
    pub ort_lib: Option<PathBuf>,
}

#[derive(Args, Clone)]
pub struct EngineArgs {
    #[cfg(feature = "ort")]
    #[command(flatten)]
    pub ort: OrtArgs,

    /// A number: the index of the provider's device. A name: Burn's device, such as wgpu, vulkan or
    /// cuda:1, if fer was built with it; needs --engine burn.
    #[arg(long, value_name = "N|NAME")]
    pub device: Option<Device>,

    /// Compute threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

#[derive(Args, Clone)]
pub struct ModelArgs {
    /// ONNX file, run folder or checkpoint of `fer train`, or name of a built-in model
    /// [default: the first built-in one].
    #[arg(short, long, value_name = "FILE")]
    pub model: Option<String>,

    /// auto runs a built-in model as it is compiled in, other ONNX files in ONNX Runtime.
    #[arg(long, default_value_t, value_name = "auto|ort|burn")]
    pub engine: EngineChoice,

    #[command(flatten)]
    pub on: EngineArgs,

    /// Metadata that the model's file lacks or has wrong: labels, layout, size, channels,
    /// channel_order, scale, mean, std, preprocess, resize, output, output_name, temperature,
    /// exponent, crop, in the spellings of `fer convert` (repeatable).
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    pub meta: Vec<(String, String)>,
}

impl EngineArgs {
    /// The default batch size. On a GPU batches grow, because a new size costs little. Providers
    /// other than CUDA may build the model again for each size.
    pub fn batch_size(&self) -> BatchSize {
        let grows = match self.device {
            Some(Device::Named(choice)) => !choice.backend.is_cpu(),
            #[cfg(feature = "ort")]
            _ => self.ort.provider == Provider::Cuda,
            #[cfg(not(feature = "ort"))]
            _ => false,
        };
        if grows {
            BatchSize::Growing
        } else {
            BatchSize::default()
        }
    }

    /// The backend, if engine, provider and device can be combined.
    pub fn backend(&self, engine: EngineChoice) -> Result<Backend> {
        match (engine, self.device) {
            (EngineChoice::Burn, Some(Device::Number(number))) => bail!(
                "--device {number} is a number of ONNX Runtime's providers; for --engine burn name \
                 it, as wgpu or cuda:{number}"
            ),
            (EngineChoice::Ort, Some(Device::Named(device))) => bail!(named_for_ort(device)),
            _ => {}
        }
        #[cfg(feature = "ort")]
        if let Some(backend) = self.on_ort(engine)? {
            return Ok(backend);
        }
        match (engine, self.device) {
            (_, Some(Device::Named(device))) => Ok(Backend::Burn(device)),
            (EngineChoice::Burn, None) => Ok(Backend::Burn(DeviceSpec::default())),
            #[cfg(feature = "ort")]
            _ => Ok(Backend::default()),
            #[cfg(not(feature = "ort"))]
            (EngineChoice::Auto, None) => Ok(Backend::default()),
            #[cfg(not(feature = "ort"))]
            _ => Err(fer::LoadError::from(fer::NoOnnxRuntime::NotBuiltIn).into()),
        }
    }

    /// ONNX Runtime, if it was asked for.
    #[cfg(feature = "ort")]
    fn on_ort(&self, engine: EngineChoice) -> Result<Option<Backend>> {
        let provider = self.ort.provider;
        let options = ProviderOptions {
            device: match self.device {
                Some(Device::Number(number)) => Some(number),
                _ => None,
            },
            memory_limit: self.ort.memory_limit,
            tf32: self.ort.tf32,
            extra: self.ort.provider_option.clone(),
        };
        options.check(provider)?;
        if engine == EngineChoice::Burn && provider != Provider::Cpu {
            bail!(
                "--provider {provider} belongs to --engine ort; Burn computes where --device says"
            );
        }
        if let (Some(Device::Named(device)), true) = (self.device, provider != Provider::Cpu) {
            bail!(named_for_ort(device));
        }
        let named = engine == EngineChoice::Auto && self.ort.ort_lib.is_some();
        let wanted = engine == EngineChoice::Ort || provider != Provider::Cpu || named;
        Ok(wanted.then(|| Backend::Ort {
            provider,
            options,
            library: self.ort.ort_lib.clone(),
        }))
    }

    /// The backend, the threads, and defaults for the rest.
    pub fn options(&self, engine: EngineChoice) -> Result<LoadOptions> {
        Ok(LoadOptions {
            backend: self.backend(engine)?,
            threads: self.threads.map(usize::from),
            ..LoadOptions::default()
        })
    }
}

/// Why a device of Burn's does not go with ONNX Runtime.
fn named_for_ort(device: DeviceSpec) -> String {
    format!(
        "--device {device} belongs to --engine burn; ONNX Runtime computes where --provider says, \
         and --device N is its number"
    )
}

impl ModelArgs {
    /// Loads the model to run it on this many images.
    pub fn open(&self, images: usize, host: &Host) -> Result<Session> {
        let options = LoadOptions {
            images: Some(images),
            meta: self.meta.iter().cloned().collect(),
            ..self.on.options(self.engine)?
        };
        open(self.model.as_deref(), &options, host)
    }
}

/// Opens a model by its name, or the default one.
pub fn open(name: Option<&str>, options: &LoadOptions, host: &Host) -> Result<Session> {
    let model = name.map_or_else(ModelRef::default_model, ModelRef::find)?;
    let may_be_compiled =
        matches!(options.backend, Backend::Auto { .. }) && !matches!(model, ModelRef::Onnx(_));
    if !may_be_compiled && !matches!(options.backend, Backend::Burn(_)) {
        // ONNX Runtime takes its blocks from the system's allocator.
        fer::kernels::allocator::widen_heap();
    }
    Ok(fer::open(&model, options, host)?)
}

/// Prints which engine, provider and model run, and the notes about them.
pub fn announce(d: &Description) {
    super::say(format_args!(
        "{} on {} {} ({})",
        d.model, d.engine, d.provider, d.library
    ));
    d.notes.iter().map(advice::note).for_each(super::say);
}

#[cfg(feature = "ort")]
fn parse_pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .ok_or_else(|| format!("'{text}' is not KEY=VALUE"))
}

#[cfg(feature = "ort")]
fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it must be on or off".into()),
    }
}

/// A size in bytes, or with the unit KiB, MiB or GiB.
#[cfg(feature = "ort")]
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let factor: usize = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        unit => {
            return Err(format!(
                "'{unit}' is not a unit; the units are KiB, MiB and GiB"
            ));
        }
    };
    let number: usize = text[..digits]
        .parse()
        .map_err(|_| format!("'{text}' is not a size such as 2GiB"))?;
    number
        .checked_mul(factor)
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("'{text}' is not a usable size"))
}

#[cfg(feature = "ort")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let rows = [
            ("1", Ok(1)),
            ("2KiB", Ok(2048)),
            ("3 MiB", Ok(3 << 20)),
            ("4g", Ok(4 << 30)),
            ("0", Err(())),
            ("x", Err(())),
            ("5 miles", Err(())),
            ("99999999999999999999", Err(())),
            ("18446744073709551615GiB", Err(())),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(t, size)| parse_size(t).map_err(drop) != *size)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
