//! Advice about ONNX Runtime: its library, its installation, its providers and their options.

use std::io::ErrorKind;

use fer::ort::{Missing, OptionError, OrtError, Provider, ProviderOption, ProviderProblem};
use fer::parity::layers::LayersError;
use fer::runtime::{CudaNeeds, InstallError, NotFound, Origin, PipFailure, WheelError};

/// How pip shows its settings.
const PIP: &str = "check pip's settings (`pip config list`)";

pub(super) fn not_found(error: &NotFound) -> Option<String> {
    Some(match error {
        NotFound::Nowhere { .. } => {
            "install it with `fer runtime install` or name it with --ort-lib".into()
        }
        NotFound::WrongPath { origin, .. } => {
            let option = match origin {
                Origin::Environment => "ORT_DYLIB_PATH",
                _ => "--ort-lib",
            };
            format!("give {option} the ONNX Runtime library or the folder that holds it")
        }
    })
}

pub(super) fn ort(error: &OrtError) -> Option<String> {
    match error {
        OrtError::Library { .. } => Some(ANOTHER_LIBRARY.into()),
        OrtError::Provider { provider, problem } => provider_problem(*provider, problem),
        OrtError::InUse { .. }
        | OrtError::Options { .. }
        | OrtError::Onnx(_)
        | OrtError::Session { .. }
        | OrtError::Run { .. }
        | OrtError::NoTensor { .. } => None,
    }
}

/// What to do about a library that can't be opened.
pub const ANOTHER_LIBRARY: &str = "`fer runtime install` installs a supported version";

fn provider_problem(provider: Provider, problem: &ProviderProblem) -> Option<String> {
    let nvidia = matches!(provider, Provider::Cuda | Provider::TensorRt);
    match problem {
        ProviderProblem::NotBuiltIn { .. } if nvidia => {
            Some("`fer runtime install --cuda` installs one with CUDA".into())
        }
        ProviderProblem::NotBuiltIn { .. } => Some("name one that has it with --ort-lib".into()),
        ProviderProblem::DoesNotStart { .. } | ProviderProblem::TookNothing { .. } if nvidia => {
            Some(match problem.missing() {
                Some(what) => missing(what).into(),
                None => "`fer doctor` shows what this machine has".into(),
            })
        }
        _ => None,
    }
}

/// What to do about something that a provider lacks.
pub fn missing(what: Missing) -> &'static str {
    match what {
        Missing::Driver => "install it, or run on the CPU with --provider cpu",
        Missing::NewerDriver => "update the driver",
        Missing::Cudnn => {
            "install it, or let `fer runtime install --cuda --with-cuda-libs` install it"
        }
        Missing::CudaLibraries => {
            "install the CUDA version that this ONNX Runtime was built for, or let `fer runtime \
             install --cuda --with-cuda-libs` install them"
        }
        Missing::TensorRt => "install it, or use --provider cuda",
        Missing::Device => "`nvidia-smi` and `fer doctor` list them, --device chooses one",
    }
}

pub(super) fn option(error: &OptionError) -> Option<String> {
    let leave_out = |option: &str| Some(format!("leave {option} out"));
    match error {
        OptionError::NotTaken { option, .. } => {
            let option = match option {
                ProviderOption::Device => "--device",
                ProviderOption::MemoryLimit => "--memory-limit",
                ProviderOption::Tf32 => "--tf32",
                ProviderOption::Extra => "--provider-option",
            };
            Some(format!(
                "omit {option}, or choose one of these providers with --provider"
            ))
        }
        OptionError::DeviceIndex { .. } => Some("--device takes such an index".into()),
        OptionError::CudaGraph { key } => leave_out(&format!("--provider-option {key}")),
        OptionError::ZeroByte { .. } => leave_out("that --provider-option"),
    }
}

pub(super) fn install(error: &InstallError) -> Option<String> {
    Some(match error {
        InstallError::NoPlatform { .. } => "build the library and name it with --ort-lib".into(),
        InstallError::NoCudaBuild { .. } => "install without --cuda".into(),
        InstallError::CudaLibsWithoutCuda => "add --cuda".into(),
        InstallError::NoDataFolder => "set FER_DATA_DIR to one".into(),
        InstallError::Io { source, .. } => disk(source.kind()).into(),
        InstallError::NoPython(_) => "install Python 3 or name it in FER_PYTHON".into(),
        InstallError::NoPip { .. } => "install pip or name another Python in FER_PYTHON".into(),
        InstallError::OldPip { python, .. } => format!(
            "update it with `{} -m pip install --upgrade pip`",
            python.display()
        ),
        InstallError::Pip { failure, .. } => match failure {
            PipFailure::NoSpace => {
                "free some space or set FER_DATA_DIR (and TMPDIR) to a folder on another disk"
                    .into()
            }
            PipFailure::Network => format!("check the network connection, and {PIP}"),
            PipFailure::NoSuchVersion { newest } => {
                format!("choose another --version (the newest for this machine is {newest})")
            }
            PipFailure::Unknown => PIP.into(),
        },
        InstallError::Wheel { source, .. } => match source {
            WheelError::Write { source, .. } => disk(source.kind()).into(),
            _ => "try again, or choose another --version".into(),
        },
        InstallError::NoLibrary { .. } => "choose a newer --version".into(),
        InstallError::BadVersion { .. }
        | InstallError::Busy { .. }
        | InstallError::OddAnswer { .. }
        | InstallError::WrongHash { .. } => return None,
    })
}

/// What to do about a file of fer's data folder that can't be written.
fn disk(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space or set FER_DATA_DIR to a folder on another disk"
        }
        // On Windows, a library in use can't be replaced.
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if cfg!(windows) => {
            "end the programs that use the library, or set FER_DATA_DIR to a folder that you may \
             write to"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "set FER_DATA_DIR to a folder that you may write to"
        }
        _ => "set FER_DATA_DIR to another folder or repair this one",
    }
}

pub(super) fn layers(error: &LayersError) -> Option<String> {
    match error {
        LayersError::NoPlaces => Some("`fer convert` writes files that do".into()),
        LayersError::Metadata { .. } => Some("write it again with `fer convert`".into()),
        LayersError::Values { .. } | LayersError::NoneShared => None,
    }
}

/// What the CUDA build needs besides the library, and how to get it.
pub fn cuda_needs(needs: &CudaNeeds) -> String {
    match needs {
        CudaNeeds::All { packages, .. } => format!(
            "{needs}; --with-cuda-libs installs those two ({})",
            packages.join(" ")
        ),
        CudaNeeds::Driver { .. } | CudaNeeds::Unknown => needs.to_string(),
    }
}
