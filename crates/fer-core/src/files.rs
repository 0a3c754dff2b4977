//! Files that are written whole or not at all: under a temporary name in the same folder, then
//! renamed. What has a temporary name is removed when it is dropped, and by
//! [`remove_unfinished`], which a program calls before it ends on a signal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempDir};

/// The files and folders of this process that have a temporary name.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes all files and folders of this process that have a temporary name. Those that can't be
/// removed stay.
pub fn remove_unfinished() {
    let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in std::mem::take(&mut *all) {
        if std::fs::remove_file(&path).is_err() && path.is_dir() {
            // Other threads may still write into the folder.
            for _ in 0..10 {
                if std::fs::remove_dir_all(&path).is_ok() {
                    break;
                }
            }
        }
    }
}

/// An entry of [`UNFINISHED`].
#[derive(Debug)]
struct Entry(PathBuf);

impl Entry {
    fn new(path: &Path) -> Self {
        // The working directory may change before the entry is used.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(path.clone());
        Self(path)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.0);
    }
}

/// A file with a temporary name. It is removed when dropped.
#[derive(Debug)]
pub struct Temporary {
    // Dropped, and removed, before its entry.
    file: NamedTempFile,
    _entry: Entry,
}

impl Temporary {
    fn new(file: NamedTempFile) -> Self {
        let _entry = Entry::new(file.path());
        Self { file, _entry }
    }

    /// The open file.
    pub fn as_file(&self) -> &File {
        self.file.as_file()
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Renames the file to its final name, without waiting until its content is on the disk.
    ///
    /// # Errors
    /// There is a folder of that name, or the name can't be written.
    pub fn rename(self, path: &Path) -> io::Result<()> {
        self.file.persist(path).map_err(|e| plain(e.error))?;
        Ok(())
    }
}

/// A folder with a temporary name. It is removed with all that it holds when dropped.
#[derive(Debug)]
pub struct TemporaryFolder {
    folder: TempDir,
    _entry: Entry,
}

impl TemporaryFolder {
    /// A folder in `parent`, whose name begins with `prefix`. Only the user may read it.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        let folder = Builder::new().prefix(prefix).tempdir_in(parent);
        let folder = folder.map_err(plain)?;
        let _entry = Entry::new(folder.path());
        Ok(Self { folder, _entry })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A folder that can't be begun.
#[derive(Debug, thiserror::Error)]
pub enum NewFolderError {
    /// The folder has something in it.
    #[error("{dir}: not empty, there is '{found}'; name a new folder")]
    NotEmpty {
        /// The folder.
        dir: String,
        /// The name of something in it.
        found: String,
    },
    /// The folder can't be made or read.
    #[error("{path}: can't be written: {source}")]
    Write {
        /// The folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A new folder that is filled beside its place, and moved there when it is whole.
#[derive(Debug)]
pub struct NewFolder {
    /// What is in it. One level deeper than the temporary folder, which nobody else may read.
    inner: PathBuf,
    target: PathBuf,
    /// Whether there is an empty folder at its place.
    exists: bool,
    _temporary: TemporaryFolder,
}

impl NewFolder {
    /// Begins a folder whose place is `dir`, where nothing or an empty folder may be.
    ///
    /// # Errors
    /// There is something in it, or its parent can't be written.
    pub fn begin(dir: &Path) -> Result<Self, NewFolderError> {
        fn failed(path: &Path) -> impl Fn(io::Error) -> NewFolderError {
            move |source| NewFolderError::Write {
                path: path.display().to_string(),
                source,
            }
        }
        let exists = match std::fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(failed(dir)(e)),
            Ok(mut entries) => match entries.next() {
                None => true,
                Some(entry) => {
                    let found = entry.map_err(failed(dir))?.file_name();
                    return Err(NewFolderError::NotEmpty {
                        dir: dir.display().to_string(),
                        found: found.display().to_string(),
                    });
                }
            },
        };
        // A folder's real place, as `.` has no folder beside it.
        let target = match exists {
            true => dir.canonicalize().map_err(failed(dir))?,
            false => dir.to_path_buf(),
        };
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
        let temporary = TemporaryFolder::new(parent, ".fer-").map_err(failed(parent))?;
        let inner = temporary.path().join("new");
        std::fs::create_dir(&inner).map_err(failed(&inner))?;
        Ok(Self {
            inner,
            target,
            exists,
            _temporary: temporary,
        })
    }

    /// Where it is filled.
    pub fn path(&self) -> &Path {
        &self.inner
    }

    /// Moves it to its place.
    ///
    /// # Errors
    /// Something else has come there, or the system can't move it.
    pub fn keep(self) -> io::Result<()> {
        if !self.exists {
            return std::fs::rename(&self.inner, &self.target);
        }
        for entry in std::fs::read_dir(&self.inner)? {
            let entry = entry?;
            std::fs::rename(entry.path(), self.target.join(entry.file_name()))?;
        }
        Ok(())
    }
}

/// A new temporary file beside `path`, with the permissions of any new file of the user.
///
/// # Errors
/// The folder does not exist or can't be written, or `path` is a folder, device or pipe, which must
/// not be replaced.
pub fn temporary(path: &Path) -> io::Result<Temporary> {
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it exists and is not a regular file",
        ));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = Builder::new();
    builder.prefix(".fer-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The user's umask applies, as to any new file.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map(Temporary::new)
        .map_err(plain)
}

/// Removes the temporary files that a killed process left in a folder. No other process may be
/// writing there.
pub fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".fer-") && name.ends_with(".tmp") {
            // A file that can't be removed does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The system's own error, without the temporary file's name, which would not help the user.
fn plain(error: io::Error) -> io::Error {
    // tempfile hides the number, and writes `… (os error 2) at path "…"`.
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((system, _)) => io::Error::new(error.kind(), system),
        None => error,
    }
}

/// Writes a whole file, or the target of a link. The old file stays in place until that is done.
///
/// # Errors
/// The folder can't be written or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let file = temporary(&path)?;
    file.as_file().write_all(bytes)?;
    keep(file, &path)
}

/// Renames a temporary file to its final name once its content is on the disk.
///
/// # Errors
/// The disk is full, or there is a folder of that name.
pub fn keep(file: Temporary, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.rename(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_name_the_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("absent").join("a.csv");
        let error = temporary(&target).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains(".fer-"), "{error}");
    }

    #[test]
    fn a_new_folder_comes_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("empty")).unwrap();
        for name in ["new/er", "empty"] {
            let begun = NewFolder::begin(&at(name)).unwrap();
            std::fs::create_dir(begun.path().join("sub")).unwrap();
            std::fs::write(begun.path().join("sub/a"), b"x").unwrap();
            assert!(!at(name).join("sub").exists());
            begun.keep().unwrap();
            assert!(at(name).join("sub/a").is_file());
            let error = NewFolder::begin(&at(name)).unwrap_err().to_string();
            assert!(error.contains("not empty, there is 'sub'"), "{error}");
        }
        drop(NewFolder::begin(&at("dropped")).unwrap());
        assert!(!at("dropped").exists());
        std::fs::write(at("file"), b"x").unwrap();
        assert!(matches!(
            NewFolder::begin(&at("file")),
            Err(NewFolderError::Write { .. })
        ));
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 3, "no temporary folder is left");
    }

    #[test]
    fn unfinished_files_and_folders_are_removed_and_finished_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let finished = folder.path().join("finished.csv");
        write(&finished, b"x").unwrap();
        let file = temporary(&folder.path().join("a.csv")).unwrap();
        let inner = TemporaryFolder::new(folder.path(), ".set-").unwrap();
        std::fs::write(inner.path().join("a"), b"x").unwrap();
        drop(temporary(&folder.path().join("b.csv")).unwrap());
        remove_unfinished();
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(names, [finished]);
        drop((file, inner));
    }
}
