//! Finding and installing the ONNX Runtime shared library.
//!
//! fer opens ONNX Runtime at run time instead of linking it, so the library must be on the machine.
//! [`locate()`] searches for it in a fixed order of places. [`install()`] downloads it with the
//! machine's own pip and puts it where [`locate()`] searches. Both see the machine only through a
//! [`Host`].
//!
//! This file has the names of the library. Each step has a file of its own.

mod cuda;
mod error;
mod fetch;
mod install;
mod locate;
mod pins;
mod pip;
mod pip_answer;
mod python;
mod request;
mod search;
mod store;
mod sums;
#[cfg(test)]
mod testing;
mod wheel;

use std::path::{Path, PathBuf};

pub use cuda::{CudaNeeds, cuda_library_folder};
pub use error::{InstallError, PipFailure, WheelError};
pub use fer_core::host::{Host, Os};
pub use install::{Event, Installed, install};
pub use locate::{locate, search_all};
pub use pins::{Platform, default_version, pinned};
pub use python::{NoPython, interpreters};
pub use request::Request;
pub use search::{Finding, Found, NotFound, Origin, Search, Step};
pub use store::Flavor;

/// The name of the library on this operating system, without a version: `libonnxruntime.so`,
/// `libonnxruntime.dylib` or `onnxruntime.dll`.
pub fn library_file_name() -> &'static str {
    Os::current().library_file_name()
}

/// Whether a file name is the name of the ONNX Runtime library on any operating system, with or
/// without a version. Its execution providers (`libonnxruntime_providers_cuda.so`) are not.
pub fn is_library_name(name: &str) -> bool {
    Os::ALL.iter().any(|os| os.is_library_name(name))
}

/// The library in a folder: the name without a version if it exists, else the highest version.
fn library_in(folder: &Path, os: Os) -> Option<PathBuf> {
    std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| os.is_library_name(name) && folder.join(name).is_file())
        .max_by_key(|name| {
            (
                name.len() == os.library_file_name().len(),
                version_key(name),
            )
        })
        .map(|name| folder.join(name))
}

/// The numbers in a name, for sorting: `libonnxruntime.so.1.9.0` comes before
/// `libonnxruntime.so.1.32.0`.
fn version_key(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_library() {
        let rows = [
            ("libonnxruntime.so", true),
            ("libonnxruntime.so.1", true),
            ("libonnxruntime.so.1.32.0", true),
            ("libonnxruntime.dylib", true),
            ("libonnxruntime.1.32.0.dylib", true),
            ("onnxruntime.dll", true),
            ("ONNXRuntime.DLL", true),
            ("libonnxruntime_providers_cuda.so", false),
            ("libonnxruntime_providers_shared.so", false),
            ("onnxruntime_providers_shared.dll", false),
            ("onnxruntime_pybind11_state.so", false),
            ("libonnxruntime.so.", false),
            ("libonnxruntime.so.1..2", false),
            ("libonnxruntime.so.1.32.0.bak", false),
            ("libonnxruntime.so-gdb.py", false),
            ("libonnxruntime..dylib", false),
            ("libonnxruntime.a", false),
            ("onnxruntime.so", false),
            ("", false),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(name, is)| is_library_name(name) != *is)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(is_library_name(library_file_name()));
    }

    #[test]
    fn plain_name_first_then_highest_version() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(folder.path().join(name), "x").unwrap();
        assert_eq!(library_in(folder.path(), Os::Linux), None);
        put("libonnxruntime_providers_cuda.so");
        put("onnxruntime.dll");
        assert_eq!(library_in(folder.path(), Os::Linux), None);
        put("libonnxruntime.so.1.9.0");
        put("libonnxruntime.so.1.32.0");
        assert_eq!(
            library_in(folder.path(), Os::Linux),
            Some(folder.path().join("libonnxruntime.so.1.32.0"))
        );
        put("libonnxruntime.so");
        assert_eq!(
            library_in(folder.path(), Os::Linux),
            Some(folder.path().join("libonnxruntime.so"))
        );
        assert_eq!(
            library_in(folder.path(), Os::Windows),
            Some(folder.path().join("onnxruntime.dll"))
        );
    }
}
