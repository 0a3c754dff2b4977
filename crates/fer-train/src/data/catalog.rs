//! The labelled images of a data set, in an order that is always the same ([`Catalog`]).

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::layout::{self, Found};
use super::{DataError, Note, fer2013_csv, folders};
use fer_core::images::{self, DecodeError, Decoded, Foreign, Pixels, Stored, is_shard};
use fer_core::names::Tally;

/// What FER-2013's authors meant an image for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Usage {
    /// To train on.
    Training,
    /// To choose models by: the competition's public leaderboard.
    PublicTest,
    /// The final exam: the competition's private leaderboard.
    PrivateTest,
}

impl Usage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Training, Self::PublicTest, Self::PrivateTest];
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Training => "Training",
            Self::PublicTest => "PublicTest",
            Self::PrivateTest => "PrivateTest",
        })
    }
}

impl FromStr for Usage {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let named = Self::ALL
            .into_iter()
            .find(|usage| usage.to_string().eq_ignore_ascii_case(s));
        named.ok_or_else(|| format!("is '{s}'; it can be Training, PublicTest or PrivateTest"))
    }
}

/// How the data set lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `DIR/<class>/*`.
    Classes,
    /// `DIR/train/<class>/*`, `DIR/test/<class>/*`, or one of them.
    TrainTest,
    /// `train/`, `validation/` and `test/`.
    TrainValidationTest,
    /// `fer2013.csv`.
    Csv,
}

/// A labelled image that has not been decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// How messages name it: the path as the user named it, `path/to/fer2013.csv:LINE`, the line
    /// counted from 1, or a shard's path with the image's name in it behind it.
    pub name: String,
    /// How lists and hashes name it, wherever the data set lies: `train/happy/a.jpg` from its
    /// folder on, with `/` on every system, `fer2013.csv:LINE`, or `data/train-0.parquet#ROW`.
    pub relative: String,
    /// Index into [`Catalog::classes`].
    pub label: u16,
    /// The class's name.
    pub(super) class: Arc<str>,
    /// What it is meant for, if the data set says so.
    pub usage: Option<Usage>,
    /// Where its pixels are.
    pub(super) origin: Origin,
}

/// Where an image's pixels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File(PathBuf),
    /// A gray image of `side × side` pixels, in row `row` of a CSV file: from 0, below the header,
    /// empty lines left out.
    Memory {
        row: usize,
        side: usize,
        pixels: Box<[u8]>,
    },
    /// In a shard.
    Stored(Stored),
}

impl Item {
    /// Decodes the image: gray or RGB as it is stored.
    ///
    /// # Errors
    /// The file can't be read or is not an image that can be decoded; the text does not name it.
    pub fn pixels(&self) -> Result<Pixels, DecodeError> {
        self.decoded().map(|decoded| decoded.pixels)
    }

    /// The same, with what was guessed about the image.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels).
    pub fn decoded(&self) -> Result<Decoded, DecodeError> {
        match &self.origin {
            Origin::File(path) => Decoded::read(path),
            Origin::Stored(image) => image.decoded(),
            Origin::Memory { side, pixels, .. } => Ok(Decoded {
                pixels: Pixels {
                    width: *side,
                    height: *side,
                    channels: 1,
                    data: pixels.to_vec(),
                },
                guessed_bits: None,
            }),
        }
    }

    /// The label's name.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// Which row of a CSV file it is, from 0.
    pub(super) fn row(&self) -> Option<usize> {
        match &self.origin {
            Origin::File(_) | Origin::Stored(_) => None,
            Origin::Memory { row, .. } => Some(*row),
        }
    }

    /// The SHA-256 of the image file's bytes, or of the pixels that a CSV file gives.
    fn digest(&self) -> Result<[u8; 32], DataError> {
        match &self.origin {
            Origin::Memory { pixels, .. } => Ok(Sha256::digest(pixels).into()),
            Origin::Stored(image) => {
                let bytes = image.0.read().map_err(|e| DataError::Image {
                    name: self.name.clone(),
                    problem: e.to_string(),
                })?;
                Ok(Sha256::digest(&bytes).into())
            }
            Origin::File(path) => {
                let mut bytes = Vec::new();
                let read = File::open(path)
                    .and_then(|f| f.take(images::MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
                read.map_err(|e| DataError::read(path, e))?;
                if bytes.len() as u64 > images::MAX_FILE_BYTES {
                    let problem = DecodeError::FileTooLarge.to_string();
                    return Err(DataError::Image {
                        name: self.name.clone(),
                        problem,
                    });
                }
                Ok(Sha256::digest(&bytes).into())
            }
        }
    }
}

/// The labelled images of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The images, by part (training, validation, test), class and file name, or by line.
    pub items: Vec<Item>,
    /// The names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The folder or CSV file: what the user named, or the one in it that is the data set.
    pub source: PathBuf,
    /// How it lies on disk.
    pub form: Form,
    /// Files in the folders that are passed over, because their names are not those of images.
    /// Hidden ones do not count. For images that are not read there is [`Note::Unread`].
    pub passed_over: Tally,
    /// What was taken for what.
    pub notes: Vec<Note>,
    /// The relative names of images that were taken out ([`exclude`](Self::exclude)).
    pub(super) excluded: HashSet<String>,
}

impl Catalog {
    /// Lists a data set: a folder, or a file that ends in `.csv` or `.tsv`. No image is opened.
    ///
    /// # Folders
    /// Either `DIR/<class>/*`, or parts: `DIR/train/<class>/*` and `DIR/test/<class>/*`, where
    /// `training` is `train`, `testing` is `test`, and `validation`, `valid`, `val`, `dev`, `eval`,
    /// `PublicTest` and `PrivateTest` are parts too, each maybe with `set` behind it; case, `_`,
    /// `-` and blanks do not matter. Another folder of images beside them is an error, unless it holds
    /// parts or a CSV file itself, as a copy of the data set does ([`Note::Beside`]). Each part has
    /// to have every class, with an image in it. Links are followed. Hidden folders (`.name`,
    /// `__MACOSX`) and those without images do not count. Where the folder is not of this form and only one folder in it
    /// can be meant, that one is opened ([`Note::Inside`]), and so is a `fer2013.csv`, an
    /// `icml_face_data.csv` or the only CSV file of images in it.
    ///
    /// The classes are the names of the class folders, [`CLASSES`](super::CLASSES) of them, sorted
    /// by code point; no two may differ in case alone. Where five or more emotions are among them,
    /// in any word for them ([`emotion`](fer_core::spec::emotion)), the classes are the emotions
    /// that are there, by their usual names, and any other folder is an error: a misspelt
    /// folder would be a class in silence. A file `classes.txt` beside the folders with a class a
    /// line says otherwise, and in which order the classes are. Folders that are plain numbers are
    /// an error without it ([`DataError::Numbers`]), except in a folder named RAF-DB.
    ///
    /// What is in `train/` is [`Usage::Training`]. Elsewhere the file name's prefix tells
    /// (`PublicTest_…`, `PrivateTest_…`); without one, an image is `PublicTest`, or `PrivateTest`
    /// if it is in a `test/` that has a `validation/` beside it, or in a `PrivateTest/`. Class
    /// folders alone say nothing of usage.
    ///
    /// A class folder is searched as Keras's `flow_from_directory` does: folders in it too, but not
    /// through links, in the order of the folders' paths and then of the file names, by code point.
    /// Images are recognized by [`EXTENSIONS`](fer_core::images::sources::EXTENSIONS); unlike in
    /// Keras, hidden files are none.
    ///
    /// # CSV
    /// The competition's file: a header with `emotion`, `pixels` and maybe `Usage` in any order,
    /// then one image a line: a label of 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6
    /// neutral (not the order of [`EMOTIONS`](fer_core::spec::EMOTIONS), to which they are
    /// brought), or the name of a class, and a square image's pixels of 0 to 255 with blanks
    /// between; 48×48 or another size, the same in all lines. Commas, semicolons or tabs divide the
    /// columns. Numbers may end in `.0` or `e+00`. Lines at the end that hold no image are passed
    /// over ([`Note::Junk`]).
    ///
    /// # Errors
    /// The path can't be read or is not of these forms; a class has no images; a folder is no
    /// class; a line is wrong.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_as(path, None)
    }

    /// [`open`](Self::open) with the names of the classes, in the order of their labels, as a
    /// `classes.txt` gives them: of folders or labels that are plain numbers, in the order of the
    /// numbers; else the names of the folders or labels, or other words for them.
    ///
    /// # Errors
    /// As [`open`](Self::open), or the classes do not fit the folders or labels.
    pub fn open_as(path: &Path, classes: Option<&[String]>) -> Result<Self, DataError> {
        if let Some(classes) = classes {
            super::check_classes(classes).map_err(|problem| DataError::folders(path, problem))?;
        }
        let mut catalog = Self {
            items: Vec::new(),
            classes: Vec::new(),
            source: path.to_path_buf(),
            form: Form::Classes,
            passed_over: Tally::default(),
            notes: Vec::new(),
            excluded: HashSet::new(),
        };
        let metadata = fs::metadata(path).map_err(|e| DataError::read(path, e))?;
        let found = match metadata.is_dir() {
            true => layout::find(path, &mut catalog.notes)?,
            false if metadata.is_file() && fer2013_csv::has_its_name(path) => {
                Found::Csv(path.to_path_buf())
            }
            false => return Err(no_data_set(path, metadata.is_file())),
        };
        catalog.source = found.path().to_path_buf();
        match found {
            Found::Csv(file) => fer2013_csv::open(&mut catalog, &file, classes)?,
            Found::Classes(listing) => folders::of_classes(&mut catalog, listing, classes)?,
            Found::Parts(listing, parts) => {
                folders::of_parts(&mut catalog, &listing, parts, classes)?;
            }
        }
        Ok(catalog)
    }

    /// The SHA-256, in lower-case hex, of these items: for each, in the order given, its relative
    /// name, class, usage (nothing if it has none) and the SHA-256 of its file (of its pixels'
    /// bytes, from a CSV file) in lower-case hex, each ended by a zero byte.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn hash(&self, indices: &[usize]) -> Result<String, DataError> {
        let digests: Vec<_> = indices
            .par_iter()
            .map(|i| self.items[*i].digest())
            .collect();
        let mut hasher = Sha256::new();
        for (i, digest) in indices.iter().zip(digests) {
            let item = &self.items[*i];
            let usage = item.usage.map(|u| u.to_string()).unwrap_or_default();
            for field in [&item.relative, item.class(), &usage, &hex(&digest?)] {
                hasher.update(field.as_bytes());
                hasher.update([0]);
            }
        }
        Ok(hex(&hasher.finalize()))
    }
}

/// What to do with shards where they are not read.
pub(super) const SHARD: &str = "is a shard, which fer reads where it is built with the Cargo \
    feature `shards`, as its packages are";

/// A path that does not hold a data set.
fn no_data_set(path: &Path, is_file: bool) -> DataError {
    let mut head = Vec::new();
    let read = |file: File| file.take(4096).read_to_end(&mut head);
    let found = match is_file && File::open(path).and_then(read).is_ok() {
        true => Foreign::of(&head).filter(|found| *found != Foreign::TEXT),
        false => None,
    };
    let problem = match found {
        _ if is_file && is_shard(path) => SHARD.into(),
        Some(found) => found.to_string(),
        None => {
            "is neither a folder nor a .csv file; name the data set's folder or fer2013.csv".into()
        }
    };
    DataError::folders(path, problem)
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
