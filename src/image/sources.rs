//! The images a command line means: files, folders, glob patterns, `@list.txt` and `-`.
//!
//! Only paths are listed here, in the order given (a folder's in sorted order); nothing is opened but lists.

use std::fs;
use std::path::{Path, PathBuf};

/// File names in a folder that are taken for images, by extension.
pub const EXTENSIONS: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff", "pgm", "ppm", "pbm", "tga"];

/// The largest `@list` that is read: 256 MiB.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// One image to read, or an argument that named none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// An image on standard input.
    Stdin,
    /// An argument that led to no image, and why; it becomes a record of its own.
    Unusable {
        /// The argument or path.
        path: String,
        /// Why it names no image, and what to do.
        reason: String,
    },
}

impl Source {
    /// How the source is named in reports: the path as it was given, `-` for standard input.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".into(),
            Self::Unusable { path, .. } => path.clone(),
        }
    }
}

/// Lists the images that the arguments mean, in their order.
pub fn list(arguments: &[String]) -> Vec<Source> {
    let mut sources = Vec::new();
    for argument in arguments {
        match argument.strip_prefix('@') {
            _ if argument == "-" => sources.push(Source::Stdin),
            Some(list) if !Path::new(argument).exists() => from_list(list, argument, &mut sources),
            _ => from_path(argument, &mut sources),
        }
    }
    sources
}

/// A list file: one path, folder or pattern a line; empty lines count for nothing.
fn from_list(list: &str, argument: &str, sources: &mut Vec<Source>) {
    let text = fs::metadata(list)
        .map_err(|e| e.to_string())
        .and_then(|m| if m.len() <= MAX_LIST_BYTES { Ok(()) } else { Err("it is over 256 MiB".into()) })
        .and_then(|()| fs::read_to_string(list).map_err(|e| e.to_string()));
    match text {
        Ok(text) => {
            let before = sources.len();
            text.lines().map(str::trim_end).filter(|l| !l.is_empty()).for_each(|line| from_path(line, sources));
            if sources.len() == before {
                unusable(argument, "the list is empty; it takes one path a line".into(), sources);
            }
        }
        Err(reason) => unusable(argument, format!("can't read the list '{list}': {reason}"), sources),
    }
}

fn from_path(argument: &str, sources: &mut Vec<Source>) {
    let path = Path::new(argument);
    match fs::metadata(path) {
        Ok(m) if m.is_dir() => from_folder(path, argument, sources),
        Ok(_) => sources.push(Source::File(path.to_path_buf())),
        Err(_) if argument.contains(['*', '?', '[']) => from_pattern(argument, sources),
        Err(e) => unusable(argument, format!("can't be read: {e}"), sources),
    }
}

fn from_folder(folder: &Path, argument: &str, sources: &mut Vec<Source>) {
    let before = sources.len();
    let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with('.');
    for entry in walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible)
    {
        match entry {
            Ok(entry) if entry.file_type().is_file() && has_image_name(entry.path()) => {
                sources.push(Source::File(entry.into_path()));
            }
            Ok(_) => {}
            Err(e) => {
                let path = e.path().unwrap_or(folder).display().to_string();
                unusable(&path, format!("can't be listed: {e}"), sources);
            }
        }
    }
    if sources.len() == before {
        let reason = format!("the folder holds no images (looked for .{})", EXTENSIONS.join(" ."));
        unusable(argument, reason, sources);
    }
}

fn from_pattern(pattern: &str, sources: &mut Vec<Source>) {
    match glob::glob(pattern) {
        Err(e) => unusable(pattern, format!("is no file, and as a pattern it is wrong: {e}"), sources),
        Ok(paths) => {
            let before = sources.len();
            for path in paths {
                match path {
                    Ok(path) if path.is_dir() => from_folder(&path, &path.display().to_string(), sources),
                    Ok(path) => sources.push(Source::File(path)),
                    Err(e) => unusable(&e.path().display().to_string(), format!("can't be listed: {e}"), sources),
                }
            }
            if sources.len() == before {
                unusable(pattern, "the pattern matches no file".into(), sources);
            }
        }
    }
}

fn unusable(path: &str, reason: String, sources: &mut Vec<Source>) {
    sources.push(Source::Unusable { path: path.to_string(), reason });
}

fn has_image_name(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}
