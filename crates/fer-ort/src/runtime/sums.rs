//! `SHA256SUMS` in an installed folder: the hashes of its files when they were installed, in the
//! form of `sha256sum`, to find out later whether a file was damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::wheel::sha256_of;

const FILE: &str = "SHA256SUMS";
/// The largest list that is read, in bytes; real ones are below 10 kB.
const MAX_BYTES: u64 = 1 << 20;

/// Writes the list for all files in `folder` and its folders.
///
/// # Errors
/// A file can't be read, or the list can't be written.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut text = String::new();
    for file in files {
        // The names come from wheels, whose members are checked to have plain names.
        let name = file.strip_prefix(folder).unwrap_or(&file);
        text += &format!("{}  {}\n", sha256_of(&file)?, name.display());
    }
    fs::write(folder.join(FILE), text)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

/// Compares all files with the list.
///
/// # Errors
/// What is damaged, in a few words.
pub(super) fn verify(folder: &Path) -> Result<(), String> {
    let list = folder.join(FILE);
    let text = match list.metadata() {
        Ok(meta) if meta.len() <= MAX_BYTES => fs::read_to_string(&list),
        Ok(_) => return Err(format!("{FILE} is too long")),
        Err(error) => Err(error),
    };
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("it has no {FILE}"),
        _ => format!("{FILE} can't be read: {error}"),
    })?;
    if text.lines().next().is_none() {
        return Err(format!("{FILE} is empty"));
    }
    for line in text.lines() {
        let (expected, name) = line
            .split_once("  ")
            .ok_or_else(|| format!("{FILE} is damaged"))?;
        match sha256_of(&folder.join(name)) {
            Ok(actual) if actual == expected => {}
            Ok(_) => return Err(format!("{name} is not as it was installed")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("{name} is missing"));
            }
            Err(error) => return Err(format!("{name} can't be read: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let fresh = || {
            fs::create_dir_all(path("nvidia")).unwrap();
            fs::write(path("lib.so"), "library").unwrap();
            fs::write(path("nvidia/cu.so"), "cuda").unwrap();
            let _ = fs::remove_file(path(FILE));
            write(folder.path()).unwrap();
        };
        fresh();
        assert_eq!(verify(folder.path()), Ok(()));
        let rows: [(&str, &dyn Fn(), &str); 6] = [
            (
                "cut off",
                &|| fs::write(path("lib.so"), "libr").unwrap(),
                "lib.so is not as",
            ),
            (
                "in a folder",
                &|| fs::write(path("nvidia/cu.so"), "cudb").unwrap(),
                "nvidia/cu.so is not",
            ),
            (
                "missing",
                &|| fs::remove_file(path("lib.so")).unwrap(),
                "lib.so is missing",
            ),
            (
                "no list",
                &|| fs::remove_file(path(FILE)).unwrap(),
                "it has no SHA256SUMS",
            ),
            (
                "empty list",
                &|| fs::write(path(FILE), "").unwrap(),
                "is empty",
            ),
            (
                "odd list",
                &|| fs::write(path(FILE), "odd\n").unwrap(),
                "is damaged",
            ),
        ];
        let mut wrong = Vec::new();
        for (row, damage, expected) in rows {
            fresh();
            damage();
            match verify(folder.path()) {
                Err(reason) if reason.contains(expected) => {}
                other => wrong.push(format!("{row}: {other:?}")),
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
