//! A Keras model's files: their form, the configuration as JSON, and the opened weights.
//!
//! | form | configuration | weights |
//! |---|---|---|
//! | `.keras` (a zip) or its unpacked folder | `config.json` | `model.weights.h5` |
//! | `.h5` of `model.save` | attribute `model_config` | group `model_weights` |
//! | `.h5` of `save_weights`, either kind | a JSON file beside it | the file itself |

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;

use serde_json::Value;
use zip::ZipArchive;

use super::ConvertError;
use super::hdf5::Hdf5;
use super::weights::Weights;
use fer_core::images::address;
use fer_core::model_file::FileKind;
use fer_core::onnx::MAX_FILE_BYTES;

/// The largest configuration that fer reads.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// How many times its own size a `.keras` file may unpack to. Keras does not compress the weights
/// in it.
const MAX_EXPANSION: u64 = 64;

/// The contents of a model's files.
pub(crate) struct KerasFile {
    /// The model: `{"class_name": …, "config": …}`.
    pub(crate) model: Value,
    /// The weights.
    pub(crate) weights: Weights,
    /// The version of Keras that wrote it; `1.0` if none is stated, as in Keras.
    pub(crate) version: String,
}

impl KerasFile {
    /// Reads a model. `config` is the JSON file for a file with weights only, by default
    /// `config.json` beside it.
    ///
    /// # Errors
    /// A file can't be read, is not in a form of Keras, or lacks a part.
    pub(crate) fn read(path: &Path, config: Option<&Path>) -> Result<Self, ConvertError> {
        if path.is_dir() {
            let kind = FileKind::read(path).unwrap_or(FileKind::Unknown);
            if kind != FileKind::Unknown {
                return Err(other(path, kind));
            }
            let config = config.map_or_else(|| path.join("config.json"), Path::to_path_buf);
            return Self::apart(&path.join("model.weights.h5"), &config);
        }
        Self::parse(path, read(path, MAX_FILE_BYTES)?, config)
    }

    /// Reads a model from a file's bytes. Errors name `path`, and a file with weights only has its
    /// configuration beside it.
    ///
    /// # Errors
    /// As [`KerasFile::read`].
    pub(crate) fn parse(
        path: &Path,
        bytes: Vec<u8>,
        config: Option<&Path>,
    ) -> Result<Self, ConvertError> {
        match FileKind::of(&bytes) {
            FileKind::Hdf5 => {}
            FileKind::KerasArchive => return Self::archive(path, bytes),
            FileKind::Unknown => {
                return Err(malformed(
                    path,
                    "it is neither HDF5 nor a zip of Keras: not a .keras or .h5 file",
                ));
            }
            // The folder around the file tells more.
            kind @ FileKind::SavedModel { .. } => {
                return Err(other(path, FileKind::read(path).unwrap_or(kind)));
            }
            kind => return Err(other(path, kind)),
        }
        let file = Hdf5::open(bytes)
            .map_err(|e| malformed(path, &format!("it is not a whole HDF5 file: {e}")))?;
        let Some(model) = file.text("/", "model_config").filter(|_| config.is_none()) else {
            let beside = path.with_file_name("config.json");
            return Self::with_weights(path, file, config.unwrap_or(&beside));
        };
        let model = json(path, model.as_bytes())?;
        let version = file
            .text("/", "keras_version")
            .unwrap_or_else(|| "1.0".into());
        let backend = file.text("/", "backend");
        let weights = Weights::legacy(file, "/model_weights", backend);
        Ok(Self {
            model,
            weights,
            version,
        })
    }

    fn apart(weights: &Path, config: &Path) -> Result<Self, ConvertError> {
        let bytes = read(weights, MAX_FILE_BYTES)?;
        let file = Hdf5::open(bytes)
            .map_err(|e| malformed(weights, &format!("it is not a whole HDF5 file: {e}")))?;
        Self::with_weights(weights, file, config)
    }

    fn with_weights(path: &Path, file: Hdf5, config: &Path) -> Result<Self, ConvertError> {
        if !config.is_file() {
            return Err(ConvertError::NoConfig {
                path: path.display().to_string(),
                config: config.display().to_string(),
            });
        }
        let model = json(config, &read(config, MAX_CONFIG_BYTES)?)?;
        let keras_3 = file.has_group("/layers");
        let stated = match file.text("/", "keras_version") {
            Some(version) => Some(version),
            None => version_beside(config)?
                .or_else(|| model["keras_version"].as_str().map(String::from)),
        };
        // `Model.to_json` of Keras 3 and the configuration in a .keras file state the module of
        // each class.
        let by_form = if model["module"].is_string() {
            "3.0"
        } else {
            "2.0"
        };
        let version = stated.unwrap_or_else(|| by_form.into());
        let backend = file.text("/", "backend");
        let weights = if keras_3 {
            Weights::keras_3(file)
        } else {
            Weights::legacy(file, "", backend)
        };
        Ok(Self {
            model,
            weights,
            version,
        })
    }

    fn archive(path: &Path, bytes: Vec<u8>) -> Result<Self, ConvertError> {
        let size = bytes.len() as u64;
        let mut archive = ZipArchive::new(io::Cursor::new(bytes))
            .map_err(|e| malformed(path, &format!("it is not a whole .keras file: {e}")))?;
        let model = json(
            path,
            &entry(path, &mut archive, "config.json", MAX_CONFIG_BYTES)?,
        )?;
        let metadata = json(
            path,
            &entry(path, &mut archive, "metadata.json", MAX_CONFIG_BYTES)?,
        )?;
        let limit = size.saturating_mul(MAX_EXPANSION).min(MAX_FILE_BYTES);
        let weights = entry(path, &mut archive, "model.weights.h5", limit)?;
        let file = Hdf5::open(weights)
            .map_err(|e| malformed(path, &format!("its model.weights.h5 is not whole: {e}")))?;
        let version = metadata["keras_version"]
            .as_str()
            .unwrap_or("3.0")
            .to_string();
        Ok(Self {
            model,
            weights: Weights::keras_3(file),
            version,
        })
    }

    /// The major version of Keras that wrote it.
    pub(crate) fn major(&self) -> u32 {
        self.version
            .split('.')
            .next()
            .and_then(|v| v.parse().ok())
            .unwrap_or(2)
    }
}

/// The version in the `metadata.json` beside the configuration in a `.keras` file.
fn version_beside(config: &Path) -> Result<Option<String>, ConvertError> {
    let path = config.with_file_name("metadata.json");
    if !path.is_file() {
        return Ok(None);
    }
    let metadata = json(&path, &read(&path, MAX_CONFIG_BYTES)?)?;
    Ok(metadata["keras_version"].as_str().map(String::from))
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ConvertError> {
    let failed = |source: io::Error| ConvertError::Read {
        path: path.display().to_string(),
        source: match path.to_str().and_then(address) {
            Some(what) if source.kind() == io::ErrorKind::NotFound => io::Error::other(what),
            _ => source,
        },
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(malformed(path, "it is not a regular file"));
    }
    let too_large = || {
        malformed(
            path,
            &format!("it is larger than the limit of {} MiB", limit >> 20),
        )
    };
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

fn entry<R: Read + Seek>(
    path: &Path,
    archive: &mut ZipArchive<R>,
    name: &str,
    limit: u64,
) -> Result<Vec<u8>, ConvertError> {
    let file = archive
        .by_name(name)
        .map_err(|e| malformed(path, &format!("it has no Keras {name} ({e})")))?;
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|e| malformed(path, &format!("its {name} can't be unpacked: {e}")))?;
    if bytes.len() as u64 > limit {
        return Err(malformed(
            path,
            &format!("its {name} is far too large for the file's size"),
        ));
    }
    Ok(bytes)
}

fn json(path: &Path, bytes: &[u8]) -> Result<Value, ConvertError> {
    serde_json::from_slice(bytes)
        .map_err(|e| malformed(path, &format!("its configuration is not JSON: {e}")))
}

fn other(path: &Path, kind: FileKind) -> ConvertError {
    ConvertError::OtherKind {
        path: path.display().to_string(),
        kind,
    }
}

fn malformed(path: &Path, reason: &str) -> ConvertError {
    ConvertError::Malformed {
        path: path.display().to_string(),
        reason: reason.into(),
    }
}
