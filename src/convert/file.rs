//! From a Keras file to an ONNX file that was run before it was kept.

use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use fer_core::files;
use fer_core::host::Host;
use fer_core::spec::{Field, Hints};
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
/// Class names and the like that other files state beside the model count where the options do not
/// state them ([`Hints::beside`]).
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
    let file = files::temporary(target).map_err(write)?;
    let mut options = options.clone();
    if options.hints.0.is_empty() {
        options.hints = Hints::beside(model);
    }
    let written = |options: &ConvertOptions| {
        let converted = convert(model, config, options)?;
        let mut out = file.as_file();
        out.rewind()
            .and_then(|()| out.set_len(0))
            .and_then(|()| out.write_all(&converted.onnx))
            .map_err(write)?;
        let checked = check(file.path(), host).map_err(|source| ConvertFileError::Check {
            model: model.into(),
            source: Box::new(source),
        })?;
        Ok::<_, ConvertFileError>((converted, checked))
    };
    let (mut converted, mut checked) = written(&options)?;
    if let Checked::Run { spec: run, .. } = &checked
        && !run.output_is_uncertain()
        && converted.spec.output_is_uncertain()
    {
        options.kind = Some(run.output);
        let shown = run
            .assumed
            .iter()
            .find(|a| a.field == Field::Output)
            .cloned();
        (converted, checked) = written(&options)?;
        converted.spec.assumed.extend(shown);
    }
    files::keep(file, target).map_err(write)?;
    Ok((converted, checked))
}
