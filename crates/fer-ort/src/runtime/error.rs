//! Errors of an installation, each in one line: what and where.

use std::io;
use std::path::{Path, PathBuf};

use fer_core::host::Os;

use super::python::NoPython;

/// Why the library was not installed. An earlier installation is not lost.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No wheel is published for this machine.
    #[error("there is no ONNX Runtime package for {os} on {arch}")]
    NoPlatform {
        /// The operating system.
        os: Os,
        /// The processor.
        arch: String,
    },
    /// No CUDA build is published for this machine.
    #[error("there is no CUDA build of ONNX Runtime for {os} on {arch}")]
    NoCudaBuild {
        /// The operating system.
        os: Os,
        /// The processor.
        arch: String,
    },
    /// CUDA's libraries were requested without the build that uses them.
    #[error("the CPU build does not use CUDA's libraries")]
    CudaLibsWithoutCuda,
    /// Not a version.
    #[error(
        "{version:?} is not a version; give numbers joined by dots (at most 20 characters), for \
         example 1.32.0"
    )]
    BadVersion {
        /// What was given.
        version: String,
    },
    /// It is not known where fer keeps its data.
    #[error("no folder for fer's data is known")]
    NoDataFolder,
    /// Another installation is running.
    #[error("another installation of ONNX Runtime is running in {}; wait until it \
        ends", path.display())]
    Busy {
        /// The folder in which it runs.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No interpreter.
    #[error("pip is needed to fetch ONNX Runtime, but {0}")]
    NoPython(#[from] NoPython),
    /// No interpreter that has pip.
    #[error("pip is needed to fetch ONNX Runtime, but {reason}")]
    NoPip {
        /// The responses of the interpreters.
        reason: String,
    },
    /// pip is too old.
    #[error(
        "{} has pip {version}, but {purpose} needs {needed} or newer",
        python.display()
    )]
    OldPip {
        /// The interpreter.
        python: PathBuf,
        /// Its pip.
        version: String,
        /// What it was needed for.
        purpose: &'static str,
        /// The first pip that supports it.
        needed: String,
    },
    /// pip ended with an error.
    #[error("pip could not fetch {wanted}: {line}")]
    Pip {
        /// The packages.
        wanted: String,
        /// pip's own message.
        line: String,
        /// The cause, as far as pip's messages show it.
        failure: PipFailure,
    },
    /// pip succeeded, but its output is not usable.
    #[error(
        "pip's answer for {wanted} is not usable ({reason}); check pip's settings (`pip config \
         list`)"
    )]
    OddAnswer {
        /// The package.
        wanted: String,
        /// The reason.
        reason: String,
    },
    /// The file is not the published one.
    #[error(
        "{file} has SHA-256 {actual} but {expected} was expected ({}); nothing was installed: \
         check pip's settings (`pip config list`) and try again",
        if *pinned { "fer's own list" } else { "the package index" }
    )]
    WrongHash {
        /// The file's name.
        file: String,
        /// The expected hash.
        expected: String,
        /// The file's hash.
        actual: String,
        /// Whether the expected hash is built into fer, or is the package index's.
        pinned: bool,
    },
    /// The wheel could not be unpacked.
    #[error("{file} {source}; nothing was installed")]
    Wheel {
        /// The wheel's name.
        file: String,
        /// The reason.
        source: WheelError,
    },
    /// A version so old that its wheel does not contain the library.
    #[error("{file} holds no ONNX Runtime library to load (versions before 1.19 have none)")]
    NoLibrary {
        /// The wheel's name.
        file: String,
    },
}

/// Why pip downloaded nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipFailure {
    /// The disk is full.
    NoSpace,
    /// The package index was not reached, or has nothing for this machine.
    Network,
    /// The index has other versions of the package.
    NoSuchVersion {
        /// The newest version for this machine.
        newest: String,
    },
    /// pip's messages do not show the cause.
    Unknown,
}

/// What is wrong with a wheel. The messages continue after its file name.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The file cannot be opened.
    #[error("cannot be opened ({0})")]
    Unreadable(String),
    /// Not a zip file, or one cut short.
    #[error("is not a readable zip file ({0})")]
    Zip(#[from] zip::result::ZipError),
    /// No `RECORD`, or more than one.
    #[error("has no single RECORD of its content")]
    NoRecord,
    /// A member that `RECORD` does not list.
    #[error("holds {member:?}, which is not listed in its RECORD")]
    NotInRecord {
        /// The member's path.
        member: String,
    },
    /// A member whose content is not the one listed.
    #[error("holds {member:?}, which differs from its RECORD")]
    RecordMismatch {
        /// The member's path.
        member: String,
    },
    /// A member that cannot be read.
    #[error("holds {member:?}, which is damaged ({reason})")]
    Damaged {
        /// The member's path.
        member: String,
        /// The reason.
        reason: String,
    },
    /// A member exceeds the size limit.
    #[error("holds {member:?}, which is larger than fer unpacks")]
    TooLarge {
        /// The member's path.
        member: String,
    },
    /// A member is not a file, or its name is unusable or occurs twice.
    #[error("holds {member:?}, which has a name or kind that fer does not unpack")]
    OddMember {
        /// The member's path.
        member: String,
    },
    /// The unpacked file cannot be written.
    #[error("cannot be unpacked to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Turns a failed file operation into an error with the operation and the file.
pub(super) fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io {
        action,
        path: path.clone(),
        source,
    }
}
