//! Lists of images: one relative name a line, `#` before comments; empty lines count for nothing.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Catalog, DataError, Item};

/// The largest list that is read: 256 MiB.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// The names of a list.
#[derive(Debug)]
pub(super) struct List {
    path: String,
    /// With the line where each comes first, from 1.
    names: BTreeMap<String, usize>,
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// It can't be read, is not text, or is too large.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut text = String::new();
        let read =
            File::open(path).and_then(|f| f.take(MAX_LIST_BYTES + 1).read_to_string(&mut text));
        read.map_err(|e| DataError::read(path, e))?;
        let mut list = Self {
            path: path.display().to_string(),
            names: BTreeMap::new(),
        };
        if text.len() as u64 > MAX_LIST_BYTES {
            return Err(
                list.wrong("the list is over 256 MiB; it takes one image name a line".into())
            );
        }
        let lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .enumerate();
        for (line, name) in lines.filter(|(_, name)| !name.is_empty() && !name.starts_with('#')) {
            list.names.entry(name.into()).or_insert(line + 1);
        }
        Ok(list)
    }

    /// Whether an image is on it.
    pub fn has(&self, item: &Item) -> bool {
        self.names.contains_key(&item.relative)
    }

    /// Refuses a list with names of images that are neither in the catalog nor among the `others`,
    /// as a list of another data set has.
    ///
    /// # Errors
    /// There are some.
    pub fn check(&self, catalog: &Catalog, others: &HashSet<String>) -> Result<(), DataError> {
        let known: HashSet<&str> = catalog
            .items
            .iter()
            .map(|item| item.relative.as_str())
            .collect();
        let is_unknown = |name: &str| !known.contains(name) && !others.contains(name);
        let unknown: Vec<_> = self
            .names
            .iter()
            .filter(|(name, _)| is_unknown(name))
            .collect();
        match unknown.iter().min_by_key(|(_, line)| **line) {
            None => Ok(()),
            Some((name, line)) => Err(self.wrong(format!(
                "{} of its {} names are not in {}, the first in line {line}: {name}; use a list \
                 that was made for this data set",
                unknown.len(),
                self.names.len(),
                catalog.source.display()
            ))),
        }
    }

    fn wrong(&self, problem: String) -> DataError {
        DataError::List {
            path: self.path.clone(),
            problem,
        }
    }
}

impl Catalog {
    /// Takes the images out that a list names by their [`relative`](super::Item::relative) names,
    /// as `fer data check --quarantine` writes it. Returns how many these are.
    ///
    /// # Errors
    /// The list can't be read, or it names an image that is not in the catalog, as a list of
    /// another data set does; nothing is taken out then.
    pub fn exclude(&mut self, list: &Path) -> Result<usize, DataError> {
        let list = List::read(list)?;
        list.check(self, &HashSet::new())?;
        self.items.retain(|item| !list.has(item));
        let count = list.names.len();
        self.excluded.extend(list.names.into_keys());
        Ok(count)
    }
}
