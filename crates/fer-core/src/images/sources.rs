//! The images that a command's arguments name: files, folders, glob patterns, `@list.txt` and `-`.
//!
//! This module only lists paths, in the given order (a folder's in sorted order). It opens no file
//! but lists. Files of a folder that are not images by their names are counted, not listed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::{Pixels, SHARDS, Stored, elsewhere, is_shard};
use crate::names::{self, Tally};

/// Extensions of the files in a folder that count as images.
pub const EXTENSIONS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff", "pgm", "ppm", "pbm",
    "tga",
];

/// Extensions of photographs that fer can't read. In a folder they count too, so that each gets a
/// record, which says what to do.
const UNREADABLE: [&str; 4] = ["heic", "heif", "avif", "jxl"];

/// The largest `@list` that fer reads: 256 MiB.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// One image to read, or an argument that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// An image on standard input.
    Stdin,
    /// An image in a larger file.
    Stored {
        /// The larger file, and which of its images it is: `faces.parquet#17`.
        name: String,
        /// Its bytes.
        image: Stored,
    },
    /// An image in memory, of a file that has its pixels as text.
    Pixels {
        /// The file, and which of its images it is: `fer2013.csv:17`.
        name: String,
        /// The image.
        pixels: Pixels,
    },
    /// An argument that names no image, and why. It becomes a record.
    Unusable {
        /// The argument or path.
        path: String,
        /// Why it names no image, and what to do.
        reason: String,
    },
}

impl Source {
    /// The source's name in reports: the path as given (see [`names::of`]), or `-` for standard
    /// input.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => names::of(path),
            Self::Stdin => "-".into(),
            Self::Stored { name, .. } | Self::Pixels { name, .. } => name.clone(),
            Self::Unusable { path, .. } => path.clone(),
        }
    }
}

/// The images that arguments name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The images, in the order of the arguments.
    pub list: Vec<Source>,
    /// The files of folders that are passed over, because their names are not those of images.
    /// Hidden ones do not count.
    pub passed_over: Tally,
    /// Whether the shards of folders are listed.
    with_shards: bool,
}

/// Lists the images that the arguments name.
pub fn list(arguments: &[OsString]) -> Sources {
    listed(Sources::default(), arguments)
}

/// As [`list`], for callers that read shards ([`SHARDS`]): those of folders are listed too.
pub fn list_with_shards(arguments: &[OsString]) -> Sources {
    let sources = Sources {
        with_shards: true,
        ..Sources::default()
    };
    listed(sources, arguments)
}

fn listed(mut sources: Sources, arguments: &[OsString]) -> Sources {
    for argument in arguments {
        let path = Path::new(argument);
        let list = argument.as_encoded_bytes().strip_prefix(b"@");
        match list.and_then(path_of) {
            _ if argument == "-" => sources.list.push(Source::Stdin),
            Some(list) if !path.exists() => sources.add_list(&list),
            _ => sources.add(path),
        }
    }
    sources
}

/// A path of a list or of an argument; `None` for bytes that the system has no path for, which only
/// Windows has.
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Some(std::ffi::OsStr::from_bytes(bytes).into())
    }
    #[cfg(not(unix))]
    {
        std::str::from_utf8(bytes).ok().map(PathBuf::from)
    }
}

fn read_list(list: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(list).map_err(|e| e.to_string())?;
    if let Some(reason) = not_readable(list, &metadata) {
        return Err(reason);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(list).map_err(|e| e.to_string())?;
    file.take(MAX_LIST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return Err("it is over 256 MiB".into());
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("it is in UTF-16; save it in UTF-8".into());
    }
    Ok(bytes)
}

/// Why a path must not be opened: reading a pipe could wait forever, reading a device never ends.
/// The exception is the shell's `<(…)`.
fn not_readable(path: &Path, metadata: &fs::Metadata) -> Option<String> {
    let is_from_shell = ["/dev/fd", "/dev/stdin", "/proc/self/fd"]
        .iter()
        .any(|p| path.starts_with(p));
    let readable = metadata.is_file() || is_from_shell;
    let reason = || match elsewhere::camera(path) {
        Some(camera) => camera,
        None => {
            "is a pipe or a device, not a regular file; pipe an image into - instead".to_string()
        }
    };
    (!readable).then(reason)
}

impl Sources {
    /// Adds what a list file names: one path, folder or pattern per line, in bytes; empty lines are
    /// ignored.
    fn add_list(&mut self, list: &Path) {
        let argument = format!("@{}", names::of(list));
        let bytes = match read_list(list) {
            Ok(bytes) => bytes,
            Err(reason) => {
                return self.unusable(argument, format!("can't read the list: {reason}"));
            }
        };
        let before = self.list.len();
        let text = bytes.strip_prefix(b"\xef\xbb\xbf".as_slice());
        for (line, number) in text.unwrap_or(&bytes).split(|b| *b == b'\n').zip(1..) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match path_of(line) {
                _ if line.trim_ascii().is_empty() => {}
                Some(path) => self.add(&path),
                None => {
                    let reason = format!("line {number} is not UTF-8; save the list in UTF-8");
                    self.unusable(argument.clone(), reason);
                }
            }
        }
        if self.list.len() == before {
            let reason = "the list is empty; it takes one path per line";
            self.unusable(argument, reason.into());
        }
    }

    fn add(&mut self, path: &Path) {
        let pattern = path.to_str().filter(|p| p.contains(['*', '?', '[']));
        match (fs::metadata(path), pattern) {
            (Ok(m), _) if m.is_dir() => self.add_folder(path),
            (Ok(m), _) => match not_readable(path, &m) {
                None => self.list.push(Source::File(path.to_path_buf())),
                Some(reason) => self.unusable(names::of(path), reason),
            },
            (Err(e), _) => match (elsewhere::named(path), pattern) {
                (Some(reason), _) => self.unusable(names::of(path), reason),
                (None, Some(pattern)) => self.add_pattern(pattern),
                (None, None) => self.unusable(names::of(path), format!("can't be read: {e}")),
            },
        }
    }

    fn add_folder(&mut self, folder: &Path) {
        let before = self.list.len();
        let mut passed_over = Tally::default();
        let mut shards = false;
        for entry in walkdir::WalkDir::new(folder)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|e| e.depth() == 0 || !is_hidden(e.file_name()))
        {
            match entry {
                Ok(entry) if !entry.file_type().is_file() => {}
                Ok(entry) if self.is_listed(entry.path()) => {
                    self.list.push(Source::File(entry.into_path()));
                }
                Ok(entry) => {
                    shards |= is_shard(entry.path());
                    passed_over.add(|| names::of(entry.path()));
                }
                // A link back to a folder that is being walked: its images are already listed.
                Err(e) if e.loop_ancestor().is_some() => {}
                Err(e) => {
                    let path = names::of(e.path().unwrap_or(folder));
                    self.unusable(path, format!("can't be listed: {e}"));
                }
            }
        }
        if self.list.len() == before {
            let others = match passed_over.count {
                0 => String::new(),
                _ => format!("; not read: {passed_over}"),
            };
            let shards = match shards {
                true => format!(
                    "; fer built with the Cargo feature `shards` reads .{}",
                    SHARDS.join(", .")
                ),
                false => String::new(),
            };
            let reason = format!(
                "the folder holds no images (looked for .{}){others}{shards}",
                EXTENSIONS.join(" .")
            );
            return self.unusable(names::of(folder), reason);
        }
        self.passed_over.merge(passed_over);
    }

    /// Whether a file of a folder is listed.
    fn is_listed(&self, path: &Path) -> bool {
        has_name_of(path, &[&EXTENSIONS[..], &UNREADABLE]) || self.with_shards && is_shard(path)
    }

    fn add_pattern(&mut self, pattern: &str) {
        // As in the shell and in folders, a name that starts with a dot is hidden.
        let options = MatchOptions {
            require_literal_leading_dot: true,
            ..MatchOptions::new()
        };
        let paths = match glob::glob_with(pattern, options) {
            Ok(paths) => paths,
            Err(e) => {
                let reason = format!("is neither a file nor a valid pattern: {e}");
                return self.unusable(pattern.into(), reason);
            }
        };
        let before = self.list.len();
        for path in paths {
            match path {
                Ok(path) if path.is_dir() => self.add_folder(&path),
                Ok(path) => self.list.push(Source::File(path)),
                Err(e) => self.unusable(names::of(e.path()), format!("can't be listed: {e}")),
            }
        }
        if self.list.len() == before {
            self.unusable(pattern.into(), "the pattern matches no file".into());
        }
    }

    fn unusable(&mut self, path: String, reason: String) {
        self.list.push(Source::Unusable { path, reason });
    }
}

/// Whether a file or folder is left out where a folder is listed: its name begins with a dot, or it
/// is the `__MACOSX` that a Mac's archives hold, with things of the system's.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// Whether the file name has an image's extension (`.png`, `.jpg`, …).
pub fn has_image_name(path: &Path) -> bool {
    has_name_of(path, &[&EXTENSIONS])
}

pub(super) fn has_name_of(path: &Path, extensions: &[&[&str]]) -> bool {
    let mut known = extensions.iter().copied().flatten();
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| known.any(|known| e.eq_ignore_ascii_case(known)))
}
