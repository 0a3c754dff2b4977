//! What people voted images to show ([`Votes`]): FER+'s `fer2013new.csv`, which belongs to
//! `fer2013.csv` row by row, or a file with its columns that names the images.
//!
//! FER+: E. Barsoum, C. Zhang, C. Canton Ferrer and Z. Zhang, "Training Deep Networks for Facial
//! Expression Recognition with Crowd-Sourced Label Distribution", ICMI 2016,
//! <https://arxiv.org/abs/1608.01041>.

mod counts;
mod read;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fer_core::spec::EMOTIONS;
use sha2::{Digest, Sha256};

use super::catalog::hex;
use super::{Catalog, DataError, Form, Usage};

pub use counts::{Counts, Majority};

/// The largest file that is read: 64 MiB. FER+'s has 1.6 MB.
const MAX_BYTES: u64 = 64 << 20;

/// A file of votes.
#[derive(Debug)]
pub struct Votes {
    path: PathBuf,
    sha256: String,
    table: Table,
}

/// The votes, by what the file knows images by.
#[derive(Debug, PartialEq, Eq)]
enum Table {
    /// Row by row of `fer2013.csv`.
    Rows(Vec<Row>),
    /// By file name or relative name; `None` if a name has two lines that differ.
    Names(HashMap<String, Option<Counts>>),
}

/// The votes for the image of one row.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// In the file of votes, from 1.
    line: usize,
    usage: Usage,
    counts: Counts,
}

impl Table {
    fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Names(names) => names.len(),
        }
    }
}

/// The votes for some images of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// One an image; `None` without votes.
    pub counts: Vec<Option<Counts>>,
    /// How many have none because their file name means no single image or no single line of votes.
    pub ambiguous: usize,
}

impl Votes {
    /// Reads a file: a header, then one image a line. The votes are in the columns `neutral`,
    /// `happiness`, `surprise`, `sadness`, `anger`, `disgust`, `fear`, `contempt`, `unknown` and
    /// `NF`, 0 to 255 each.
    ///
    /// With a column `name`, images are known by their file names, or where several images have the
    /// same, by their [relative](super::Item::relative) names. Without, there are `Image name` and
    /// `Usage`, as in FER+'s own file, and each line is a row of `fer2013.csv`, in the same order.
    /// Columns stand in any order, their names in either case; others are ignored.
    ///
    /// # Errors
    /// The file can't be read, is over 64 MiB or holds no votes; a line is wrong.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|f| f.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|e| DataError::read(path, e))?;
        let table = read::table(path, &bytes)?;
        Ok(Self {
            path: path.into(),
            sha256: hex(&Sha256::digest(&bytes)),
            table,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The SHA-256 of the file, in lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The votes for some items of a catalog, in the order of `indices`.
    ///
    /// # Errors
    /// The data has other classes; the file knows images by row and the data is a folder, or by
    /// name and the data is `fer2013.csv`; its rows are those of another `fer2013.csv`; it has
    /// votes for none of these items.
    pub fn of(&self, catalog: &Catalog, indices: &[usize]) -> Result<Matched, DataError> {
        if catalog.classes != EMOTIONS {
            let source = catalog.source.display();
            return Err(self.wrong(format!(
                "votes are for the seven emotions, and the classes of {source} are others"
            )));
        }
        let mut matched = match &self.table {
            Table::Rows(rows) => self.by_row(rows, catalog, indices)?,
            Table::Names(names) => self.by_name(names, catalog, indices)?,
        };
        for counts in &mut matched.counts {
            *counts = counts.filter(|counts| !counts.is_empty());
        }
        if matched.counts.iter().all(Option::is_none) {
            let names = match matched.ambiguous {
                0 => String::new(),
                n => format!(", as the file names of {n} are not unique"),
            };
            let (images, source) = (indices.len(), catalog.source.display());
            return Err(self.wrong(format!(
                "there are votes for none of the {images} images of {source}{names}; name the \
                 votes for these images"
            )));
        }
        Ok(matched)
    }

    fn by_row(
        &self,
        rows: &[Row],
        catalog: &Catalog,
        indices: &[usize],
    ) -> Result<Matched, DataError> {
        let source = catalog.source.display();
        if catalog.form != Form::Csv {
            return Err(self.wrong(format!(
                "the votes are by row of fer2013.csv, and {source} is a folder; take fer2013.csv \
                 as the data, or votes by file name (with a column 'name')"
            )));
        }
        let images = catalog.items.len() + catalog.excluded.len();
        if rows.len() != images {
            return Err(self.wrong(format!(
                "there are {} rows of votes, and {images} images in {source}; take FER+'s \
                 fer2013new.csv and the competition's fer2013.csv, whole and in their order",
                rows.len()
            )));
        }
        let votes = |index: &usize| {
            let item = &catalog.items[*index];
            let row = item.row().and_then(|row| rows.get(row));
            match (row, item.usage) {
                (Some(row), Some(usage)) if row.usage != usage => Err(DataError::Csv {
                    path: self.path.display().to_string(),
                    line: row.line,
                    problem: format!(
                        "the votes are for a {} image, and {} is a {usage} image; take FER+'s \
                         fer2013new.csv and the \
                         competition's fer2013.csv, whole and in their order",
                        row.usage, item.name
                    ),
                }),
                (row, _) => Ok(row.map(|row| row.counts)),
            }
        };
        Ok(Matched {
            counts: indices.iter().map(votes).collect::<Result<_, _>>()?,
            ambiguous: 0,
        })
    }

    fn by_name(
        &self,
        names: &HashMap<String, Option<Counts>>,
        catalog: &Catalog,
        indices: &[usize],
    ) -> Result<Matched, DataError> {
        if catalog.form == Form::Csv {
            return Err(self.wrong(format!(
                "the votes are by file name (there is a column 'name'), and the images of {} have \
                 none; take FER+'s fer2013new.csv, or a folder of images as the data",
                catalog.source.display()
            )));
        }
        // A name may mean an image that was left out.
        let all = catalog
            .items
            .iter()
            .map(|item| &item.relative)
            .chain(&catalog.excluded);
        let mut images: HashMap<&str, usize> = HashMap::new();
        all.for_each(|relative| *images.entry(file_name(relative)).or_default() += 1);
        let mut matched = Matched::default();
        for index in indices {
            let relative = &catalog.items[*index].relative;
            let name = file_name(relative);
            let (line, unique) = match names.get(relative) {
                Some(own) => (Some(own), true),
                None => (names.get(name), images.get(name) == Some(&1)),
            };
            let counts = line.copied().flatten().filter(|_| unique);
            matched.ambiguous += usize::from(line.is_some() && counts.is_none());
            matched.counts.push(counts);
        }
        Ok(matched)
    }

    fn wrong(&self, problem: String) -> DataError {
        DataError::Votes {
            path: self.path.display().to_string(),
            problem,
        }
    }
}

/// The last part of a relative name.
fn file_name(relative: &str) -> &str {
    relative.rsplit('/').next().unwrap_or(relative)
}
