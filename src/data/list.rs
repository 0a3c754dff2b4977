//! Lists of images to leave out: one relative name a line, `#` before comments; empty lines count for nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Catalog, DataError};

/// The largest list that is read: 256 MiB.
const MAX_LIST_BYTES: u64 = 256 << 20;

impl Catalog {
    /// Takes the images out that a list names by their [`relative`](super::Item::relative) names, as
    /// `fer data check --quarantine` writes it. Returns how many these are.
    ///
    /// # Errors
    /// The list can't be read, or it names an image that is not in the catalog, as a list of another data set does; nothing
    /// is taken out then.
    pub fn exclude(&mut self, list: &Path) -> Result<usize, DataError> {
        let mut text = String::new();
        let read = File::open(list).and_then(|f| f.take(MAX_LIST_BYTES + 1).read_to_string(&mut text));
        read.map_err(|e| DataError::read(list, e))?;
        let fail = |problem: String| DataError::List { path: list.display().to_string(), problem };
        if text.len() as u64 > MAX_LIST_BYTES {
            return Err(fail("the list is over 256 MiB; it takes one image name a line".into()));
        }
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate();
        // The names, and the line where each comes first.
        let mut names: HashMap<&str, usize> = HashMap::new();
        for (line, name) in lines.filter(|(_, name)| !name.is_empty() && !name.starts_with('#')) {
            names.entry(name).or_insert(line + 1);
        }
        let mut unknown = names.clone();
        self.items.iter().for_each(|item| {
            unknown.remove(item.relative.as_str());
        });
        if let Some((name, line)) = unknown.iter().min_by_key(|(_, line)| **line) {
            return Err(fail(format!(
                "{} of its {} names are not in {}, the first in line {line}: {name}; use the list that was made for this \
                 data set",
                unknown.len(),
                names.len(),
                self.source.display()
            )));
        }
        self.items.retain(|item| !names.contains_key(item.relative.as_str()));
        Ok(names.len())
    }
}
