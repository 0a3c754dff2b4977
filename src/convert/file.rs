//! From a Keras file to an ONNX file that was run before it was kept.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fer_core::files;
use fer_core::host::Host;
use fer_keras::{ConvertError, ConvertOptions, Converted, convert};

use super::check::{CheckError, Checked, check};

/// A conversion that left no file.
#[derive(Debug, thiserror::Error)]
pub enum ConvertFileError {
    /// The model can't be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The file can't be written.
    #[error("can't write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The converted file does not run as it should, and was not kept.
    #[error("{model}: no file was kept")]
    Check {
        /// The Keras file.
        model: PathBuf,
        /// What is wrong.
        source: Box<CheckError>,
    },
}

/// Converts the Keras model `model`, with the configuration `config` if the file holds weights
/// alone, runs the ONNX file on noise ([`check`]), and writes it to `target`: whole, or not at all.
///
/// # Errors
/// The model can't be converted, the file does not run, or it can't be written.
pub fn convert_file(
    model: &Path,
    config: Option<&Path>,
    options: &ConvertOptions,
    target: &Path,
    host: &Host,
) -> Result<(Converted, Checked), ConvertFileError> {
    let write = |source| ConvertFileError::Write {
        path: target.into(),
        source,
    };
    let converted = convert(model, config, options)?;
    let file = files::temporary(target).map_err(write)?;
    file.as_file().write_all(&converted.onnx).map_err(write)?;
    let checked = check(file.path(), host).map_err(|source| ConvertFileError::Check {
        model: model.into(),
        source: Box::new(source),
    })?;
    files::keep(file, target).map_err(write)?;
    Ok((converted, checked))
}
