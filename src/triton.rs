//! A model repository for NVIDIA's Triton Inference Server: `NAME/config.pbtxt`,
//! `NAME/1/model.onnx`, and the labels of the classes. Triton runs the networks alone; what comes
//! before and after them is its clients' work.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fer_core::files;
use fer_core::onnx::{self, Header, OnnxModel, Port};
use fer_core::spec::{Hints, ModelSpec};

use crate::compiled;
use crate::load::ModelRef;
use crate::load_error::LoadError;

/// The most images of a batch that Triton makes.
const MAX_BATCH: usize = 64;

/// How long Triton lets a request wait for others, in microseconds.
const MAX_DELAY: usize = 2000;

/// Why a repository was not written.
#[derive(Debug, thiserror::Error)]
pub enum TritonError {
    /// The model can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model is a training run, not an ONNX file.
    #[error("{model} is a training run, and Triton runs ONNX files")]
    Trained {
        /// The run.
        model: String,
    },
    /// The model has the name of the face detector, which is written too.
    #[error("{name} is the name of the face detector, which is written too")]
    Name {
        /// The name.
        name: String,
    },
    /// A tensor has a type that Triton has no name for.
    #[error("{model}: Triton has no name for the type of {tensor}")]
    Type {
        /// The model.
        model: String,
        /// The tensor.
        tensor: String,
    },
    /// A file can't be written.
    #[error("can't write {}: {reason}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// Writes a repository with a classifier and the built-in face detector, and returns their names.
///
/// # Errors
/// The model is not an ONNX file whose weights it holds, or the folder can't be written.
pub fn write(model: &ModelRef, folder: &Path) -> Result<[String; 2], TritonError> {
    let (name, bytes, hints) = match model {
        ModelRef::Builtin(builtin) => (
            builtin.name.to_owned(),
            Bytes::from_static(builtin.onnx),
            Hints::default(),
        ),
        ModelRef::Onnx(path) => {
            let file = OnnxModel::read(path).map_err(LoadError::from)?;
            if file.external_data {
                let model = path.display().to_string();
                return Err(LoadError::ExternalWeights { model }.into());
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            (stem.into_owned(), file.bytes, Hints::beside(path))
        }
        #[cfg(feature = "train")]
        ModelRef::Trained(path) => {
            let model = path.display().to_string();
            return Err(TritonError::Trained { model });
        }
    };
    let detector = compiled::detector();
    // Some systems have files whose names differ in capitals alone, and some do not.
    if name.eq_ignore_ascii_case(detector.name) {
        return Err(TritonError::Name { name });
    }
    let header = onnx::read_header(&bytes, &name).map_err(LoadError::from)?;
    let found = ModelSpec::resolve_with(&header, &BTreeMap::new(), &hints, &name);
    let spec = found.map_err(LoadError::from)?.spec;
    let batch = match spec.fixed_batch {
        None => Some(MAX_BATCH),
        Some(_) => None,
    };
    let config = config(&name, &header, batch, true)?;
    put(folder, &name, &config, &bytes, Some(&spec.labels))?;

    let bytes = Bytes::from_static(detector.onnx);
    let header = onnx::read_header(&bytes, detector.name).map_err(LoadError::from)?;
    let config = self::config(detector.name, &header, None, false)?;
    put(folder, detector.name, &config, &bytes, None)?;
    Ok([name, detector.name.to_owned()])
}

fn put(
    folder: &Path,
    name: &str,
    config: &str,
    model: &[u8],
    labels: Option<&[String]>,
) -> Result<(), TritonError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |reason| TritonError::Write { path, reason }
    };
    let own = folder.join(name);
    let version = own.join("1");
    std::fs::create_dir_all(&version).map_err(failed(&version))?;
    let write = |path: PathBuf, bytes: &[u8]| files::write(&path, bytes).map_err(failed(&path));
    write(version.join("model.onnx"), model)?;
    if let Some(labels) = labels {
        write(
            own.join("labels.txt"),
            (labels.join("\n") + "\n").as_bytes(),
        )?;
    }
    // Last: with it, Triton takes the folder for a model.
    write(own.join("config.pbtxt"), config.as_bytes())
}

/// A model's `config.pbtxt`. With batches, the first dimension of its tensors is left out.
fn config(
    name: &str,
    header: &Header,
    batch: Option<usize>,
    labeled: bool,
) -> Result<String, TritonError> {
    let mut text = format!(
        "name: {}\nplatform: \"onnxruntime_onnx\"\nmax_batch_size: {}\n",
        quoted(name),
        batch.unwrap_or(0)
    );
    for (kind, ports) in [("input", &header.inputs), ("output", &header.outputs)] {
        for port in ports {
            let dims = dims(port, batch.is_some());
            let data_type = data_type(port.elem_type).ok_or_else(|| TritonError::Type {
                model: name.to_owned(),
                tensor: port.name.clone(),
            })?;
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{kind} [\n  {{\n    name: {}\n    data_type: {data_type}\n    dims: {dims:?}\n",
                quoted(&port.name)
            );
            if labeled && kind == "output" {
                text += "    label_filename: \"labels.txt\"\n";
            }
            text += "  }\n]\n";
        }
    }
    if batch.is_some() {
        let _ = write!(
            text,
            "dynamic_batching {{\n  max_queue_delay_microseconds: {MAX_DELAY}\n}}\n"
        );
    }
    Ok(text)
}

/// A text of protobuf's text format.
fn quoted(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| match c {
        '"' | '\\' => vec!['\\', c],
        c if c.is_control() => vec!['_'],
        c => vec![c],
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The dimensions of a tensor; -1 for one that is open.
fn dims(port: &Port, batched: bool) -> Vec<i64> {
    let dims = port.dims.iter().flatten().skip(usize::from(batched));
    dims.map(|dim| dim.map_or(-1, |dim| dim as i64)).collect()
}

/// Triton's name of an element type of ONNX.
fn data_type(elem_type: i32) -> Option<&'static str> {
    Some(match elem_type {
        1 => "TYPE_FP32",
        2 => "TYPE_UINT8",
        3 => "TYPE_INT8",
        4 => "TYPE_UINT16",
        5 => "TYPE_INT16",
        6 => "TYPE_INT32",
        7 => "TYPE_INT64",
        10 => "TYPE_FP16",
        11 => "TYPE_FP64",
        12 => "TYPE_UINT32",
        13 => "TYPE_UINT64",
        16 => "TYPE_BF16",
        _ => return None,
    })
}
