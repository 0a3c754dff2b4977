//! ONNX Runtime's shared library in this process: opened once, then kept.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::ep::cuda::{CUDA_DYLIBS, CUDNN_DYLIBS};
use ort::logging::LogLevel;

use crate::cut_off;
use crate::error::OrtError;
use crate::runtime::{Found, Origin};

/// The oldest supported ONNX Runtime: 1.17, of February 2024.
pub const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// How many of ONNX Runtime's latest warnings are kept to explain a failure.
const KEPT_WARNINGS: usize = 16;

static LIBRARY: OnceLock<Library> = OnceLock::new();
static WARNINGS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The opened library.
pub struct Library {
    /// Its file.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: Origin,
    /// The minor version: 32 for 1.32.
    pub minor_version: u32,
    environment: Environment,
}

impl Library {
    /// Opens the CUDA and cuDNN libraries that were installed beside this one, if any. The system's
    /// loader would not find them for the CUDA provider.
    pub(super) fn open_cuda(&self) {
        let found = Found {
            path: self.path.clone(),
            origin: self.origin,
        };
        let Some(folder) = crate::runtime::cuda_library_folder(&found) else {
            return;
        };
        for name in CUDA_DYLIBS.iter().chain(CUDNN_DYLIBS) {
            let path = folder.join(name);
            // If one is missing or broken, the provider itself reports it when it starts.
            if cut_off::check(&path).is_ok() {
                let _ = ort::util::preload_dylib(path);
            }
        }
    }

    /// Looks for a library of a provider, beside this one, that is cut off.
    ///
    /// # Errors
    /// There is one.
    pub(super) fn check_providers(&self) -> Result<(), OrtError> {
        let entries = self.path.parent().map(std::fs::read_dir);
        for entry in entries.into_iter().flatten().flatten().flatten() {
            let name = entry.file_name();
            if name
                .to_string_lossy()
                .starts_with("libonnxruntime_providers_")
            {
                cut_off::check(&entry.path()).map_err(|reason| OrtError::Library {
                    path: entry.path(),
                    origin: self.origin,
                    reason,
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ONNX Runtime 1.{} at {}",
            self.minor_version,
            self.path.display()
        )
    }
}

/// Opens the library that was found, or returns it if it is open already.
///
/// # Errors
/// The file is not a library, is not ONNX Runtime, or is too old, or another library is already
/// open in this process.
pub fn open(found: &Found) -> Result<&'static Library, OrtError> {
    if let Some(library) = LIBRARY.get() {
        if library.path == found.path {
            return Ok(library);
        }
        return Err(OrtError::InUse {
            open: library.to_string(),
        });
    }
    let library = open_first(found).map_err(|reason| OrtError::Library {
        path: found.path.clone(),
        origin: found.origin,
        reason,
    })?;
    Ok(LIBRARY.get_or_init(|| library))
}

fn open_first(found: &Found) -> Result<Library, String> {
    cut_off::check(&found.path)?;
    let builder = ort::init_from(&found.path).map_err(|e| match e {
        // The message of the system's loader is the source of libloading's error.
        ort::LoadDynamicError::Dlopen { error, .. } => match std::error::Error::source(&error) {
            Some(source) => crate::classifier::one_line(&source.to_string()),
            None => crate::classifier::one_line(&error.to_string()),
        },
        ort::LoadDynamicError::MissingApi { .. } => "it is not ONNX Runtime".into(),
        ort::LoadDynamicError::InvalidVersionString => "it does not state its version".into(),
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!(
                "it is version {version_str}, and 1.{OLDEST_MINOR} is the oldest that is supported"
            )
        }
    })?;
    let environment = builder
        .with_name("fer")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _, _, _, message| {
            keep_warning(level, message)
        }))
        .build()
        .map_err(|e| e.to_string())?;
    environment.set_log_level(LogLevel::Warning);
    let minor_version = ort::util::probe(&found.path).ok_or("it does not state its version")?;
    Ok(Library {
        path: found.path.clone(),
        origin: found.origin,
        minor_version,
        environment,
    })
}

fn keep_warning(level: LogLevel, message: &str) {
    if level >= LogLevel::Warning {
        let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() == KEPT_WARNINGS {
            warnings.pop_front();
        }
        warnings.push_back(crate::classifier::one_line(message));
    }
}

/// Takes ONNX Runtime's latest warnings and errors, oldest first.
pub(super) fn take_warnings() -> Vec<String> {
    WARNINGS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
        .collect()
}
