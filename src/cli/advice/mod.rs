//! Advice about errors for users of the command line, as one clause after the error. The libraries
//! say what is wrong. Flags and commands are named here.

mod files;
#[cfg(feature = "ort")]
mod ort;
#[cfg(all(feature = "ort", feature = "train"))]
mod quantize;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "video")]
mod video;

use std::error::Error;

use fer::classifier::Note;
use fer::convert::{self, ConvertError, ConvertFileError};
use fer::device::{Backend, DeviceError, ParseDeviceError};
use fer::onnx::OnnxError;
use fer::parity::ParityError;
use fer::parity::keras::KerasError;
use fer::spec::{Assumed, Field, SpecError};
#[cfg(feature = "train")]
use fer::trained::TrainedError;
use fer::triton::TritonError;
use fer::{LoadError, NoOnnxRuntime};

#[cfg(feature = "ort")]
pub use self::ort::{ANOTHER_LIBRARY, cuda_needs, missing};
#[cfg(feature = "video")]
pub use self::video::INSTALL as INSTALL_FFMPEG;

/// What to do about an error: the advice for the first of its causes that has one.
pub fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(about)
}

/// What to do about an error of a known type.
fn about(error: &(dyn Error + 'static)) -> Option<String> {
    fn typed<T: Error + 'static>(
        error: &(dyn Error + 'static),
        advice: fn(&T) -> Option<String>,
    ) -> Option<String> {
        error.downcast_ref().and_then(advice)
    }
    let found = typed(error, load)
        .or_else(|| typed(error, onnx))
        .or_else(|| typed(error, spec))
        .or_else(|| typed(error, no_onnx_runtime))
        .or_else(|| typed(error, device))
        .or_else(|| typed(error, parse_device))
        .or_else(|| typed(error, conversion))
        .or_else(|| typed(error, conversion_file))
        .or_else(|| typed(error, keras))
        .or_else(|| typed(error, parity))
        .or_else(|| typed(error, triton));
    #[cfg(feature = "ort")]
    let found = found
        .or_else(|| typed(error, ort::not_found))
        .or_else(|| typed(error, ort::ort))
        .or_else(|| typed(error, ort::option))
        .or_else(|| typed(error, ort::install))
        .or_else(|| typed(error, ort::layers));
    #[cfg(feature = "train")]
    let found = found
        .or_else(|| typed(error, train::training))
        .or_else(|| typed(error, train::checkpoint))
        .or_else(|| typed(error, train::data))
        .or_else(|| typed(error, train::export))
        .or_else(|| typed(error, train::run))
        .or_else(|| typed(error, train::evaluation))
        .or_else(|| typed(error, train::validation));
    #[cfg(all(feature = "ort", feature = "train"))]
    let found = found.or_else(|| typed(error, quantize::file));
    #[cfg(feature = "video")]
    let found = found.or_else(|| typed(error, video::video));
    found
}

fn load(error: &LoadError) -> Option<String> {
    match error {
        LoadError::NoneCompiledIn => Some("name an ONNX file with --model".into()),
        LoadError::NotCompiledIn { model } => Some(format!(
            "compile it in with `FER_MODEL={model} cargo build --release`, or use --engine ort"
        )),
        LoadError::Int8OnDevice { .. } => {
            Some("leave --device out, or name the float32 model".into())
        }
        LoadError::TrainedNotOnnx { model } => Some(format!(
            "export it as an ONNX file with `fer export --onnx --run {model}`"
        )),
        LoadError::TrainedMetadata { .. } => Some("leave --meta out".into()),
        LoadError::TrainNotBuiltIn { .. } => {
            Some("build it in with `cargo build --release`".into())
        }
        LoadError::NeedsOnnxRuntime { reason, .. } => no_onnx_runtime(reason),
        LoadError::NoOnnxRuntime(reason) => no_onnx_runtime(reason),
        #[cfg(feature = "ort")]
        LoadError::Ort(error) => ort::ort(error),
        LoadError::Device(error) => device(error),
        #[cfg(feature = "train")]
        LoadError::Trained(TrainedError::Device(error)) => device(error),
        #[cfg(feature = "train")]
        LoadError::Trained(TrainedError::Run(error)) => train::training(error),
        #[cfg(feature = "train")]
        LoadError::Trained(TrainedError::Checkpoint(error)) => train::checkpoint(error),
        LoadError::Detector { .. } => {
            Some("leave --detector out for the built-in one, or name an export of YuNet".into())
        }
        LoadError::Thread(_)
        | LoadError::Unknown { .. }
        | LoadError::Folder { .. }
        | LoadError::ExternalWeights { .. } => None,
        LoadError::Onnx(error) => onnx(error),
        LoadError::Spec(error) => spec(error),
    }
}

fn triton(error: &TritonError) -> Option<String> {
    match error {
        TritonError::Load(error) => load(error),
        TritonError::Trained { model } => Some(format!(
            "export it as an ONNX file with `fer export --onnx --run {model}`, and name that"
        )),
        TritonError::Name { .. } => Some("give the model's file another name".into()),
        TritonError::Type { .. } | TritonError::Write { .. } => None,
    }
}

fn onnx(error: &OnnxError) -> Option<String> {
    match error {
        OnnxError::OtherKind { path, kind } => files::other_kind(path, *kind),
        OnnxError::Read { .. } | OnnxError::TooLarge { .. } | OnnxError::Malformed { .. } => None,
    }
}

fn spec(error: &SpecError) -> Option<String> {
    let option = setting(error.missing?);
    Some(format!("say it with --meta, as in --meta {option}"))
}

/// The metadata that sets a part of a spec, with an example of a value.
fn setting(field: Field) -> &'static str {
    match field {
        Field::Layout => "layout=NHWC",
        Field::Size => "size=48x48",
        Field::Channels => "channels=1",
        Field::ChannelOrder => "channel_order=bgr",
        Field::Labels => "labels=a,b,c",
        Field::Values => "scale=1/255",
        Field::Resize => "resize=antialias",
        Field::Output => "output=logits",
        Field::OutputName => "output_name=NAME",
        Field::Crop => "crop=square,scale=1.2",
    }
}

/// The ways to set what was guessed of a converted model.
fn conversion_settings(guessed: &[Assumed]) -> String {
    let option = |a: &Assumed| match a.field {
        Field::Labels => Some("--labels"),
        Field::Values => Some("--scale, --mean, --std, --channel-order or --preprocess"),
        Field::Resize => Some("--resize"),
        _ => None,
    };
    guessed
        .iter()
        .filter_map(option)
        .collect::<Vec<_>>()
        .join("; ")
}

fn no_onnx_runtime(reason: &NoOnnxRuntime) -> Option<String> {
    match reason {
        NoOnnxRuntime::NotBuiltIn => Some("build it in with `cargo build --release`".into()),
        #[cfg(feature = "ort")]
        NoOnnxRuntime::NotFound(error) => ort::not_found(error),
        #[cfg(feature = "ort")]
        NoOnnxRuntime::Library(error) => ort::ort(error),
    }
}

fn device(error: &DeviceError) -> Option<String> {
    match error {
        DeviceError::NotBuiltIn { choice } => Some(format!(
            "build it in with `cargo build --release --features {}`",
            choice.backend.feature()
        )),
        DeviceError::None { choice } => {
            let doctor = "`fer doctor` lists the devices";
            Some(lists(choice.backend).map_or(doctor.into(), |lists| format!("{lists}, {doctor}")))
        }
        DeviceError::NoSuch { .. } => Some("`fer doctor` lists them".into()),
        DeviceError::DoesNotStart { choice, .. } => lists(choice.backend).map(String::from),
        DeviceError::Failed { .. } => None,
    }
}

/// The system's own tool that lists a backend's devices.
fn lists(backend: Backend) -> Option<&'static str> {
    match backend {
        Backend::Flex | Backend::Ndarray => None,
        Backend::Wgpu => Some("`vulkaninfo --summary` lists Vulkan's"),
        Backend::Vulkan => Some("`vulkaninfo --summary` lists what it finds"),
        Backend::Cuda => Some("`nvidia-smi` lists them"),
    }
}

fn parse_device(error: &ParseDeviceError) -> Option<String> {
    match error {
        ParseDeviceError::Cpu { .. } => Some("--threads limits its threads".into()),
        ParseDeviceError::Unknown { .. }
        | ParseDeviceError::Number { .. }
        | ParseDeviceError::Twice { .. } => None,
    }
}

fn conversion_file(error: &ConvertFileError) -> Option<String> {
    match error {
        ConvertFileError::Convert(error) => conversion(error),
        ConvertFileError::Write { .. } | ConvertFileError::Check { .. } => None,
    }
}

fn conversion(error: &ConvertError) -> Option<String> {
    match error {
        ConvertError::NoConfig { .. } => Some("give the model's JSON with --config".into()),
        ConvertError::Labels { .. } => {
            Some("name them in the order of its outputs with --labels a,b,…".into())
        }
        ConvertError::OtherKind { path, kind } => files::other_kind(path, *kind),
        ConvertError::Unsupported { layers, .. } if layers.iter().all(|l| l.scale.is_some()) => {
            let scale = layers.first()?.scale?;
            Some(format!(
                "or leave it out: give {} if its input is pixels of 0..255",
                scale_option(scale)
            ))
        }
        ConvertError::Unsupported { .. } => Some(
            "leave them out of the model that you save, or convert it with \
             scripts/keras/convert.py"
                .into(),
        ),
        ConvertError::Outputs { .. } => {
            Some("choose one with fer convert --output-name NAME".into())
        }
        ConvertError::Size { chosen: None, .. } => {
            Some("state the size with fer convert --size WIDTHxHEIGHT".into())
        }
        ConvertError::Spec(error) => {
            (error.missing? == Field::Values).then(|| "say it with --scale".into())
        }
        ConvertError::Size {
            stated: [Some(width), Some(height)],
            ..
        } => Some(format!("leave --size out, or give --size {width}x{height}")),
        ConvertError::Size { .. }
        | ConvertError::Read { .. }
        | ConvertError::Malformed { .. }
        | ConvertError::Layer { .. }
        | ConvertError::Classifier { .. } => None,
    }
}

/// The option for a factor, as a fraction if it is one.
fn scale_option(scale: f64) -> String {
    let divisor = 1.0 / scale;
    if (divisor * 2.0 - (divisor * 2.0).round()).abs() < 1e-9 && divisor.abs() > 1.0 {
        format!("--scale 1/{}", (divisor * 2.0).round() / 2.0)
    } else {
        format!("--scale {scale}")
    }
}

fn parity(error: &ParityError) -> Option<String> {
    match error {
        ParityError::Keras(error) => keras(error),
        _ => None,
    }
}

fn keras(error: &KerasError) -> Option<String> {
    match error {
        KerasError::Python { .. } => Some("name a Python with FER_PYTHON".into()),
        KerasError::Io { .. }
        | KerasError::Refused { .. }
        | KerasError::Failed { .. }
        | KerasError::Count { .. }
        | KerasError::Line(_) => None,
    }
}

/// A note about a loaded model, with what to do about it.
pub fn note(note: &Note) -> String {
    match note {
        Note::Guessed(what) => {
            let ways: Vec<&str> = what.iter().map(|a| setting(a.field)).collect();
            format!("{note} — to set it: --meta {}", ways.join(" --meta "))
        }
        _ => note.to_string(),
    }
}

/// A note about a converted model, with what to do about it.
pub fn conversion_note(note: &convert::Note) -> String {
    match note {
        convert::Note::ScaledByFunction { .. } | convert::Note::SoftmaxOfOne => note.to_string(),
        convert::Note::RescalesLater => {
            format!("{note}; if they should stay 0..255, use --scale 1")
        }
    }
}

/// A note about a converted model's spec, with what to do about it.
pub fn spec_note(note: &Note) -> String {
    match note {
        Note::Guessed(what) => format!("{note} — to set it: {}", conversion_settings(what)),
        _ => note.to_string(),
    }
}

/// A known error and what to do about it, in one line.
pub fn with(error: &(dyn Error + 'static)) -> String {
    match about(error) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

#[cfg(feature = "ort")]
#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};
    use std::path::PathBuf;

    use anyhow::{Context, Error};
    use fer::device::DeviceSpec;
    use fer::ort::{Missing, OrtError, Provider, ProviderProblem};
    use fer::runtime::{InstallError, NoPython, PipFailure, WheelError};

    use super::*;
    use crate::cli::one_line;

    fn written(kind: ErrorKind) -> Error {
        let source = WheelError::Write {
            path: PathBuf::from("/data/x.so"),
            source: kind.into(),
        };
        let file = "a.whl".to_owned();
        InstallError::Wheel { file, source }.into()
    }

    fn pip(failure: PipFailure) -> Error {
        let error = InstallError::Pip {
            wanted: "onnxruntime==9.9".into(),
            line: "No matching distribution found".into(),
            failure,
        };
        error.into()
    }

    fn provider(provider: Provider, missing: Option<Missing>) -> Error {
        let reason = "it fails".to_string();
        let problem = ProviderProblem::DoesNotStart { reason, missing };
        LoadError::Ort(OrtError::Provider { provider, problem }).into()
    }

    fn parsed(device: &str) -> Error {
        device.parse::<DeviceSpec>().unwrap_err().into()
    }

    #[test]
    fn each_error_ends_in_its_advice() {
        let newest = "1.32.0".to_string();
        let wheel = InstallError::Wheel {
            file: "a.whl".into(),
            source: WheelError::NoRecord,
        };
        let reason = "No module named pip".into();
        let names = vec!["python3"];
        let old_pip = InstallError::OldPip {
            python: "/bin/python3".into(),
            version: "22.1".into(),
            purpose: "asking the package index for hashes",
            needed: "22.2".into(),
        };
        let rows = [
            (
                written(ErrorKind::StorageFull),
                "free some space or set FER_DATA_DIR to a folder on another disk",
            ),
            (
                written(ErrorKind::PermissionDenied),
                "set FER_DATA_DIR to a folder that you may write to",
            ),
            (
                written(ErrorKind::NotADirectory),
                "set FER_DATA_DIR to another folder or repair this one",
            ),
            (wheel.into(), "try again, or choose another --version"),
            (
                InstallError::NoPip { reason }.into(),
                "install pip or name another Python in FER_PYTHON",
            ),
            (
                InstallError::NoPython(NoPython::NotOnPath { names }).into(),
                "python3 is on PATH; install Python 3 or name it in FER_PYTHON",
            ),
            (
                old_pip.into(),
                "needs 22.2 or newer; update it with `/bin/python3 -m pip install --upgrade pip`",
            ),
            (
                pip(PipFailure::NoSuchVersion { newest }),
                "choose another --version (the newest for this machine is 1.32.0)",
            ),
            (
                pip(PipFailure::Network),
                "check the network connection, and check pip's settings (`pip config list`)",
            ),
            (
                pip(PipFailure::NoSpace),
                "free some space or set FER_DATA_DIR (and TMPDIR) to a folder on another disk",
            ),
            (
                provider(Provider::Cuda, Some(Missing::Driver)),
                "the NVIDIA driver is not installed; install it, or run on the CPU with \
                 --provider cpu",
            ),
            (
                provider(Provider::TensorRt, Some(Missing::Cudnn)),
                "or let `fer runtime install --cuda --with-cuda-libs` install it",
            ),
            (
                provider(Provider::Cuda, None),
                "it fails; `fer doctor` shows what this machine has",
            ),
            (provider(Provider::OpenVino, None), "can't run: it fails"),
            (parsed("flex:1"), "--threads limits its threads"),
        ];
        let wrong: Vec<String> = rows
            .into_iter()
            .flat_map(|(error, end)| {
                let line = one_line(&error);
                // The context comes before it and hides nothing.
                let context = one_line(&Err::<(), _>(error).context("a file").unwrap_err());
                let right = line.ends_with(end) && context == format!("a file: {line}");
                (!right).then(|| format!("{context} should end in: {end}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn an_error_that_nothing_is_known_about_stays_as_it_is() {
        let error = Error::new(io::Error::other("odd")).context("can't do it");
        assert_eq!(one_line(&error), "can't do it: odd");
        assert_eq!(with(&io::Error::other("odd")), "odd");
    }
}
