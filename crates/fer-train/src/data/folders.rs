//! Data sets as folders: `train/<class>/*` and `test/<class>/*`, or `<class>/*`; see
//! [`Catalog::open`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::Origin;
use super::{CLASSES, Catalog, DataError, Form, Item, Usage};
use fer_core::images::sources::has_image_name;
use fer_core::spec::EMOTIONS;

/// Other names that class folders have, in the order of [`EMOTIONS`].
const SYNONYMS: [&str; 7] = [
    "anger",
    "disgusted",
    "fearful",
    "happiness",
    "neutrality",
    "sadness",
    "surprised",
];

/// A folder of `DIR` that holds class folders, in the order of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Train,
    Validation,
    Test,
}

/// The part that a folder's name means.
fn part(name: &str) -> Option<Part> {
    match name.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "validation" | "valid" | "val" => Some(Part::Validation),
        "test" => Some(Part::Test),
        _ => None,
    }
}

/// The emotion that a folder's name means, an index into [`EMOTIONS`].
fn emotion(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let among = |names: [&str; 7]| names.iter().position(|known| *known == name);
    among(EMOTIONS).or_else(|| among(SYNONYMS))
}

/// Lists the folder `source`.
pub(super) fn open(source: &Path) -> Result<Catalog, DataError> {
    let top = Listing::of(source)?;
    let mut catalog = Catalog {
        items: Vec::new(),
        classes: Vec::new(),
        source: source.to_path_buf(),
        form: Form::Classes,
        ignored: top.ignored,
        excluded: HashSet::new(),
    };
    let mut parts: Vec<(Part, &str)> = Vec::new();
    for folder in &top.folders {
        if let Some(part) = part(folder) {
            if let Some((_, other)) = parts.iter().find(|(known, _)| *known == part) {
                let problem = format!(
                    "the folders {other} and {folder} are the same part of a data set; keep one"
                );
                return Err(DataError::folders(source, problem));
            }
            parts.push((part, folder));
        }
    }
    parts.sort_unstable();
    if parts.is_empty() {
        let classes = Classes::of(source, &[(source, &top.folders)])?;
        classes.add(&mut catalog, source, &top.folders, None)?;
        catalog.classes = classes.names();
        return Ok(catalog);
    }
    let others: Vec<&str> = top
        .folders
        .iter()
        .map(String::as_str)
        .filter(|f| part(f).is_none())
        .collect();
    if !others.is_empty() {
        let names: Vec<_> = parts.iter().map(|(_, name)| *name).collect();
        let problem = format!(
            "beside {} there is {}, which is none of train, validation and test; rename or move it",
            names.join(", "),
            others.join(", ")
        );
        return Err(DataError::folders(source, problem));
    }
    let has = |part| parts.iter().any(|(known, _)| *known == part);
    let three = has(Part::Validation) && has(Part::Test);
    catalog.form = if three {
        Form::TrainValidationTest
    } else {
        Form::TrainTest
    };
    let mut listed = Vec::new();
    for (part, name) in parts {
        let folder = source.join(name);
        let listing = Listing::of(&folder)?;
        catalog.ignored += listing.ignored;
        listed.push((part, folder, listing.folders));
    }
    let folders: Vec<(&Path, &Vec<String>)> = listed
        .iter()
        .map(|(_, folder, names)| (folder.as_path(), names))
        .collect();
    let classes = Classes::of(source, &folders)?;
    for (part, folder, names) in &listed {
        let usage = match part {
            Part::Train => Usage::Training,
            Part::Test if three => Usage::PrivateTest,
            Part::Validation | Part::Test => Usage::PublicTest,
        };
        classes.add(&mut catalog, folder, names, Some(usage))?;
    }
    catalog.classes = classes.names();
    Ok(catalog)
}

/// A file beside the class folders, or beside train/ and test/, that names the classes.
const CLASSES_FILE: &str = "classes.txt";

/// No such file is larger, in bytes.
const MAX_CLASSES_BYTES: u64 = 1 << 20;

/// Class folders named as emotions from which on the classes are the seven emotions.
const MEANT: usize = 5;

/// The classes of a data set, and which folders they have.
enum Classes {
    /// [`EMOTIONS`], under any of their names.
    Emotions,
    /// The folders' own names, in the order of their labels.
    Own(Vec<String>),
}

impl Classes {
    /// What the folders `listed`, those of each part, say that the classes are.
    fn of(source: &Path, listed: &[(&Path, &Vec<String>)]) -> Result<Self, DataError> {
        if let Some(names) = named(source)? {
            return Ok(Self::Own(names));
        }
        let names: BTreeSet<&str> = listed
            .iter()
            .flat_map(|(_, names)| names.iter().map(String::as_str))
            .collect();
        let emotions: BTreeSet<usize> = names.iter().filter_map(|name| emotion(name)).collect();
        if emotions.len() >= MEANT {
            return Ok(Self::Emotions);
        }
        if names.len() < *CLASSES.start() {
            let folder = listed.first().map_or(source, |(folder, _)| folder);
            let there = match names.is_empty() {
                true => "nothing".into(),
                false => shortened(&names),
            };
            let problem = format!(
                "holds no class folders (there is {there}); name the folder that holds train/ and \
                 test/, or two class folders or more, such as {}",
                EMOTIONS.join(", ")
            );
            return Err(DataError::folders(folder, problem));
        }
        if names.len() > *CLASSES.end() {
            let problem = format!(
                "holds {} folders; a data set has {} classes at most",
                names.len(),
                CLASSES.end()
            );
            return Err(DataError::folders(source, problem));
        }
        let mut lower: HashMap<String, &str> = HashMap::new();
        for name in &names {
            if let Some(other) = lower.insert(name.to_lowercase(), name) {
                return Err(DataError::folders(source, same_class(other, name)));
            }
        }
        Ok(Self::Own(names.into_iter().map(String::from).collect()))
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Emotions => EMOTIONS.map(String::from).to_vec(),
            Self::Own(names) => names.clone(),
        }
    }

    /// The label of a folder.
    fn label(&self, folder: &str) -> Option<usize> {
        match self {
            Self::Emotions => emotion(folder),
            Self::Own(names) => names.iter().position(|name| name == folder),
        }
    }

    /// Adds the images of the class folders `folders` in `folder`; `usage` is what they are where
    /// their names don't say.
    fn add(
        &self,
        catalog: &mut Catalog,
        folder: &Path,
        folders: &[String],
        usage: Option<Usage>,
    ) -> Result<(), DataError> {
        let names = self.names();
        let mut classes: Vec<Option<&str>> = vec![None; names.len()];
        let mut unknown = Vec::new();
        for name in folders {
            match self.label(name) {
                None => unknown.push(name.as_str()),
                Some(label) => {
                    if let Some(other) = classes[label].replace(name) {
                        return Err(DataError::folders(folder, same_class(other, name)));
                    }
                }
            }
        }
        let found: Vec<&str> = classes.iter().copied().flatten().collect();
        let missing: Vec<&str> = names
            .iter()
            .zip(&classes)
            .filter(|(_, found)| found.is_none())
            .map(|(class, _)| class.as_str())
            .collect();
        let (gone, there, strange) = (shortened(&missing), shortened(&found), shortened(&unknown));
        let own = match self {
            Self::Emotions => {
                format!(" (a {CLASSES_FILE} names other classes than the seven emotions)")
            }
            Self::Own(_) => String::new(),
        };
        let problem = match (unknown.is_empty(), missing.is_empty()) {
            (true, true) => String::new(),
            (true, false) => {
                format!("the class {gone} is missing (there is {there}); add it{own}")
            }
            (false, true) => format!("the folder {strange} is not a class; rename or move it{own}"),
            (false, false) => format!(
                "the folder {strange} is not a class, and the class {gone} is missing; rename it{own}"
            ),
        };
        if !problem.is_empty() {
            return Err(DataError::folders(folder, problem));
        }
        for (label, (name, class)) in found.into_iter().zip(names).enumerate() {
            let class = (label as u16, Arc::from(class));
            add_images(catalog, &folder.join(name), class, usage)?;
        }
        Ok(())
    }
}

/// The classes that a file in the data set's folder names, a line each.
fn named(source: &Path) -> Result<Option<Vec<String>>, DataError> {
    let path = source.join(CLASSES_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    fs::File::open(&path)
        .and_then(|file| file.take(MAX_CLASSES_BYTES).read_to_string(&mut text))
        .map_err(|e| DataError::read(&path, e))?;
    let names: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_string())
        .filter(|line| !line.is_empty())
        .collect();
    let distinct: HashSet<&String> = names.iter().collect();
    if !CLASSES.contains(&names.len()) || distinct.len() != names.len() {
        let problem = format!(
            "names {} classes, {} of them different; there have to be {} to {}, all different",
            names.len(),
            distinct.len(),
            CLASSES.start(),
            CLASSES.end()
        );
        return Err(DataError::folders(&path, problem));
    }
    Ok(Some(names))
}

fn same_class(first: &str, second: &str) -> String {
    format!("the folders {first} and {second} are the same class; make one of them")
}

/// Names in a message: the first of them, and how many more there are.
pub fn shortened<'a>(
    names: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> String {
    const SHOWN: usize = 10;
    let names: Vec<&str> = names.into_iter().map(AsRef::as_ref).collect();
    match names.len() {
        n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => names.join(", "),
    }
}

/// Adds the images of one class, in Keras's order.
fn add_images(
    catalog: &mut Catalog,
    folder: &Path,
    (label, class): (u16, Arc<str>),
    usage: Option<Usage>,
) -> Result<(), DataError> {
    let hidden = |e: &walkdir::DirEntry| is_hidden(&e.file_name().to_string_lossy());
    let mut files: Vec<(PathBuf, OsString)> = Vec::new();
    for entry in walkdir::WalkDir::new(folder)
        .min_depth(1)
        .into_iter()
        .filter_entry(|e| !(hidden(e) && e.file_type().is_dir()))
    {
        let entry = entry.map_err(|e| {
            let path = e.path().unwrap_or(folder).to_path_buf();
            DataError::read(&path, e.into())
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        // A link counts as what it leads to, unless that is a folder.
        let is_file =
            entry.file_type().is_file() || entry.path_is_symlink() && entry.path().is_file();
        if is_file && !hidden(&entry) && has_image_name(entry.path()) {
            let parent = entry.path().parent().unwrap_or(folder).to_path_buf();
            files.push((parent, entry.file_name().to_os_string()));
        } else {
            catalog.ignored += 1;
        }
    }
    if files.is_empty() {
        return Err(DataError::folders(
            folder,
            "the class folder holds no images; put some in",
        ));
    }
    // Bytes of UTF-8 sort as code points do. Folders sort by their paths' text, in which 'a-b'
    // comes before 'a/b'.
    files.sort_unstable_by(|a, b| (a.0.as_os_str(), &a.1).cmp(&(b.0.as_os_str(), &b.1)));
    for (parent, file) in files {
        let text = file.to_string_lossy();
        let prefix = text
            .split_once('_')
            .and_then(|(prefix, _)| prefix.parse().ok());
        let usage = match usage {
            Some(Usage::PublicTest | Usage::PrivateTest) => {
                prefix.filter(|u| *u != Usage::Training).or(usage)
            }
            _ => usage,
        };
        let path = parent.join(&file);
        let parts = path
            .strip_prefix(&catalog.source)
            .unwrap_or(&path)
            .components();
        let parts: Vec<_> = parts
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        catalog.items.push(Item {
            name: path.display().to_string(),
            relative: parts.join("/"),
            label,
            class: Arc::clone(&class),
            usage,
            origin: Origin::File(path),
        });
    }
    Ok(())
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// The folders in a folder, sorted and without hidden ones, and the number of other things in it.
struct Listing {
    folders: Vec<String>,
    ignored: usize,
}

impl Listing {
    fn of(folder: &Path) -> Result<Self, DataError> {
        let mut listing = Self {
            folders: Vec::new(),
            ignored: 0,
        };
        for entry in fs::read_dir(folder).map_err(|e| DataError::read(folder, e))? {
            let entry = entry.map_err(|e| DataError::read(folder, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !is_hidden(&name) {
                listing.folders.push(name);
            } else {
                listing.ignored += 1;
            }
        }
        listing.folders.sort_unstable();
        Ok(listing)
    }
}
