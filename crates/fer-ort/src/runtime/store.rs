//! The folder of installed libraries: `<data>/onnxruntime/<flavor>-<version>/`, and the small file
//! `active` in it that names the one in use.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::library_in;
use fer_core::host::{Host, Os, is_version};

/// The build of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Runs on the CPU only.
    Cpu,
    /// Also runs on NVIDIA GPUs. Needs NVIDIA's driver, CUDA and cuDNN.
    Cuda,
}

impl Flavor {
    /// The name of the Python package that contains this build.
    pub const fn package(self) -> &'static str {
        match self {
            Flavor::Cpu => "onnxruntime",
            Flavor::Cuda => "onnxruntime-gpu",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavor::Cpu => "cpu",
            Flavor::Cuda => "cuda",
        })
    }
}

/// Names of unfinished work begin with this. Leftovers of a killed run may be deleted.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";

/// `<data>/onnxruntime`.
#[derive(Debug, Clone)]
pub(super) struct Store {
    /// The folder itself; it may not exist.
    pub root: PathBuf,
    os: Os,
}

impl Store {
    /// The store of a machine; `None` if its data folder is unknown.
    pub fn of(host: &Host) -> Option<Store> {
        Some(Store {
            root: host.data_folder()?.join("onnxruntime"),
            os: host.os,
        })
    }

    /// The folder of one flavor and version.
    pub fn folder(&self, flavor: Flavor, version: &str) -> PathBuf {
        self.root.join(format!("{flavor}-{version}"))
    }

    /// The library that `active` names, or why there is none, in one line. Another installed
    /// version is only mentioned, never chosen.
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

    /// Activates an installed folder. The file is replaced in one step.
    pub fn activate(&self, flavor: Flavor, version: &str) -> io::Result<()> {
        let new = self.root.join(format!("{TEMPORARY_PREFIX}active"));
        fs::write(&new, format!("{flavor}-{version}\n"))?;
        fs::rename(&new, self.root.join("active"))
    }

    /// Deletes leftovers of killed runs. Only the run that holds the lock may call it.
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

    /// The names of the folders that contain a library, sorted.
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

/// Whether a folder of the store contains everything that was requested.
pub(super) fn is_complete(folder: &Path, flavor: Flavor, with_cuda_libs: bool, os: Os) -> bool {
    let provider = match os {
        Os::Windows => "onnxruntime_providers_cuda.dll",
        _ => "libonnxruntime_providers_cuda.so",
    };
    library_in(folder, os).is_some()
        && (flavor == Flavor::Cpu || folder.join(provider).is_file())
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

        let folder = store.folder(Flavor::Cpu, "1.2.3");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libonnxruntime.so.1.2.3"), "x").unwrap();
        assert_eq!(
            store.active_library().unwrap_err(),
            "cpu-1.2.3 is there but `active` is missing"
        );

        store.activate(Flavor::Cpu, "1.2.3").unwrap();
        assert_eq!(
            fs::read_to_string(store.root.join("active")).unwrap(),
            "cpu-1.2.3\n"
        );
        assert_eq!(
            store.active_library().unwrap(),
            folder.join("libonnxruntime.so.1.2.3")
        );

        store.activate(Flavor::Cuda, "9.9").unwrap();
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
