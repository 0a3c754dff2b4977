//! Keras itself as the reference: runs `scripts/keras/predict.py`, which reads the images with PIL
//! and runs the model.
//!
//! The script and its environment's packages are compiled in, so a `fer` without its repository can
//! be checked too. The script runs with `FER_PYTHON` if that is set, else with `python3`. It then
//! creates an environment with pinned packages.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::{fs, io};

use fer_core::files::TemporaryFolder;
use fer_core::spec::{ChannelOrder, InputSpec};
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

/// The variable that names a file for the script's error.
const ERROR: &str = "FER_KERAS_ERROR";

/// A Keras model, and how it is run.
#[derive(Debug, Clone)]
pub struct KerasModel {
    /// The file.
    pub path: PathBuf,
    /// The interpreter.
    pub python: PathBuf,
    /// How pixels become its input: as the candidate's.
    pub input: InputSpec,
    /// The number of values of its output for an image.
    pub values: usize,
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
    /// The script failed and said why.
    #[error("Keras could not compute its outputs: {reason}")]
    Refused {
        /// The script's message.
        reason: String,
    },
    /// The script failed otherwise; Python's own message went to stderr.
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

impl KerasModel {
    /// Runs the model on image files and returns its own outputs, those of Keras's `predict`.
    /// Keras's messages go to stderr.
    ///
    /// # Errors
    /// Python or Keras can't be started, or the script failed.
    pub fn predict(&self, images: &[PathBuf]) -> Result<Vec<Output>, KerasError> {
        let (rows, _) = self.run(images, What::Outputs)?;
        let output = |row: Row| Output {
            path: row.path,
            values: row
                .outputs
                .map(|row| row.iter().map(|v| *v as f32).collect()),
        };
        Ok(rows.into_iter().map(output).collect())
    }

    /// The largest difference between outputs of [`predict`](Self::predict) and the same outputs
    /// computed in float64: the error of Keras's own float32 arithmetic on these images.
    ///
    /// # Errors
    /// As [`predict`](Self::predict), or Keras can't compute the model in float64.
    pub fn float32_error(
        &self,
        images: &[PathBuf],
        outputs: &[&Output],
    ) -> Result<f64, KerasError> {
        let (rows, _) = self.run(images, What::Float64)?;
        let pairs = rows.iter().zip(outputs).filter_map(|(row, output)| {
            Some(row.outputs.as_ref()?.iter().zip(output.values.as_ref()?))
        });
        let differences = pairs
            .flatten()
            .map(|(exact, v)| (exact - f64::from(*v)).abs());
        Ok(differences.fold(0.0, f64::max))
    }

    /// Runs the model on at most 64 image files and returns the output of each layer: a safetensors
    /// file with float32 `[n, …]` for the `n` images that could be read, named after the layers and
    /// the models that contain them.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn layers(&self, images: &[PathBuf]) -> Result<Vec<u8>, KerasError> {
        Ok(self.run(images, What::Layers)?.1)
    }

    /// The script's options that state the input.
    fn input_options(&self, command: &mut Command) {
        let InputSpec {
            width,
            height,
            scale,
            ..
        } = self.input;
        command.arg("--scale").arg(scale.to_string());
        for (option, values) in [("--mean", &self.input.mean), ("--std", &self.input.std)] {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                command.arg(format!("{option}={}", values.join(",")));
            }
        }
        if self.input.order == ChannelOrder::Bgr {
            command.arg("--bgr");
        }
        command.arg("--resize").arg(self.input.resize.to_string());
        command.arg("--size").arg(format!("{width}x{height}"));
        command.arg("--values").arg(self.values.to_string());
    }

    fn run(&self, images: &[PathBuf], what: What) -> Result<(Vec<Row>, Vec<u8>), KerasError> {
        let failed = |action| move |source| KerasError::Io { action, source };
        let folder = TemporaryFolder::new(&std::env::temp_dir(), "fer-")
            .map_err(failed("make a temporary folder"))?;
        for (name, text) in FILES {
            let written = fs::write(folder.path().join(name), text);
            written.map_err(failed("write the Keras script"))?;
        }
        let [list, output, layers, error] = [
            "images.json",
            "outputs.jsonl",
            "layers.safetensors",
            "error.txt",
        ]
        .map(|name| folder.path().join(name));
        let json = serde_json::to_string(images).map_err(io::Error::other);
        json.and_then(|json| fs::write(&list, json))
            .map_err(failed("list the images"))?;
        let mut command = Command::new(&self.python);
        command.arg(folder.path().join("predict.py"));
        match what {
            What::Outputs => {}
            What::Float64 => {
                command.arg("--float64");
            }
            What::Layers => {
                command.arg("--layers").arg(&layers);
            }
        }
        self.input_options(&mut command);
        let status = command
            .arg(&self.path)
            .arg("--list")
            .arg(&list)
            .arg("--output")
            .arg(&output)
            .env(ERROR, &error)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|source| KerasError::Python {
                python: self.python.clone(),
                source,
            })?;
        if !status.success() {
            return Err(match fs::read_to_string(&error) {
                Ok(reason) => KerasError::Refused { reason },
                Err(_) => KerasError::Failed { status },
            });
        }
        let text = fs::read_to_string(&output).map_err(failed("read Keras's outputs"))?;
        let rows: Vec<Row> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        if rows.len() != images.len() {
            return Err(KerasError::Count {
                outputs: rows.len(),
                images: images.len(),
            });
        }
        let layers = match what {
            What::Layers => fs::read(&layers).map_err(failed("read Keras's layers"))?,
            _ => Vec::new(),
        };
        Ok((rows, layers))
    }
}

/// What the script is to compute.
#[derive(Clone, Copy)]
enum What {
    /// The outputs.
    Outputs,
    /// The outputs, in float64.
    Float64,
    /// The outputs, and those of each layer.
    Layers,
}

/// A line of the script.
#[derive(Deserialize)]
struct Row {
    path: String,
    outputs: Option<Vec<f64>>,
}
