//! Files that appear whole: written under a temporary name in the same folder, then renamed.

use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// A new temporary file beside `path`, with the permissions that any new file of the user gets.
///
/// # Errors
/// The folder is not there or can't be written; `path` is a folder, device or pipe, which is not to
/// be replaced.
pub fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is something of that name that is no plain file",
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
        // Of a new file the user's umask takes what it takes from any.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(plain)
}

/// Removes the temporary files that a killed process left in a folder; nobody else may be at work
/// in it.
pub fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".fer-") && name.ends_with(".tmp") {
            // What can't be removed is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The system's own error, without the temporary file's name, which tells the user nothing.
pub fn plain(error: io::Error) -> io::Error {
    let inner = error
        .get_ref()
        .and_then(|e| e.source())
        .and_then(|e| e.downcast_ref::<io::Error>());
    inner
        .and_then(io::Error::raw_os_error)
        .map_or(error, io::Error::from_raw_os_error)
}

/// Writes a whole file, or what a link leads to; until that is done, what stood there before still
/// stands.
///
/// # Errors
/// The folder can't be written or the disk is full.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let file = temporary(&path)?;
    file.as_file().write_all(bytes)?;
    keep(file, &path)
}

/// Gives a temporary file its name when all of it is on the disk.
///
/// # Errors
/// The disk is full, or there is a folder of that name.
pub fn keep(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| plain(e.error))?;
    Ok(())
}
