//! Data sets as folders: `train/<class>/*` and `test/<class>/*`, or `<class>/*`; see
//! [`Catalog::open`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::Origin;
use super::classes::{self, CLASSES_FILE, Classes, same_class};
use super::layout::{Folder, Listing, Part, no_classes};
use super::walk::{Kind, PassedOver, Walk};
use super::{Catalog, DataError, Form, Item, Usage};
use fer_core::names;
use fer_core::spec::EMOTIONS;

/// Class folders of one part.
struct Group {
    listing: Listing,
    /// What their images are where the images' names don't say.
    usage: Option<Usage>,
}

/// Lists a folder of class folders.
pub(super) fn of_classes(
    catalog: &mut Catalog,
    listing: Listing,
    given: Option<&[String]>,
) -> Result<(), DataError> {
    let source = listing.path.clone();
    let usage = None;
    add(catalog, &source, vec![Group { listing, usage }], given)
}

/// Lists a folder of parts, each of them a folder of class folders.
pub(super) fn of_parts(
    catalog: &mut Catalog,
    listing: &Listing,
    parts: Vec<(Part, Option<Usage>, Folder)>,
    given: Option<&[String]>,
) -> Result<(), DataError> {
    let files = listing.files.clone();
    files.tell(&mut catalog.passed_over, &mut catalog.notes);
    let has = |part| parts.iter().any(|(known, ..)| *known == part);
    let three = has(Part::Validation) && has(Part::Test);
    catalog.form = match three {
        true => Form::TrainValidationTest,
        false => Form::TrainTest,
    };
    let group = |(part, usage, folder): (Part, Option<Usage>, Folder)| {
        Ok(Group {
            listing: Listing::of(&folder.path)?,
            usage: Some(part.usage(usage, three)),
        })
    };
    let groups = parts.into_iter().map(group).collect::<Result<_, _>>()?;
    add(catalog, &listing.path, groups, given)
}

/// Finds the classes and adds their images.
fn add(
    catalog: &mut Catalog,
    source: &Path,
    groups: Vec<Group>,
    given: Option<&[String]>,
) -> Result<(), DataError> {
    let named = match given {
        Some(given) => Some(given.to_vec()),
        None => classes::named(source)?,
    };
    let all = groups.iter().flat_map(|group| &group.listing.folders);
    let all: BTreeSet<&str> = all.map(|folder| folder.name.as_str()).collect();
    if let (0..2, Some(first)) = (all.len(), groups.first()) {
        return Err(no_classes(&first.listing));
    }
    let is_raf_db = is_raf_db(source);
    let classes = Classes::of(
        source,
        &all,
        named.as_deref(),
        is_raf_db,
        &mut catalog.notes,
    )?;
    for group in &groups {
        let files = group.listing.files.clone();
        files.tell(&mut catalog.passed_over, &mut catalog.notes);
        add_classes(catalog, group, &classes)?;
    }
    catalog.classes = classes.names;
    Ok(())
}

/// Whether a data set is RAF-DB by the name of its folder, or of the folder around it.
pub(super) fn is_raf_db(source: &Path) -> bool {
    let path = source.canonicalize().unwrap_or_else(|_| source.into());
    path.components().rev().take(2).any(|folder| {
        let name = folder.as_os_str().to_string_lossy().to_lowercase();
        let letters: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
        letters.contains("rafdb")
    })
}

/// Adds the images of the class folders of a part.
fn add_classes(catalog: &mut Catalog, group: &Group, classes: &Classes) -> Result<(), DataError> {
    let mut found: Vec<Option<&Folder>> = vec![None; classes.names.len()];
    let mut unknown = Vec::new();
    for folder in &group.listing.folders {
        match classes.label(&folder.name) {
            None => unknown.push(folder.name.as_str()),
            Some(label) => {
                if let Some(other) = found[label].replace(folder) {
                    let problem = same_class(&other.name, &folder.name);
                    return Err(DataError::folders(&group.listing.path, problem));
                }
            }
        }
    }
    let labels = classes.names.iter().zip(&found);
    let missing = labels.filter(|(_, found)| found.is_none());
    let mut missing: Vec<&str> = missing.map(|(class, _)| class.as_str()).collect();
    if classes.are_emotions && !unknown.is_empty() {
        // The strange folder may be meant as one of these.
        let others = EMOTIONS.into_iter();
        missing.extend(others.filter(|emotion| !classes.names.iter().any(|name| name == emotion)));
    }
    if !missing.is_empty() || !unknown.is_empty() {
        let there = found.iter().flatten().map(|folder| folder.name.as_str());
        let there: Vec<&str> = there.collect();
        let own = match classes.are_emotions {
            true => format!(" (a {CLASSES_FILE} names other classes than the emotions)"),
            false => String::new(),
        };
        let (gone, there, strange) = (shortened(&missing), shortened(&there), shortened(&unknown));
        let problem = match (unknown.is_empty(), missing.is_empty()) {
            (true, _) => format!("the class {gone} is missing (there is {there}); add it{own}"),
            (false, true) => format!("the folder {strange} is not a class; rename or move it{own}"),
            (false, false) => format!(
                "the folder {strange} is not a class, and the class {gone} is missing; rename \
                 it{own}"
            ),
        };
        return Err(DataError::folders(&group.listing.path, problem));
    }
    for (label, (folder, class)) in found.into_iter().flatten().zip(&classes.names).enumerate() {
        let class = (label as u16, Arc::from(class.as_str()));
        add_images(catalog, &folder.path, class, group.usage)?;
    }
    Ok(())
}

/// Names in a message: the first of them, and how many more there are.
pub fn shortened(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    const SHOWN: usize = 10;
    let mut names = names.into_iter();
    let first: Vec<_> = names.by_ref().take(SHOWN).collect();
    let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
    match names.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Adds the images of one class, in Keras's order.
fn add_images(
    catalog: &mut Catalog,
    folder: &Path,
    (label, class): (u16, Arc<str>),
    usage: Option<Usage>,
) -> Result<(), DataError> {
    let mut files: Vec<(PathBuf, OsString)> = Vec::new();
    let mut passed_over = PassedOver::default();
    for found in Walk::of(folder) {
        let (path, kind) = found?;
        match kind {
            Kind::Image => {
                let parent = path.parent().unwrap_or(folder).to_path_buf();
                files.push((parent, path.file_name().unwrap_or_default().to_os_string()));
            }
            Kind::Other => passed_over.add(&path, None),
            Kind::Unread(why) => passed_over.add(&path, Some(why)),
        }
    }
    if files.is_empty() {
        let others = match passed_over.shown().as_str() {
            "" => String::new(),
            shown => format!(" (not read: {shown})"),
        };
        let problem = format!("the class folder holds no images{others}; put some in");
        return Err(DataError::folders(folder, problem));
    }
    passed_over.tell(&mut catalog.passed_over, &mut catalog.notes);
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
            .map(|part| names::of(Path::new(part.as_os_str())))
            .collect();
        catalog.items.push(Item {
            name: names::of(&path),
            relative: parts.join("/"),
            label,
            class: Arc::clone(&class),
            usage,
            origin: Origin::File(path),
        });
    }
    Ok(())
}
