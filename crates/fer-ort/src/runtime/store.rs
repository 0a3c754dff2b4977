//! The folder of installed libraries: `<data>/onnxruntime/<flavour>-<version>/`, and the small file
//! `active` in it that names the one in use.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::library_in;
use fer_core::host::{Host, Os, is_version};

/// Which build of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Runs on the processor only.
    Cpu,
    /// Runs on NVIDIA GPUs too; needs NVIDIA's driver, CUDA and cuDNN.
    Cuda,
}

impl Flavour {
    /// The name of the Python package that carries this build.
    pub const fn package(self) -> &'static str {
        match self {
            Flavour::Cpu => "onnxruntime",
            Flavour::Cuda => "onnxruntime-gpu",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Cpu => "cpu",
            Flavour::Cuda => "cuda",
        })
    }
}

/// Names of unfinished work begin with this; whatever is left of it by a run that died may be
/// deleted.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";

/// `<data>/onnxruntime`.
#[derive(Debug, Clone)]
pub(super) struct Store {
    /// The folder itself; it need not exist.
    pub root: PathBuf,
    os: Os,
}

impl Store {
    /// The store of a machine; `None` when its data folder is not known.
    pub fn of(host: &Host) -> Option<Store> {
        Some(Store {
            root: host.data_folder()?.join("onnxruntime"),
            os: host.os,
        })
    }

    /// The folder of one flavour and version.
    pub fn folder(&self, flavour: Flavour, version: &str) -> PathBuf {
        self.root.join(format!("{flavour}-{version}"))
    }

    /// The library that `active` names, or in one line why there is none. Another installed version
    /// is never chosen instead, only mentioned.
    pub fn active_library(&self) -> Result<PathBuf, String> {
        let file = self.root.join("active");
        let name = match fs::read_to_string(&file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(match self.installed().as_slice() {
                    [] => "nothing is installed there".to_owned(),
                    names => format!("{} there but `active` is missing", listed(names)),
                });
            }
            Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
        };
        if !is_folder_name(&name) {
            return Err(format!(
                "{} does not hold a folder name such as cpu-1.32.0",
                file.display()
            ));
        }
        library_in(&self.root.join(&name), self.os).ok_or_else(|| {
            let others = match self.installed().as_slice() {
                [] => String::new(),
                names => format!("; {} there", listed(names)),
            };
            format!("`active` names {name}, which holds no library{others}")
        })
    }

    /// Makes an installed folder the one in use. The file is replaced in one step.
    pub fn activate(&self, flavour: Flavour, version: &str) -> io::Result<()> {
        let new = self.root.join(format!("{TEMPORARY_PREFIX}active"));
        fs::write(&new, format!("{flavour}-{version}\n"))?;
        fs::rename(&new, self.root.join("active"))
    }

    /// Deletes what runs that died have left behind. Only to be called by the one run that holds
    /// the lock.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !entry
                .file_name()
                .to_string_lossy()
                .starts_with(TEMPORARY_PREFIX)
            {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The names of the folders that hold a library, sorted.
    fn installed(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                is_folder_name(name) && library_in(&self.root.join(name), self.os).is_some()
            })
            .collect();
        names.sort();
        names
    }
}

/// Whether a folder of the store holds everything that was asked for.
pub(super) fn is_complete(folder: &Path, flavour: Flavour, with_cuda_libs: bool, os: Os) -> bool {
    let provider = match os {
        Os::Windows => "onnxruntime_providers_cuda.dll",
        _ => "libonnxruntime_providers_cuda.so",
    };
    library_in(folder, os).is_some()
        && (flavour == Flavour::Cpu || folder.join(provider).is_file())
        && (!with_cuda_libs || folder.join(super::cuda::FOLDER).is_dir())
}

fn listed(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

fn is_folder_name(name: &str) -> bool {
    name.strip_prefix("cpu-")
        .or_else(|| name.strip_prefix("cuda-"))
        .is_some_and(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_is_followed_and_never_guessed() {
        let data = tempfile::tempdir().unwrap();
        let store = Store {
            root: data.path().join("onnxruntime"),
            os: Os::Linux,
        };
        assert_eq!(
            store.active_library().unwrap_err(),
            "nothing is installed there"
        );

        let folder = store.folder(Flavour::Cpu, "1.2.3");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libonnxruntime.so.1.2.3"), "x").unwrap();
        assert_eq!(
            store.active_library().unwrap_err(),
            "cpu-1.2.3 is there but `active` is missing"
        );

        store.activate(Flavour::Cpu, "1.2.3").unwrap();
        assert_eq!(
            fs::read_to_string(store.root.join("active")).unwrap(),
            "cpu-1.2.3\n"
        );
        assert_eq!(
            store.active_library().unwrap(),
            folder.join("libonnxruntime.so.1.2.3")
        );

        store.activate(Flavour::Cuda, "9.9").unwrap();
        assert_eq!(
            store.active_library().unwrap_err(),
            "`active` names cuda-9.9, which holds no library; cpu-1.2.3 is there"
        );

        for hostile in ["../../tmp", "/etc", "", "cpu-", "cpu-1/../2"] {
            fs::write(store.root.join("active"), hostile).unwrap();
            assert!(
                store
                    .active_library()
                    .unwrap_err()
                    .contains("does not hold a folder name"),
                "{hostile}"
            );
        }
    }

    #[test]
    fn only_temporary_names_are_swept() {
        let data = tempfile::tempdir().unwrap();
        let store = Store {
            root: data.path().to_owned(),
            os: Os::Linux,
        };
        fs::create_dir_all(data.path().join(".tmp-1234/deep")).unwrap();
        fs::write(data.path().join(".tmp-active"), "x").unwrap();
        fs::create_dir(data.path().join("cpu-1.0")).unwrap();
        fs::write(data.path().join("active"), "x").unwrap();
        store.sweep().unwrap();
        let mut left: Vec<_> = fs::read_dir(data.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["active", "cpu-1.0"]);
    }
}
