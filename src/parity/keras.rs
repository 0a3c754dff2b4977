//! Keras itself as the reference: runs `scripts/keras/predict.py`, which reads the images with PIL
//! and asks the model.
//!
//! The script and its environment are compiled in, so that a `fer` without its repository can be
//! checked too. It runs with `FER_PYTHON` if that is set, else with `python3`, and then makes
//! itself an environment with pinned packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Asks a Keras model for its probabilities on image files. `python` is the interpreter; Keras's
/// own messages go to stderr.
///
/// # Errors
/// Python or Keras can't be started, or the script failed; the text says which.
pub fn predict(
    model: &Path,
    images: &[PathBuf],
    preprocessing: Preprocessing,
    python: &Path,
) -> Result<Vec<Output>, String> {
    Ok(run(model, images, preprocessing, python, false)?.0)
}

/// Asks a Keras model for what each of its layers answers on image files, at most 64: a safetensors
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
) -> Result<Vec<u8>, String> {
    Ok(run(model, images, preprocessing, python, true)?.1)
}

fn run(
    model: &Path,
    images: &[PathBuf],
    preprocessing: Preprocessing,
    python: &Path,
    with_layers: bool,
) -> Result<(Vec<Output>, Vec<u8>), String> {
    let io = |what: &str, e: &dyn std::fmt::Display| format!("can't {what}: {e}");
    let folder = tempfile::tempdir().map_err(|e| io("make a temporary folder", &e))?;
    for (name, text) in FILES {
        fs::write(folder.path().join(name), text).map_err(|e| io("write the Keras script", &e))?;
    }
    let (list, output) = (
        folder.path().join("images.json"),
        folder.path().join("answers.jsonl"),
    );
    let json = serde_json::to_string(images).map_err(|e| io("list the images", &e))?;
    fs::write(&list, json).map_err(|e| io("list the images", &e))?;
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
        .map_err(|e| {
            format!(
                "can't start {}: {e}; name a Python with FER_PYTHON",
                python.display()
            )
        })?;
    if !status.success() {
        return Err(format!(
            "Keras could not answer ({status}); its own message stands above"
        ));
    }
    let text = fs::read_to_string(&output).map_err(|e| io("read Keras's answers", &e))?;
    let answers: Vec<Output> = text.lines().map(answer).collect::<Result<_, _>>()?;
    if answers.len() != images.len() {
        return Err(format!(
            "Keras answered {} of {} images",
            answers.len(),
            images.len()
        ));
    }
    let layers = if with_layers {
        fs::read(&layers).map_err(|e| io("read Keras's layers", &e))?
    } else {
        Vec::new()
    };
    Ok((answers, layers))
}

fn answer(line: &str) -> Result<Output, String> {
    #[derive(Deserialize)]
    struct Line {
        path: String,
        probabilities: Option<Vec<f32>>,
    }
    let line: Line = serde_json::from_str(line)
        .map_err(|e| format!("Keras's answer can't be understood: {e}"))?;
    Ok(Output {
        path: line.path,
        probabilities: line.probabilities,
    })
}
