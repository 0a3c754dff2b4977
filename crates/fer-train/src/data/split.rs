//! Which images train, validate and test ([`Split`]).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::folders::shortened;
use super::list::List;
use super::{Catalog, DataError, Form, Item, Usage};
use fer_core::random::{Purpose, Random};

/// The most folds.
const MAX_FOLDS: usize = 100;

/// What the name of a [`Split::List`] begins with.
const LIST: &str = "list:";

/// A rule that divides a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// As the notebook divides it, with Keras's `ImageDataGenerator(validation_split=0.2)` on
    /// `train/` and on `test/`: of each class's n files in sorted order the first int(0.2 n) are
    /// "validation", the others "training".
    ///
    /// Training images are the "training" ones of `train/`, validation images the "validation" ones
    /// of `test/`; the other images are used for nothing, and there is no test part. On the whole
    /// of FER-2013 these are 22,968 and 1,432 images. All of the 1,432 are `PrivateTest` images,
    /// whose names sort before `PublicTest`.
    Keras,
    /// As the data set's authors meant it: `Training`, `PublicTest`, `PrivateTest`.
    #[default]
    Official,
    /// Cross-validation: of `of` equal parts of the training images, number `fold` validates and
    /// the others train. Where nothing says which images are training images, all are; `PublicTest`
    /// and `PrivateTest` images are the test part.
    Fold {
        /// Which fold validates, 1 to `of`.
        fold: usize,
        /// The number of folds, 2 to 100.
        of: usize,
    },
    /// The images that a list names ([`Catalog::exclude`] has its form) validate, whatever they are
    /// meant for; names that were excluded count for nothing. What of the others trains and what is
    /// the test part is as in [`Fold`](Self::Fold).
    List(PathBuf),
}

impl TryFrom<String> for Split {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.to_string()
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keras => f.write_str("keras"),
            Self::Official => f.write_str("official"),
            Self::Fold { fold, of } => write!(f, "fold:{fold}/{of}"),
            Self::List(path) => write!(f, "list:{}", path.display()),
        }
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let fold = || -> Option<Self> {
            let (fold, of) = s.strip_prefix("fold:")?.split_once('/')?;
            let (fold, of) = (fold.parse().ok()?, of.parse().ok()?);
            ((2..=MAX_FOLDS).contains(&of) && (1..=of).contains(&fold))
                .then_some(Self::Fold { fold, of })
        };
        match s {
            _ if s.len() > LIST.len() && s.starts_with(LIST) => {
                Ok(Self::List(s[LIST.len()..].into()))
            }
            "keras" => Ok(Self::Keras),
            "official" => Ok(Self::Official),
            _ => fold().ok_or_else(|| {
                format!(
                    "'{s}' is not a split; there are keras, official, fold:K/N with N of 2 to \
                     {MAX_FOLDS} and K of 1 to N, and list:FILE"
                )
            }),
        }
    }
}

/// A part of a divided data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the model is fitted to.
    Training,
    /// What models and epochs are chosen by.
    Validation,
    /// What nothing is chosen by.
    Test,
    /// Every image of the data set, however it is divided.
    All,
}

impl Part {
    const NAMES: [(Self, &str); 4] = [
        (Self::Training, "training"),
        (Self::Validation, "validation"),
        (Self::Test, "test"),
        (Self::All, "all"),
    ];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::NAMES
            .iter()
            .filter(|(part, _)| part == self)
            .try_for_each(|(_, name)| f.pad(name))
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let part = Self::NAMES
            .iter()
            .find(|(_, name)| *name == s)
            .map(|(part, _)| *part);
        part.ok_or_else(|| {
            format!("'{s}' is not a part; there are training, validation, test and all")
        })
    }
}

/// A divided data set: indices into [`Catalog::items`], ascending, none in two parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// What the model is fitted to; has every class.
    pub training: Vec<usize>,
    /// What models and epochs are chosen by; has every class.
    pub validation: Vec<usize>,
    /// What nothing is chosen by; may be empty.
    pub test: Vec<usize>,
}

impl Split {
    /// Its name, without the folder of a list: what can be told to others.
    pub fn title(&self) -> String {
        match self {
            Self::List(path) => format!("{LIST}{}", path.file_name().unwrap_or_default().display()),
            _ => self.to_string(),
        }
    }

    /// Divides a data set. `seed` counts for folds only: the same seed gives the same folds on
    /// every machine.
    ///
    /// # Errors
    /// The data set does not say what the split needs, or the training or validation part would
    /// lack a class.
    pub fn divide(&self, catalog: &Catalog, seed: u64) -> Result<Parts, DataError> {
        let fail = |problem| DataError::Split {
            split: self.to_string(),
            problem,
        };
        let parts = match self {
            Self::Keras => keras(catalog).map_err(fail)?,
            Self::Official => official(catalog).map_err(fail)?,
            Self::Fold { fold, of } => folds(catalog, *fold, *of, seed),
            Self::List(path) => listed(catalog, &List::read(path)?)?,
        };
        self.check(catalog, "training", &parts.training)
            .map_err(fail)?;
        self.check(catalog, "validation", &parts.validation)
            .map_err(fail)?;
        Ok(parts)
    }

    /// The images of one part, ascending. [`Part::All`] needs no division and has no errors.
    ///
    /// # Errors
    /// As [`divide`](Self::divide), or the part is empty.
    pub fn select(
        &self,
        part: Part,
        catalog: &Catalog,
        seed: u64,
    ) -> Result<Vec<usize>, DataError> {
        let indices = match part {
            Part::All => return Ok((0..catalog.items.len()).collect()),
            Part::Training => self.divide(catalog, seed)?.training,
            Part::Validation => self.divide(catalog, seed)?.validation,
            Part::Test => self.divide(catalog, seed)?.test,
        };
        if indices.is_empty() {
            let problem = format!("there are no images in its {part} part; choose another part");
            return Err(DataError::Split {
                split: self.to_string(),
                problem,
            });
        }
        Ok(indices)
    }

    fn check(&self, catalog: &Catalog, part: &str, indices: &[usize]) -> Result<(), String> {
        let mut counts = vec![0; catalog.classes.len()];
        indices
            .iter()
            .for_each(|i| counts[usize::from(catalog.items[*i].label)] += 1);
        let missing: Vec<&String> = catalog
            .classes
            .iter()
            .zip(counts)
            .filter(|(_, n)| *n == 0)
            .map(|(class, _)| class)
            .collect();
        let advice = match self {
            Self::Fold { .. } => "use fewer folds, or a data set with more images",
            Self::List(_) => "use a list that names some images of each class, and not all",
            _ => "use fold:1/5, or a data set that has them",
        };
        match missing.len() {
            0 => Ok(()),
            n if n == catalog.classes.len() => Err(format!("there are no {part} images; {advice}")),
            _ => Err(format!(
                "there are no {part} images of the class {}; {advice}",
                shortened(missing)
            )),
        }
    }
}

/// The indices of the images for which `wanted` holds.
fn indices(catalog: &Catalog, wanted: impl Fn(&Item) -> bool) -> Vec<usize> {
    catalog
        .items
        .iter()
        .enumerate()
        .filter(|(_, item)| wanted(item))
        .map(|(i, _)| i)
        .collect()
}

fn keras(catalog: &Catalog) -> Result<Parts, String> {
    match catalog.form {
        Form::TrainTest => {}
        Form::Csv => {
            return Err(
                "a CSV file has no file names to sort by; use official, or fold:1/5".into(),
            );
        }
        Form::Classes => return Err("there is no train/ and test/; use fold:1/5".into()),
        Form::TrainValidationTest => {
            return Err("there are validation/ and test/ beside train/; use official".into());
        }
    }
    let mut parts = Parts::default();
    for label in 0..catalog.classes.len() as u16 {
        let of_class = |training: bool| {
            let of = indices(catalog, |i| {
                i.label == label && (i.usage == Some(Usage::Training)) == training
            });
            let first = (0.2 * of.len() as f64) as usize;
            (of, first)
        };
        let (train, first) = of_class(true);
        parts.training.extend(&train[first..]);
        let (test, first) = of_class(false);
        parts.validation.extend(&test[..first]);
    }
    // Already so in a catalog of folders.
    parts.training.sort_unstable();
    parts.validation.sort_unstable();
    Ok(parts)
}

fn official(catalog: &Catalog) -> Result<Parts, String> {
    if catalog.items.iter().all(|item| item.usage.is_none()) {
        return Err("nothing says which images are training images; use fold:1/5".into());
    }
    let of = |usage| indices(catalog, |item| item.usage == Some(usage));
    Ok(Parts {
        training: of(Usage::Training),
        validation: of(Usage::PublicTest),
        test: of(Usage::PrivateTest),
    })
}

fn is_test(item: &Item) -> bool {
    matches!(item.usage, Some(Usage::PublicTest | Usage::PrivateTest))
}

fn listed(catalog: &Catalog, list: &List) -> Result<Parts, DataError> {
    list.check(catalog, &catalog.excluded)?;
    Ok(Parts {
        training: indices(catalog, |item| !is_test(item) && !list.has(item)),
        validation: indices(catalog, |item| list.has(item)),
        test: indices(catalog, |item| is_test(item) && !list.has(item)),
    })
}

fn folds(catalog: &Catalog, fold: usize, of: usize, seed: u64) -> Parts {
    let mut parts = Parts {
        test: indices(catalog, is_test),
        ..Parts::default()
    };
    // One count through all classes: the folds differ by at most one image in each class, and in
    // all.
    let mut dealt = 0;
    for label in 0..catalog.classes.len() as u16 {
        let mut of_class = indices(catalog, |item| item.label == label && !is_test(item));
        Random::new(seed, Purpose::Fold, label.into(), 0).shuffle(&mut of_class);
        for i in of_class {
            let part = if dealt % of == fold - 1 {
                &mut parts.validation
            } else {
                &mut parts.training
            };
            part.push(i);
            dealt += 1;
        }
    }
    parts.training.sort_unstable();
    parts.validation.sort_unstable();
    parts
}

#[cfg(test)]
mod tests;
