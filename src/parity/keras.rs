//! Keras itself as the reference: runs `scripts/keras/predict.py`, which reads the images with PIL
//! and runs the model.
//!
//! The script and its environment's packages are compiled in, so a `fer` without its repository can
//! be checked too. The script runs with `FER_PYTHON` if that is set, else with `python3`. It then
//! creates an environment with pinned packages.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{fs, io};

use fer_core::files::TemporaryFolder;
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

/// How the Keras script turns pixels into its input: as the candidate does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// The factor for pixels of 0..255.
    pub scale: f32,
    /// PIL's reducing bilinear resizing instead of the nearest pixel.
    pub antialias: bool,
}

/// Keras can't be run, or can't compute the outputs.
#[derive(Debug, thiserror::Error)]
pub enum KerasError {
    /// A file for or from the script can't be read or written.
    #[error("can't {action}: {source}")]
    Io {
        /// The operation, as a verb with its object.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Python can't be started.
    #[error("can't start {}: {source}", python.display())]
    Python {
        /// The interpreter.
        python: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The script failed; Keras's own message went to stderr.
    #[error("Keras could not compute its outputs ({status}); see its own message above")]
    Failed {
        /// How the script ended.
        status: ExitStatus,
    },
    /// The number of outputs differs from the number of images.
    #[error("Keras returned outputs for {outputs} of {images} images")]
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

/// Runs a Keras model on image files and returns its probabilities. `python` is the interpreter.
/// Keras's own messages go to stderr.
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

/// Runs a Keras model on at most 64 image files and returns the output of each layer: a safetensors
/// file with float32 `[n, …]` for the `n` images that could be read, named after the layers and the
/// models that contain them.
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
    let folder = TemporaryFolder::new(&std::env::temp_dir(), "fer-")
        .map_err(failed("make a temporary folder"))?;
    for (name, text) in FILES {
        let written = fs::write(folder.path().join(name), text);
        written.map_err(failed("write the Keras script"))?;
    }
    let (list, output) = (
        folder.path().join("images.json"),
        folder.path().join("predictions.jsonl"),
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
