//! Data sets as folders: `train/<class>/*` and `test/<class>/*`, or `<class>/*`; see
//! [`Catalog::open`].

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalog::Origin;
use super::{Catalog, DataError, Form, Item, Usage};
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

/// What a folder's name says it is.
enum Kind {
    Part(Part),
    Class(usize),
    Unknown,
}

fn kind(name: &str) -> Kind {
    let name = name.to_ascii_lowercase();
    let class = |names: [&str; 7]| names.iter().position(|known| *known == name);
    match name.as_str() {
        "train" | "training" => Kind::Part(Part::Train),
        "validation" | "valid" | "val" => Kind::Part(Part::Validation),
        "test" => Kind::Part(Part::Test),
        _ => class(EMOTIONS)
            .or_else(|| class(SYNONYMS))
            .map_or(Kind::Unknown, Kind::Class),
    }
}

/// Lists the folder `source`.
pub(super) fn open(source: &Path) -> Result<Catalog, DataError> {
    let top = Listing::of(source)?;
    let mut catalog = Catalog {
        items: Vec::new(),
        source: source.to_path_buf(),
        form: Form::Classes,
        ignored: top.ignored,
        excluded: HashSet::new(),
    };
    let mut parts: Vec<(Part, &str)> = Vec::new();
    for folder in &top.folders {
        if let Kind::Part(part) = kind(folder) {
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
        add_classes(&mut catalog, source, &top.folders, None)?;
        return Ok(catalog);
    }
    let others: Vec<&str> = top
        .folders
        .iter()
        .map(String::as_str)
        .filter(|f| !matches!(kind(f), Kind::Part(_)))
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
    for (part, name) in parts {
        let folder = source.join(name);
        let listing = Listing::of(&folder)?;
        catalog.ignored += listing.ignored;
        let usage = match part {
            Part::Train => Usage::Training,
            Part::Test if three => Usage::PrivateTest,
            Part::Validation | Part::Test => Usage::PublicTest,
        };
        add_classes(&mut catalog, &folder, &listing.folders, Some(usage))?;
    }
    Ok(catalog)
}

/// Adds the images of the class folders `names` in `folder`; `usage` is what they are where their
/// names don't say.
fn add_classes(
    catalog: &mut Catalog,
    folder: &Path,
    names: &[String],
    usage: Option<Usage>,
) -> Result<(), DataError> {
    let mut classes: [Option<&str>; EMOTIONS.len()] = [None; EMOTIONS.len()];
    let mut unknown = Vec::new();
    for name in names {
        match kind(name) {
            Kind::Class(label) => {
                if let Some(other) = classes[label].replace(name) {
                    let problem = format!(
                        "the folders {other} and {name} are the same class; make one of them"
                    );
                    return Err(DataError::folders(folder, problem));
                }
            }
            _ => unknown.push(name.as_str()),
        }
    }
    let found: Vec<&str> = classes.iter().copied().flatten().collect();
    let missing: Vec<&str> = EMOTIONS
        .iter()
        .zip(&classes)
        .filter(|(_, found)| found.is_none())
        .map(|(class, _)| *class)
        .collect();
    let problem = match (unknown.as_slice(), found.as_slice(), missing.as_slice()) {
        (_, [], _) => {
            let there = if names.is_empty() {
                "nothing".into()
            } else {
                names.join(", ")
            };
            format!(
                "holds no class folders (there is {there}); name the folder that holds train/ and test/, or the classes {}",
                EMOTIONS.join(", ")
            )
        }
        ([], _, []) => String::new(),
        ([], _, _) => format!(
            "the class {} is missing (there is {}); add it",
            missing.join(", "),
            found.join(", ")
        ),
        (_, _, []) => format!(
            "the folder {} is no class; rename or move it",
            unknown.join(", ")
        ),
        _ => format!(
            "the folder {} is no class, and the class {} is missing; rename it",
            unknown.join(", "),
            missing.join(", ")
        ),
    };
    if !problem.is_empty() {
        return Err(DataError::folders(folder, problem));
    }
    for (label, name) in found.into_iter().enumerate() {
        add_images(catalog, &folder.join(name), label as u8, usage)?;
    }
    Ok(())
}

/// Adds the images of one class, in Keras's order.
fn add_images(
    catalog: &mut Catalog,
    folder: &Path,
    label: u8,
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
