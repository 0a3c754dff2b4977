//! Where in a folder a data set lies ([`find`]): the folder itself, or one below it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalog::SHARD;
use super::classes::{CLASSES_FILE, MEANT, emotions};
use super::fer2013_csv;
use super::folders::shortened;
use super::note::Unread;
use super::walk::{Kind, PassedOver, Walk};
use super::{DataError, Note, Usage};
use fer_core::images::is_shard;
use fer_core::images::sources::{has_image_name, is_hidden};
use fer_core::names::{self, Tally};
use fer_core::spec::EMOTIONS;

/// How deep a data set may lie in the folder that the user names.
const MAX_DEPTH: usize = 8;

/// The names of CSV files that are opened before any other, in this order.
const CSV_FILES: [&str; 2] = ["fer2013.csv", "icml_face_data.csv"];

/// The endings of archives that are not read.
const ARCHIVES: [&str; 9] = ["zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar", "tar"];

/// Whether a file is an archive by its name.
fn has_archive_name(path: &Path) -> bool {
    let is = |ending: &OsStr| {
        ARCHIVES
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    };
    path.extension().is_some_and(is)
}

/// A part of a data set that has a folder of its own, in the order of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    /// The usage of its images: the one that is `named`, else by the part; `three` if the set has
    /// all three.
    pub(super) fn usage(self, named: Option<Usage>, three: bool) -> Usage {
        named.unwrap_or(match self {
            Self::Train => Usage::Training,
            Self::Test if three => Usage::PrivateTest,
            Self::Validation | Self::Test => Usage::PublicTest,
        })
    }
}

/// What a folder's or a column's name says of its images: the part, and the usage if the name is
/// that of one. Case and what divides words do not matter.
pub(super) fn part(name: &str) -> Option<(Part, Option<Usage>)> {
    let name = name.replace(['_', '-', ' '], "").to_ascii_lowercase();
    Some(match name.trim_end_matches("set") {
        "train" | "training" => (Part::Train, None),
        "validation" | "valid" | "val" | "dev" | "eval" => (Part::Validation, None),
        "publictest" => (Part::Validation, Some(Usage::PublicTest)),
        "test" | "testing" => (Part::Test, None),
        "privatetest" => (Part::Test, Some(Usage::PrivateTest)),
        _ => return None,
    })
}

/// A data set on disk.
pub(super) enum Found {
    /// A CSV file.
    Csv(PathBuf),
    /// A folder of parts: the folders of each.
    Parts(Listing, Vec<(Part, Option<Usage>, Folder)>),
    /// A folder of classes.
    Classes(Listing),
}

/// A folder in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Folder {
    pub name: String,
    pub path: PathBuf,
}

/// What is in a folder, without what is hidden.
pub(super) struct Listing {
    pub path: PathBuf,
    /// Sorted by name.
    pub folders: Vec<Folder>,
    /// Files, but for those that say something of the data set.
    pub files: PassedOver,
    /// Archives among the files, by their names.
    archives: Tally,
    /// CSV files, sorted by path.
    csv: Vec<PathBuf>,
    /// Whether there is an image among the files.
    has_images: bool,
    /// A shard among the files.
    shard: Option<PathBuf>,
    /// Whether there is a file that names the classes.
    names_classes: bool,
}

impl Listing {
    pub fn of(path: &Path) -> Result<Self, DataError> {
        let mut listing = Self {
            path: path.to_path_buf(),
            folders: Vec::new(),
            files: PassedOver::default(),
            archives: Tally::default(),
            csv: Vec::new(),
            has_images: false,
            shard: None,
            names_classes: false,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(|e| DataError::read(path, e))? {
            let entry = entry.map_err(|e| DataError::read(path, e))?;
            let (name, path) = (entry.file_name(), entry.path());
            // A link counts as what it leads to.
            let kind = match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => Ok(kind),
                _ => fs::metadata(&path).map(|metadata| metadata.file_type()),
            };
            match kind {
                _ if is_hidden(&name) => {}
                Ok(kind) if kind.is_dir() => listing.folders.push(Folder {
                    name: names::of(Path::new(&name)),
                    path,
                }),
                Ok(_) if name == CLASSES_FILE => listing.names_classes = true,
                Ok(kind) if kind.is_file() => files.push((path, None)),
                Ok(_) => files.push((path, Some(Unread::Special))),
                Err(_) => files.push((path, Some(Unread::Dead))),
            }
        }
        listing.folders.sort_unstable();
        files.sort_unstable();
        for (path, unread) in files {
            let is_image = unread.is_none() && has_image_name(&path);
            listing.has_images |= is_image;
            let unread = unread.or(is_image.then_some(Unread::Beside));
            listing.files.add(&path, unread);
            if unread.is_none() {
                listing.add(path);
            }
        }
        Ok(listing)
    }

    /// Adds what a file that is not an image may say of the data set.
    fn add(&mut self, path: PathBuf) {
        if self.shard.is_none() && is_shard(&path) {
            self.shard = Some(path.clone());
        }
        if has_archive_name(&path) {
            let name = path.file_name().unwrap_or_default();
            self.archives.add(|| names::of(Path::new(name)));
        }
        if fer2013_csv::has_its_name(&path) {
            self.csv.push(path);
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().map(|folder| folder.name.as_str())
    }

    /// Whether the folder is a data set of parts or of emotions, or holds a CSV file of one.
    fn is_set(&self) -> bool {
        emotions(self.names()) >= MEANT || self.is_copy()
    }

    /// Whether the folder is a data set of parts or holds a CSV file of one, so that beside parts
    /// it is none of them.
    fn is_copy(&self) -> bool {
        let is_part = |folder: &&Folder| part(&folder.name).is_some();
        let has_folders =
            |folder: &Folder| Self::of(&folder.path).is_ok_and(|l| !l.folders.is_empty());
        self.folders.iter().filter(is_part).any(has_folders)
            || self.csv_set().is_ok_and(|file| file.is_some())
    }

    /// FER-2013's own file, if it is there.
    fn fer2013(&self) -> Option<&PathBuf> {
        let is = |path: &PathBuf, name: &str| {
            let file = path.file_name().unwrap_or_default();
            file.eq_ignore_ascii_case(name)
        };
        let find = |name: &str| self.csv.iter().find(|path| is(path, name));
        CSV_FILES.iter().find_map(|name| find(name))
    }

    /// The CSV file of the folder that is a data set.
    fn csv_set(&self) -> Result<Option<&PathBuf>, DataError> {
        if let Some(own) = self.fer2013() {
            return Ok(Some(own));
        }
        let mut sets = self.csv.iter().filter(|path| fer2013_csv::is_one(path));
        match (sets.next(), sets.next()) {
            (Some(first), Some(second)) => Err(DataError::folders(
                &self.path,
                format!(
                    "holds several CSV files of images ({}, {}, …); name one of them",
                    names::of(first),
                    names::of(second)
                ),
            )),
            (only, _) => Ok(only),
        }
    }
}

impl Folder {
    /// Whether there are images in the folder or below it.
    fn holds_images(&self) -> bool {
        let mut found = Walk::of(&self.path).flatten();
        // One that can't be read is told where the folder is read.
        found.any(|(path, kind)| kind == Kind::Image || has_image_name(&path))
    }
}

/// Finds the data set that a folder is or holds: parts, classes or a CSV file, in the folder or in
/// the one folder below it that can be meant, and so on.
///
/// # Errors
/// A folder can't be read, or several data sets lie in it.
pub(super) fn find(named: &Path, notes: &mut Vec<Note>) -> Result<Found, DataError> {
    let mut listing = Listing::of(named)?;
    let mut depth = 0;
    let found = loop {
        let parts = parts(&listing, notes)?;
        if !parts.is_empty() {
            break Found::Parts(listing, parts);
        }
        if listing.names_classes || emotions(listing.names()) >= MEANT {
            break Found::Classes(listing);
        }
        if let Some(file) = listing.csv_set()? {
            break Found::Csv(file.clone());
        }
        match below(&listing)? {
            Some(next) if depth < MAX_DEPTH => listing = next,
            _ => break Found::Classes(listing),
        }
        depth += 1;
    };
    let at = found.path();
    if at != named {
        let (named, found) = (named.into(), at.into());
        notes.insert(0, Note::Inside { named, found });
    }
    Ok(found)
}

impl Found {
    /// The folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Csv(path) => path,
            Self::Parts(listing, _) | Self::Classes(listing) => &listing.path,
        }
    }
}

/// The folders that are parts of a data set, in the order of the parts.
fn parts(
    listing: &Listing,
    notes: &mut Vec<Note>,
) -> Result<Vec<(Part, Option<Usage>, Folder)>, DataError> {
    let mut parts: Vec<(Part, Option<Usage>, Folder)> = Vec::new();
    let mut others = Vec::new();
    for folder in &listing.folders {
        let Some((part, usage)) = part(&folder.name) else {
            others.push(folder);
            continue;
        };
        if let Some((.., other)) = parts.iter().find(|(known, ..)| *known == part) {
            let problem = format!(
                "the folders {} and {} are the same part of a data set; keep one",
                other.name, folder.name
            );
            return Err(DataError::folders(&listing.path, problem));
        }
        parts.push((part, usage, folder.clone()));
    }
    if parts.is_empty() {
        return Ok(parts);
    }
    parts.sort_unstable();
    // A misspelt part or class would be lost in silence. A copy of the data set, or a folder
    // without images, is neither.
    others.retain(|folder| folder.holds_images());
    let is_copy = |folder: &&&Folder| Listing::of(&folder.path).is_ok_and(|inner| inner.is_copy());
    let (copies, others): (Vec<&Folder>, Vec<&Folder>) = others.iter().partition(is_copy);
    if !others.is_empty() {
        let names = |folders: Vec<&Folder>| shortened(folders.iter().map(|f| f.name.as_str()));
        let problem = format!(
            "beside {} there is {}, which is none of train, validation and test; rename or move it, \
             or name the one folder that is meant",
            names(parts.iter().map(|(.., folder)| folder).collect()),
            names(others)
        );
        return Err(DataError::folders(&listing.path, problem));
    }
    if !copies.is_empty() {
        notes.push(Note::Beside(
            copies.iter().map(|folder| folder.name.clone()).collect(),
        ));
    }
    Ok(parts)
}

/// The one folder in a folder that can be meant by it; `None` if the folder itself is to be taken
/// for a data set.
fn below(listing: &Listing) -> Result<Option<Listing>, DataError> {
    // Folders without images may lie beside the data set.
    let mut there = Vec::new();
    for folder in &listing.folders {
        let inner = Listing::of(&folder.path)?;
        let is_set = inner.is_set();
        if is_set || folder.holds_images() {
            there.push((folder.name.as_str(), inner, is_set));
        }
    }
    if there.len() == 1 {
        let one = there
            .pop()
            .filter(|(_, inner, is_set)| *is_set || !inner.has_images && !inner.folders.is_empty());
        return Ok(one.map(|(_, inner, _)| inner));
    }
    if there.iter().any(|(.., is_set)| *is_set) {
        let all = shortened(there.iter().map(|(name, ..)| name));
        let problem = format!("holds several folders that can be meant ({all}); name one of them");
        return Err(DataError::folders(&listing.path, problem));
    }
    Ok(None)
}

/// A folder that does not hold a data set.
pub(super) fn no_classes(listing: &Listing) -> DataError {
    let inner = listing.folders.iter().map(|f| Listing::of(&f.path));
    let mut inner = inner.filter_map(|inner| inner.ok()?.shard);
    if let Some(shard) = listing.shard.clone().or_else(|| inner.next()) {
        return DataError::folders(&shard, SHARD);
    }
    if listing.folders.is_empty() && listing.archives.count > 0 {
        let problem = format!(
            "holds no class folders, but {}; unpack it, and name the folder or the .csv file that \
             it makes",
            listing.archives
        );
        return DataError::folders(&listing.path, problem);
    }
    let there = match listing.folders.is_empty() {
        true => "nothing".into(),
        false => shortened(listing.names()),
    };
    let problem = format!(
        "holds no class folders (there is {there}); name the folder that holds train/ and test/, \
         or two class folders or more, such as {}",
        EMOTIONS.join(", ")
    );
    DataError::folders(&listing.path, problem)
}
