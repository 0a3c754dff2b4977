//! The images that a command's arguments name: files, folders, glob patterns, `@list.txt` and `-`.
//!
//! This module only lists paths, in the given order (a folder's in sorted order). It opens no file
//! but lists.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

/// Extensions of the files in a folder that count as images.
pub const EXTENSIONS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff", "pgm", "ppm", "pbm",
    "tga",
];

/// The largest `@list` that fer reads: 256 MiB.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// One image to read, or an argument that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// An image on standard input.
    Stdin,
    /// An argument that names no image, and why. It becomes a record.
    Unusable {
        /// The argument or path.
        path: String,
        /// Why it names no image, and what to do.
        reason: String,
    },
}

impl Source {
    /// The source's name in reports: the path as given, or `-` for standard input.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".into(),
            Self::Unusable { path, .. } => path.clone(),
        }
    }
}

/// Lists the images that the arguments name, in their order.
pub fn list(arguments: &[OsString]) -> Vec<Source> {
    let mut sources = Vec::new();
    for argument in arguments {
        let list = argument.to_str().and_then(|a| a.strip_prefix('@'));
        match list {
            _ if argument == "-" => sources.push(Source::Stdin),
            Some(list) if !Path::new(argument).exists() => from_list(Path::new(list), &mut sources),
            _ => from_path(Path::new(argument), &mut sources),
        }
    }
    sources
}

/// A list file: one path, folder or pattern per line; empty lines are ignored.
fn from_list(list: &Path, sources: &mut Vec<Source>) {
    let argument = format!("@{}", list.display());
    match read_list(list) {
        Ok(text) => {
            let before = sources.len();
            let lines = text.trim_start_matches('\u{feff}').lines();
            lines
                .filter(|l| !l.trim().is_empty())
                .for_each(|line| from_path(Path::new(line), sources));
            if sources.len() == before {
                unusable(
                    argument,
                    "the list is empty; it takes one path per line".into(),
                    sources,
                );
            }
        }
        Err(reason) => unusable(argument, format!("can't read the list: {reason}"), sources),
    }
}

fn read_list(list: &Path) -> Result<String, String> {
    let metadata = fs::metadata(list).map_err(|e| e.to_string())?;
    if let Some(reason) = not_readable(list, &metadata) {
        return Err(reason.into());
    }
    let mut text = String::new();
    let file = fs::File::open(list).map_err(|e| e.to_string())?;
    file.take(MAX_LIST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_LIST_BYTES {
        Err("it is over 256 MiB".into())
    } else {
        Ok(text)
    }
}

/// Why a path must not be opened: reading a pipe could wait forever, reading a device never ends.
/// The exception is the shell's `<(…)`.
fn not_readable(path: &Path, metadata: &fs::Metadata) -> Option<&'static str> {
    let is_from_shell = ["/dev/fd", "/dev/stdin", "/proc/self/fd"]
        .iter()
        .any(|p| path.starts_with(p));
    let readable = metadata.is_file() || is_from_shell;
    (!readable).then_some("is a pipe or a device, not a regular file; pipe an image into - instead")
}

fn from_path(path: &Path, sources: &mut Vec<Source>) {
    let pattern = path.to_str().filter(|p| p.contains(['*', '?', '[']));
    match (fs::metadata(path), pattern) {
        (Ok(m), _) if m.is_dir() => from_folder(path, sources),
        (Ok(m), _) => match not_readable(path, &m) {
            None => sources.push(Source::File(path.to_path_buf())),
            Some(reason) => unusable(path.display().to_string(), reason.into(), sources),
        },
        (Err(_), Some(pattern)) => from_pattern(pattern, sources),
        (Err(e), None) => unusable(
            path.display().to_string(),
            format!("can't be read: {e}"),
            sources,
        ),
    }
}

fn from_folder(folder: &Path, sources: &mut Vec<Source>) {
    let before = sources.len();
    let visible =
        |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with('.');
    for entry in walkdir::WalkDir::new(folder)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(visible)
    {
        match entry {
            Ok(entry) if entry.file_type().is_file() && has_image_name(entry.path()) => {
                sources.push(Source::File(entry.into_path()));
            }
            Ok(_) => {}
            // A link back to a folder that is being walked: its images are already listed.
            Err(e) if e.loop_ancestor().is_some() => {}
            Err(e) => {
                let path = e.path().unwrap_or(folder).display().to_string();
                unusable(path, format!("can't be listed: {e}"), sources);
            }
        }
    }
    if sources.len() == before {
        let reason = format!(
            "the folder holds no images (looked for .{})",
            EXTENSIONS.join(" .")
        );
        unusable(folder.display().to_string(), reason, sources);
    }
}

fn from_pattern(pattern: &str, sources: &mut Vec<Source>) {
    // As in the shell and in folders, a name that starts with a dot is hidden.
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    match glob::glob_with(pattern, options) {
        Err(e) => unusable(
            pattern.into(),
            format!("is neither a file nor a valid pattern: {e}"),
            sources,
        ),
        Ok(paths) => {
            let before = sources.len();
            for path in paths {
                match path {
                    Ok(path) if path.is_dir() => from_folder(&path, sources),
                    Ok(path) => sources.push(Source::File(path)),
                    Err(e) => unusable(
                        e.path().display().to_string(),
                        format!("can't be listed: {e}"),
                        sources,
                    ),
                }
            }
            if sources.len() == before {
                unusable(
                    pattern.into(),
                    "the pattern matches no file".into(),
                    sources,
                );
            }
        }
    }
}

fn unusable(path: String, reason: String, sources: &mut Vec<Source>) {
    sources.push(Source::Unusable { path, reason });
}

/// Whether the file name has an image's extension (`.png`, `.jpg`, …).
pub fn has_image_name(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}
