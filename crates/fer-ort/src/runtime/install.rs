//! Installs the library into fer's data folder, from the Python package that contains it.
//!
//! pip downloads the wheel, with any Python version. Its SHA-256 is compared with the one built
//! into fer, or for other versions with that of the package index. The libraries are unpacked into
//! a temporary folder, checked one by one, and moved into place in one step. An interrupted run
//! leaves only temporary names, which the next run deletes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::cuda::{self, CudaNeeds};
use super::error::{InstallError, at};
use super::fetch::{fetch, onnxruntime_member};
use super::library_in;
use super::pip::Pip;
use super::request::{Plan, Request};
use super::store::{Flavor, Store, TEMPORARY_PREFIX, is_complete};
use super::sums;
use fer_core::files::TemporaryFolder;
use fer_core::host::Host;

/// What happens during an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// pip is asked which files it would install, and for their hashes. For that, some versions of
    /// pip download the packages, and take them from their cache later.
    Asking {
        /// The packages, as passed to pip.
        packages: String,
    },
    /// pip starts to download a package.
    Downloading {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// A downloaded file has the expected hash.
    Verified {
        /// The hash in lower-case hex.
        sha256: String,
        /// Whether the expected hash is built into fer, or is the package index's.
        pinned: bool,
    },
    /// A wheel's libraries have been unpacked and checked.
    Unpacked {
        /// How many files.
        files: usize,
        /// Their sizes together.
        bytes: u64,
    },
    /// The same version is already installed, but damaged. It is installed again.
    Damaged {
        /// Its folder.
        folder: PathBuf,
        /// What is damaged, in a few words.
        reason: String,
    },
    /// The same version is already installed, and its files are as they were. Nothing is
    /// downloaded.
    AlreadyInstalled {
        /// Its folder.
        folder: PathBuf,
    },
    /// This library is used from now on.
    Activated {
        /// Its file.
        path: PathBuf,
    },
}

/// The installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The build.
    pub flavor: Flavor,
    /// Its version.
    pub version: String,
    /// The library's file.
    pub library: PathBuf,
    /// What else it needs, if it is the CUDA build.
    pub cuda: Option<CudaNeeds>,
}

/// Installs the library and activates it. `progress` is called at each stage.
pub fn install(
    request: &Request,
    host: &Host,
    progress: &mut dyn FnMut(Event),
) -> Result<Installed, InstallError> {
    let plan = Plan::new(request, host)?;
    let store = Store::of(host).ok_or(InstallError::NoDataFolder)?;
    fs::create_dir_all(&store.root).map_err(at("make the folder", &store.root))?;
    // Held until this function returns. The system releases it even if the program is killed.
    let _lock = lock(&store)?;
    store
        .sweep()
        .map_err(at("clear leftovers in", &store.root))?;

    let folder = store.folder(plan.flavor, &plan.version);
    let there = !plan.force && is_complete(&folder, plan.flavor, plan.with_cuda_libs, host.os);
    match there.then(|| sums::verify(&folder)) {
        Some(Ok(())) => progress(Event::AlreadyInstalled {
            folder: folder.clone(),
        }),
        damage => {
            if let Some(Err(reason)) = damage {
                progress(Event::Damaged {
                    folder: folder.clone(),
                    reason,
                });
            }
            build(&plan, &store, &folder, host, progress)?;
        }
    }
    store
        .activate(plan.flavor, &plan.version)
        .map_err(at("write `active` in", &store.root))?;
    let library = library_in(&folder, host.os).ok_or_else(|| InstallError::NoLibrary {
        file: folder.display().to_string(),
    })?;
    progress(Event::Activated {
        path: library.clone(),
    });
    let cuda = match plan.flavor {
        Flavor::Cpu => None,
        Flavor::Cuda => {
            let has_libraries = folder.join(cuda::FOLDER).is_dir();
            Some(CudaNeeds::of(&metadata_of(&folder), has_libraries))
        }
    };
    Ok(Installed {
        flavor: plan.flavor,
        version: plan.version,
        library,
        cuda,
    })
}

/// Makes the complete folder under a temporary name and moves it to `folder`.
fn build(
    plan: &Plan,
    store: &Store,
    folder: &Path,
    host: &Host,
    progress: &mut dyn FnMut(Event),
) -> Result<(), InstallError> {
    let pip = Pip::find(host)?;
    let package = plan.flavor.package();
    let stage = TemporaryFolder::new(&store.root, TEMPORARY_PREFIX)
        .map_err(at("make a temporary folder in", &store.root))?;
    let new = stage.path().join("new");
    fs::create_dir(&new).map_err(at("make the folder", &new))?;

    let expected = match plan.pin {
        Some(pin) => pin.to_owned(),
        None => {
            let wanted = format!("{package}=={}", plan.version);
            progress(Event::Asking {
                packages: wanted.clone(),
            });
            let mut listed = pip.list(
                std::slice::from_ref(&wanted),
                false,
                plan.platform,
                stage.path(),
            )?;
            match (listed.pop(), listed.is_empty()) {
                (Some(one), true) => one.sha256,
                _ => {
                    let reason = "its report does not list that one package".to_owned();
                    return Err(InstallError::OddAnswer { wanted, reason });
                }
            }
        }
    };
    let what = (package, plan.version.as_str(), plan.platform);
    fetch(
        &pip,
        what,
        (&expected, plan.pin.is_some()),
        stage.path(),
        &new,
        &onnxruntime_member,
        progress,
    )?;
    if library_in(&new, host.os).is_none() {
        return Err(InstallError::NoLibrary {
            file: format!("{package} {}", plan.version),
        });
    }
    if plan.with_cuda_libs {
        cuda::install(
            &pip,
            &metadata_of(&new),
            plan.platform,
            stage.path(),
            &new,
            progress,
        )?;
    }
    sums::write(&new).map_err(at("write SHA256SUMS in", &new))?;

    let old = stage.path().join("old");
    let replaces = folder.exists();
    if replaces {
        fs::rename(folder, &old).map_err(at("replace", folder))?;
    }
    if let Err(source) = fs::rename(&new, folder) {
        if replaces {
            // The first error is reported. If this fails too, the old folder is lost as well.
            let _ = fs::rename(&old, folder);
        }
        return Err(at("put into place", folder)(source));
    }
    Ok(())
}

fn metadata_of(folder: &Path) -> String {
    // It only serves the user's information and CUDA's libraries, which report it themselves if it
    // is empty.
    let bytes = fs::read(folder.join("METADATA")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lock for changing the store.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would release it, unless a child process that another thread is just
        // starting still holds a copy. If this fails, closing releases it anyway.
        let _ = self.0.unlock();
    }
}

fn lock(store: &Store) -> Result<Lock, InstallError> {
    let path = store.root.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(at("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(InstallError::Busy {
            path: store.root.clone(),
        }),
        // Some network disks have no locks. There the user must avoid two runs at once.
        Err(TryLockError::Error(_)) => Ok(Lock(file)),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
