//! Pictures that lie in a larger file, such as a shard of a data set ([`Blob`]).
//!
//! What reads such files is another crate's matter. Here is what a picture in one is to the rest.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{DecodeError, Decoded};

/// The endings of the files that hold many pictures: Parquet, and WebDataset's shards.
pub const SHARDS: [&str; 4] = ["parquet", "tar", "tar.gz", "tgz"];

/// Whether a file is a shard by its name.
pub fn is_shard(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let name = name.to_string_lossy().to_ascii_lowercase();
    let has = |ending: &&str| {
        let stem = name.strip_suffix(ending);
        stem.is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
    };
    SHARDS.iter().any(has)
}

/// The bytes of an image file that lies in a larger file.
pub trait Blob: fmt::Debug + Send + Sync {
    /// Reads them; at most [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    ///
    /// # Errors
    /// The larger file can't be read or is damaged, or the picture is too large.
    fn read(&self) -> Result<Bytes, DecodeError>;

    /// How many of them are in memory already.
    fn held(&self) -> usize {
        0
    }
}

/// A picture in a larger file. Two are equal if they are the same one, opened once.
#[derive(Debug, Clone)]
pub struct Stored(pub Arc<dyn Blob>);

impl Stored {
    /// Reads and decodes it.
    ///
    /// # Errors
    /// It can't be read, or is not an image.
    pub fn decoded(&self) -> Result<Decoded, DecodeError> {
        Decoded::of(&self.0.read()?)
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Stored {}
