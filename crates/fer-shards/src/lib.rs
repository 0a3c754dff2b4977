//! Pictures in files that hold many: Parquet, as Hugging Face writes data sets, and WebDataset's
//! `.tar` shards; and records as Parquet files ([`records`]).
//!
//! ```text
//! Shard::open ─→ members (name, bytes on demand)            fer infer
//!             └→ labeled (name, label, bytes on demand)     data sets
//! ```
//!
//! A shard is never read whole: a `.tar` is walked by its headers, a Parquet file by its footer,
//! and the bytes of a picture are read when it is decoded, from any thread. A compressed archive is
//! read from its beginning to its end, with the bytes of each picture. All are untrusted:
//! what a file says of sizes is checked before memory is allocated for it. The `parquet` crate may
//! still panic on a damaged file. A panic is caught where it is called and becomes a
//! [`ShardError`], so that it costs a picture or a file, not the program.

mod file;
mod gzip;
mod parquet;
mod readme;
pub mod records;
mod set;
mod tar;

use std::path::Path;
use std::sync::Arc;

use fer_core::images::{Blob, DecodeError};
use fer_core::names;

pub use self::set::{LabeledImage, find, labeled};

use self::gzip::Gzip;
use self::parquet::Parquet;
use self::tar::Tar;

/// A file of pictures that can't be read, and why.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The system can't read it.
    #[error("{path}: can't be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what its name says, damaged, or of a form that is not read.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file, and the place in it.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Its columns or members are not those of pictures, or of labeled ones.
    #[error("{path}: {problem}")]
    Form {
        /// The file, and the place in it.
        path: String,
        /// What is missing and what to do.
        problem: String,
    },
}

impl ShardError {
    /// What is wrong, without the file's name.
    pub fn reason(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("can't be read: {source}"),
            Self::Damaged { problem, .. } | Self::Form { problem, .. } => problem.clone(),
        }
    }

    fn read(path: &str, source: std::io::Error) -> Self {
        Self::Read {
            path: path.into(),
            source,
        }
    }

    fn damaged(path: &str, problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            problem: problem.into(),
        }
    }

    fn form(path: &str, problem: impl Into<String>) -> Self {
        Self::Form {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// A picture in a shard.
#[derive(Debug, Clone)]
pub struct Member {
    /// The shard's name, and the picture's in it: `faces.parquet#17`, the row from 0, or
    /// `faces.tar/happy/a.jpg`.
    pub name: String,
    /// Its bytes.
    pub image: Arc<dyn Blob>,
}

/// A file of pictures.
#[derive(Debug, Clone)]
pub enum Shard {
    /// A Parquet file with a column of images.
    Parquet(Arc<Parquet>),
    /// An archive with image files.
    Tar(Arc<Tar>),
    /// A compressed archive with image files.
    Gzip(Gzip),
}

impl Shard {
    /// Opens a shard. By its name it is a Parquet file or an archive; whether this is compressed,
    /// its first bytes say.
    ///
    /// # Errors
    /// It can't be read, is damaged, or has no column of images.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        Ok(match is_parquet(path) {
            true => Self::Parquet(Arc::new(Parquet::open(path)?)),
            false if gzip::is_one(path) => Self::Gzip(Gzip::open(path)?),
            false => Self::Tar(Arc::new(Tar::open(path)?)),
        })
    }

    /// How many pictures are in it, if that is known without a walk through it.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Parquet(file) => Some(file.rows()),
            Self::Tar(_) | Self::Gzip(_) => None,
        }
    }

    /// The pictures, in their order. After an error there are no more. No picture is read before
    /// its [`Blob`] is, except in a compressed archive: there each is in memory.
    pub fn members(&self) -> Members {
        match self {
            Self::Parquet(file) => Members::Rows(Arc::clone(file), 0),
            Self::Tar(archive) => Members::Files(tar::Walk::new(Arc::clone(archive))),
            Self::Gzip(archive) => Members::Stream(tar::Walk::new(archive.read())),
        }
    }
}

/// The pictures of a shard; see [`Shard::members`].
#[derive(Debug)]
pub enum Members {
    /// Rows of a Parquet file, from this one on.
    Rows(Arc<Parquet>, u64),
    /// Files of an archive.
    Files(tar::Walk<Arc<Tar>>),
    /// Files of a compressed archive.
    Stream(tar::Walk<gzip::Reader>),
}

impl Iterator for Members {
    type Item = Result<Member, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Rows(file, row) => {
                let this = *row;
                *row += 1;
                (this < file.rows()).then(|| Ok(file.member(this)))
            }
            Self::Files(walk) => walk.next_image(),
            Self::Stream(walk) => walk.next_image(),
        }
    }
}

/// An error of a shard as that of one of its pictures.
fn stored(error: ShardError) -> DecodeError {
    match error {
        ShardError::Read { source, .. } => source.into(),
        other => DecodeError::Stored {
            reason: other.reason(),
        },
    }
}

/// Whether a file is a Parquet file by its name.
fn is_parquet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

fn name_of(path: &Path) -> String {
    names::of(path)
}
