//! What a file that is given as a model is, by its content: models are saved in many forms, and
//! other files get a model's name.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at a file's beginning and at its end that are read.
const LOOKED_AT: usize = 64 << 10;

/// The least bytes of a whole HDF5 file: those of its first block.
const SUPERBLOCK: u64 = 48;

/// What a file or folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// An ONNX model.
    Onnx,
    /// A Keras model: a `.keras` archive.
    KerasArchive,
    /// A whole HDF5 file, as Keras writes `.h5` files.
    Hdf5,
    /// The configuration of a Keras model in JSON, without weights.
    KerasJson,
    /// The beginning of a file that says how long it is, or where it ends.
    CutOff {
        /// Its length in bytes.
        bytes: u64,
        /// The length that it should have, if it says that.
        whole: Option<u64>,
    },
    /// A file without content.
    Empty,
    /// A Git LFS pointer in place of the file.
    GitLfsPointer {
        /// The file's size in bytes, if the pointer states it.
        bytes: Option<u64>,
    },
    /// A web page.
    Html,
    /// TensorFlow's SavedModel: its folder, or the file `saved_model.pb` in it.
    SavedModel {
        /// Whether Keras wrote it and can load it as a model.
        keras: bool,
    },
    /// A TensorFlow graph: a frozen `.pb` file.
    TensorFlowGraph,
    /// A TensorFlow Lite model.
    TensorFlowLite,
    /// A TensorFlow.js model: `model.json`, or its folder.
    TensorFlowJs {
        /// Whether it holds Keras layers, and not a graph of operations.
        layers: bool,
    },
    /// What PyTorch saves: `.pt`, `.pth`, `.bin`.
    PyTorch,
    /// A safetensors file: weights alone.
    Safetensors,
    /// A Python pickle of something else.
    Pickle,
    /// A packed archive.
    Archive,
    /// None of these.
    Unknown,
}

impl FileKind {
    /// Looks at a file or folder. At most 128 KiB of a file are read.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::of_folder(path));
        }
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = Vec::new();
        (&mut file).take(LOOKED_AT as u64).read_to_end(&mut head)?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT as u64)))?;
        (&mut file).take(LOOKED_AT as u64).read_to_end(&mut tail)?;
        Ok(match Self::recognize(&head, &tail, length) {
            Self::SavedModel { .. } => Self::SavedModel {
                keras: path.with_file_name("keras_metadata.pb").is_file(),
            },
            kind => kind,
        })
    }

    /// Looks at a file's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let n = bytes.len();
        let looked_at = n.min(LOOKED_AT);
        Self::recognize(&bytes[..looked_at], &bytes[n - looked_at..], n as u64)
    }

    fn of_folder(folder: &Path) -> Self {
        let has = |name: &str| folder.join(name).is_file();
        if has("saved_model.pb") {
            return Self::SavedModel {
                keras: has("keras_metadata.pb"),
            };
        }
        match Self::read(&folder.join("model.json")) {
            Ok(kind @ Self::TensorFlowJs { .. }) => kind,
            _ => Self::Unknown,
        }
    }

    fn recognize(head: &[u8], tail: &[u8], length: u64) -> Self {
        if length == 0 {
            return Self::Empty;
        }
        if head.starts_with(b"\x89HDF\r\n\x1a\n") {
            return match hdf5_length(head) {
                Some(whole) if whole > length => cut_off(length, Some(whole)),
                None if length < SUPERBLOCK => cut_off(length, None),
                _ => Self::Hdf5,
            };
        }
        if head.starts_with(b"PK\x03\x04") {
            return of_zip(tail, length);
        }
        if head.get(4..8) == Some(b"TFL3") {
            return Self::TensorFlowLite;
        }
        if is_safetensors(head, length) {
            return Self::Safetensors;
        }
        // Pickles of PyTorch before its 1.6 begin with this number.
        if head.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
            return Self::PyTorch;
        }
        if matches!(head, [0x80, 2..=5, ..]) && tail.ends_with(b".") {
            return Self::Pickle;
        }
        let archives: [&[u8]; 4] = [b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh"];
        if archives.iter().any(|magic| head.starts_with(magic)) {
            return Self::Archive;
        }
        of_text(head)
            .or_else(|| of_protobuf(head))
            .unwrap_or(Self::Unknown)
    }
}

fn cut_off(bytes: u64, whole: Option<u64>) -> FileKind {
    FileKind::CutOff { bytes, whole }
}

/// The length that an HDF5 file states, if its addresses have 8 bytes, as all of h5py's.
fn hdf5_length(head: &[u8]) -> Option<u64> {
    let (width, at) = match head.get(8)? {
        0 => (head.get(13)?, 40),
        1 => (head.get(13)?, 44),
        _ => (head.get(9)?, 28),
    };
    let bytes = head.get(at..at + 8)?.try_into().ok()?;
    (*width == 8).then(|| u64::from_le_bytes(bytes))
}

/// By the names of the entries in the directory at the archive's end.
fn of_zip(tail: &[u8], length: u64) -> FileKind {
    let has = |name: &[u8]| contains(tail, name);
    if !has(b"PK\x05\x06") {
        cut_off(length, None)
    } else if has(b"/data.pkl") {
        FileKind::PyTorch
    } else if has(b"config.json") {
        FileKind::KerasArchive
    } else {
        FileKind::Archive
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A header of the stated length, in JSON, that is not longer than the file.
fn is_safetensors(head: &[u8], length: u64) -> bool {
    let Some((stated, rest)) = head.split_first_chunk() else {
        return false;
    };
    let stated = u64::from_le_bytes(*stated);
    rest.starts_with(b"{\"") && stated >= 2 && stated <= length - 8
}

fn of_text(head: &[u8]) -> Option<FileKind> {
    let start = head.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    if let Some(pointer) = start.strip_prefix(b"version https://git-lfs.github.com/spec/") {
        let mut lines = pointer
            .split(|b| *b == b'\n')
            .filter_map(|l| str::from_utf8(l).ok());
        let size = lines.find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
        return Some(FileKind::GitLfsPointer { bytes: size });
    }
    let begins = |text: &[u8]| {
        start
            .get(..text.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(text))
    };
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(FileKind::Html);
    }
    if !start.starts_with(b"{") {
        return None;
    }
    if contains(head, b"\"modelTopology\"") || contains(head, b"\"weightsManifest\"") {
        let layers = !contains(head, b"\"graph-model\"");
        return Some(FileKind::TensorFlowJs { layers });
    }
    contains(head, b"\"class_name\"").then_some(FileKind::KerasJson)
}

/// By the first fields of the messages, in the order in which they are always written.
fn of_protobuf(head: &[u8]) -> Option<FileKind> {
    match head {
        // The version 1, then a message.
        [0x08, 1, 0x12, ..] => Some(FileKind::SavedModel { keras: false }),
        // The version of the format, then another field of a model.
        [
            0x08,
            2..=20,
            0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42,
            ..,
        ] => Some(FileKind::Onnx),
        // A node, its name and its operation.
        [0x0a, rest @ ..] => {
            let (_, node) = varint(rest)?;
            let (length, name) = varint(node.strip_prefix(b"\x0a")?)?;
            let (length, operation) = varint(name.get(length..)?.strip_prefix(b"\x12")?)?;
            let word = operation.get(..length)?;
            let is_word = !word.is_empty() && word.iter().all(|b| b.is_ascii_alphanumeric());
            is_word.then_some(FileKind::TensorFlowGraph)
        }
        _ => None,
    }
}

/// The integer at the beginning, and what follows.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = bytes.iter().take(4).position(|b| b & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    let value = number
        .iter()
        .rev()
        .fold(0, |value, b| value << 7 | usize::from(b & 0x7f));
    Some((value, rest))
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "an ONNX model",
            Self::KerasArchive | Self::Hdf5 => "a Keras model",
            Self::KerasJson => "the configuration of a Keras model (without weights)",
            Self::CutOff { bytes, whole } => {
                return match whole {
                    Some(whole) => write!(f, "cut off: {bytes} of {whole} bytes"),
                    None => write!(f, "cut off: it ends after {bytes} bytes"),
                };
            }
            Self::Empty => "empty",
            Self::GitLfsPointer { bytes: None } => "a Git LFS pointer to the file",
            Self::GitLfsPointer { bytes: Some(bytes) } => {
                return write!(f, "a Git LFS pointer to a file of {bytes} bytes");
            }
            Self::Html => "a web page (HTML)",
            Self::SavedModel { .. } => "a TensorFlow SavedModel",
            Self::TensorFlowGraph => "a frozen TensorFlow graph",
            Self::TensorFlowLite => "a TensorFlow Lite model",
            Self::TensorFlowJs { layers: true } => "a TensorFlow.js model of Keras layers",
            Self::TensorFlowJs { layers: false } => "a TensorFlow.js graph model",
            Self::PyTorch => "a PyTorch file",
            Self::Safetensors => "a safetensors file (weights without their network)",
            Self::Pickle => "a Python pickle",
            Self::Archive => "a packed archive",
            Self::Unknown => "of an unknown kind",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An HDF5 superblock of version 0 that states a length.
    fn hdf5(stated: u64) -> Vec<u8> {
        let mut bytes = b"\x89HDF\r\n\x1a\n".to_vec();
        bytes.extend([0, 0, 0, 0, 0, 8, 8, 0]);
        bytes.resize(40, 0);
        bytes.extend(stated.to_le_bytes());
        bytes.resize(96, 0);
        bytes
    }

    #[test]
    fn files_are_recognized_by_their_content() {
        let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let whole = Some(FileKind::Hdf5);
        let rows: Vec<(Vec<u8>, Option<FileKind>)> = vec![
            (Vec::new(), Some(FileKind::Empty)),
            (hdf5(96), whole),
            (hdf5(90), whole),
            (hdf5(1000), Some(cut_off(96, Some(1000)))),
            (hdf5(96)[..20].to_vec(), Some(cut_off(20, None))),
            (
                lfs.into(),
                Some(FileKind::GitLfsPointer { bytes: Some(12345) }),
            ),
            (b"\n <!DOCTYPE HTML><html>".into(), Some(FileKind::Html)),
            (b"<html lang=\"en\">".into(), Some(FileKind::Html)),
            (b"PK\x03\x04model".into(), Some(cut_off(9, None))),
            (
                b"PK\x03\x04..a/data.pklPK\x05\x06..".into(),
                Some(FileKind::PyTorch),
            ),
            (
                b"PK\x03\x04..config.jsonPK\x05\x06..".into(),
                Some(FileKind::KerasArchive),
            ),
            (
                b"PK\x03\x04..photo.jpgPK\x05\x06..".into(),
                Some(FileKind::Archive),
            ),
            (b"\x1f\x8b\x08\0".into(), Some(FileKind::Archive)),
            (b"\x1c\0\0\0TFL3\0\0".into(), Some(FileKind::TensorFlowLite)),
            (
                b"\x02\0\0\0\0\0\0\0{\"}........".into(),
                Some(FileKind::Safetensors),
            ),
            (
                b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".into(),
                Some(FileKind::PyTorch),
            ),
            (b"\x80\x04K\x01.".into(), Some(FileKind::Pickle)),
            (
                b"{\"format\": \"layers-model\", \"modelTopology\": {}}".into(),
                Some(FileKind::TensorFlowJs { layers: true }),
            ),
            (
                b"{\"format\": \"graph-model\", \"modelTopology\": {}}".into(),
                Some(FileKind::TensorFlowJs { layers: false }),
            ),
            (
                b"{\"class_name\": \"Sequential\"}".into(),
                Some(FileKind::KerasJson),
            ),
            (
                b"\x08\x01\x12\x05abcde".into(),
                Some(FileKind::SavedModel { keras: false }),
            ),
            (
                b"\x0a\x14\x0a\x05input\x12\x0bPlaceholder".into(),
                Some(FileKind::TensorFlowGraph),
            ),
            (b"\x08\x08\x12\x02me".into(), Some(FileKind::Onnx)),
            (b"{\"message\": \"Not Found\"}".into(), None),
            (b"\xff\xd8\xff\xe0".into(), None),
            (b"\x0a\x05abc".into(), None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(bytes, kind)| {
                (
                    FileKind::of(bytes),
                    kind.unwrap_or(FileKind::Unknown),
                    bytes,
                )
            })
            .filter(|(found, expected, _)| found != expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
