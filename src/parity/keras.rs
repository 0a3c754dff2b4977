//! Keras itself as the reference: runs `scripts/keras/predict.py`, which reads the images with PIL
//! and asks the model.
//!
//! The script and its environment are compiled in, so that a `fer` without its repository can be
//! checked too. It runs with `FER_PYTHON` if that is set, else with `python3`, and then makes
//! itself an environment with pinned packages.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{fs, io};

use serde::Deserialize;

use super::Output;

/// The script, the modules it imports, and its environment's packages.
const FILES: [(&str, &str); 6] = [
    ("predict.py", include_str!("../../scripts/keras/predict.py")),
    ("env.py", include_str!("../../scripts/keras/env.py")),
    ("files.py", include_str!("../../scripts/keras/files.py")),
    ("images.py", include_str!("../../scripts/keras/images.py")),
    ("load.py", include_str!("../../scripts/keras/load.py")),
    (
        "requirements.txt",
        include_str!("../../scripts/keras/requirements.txt"),
    ),
];

/// How Keras's side makes its input of the pixels: as the candidate's side does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// What a pixel of 0..255 is multiplied with.
    pub scale: f32,
    /// PIL's reducing bilinear resizing instead of the nearest pixel.
    pub antialias: bool,
}

/// Keras can't be asked, or it can't compute the outputs.
#[derive(Debug, thiserror::Error)]
pub enum KerasError {
    /// A file for the script, or of it, can't be read or written.
    #[error("can't {action}: {source}")]
    Io {
        /// What was tried, as a verb with its object.
        action: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// Python can't be started.
    #[error("can't start {}: {source}", python.display())]
    Python {
        /// The interpreter.
        python: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// The script failed; Keras's own message went to stderr.
    #[error("Keras could not compute its outputs ({status}); its own message stands above")]
    Failed {
        /// How the script ended.
        status: ExitStatus,
    },
    /// The script wrote another number of outputs than there are images.
    #[error("Keras returned outputs of {outputs} of {images} images")]
    Count {
        /// Number of outputs.
        outputs: usize,
        /// Number of images.
        images: usize,
    },
    /// A line of the script can't be read.
    #[error("Keras's outputs can't be read: {0}")]
    Line(#[from] serde_json::Error),
}

/// Asks a Keras model for its probabilities on image files. `python` is the interpreter; Keras's
/// own messages go to stderr.
///
/// # Errors
/// Python or Keras can't be started, or the script failed.
pub fn predict(
    model: &Path,
    images: &[PathBuf],
    preprocessing: Preprocessing,
    python: &Path,
) -> Result<Vec<Output>, KerasError> {
    Ok(run(model, images, preprocessing, python, false)?.0)
}

/// Asks a Keras model for the output of each of its layers on image files, at most 64: a safetensors
/// file with float32 `[n, …]` by the names of the layers and of the models that they lie in, of the
/// `n` images that could be read.
///
/// # Errors
/// As [`predict`].
pub fn layers(
    model: &Path,
    images: &[PathBuf],
    preprocessing: Preprocessing,
    python: &Path,
) -> Result<Vec<u8>, KerasError> {
    Ok(run(model, images, preprocessing, python, true)?.1)
}

fn run(
    model: &Path,
    images: &[PathBuf],
    preprocessing: Preprocessing,
    python: &Path,
    with_layers: bool,
) -> Result<(Vec<Output>, Vec<u8>), KerasError> {
    let failed = |action| move |source| KerasError::Io { action, source };
    let folder = tempfile::tempdir().map_err(failed("make a temporary folder"))?;
    for (name, text) in FILES {
        let written = fs::write(folder.path().join(name), text);
        written.map_err(failed("write the Keras script"))?;
    }
    let (list, output) = (
        folder.path().join("images.json"),
        folder.path().join("answers.jsonl"),
    );
    let json = serde_json::to_string(images).map_err(io::Error::other);
    json.and_then(|json| fs::write(&list, json))
        .map_err(failed("list the images"))?;
    let layers = folder.path().join("layers.safetensors");
    let mut command = Command::new(python);
    command.arg(folder.path().join("predict.py"));
    if with_layers {
        command.arg("--layers").arg(&layers);
    }
    let status = command
        .arg(model)
        .arg("--list")
        .arg(&list)
        .arg("--output")
        .arg(&output)
        .arg("--scale")
        .arg(preprocessing.scale.to_string())
        .arg("--resize")
        .arg(if preprocessing.antialias {
            "antialias"
        } else {
            "nearest"
        })
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|source| KerasError::Python {
            python: python.into(),
            source,
        })?;
    if !status.success() {
        return Err(KerasError::Failed { status });
    }
    let text = fs::read_to_string(&output).map_err(failed("read Keras's outputs"))?;
    let outputs: Vec<Output> = text.lines().map(parse).collect::<Result<_, _>>()?;
    if outputs.len() != images.len() {
        return Err(KerasError::Count {
            outputs: outputs.len(),
            images: images.len(),
        });
    }
    let layers = if with_layers {
        fs::read(&layers).map_err(failed("read Keras's layers"))?
    } else {
        Vec::new()
    };
    Ok((outputs, layers))
}

fn parse(line: &str) -> Result<Output, serde_json::Error> {
    #[derive(Deserialize)]
    struct Line {
        path: String,
        probabilities: Option<Vec<f32>>,
    }
    let line: Line = serde_json::from_str(line)?;
    Ok(Output {
        path: line.path,
        probabilities: line.probabilities,
    })
}
