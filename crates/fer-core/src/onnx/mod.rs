//! ONNX files as bytes: the header ([`Header`]), the removal of subnormal weights ([`flush`]),
//! casts to float32 ([`adapt()`]), the layers of networks of 8-bit integers ([`qdq`]), and what all
//! that writes graphs does ([`graph`]).
//!
//! Engines run the file. [`crate::spec`] interprets the header for images.

mod adapt;
pub mod flush;
pub mod graph;
mod header;
pub mod proto;
pub mod qdq;
mod tiny;

pub use adapt::adapt;
pub use header::{ELEM_FLOAT, Header, Port, elem_type_name, is_float, is_whole};
pub use tiny::tiny_classifier;

use std::path::Path;

use crate::model_file::FileKind;
use crate::onnx::proto::{Message, ModelProto};
use bytes::Bytes;

/// The largest ONNX file that fer reads: protobuf's own limit is 2 GiB.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// An ONNX file that can't be read or is not an ONNX file.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file could not be read.
    #[error("can't read the model {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is over [`MAX_FILE_BYTES`].
    #[error("the model {path} has {bytes} bytes; the limit of an ONNX file is 2 GiB")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The file is something else.
    #[error("{path} is {kind}, not an ONNX file")]
    OtherKind {
        /// The file.
        path: String,
        /// What it is.
        kind: FileKind,
    },
    /// The bytes are not an ONNX model.
    #[error("{path} is not a whole ONNX file ({reason}); export or copy it again")]
    Malformed {
        /// The file, or the name of the model.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An ONNX model in memory, ready for an engine.
pub struct OnnxModel {
    /// The file's bytes, with tiny weights flushed (see [`flush`]).
    pub bytes: Bytes,
    /// The file's header.
    pub header: Header,
    /// How many weights were set to zero.
    pub flushed: usize,
    /// True if weights are in other files, so the model can only be loaded from its path.
    pub external_data: bool,
}

impl OnnxModel {
    /// Reads an ONNX file, at most [`MAX_FILE_BYTES`] of it, and flushes its tiny weights.
    ///
    /// # Errors
    /// The file can't be read, is too large, or is not an ONNX model.
    pub fn read(path: &Path) -> Result<Self, OnnxError> {
        let name = path.display().to_string();
        let read = |source| OnnxError::Read {
            path: name.clone(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(read)?;
        if !metadata.is_file() {
            return Err(OnnxError::Malformed {
                path: name,
                reason: "it is not a regular file".into(),
            });
        }
        let bytes = metadata.len();
        if bytes > MAX_FILE_BYTES {
            return Err(OnnxError::TooLarge { path: name, bytes });
        }
        Self::parse(std::fs::read(path).map_err(read)?.into(), &name)
    }

    /// Takes an ONNX model's bytes. Errors call the model `name`.
    ///
    /// # Errors
    /// The bytes are not an ONNX model.
    pub fn parse(bytes: Bytes, name: &str) -> Result<Self, OnnxError> {
        let mut proto = parse_proto(&bytes, name).map_err(|error| match FileKind::of(&bytes) {
            FileKind::Onnx | FileKind::Unknown => error,
            kind => OnnxError::OtherKind {
                path: name.into(),
                kind,
            },
        })?;
        let header = Header::of(&proto);
        let external_data = proto
            .graph
            .initializer
            .iter()
            .any(|t| !t.external_data.is_empty());
        let flushed = flush::flush_tiny_weights(&mut proto);
        let bytes = if flushed == 0 {
            bytes
        } else {
            proto
                .write_to_bytes()
                .map_err(|e| malformed(name, &e.to_string()))?
                .into()
        };
        Ok(Self {
            bytes,
            header,
            flushed,
            external_data,
        })
    }
}

/// Reads only the header of an ONNX model's bytes, not the weights.
///
/// # Errors
/// The bytes are not an ONNX model.
pub fn read_header(bytes: &Bytes, name: &str) -> Result<Header, OnnxError> {
    Ok(Header::of(&parse_proto(bytes, name)?))
}

/// The weights of the parsed model are slices of `bytes`, not copies.
pub fn parse_proto(bytes: &Bytes, name: &str) -> Result<ModelProto, OnnxError> {
    let proto =
        ModelProto::parse_from_tokio_bytes(bytes).map_err(|e| malformed(name, &e.to_string()))?;
    // Protobuf accepts nearly any short text as a message of unknown fields. A model needs a graph
    // with nodes.
    if proto.graph.node.is_empty() {
        return Err(malformed(name, "it holds no graph"));
    }
    Ok(proto)
}

fn malformed(name: &str, reason: &str) -> OnnxError {
    OnnxError::Malformed {
        path: name.to_string(),
        reason: reason.to_string(),
    }
}
