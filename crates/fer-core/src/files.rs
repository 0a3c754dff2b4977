//! Files that are written whole or not at all: under a temporary name in the same folder, then
//! renamed.

use std::io::{self, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// A new temporary file beside `path`, with the permissions of any new file of the user.
///
/// # Errors
/// The folder does not exist or can't be written, or `path` is a folder, device or pipe, which must
/// not be replaced.
pub fn temporary(path: &Path) -> io::Result<NamedTempFile> {
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
    builder.tempfile_in(folder).map_err(plain)
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
pub fn plain(error: io::Error) -> io::Error {
    let inner = error
        .get_ref()
        .and_then(|e| e.source())
        .and_then(|e| e.downcast_ref::<io::Error>());
    inner
        .and_then(io::Error::raw_os_error)
        .map_or(error, io::Error::from_raw_os_error)
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
pub fn keep(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| plain(e.error))?;
    Ok(())
}
