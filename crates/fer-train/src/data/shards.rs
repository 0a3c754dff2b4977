//! Data sets in shards, files that hold many images, which another crate reads; see
//! [`Catalog::of_shards`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::Origin;
use super::classes::{self, Classes};
use super::folders::is_raf_db;
use super::layout::{self, Part};
use super::{CLASSES, Catalog, DataError, Form, Item, Usage};
use fer_core::images::Stored;
use fer_core::names::{self, Tally};

/// A shard's labeled images.
#[derive(Debug, Clone)]
pub struct ShardImages {
    /// The file.
    pub path: PathBuf,
    /// Its images.
    pub images: Vec<ShardImage>,
}

/// A labeled image in a shard.
#[derive(Debug, Clone)]
pub struct ShardImage {
    /// Its name behind the shard's: `#17`, `/a.jpg`.
    pub name: String,
    /// Its class, in the words of the data set, or as a number.
    pub label: String,
    /// Its bytes.
    pub image: Stored,
}

impl Catalog {
    /// Lists a data set in shards: of a folder, or the only shard. No image is opened.
    ///
    /// What a shard's images are for is in its name (`train-00000-of-00002.parquet`,
    /// `faces-test-03.tar`) or in that of a folder around it, in the words of [`open`](Self::open);
    /// where no name says it, and of the only shard, the data set has no parts. The classes are
    /// found as for folders, from the labels and from a `classes.txt`; `given` names them.
    ///
    /// # Errors
    /// The set has no images; some shards are parts and others are not; the classes do not fit.
    pub fn of_shards(
        source: &Path,
        shards: Vec<ShardImages>,
        given: Option<&[String]>,
    ) -> Result<Self, DataError> {
        if let Some(classes) = given {
            super::check_classes(classes).map_err(|problem| DataError::folders(source, problem))?;
        }
        let mut notes = Vec::new();
        let folder = match source.is_dir() {
            true => source,
            false => source.parent().unwrap_or(source),
        };
        let named = match given {
            Some(given) => Some(given.to_vec()),
            None => classes::named(folder)?,
        };
        let labels = shards.iter().flat_map(|shard| &shard.images);
        let labels: BTreeSet<&str> = labels.map(|image| image.label.as_str()).collect();
        let is_raf_db = is_raf_db(folder);
        let classes = Classes::of(source, &labels, named.as_deref(), is_raf_db, &mut notes)?;
        if classes.names.len() < *CLASSES.start() {
            let problem = match labels.first() {
                None => "holds no images".to_string(),
                Some(label) => format!("all images have the label {label}; it takes two classes"),
            };
            return Err(DataError::folders(source, problem));
        }
        let mut parts = Vec::new();
        for shard in shards {
            // A shard that is named itself is all that is meant.
            let part = part_of(&shard.path, source).filter(|_| shard.path != source);
            parts.push((part, shard));
        }
        let of_part = parts.iter().find(|(part, _)| part.is_some());
        let of_none = parts.iter().find(|(part, _)| part.is_none());
        if let (Some((_, one)), Some((_, other))) = (of_part, of_none) {
            let problem = format!(
                "the name of {} says that it is a part of the data set, that of {} says nothing; \
                 name it train, validation or test too",
                names::of(&one.path),
                names::of(&other.path)
            );
            return Err(DataError::folders(source, problem));
        }
        let has = |wanted| {
            parts
                .iter()
                .any(|(part, _)| part.map(|(p, _)| p) == Some(wanted))
        };
        let three = has(Part::Validation) && has(Part::Test);
        let form = match (of_part, three) {
            (None, _) => Form::Classes,
            (_, true) => Form::TrainValidationTest,
            (_, false) => Form::TrainTest,
        };
        // The shards of a part keep their order.
        parts.sort_by_key(|(part, _)| part.map(|(part, _)| part));
        let class_names: Vec<Arc<str>> = classes.names.iter().map(|n| n.as_str().into()).collect();
        let mut items = Vec::new();
        for (part, shard) in parts {
            let usage = part.map(|(part, named)| part.usage(named, three));
            let (name, relative) = (names::of(&shard.path), relative(&shard.path, source));
            for image in shard.images {
                let Some(label) = classes.label(&image.label) else {
                    return Err(DataError::Image {
                        name: format!("{name}{}", image.name),
                        problem: format!(
                            "its label, {}, is none of the classes ({})",
                            image.label,
                            super::shortened(&classes.names)
                        ),
                    });
                };
                items.push(Item {
                    name: format!("{name}{}", image.name),
                    relative: format!("{relative}{}", image.name),
                    label: label as u16,
                    class: Arc::clone(&class_names[label]),
                    usage,
                    origin: Origin::Stored(image.image),
                });
            }
        }
        Ok(Self {
            items,
            classes: classes.names,
            source: source.to_path_buf(),
            form,
            passed_over: Tally::default(),
            notes,
            excluded: Default::default(),
        })
    }
}

/// The part that a shard's name, or that of a folder around it, says.
fn part_of(shard: &Path, source: &Path) -> Option<(Part, Option<Usage>)> {
    let stem = shard.file_stem().unwrap_or_default().to_string_lossy();
    let words: Vec<&str> = stem.split(['-', '_', '.', ' ']).collect();
    // Public_Test is not just a test.
    let pairs = words.windows(2).map(<[&str]>::concat);
    let words = words.iter().map(|word| word.to_string());
    if let Some(part) = pairs.chain(words).find_map(|name| layout::part(&name)) {
        return Some(part);
    }
    let folders = shard.strip_prefix(source).ok()?.parent()?;
    let mut folders = folders.components().rev();
    folders.find_map(|folder| layout::part(&folder.as_os_str().to_string_lossy()))
}

/// A shard's name in the data set, with `/` on every system.
fn relative(shard: &Path, source: &Path) -> String {
    let inner = shard.strip_prefix(source).unwrap_or(shard);
    let inner = match inner.as_os_str().is_empty() {
        true => Path::new(shard.file_name().unwrap_or_default()),
        false => inner,
    };
    let parts = inner.components();
    let parts: Vec<_> = parts
        .map(|part| names::of(Path::new(part.as_os_str())))
        .collect();
    parts.join("/")
}
