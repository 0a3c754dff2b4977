//! What a data set was taken for where its names did not say it outright ([`Note`]).

use std::fmt;
use std::path::PathBuf;

use super::folders::shortened;
use fer_core::names;

/// What a user should know of how a data set was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The data set lies deeper than where the user pointed to.
    Inside {
        /// What the user named.
        named: PathBuf,
        /// The folder or CSV file in it that is the data set.
        found: PathBuf,
    },
    /// Folders or labels with other names than their classes: each with its class.
    Taken(Vec<(String, String)>),
    /// Folders named by the numbers 1 to 7 were taken to be in RAF-DB's order, which is a guess.
    RafDb(Vec<(String, String)>),
    /// Emotions of FER-2013 that the data set lacks.
    Without(Vec<&'static str>),
    /// Folders beside the parts that are data sets themselves, and were left aside.
    Beside(Vec<String>),
    /// Lines at the end of a CSV file that hold no image.
    Junk {
        /// The file.
        path: String,
        /// How many there are.
        lines: usize,
        /// The first one, from 1.
        first: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |(name, class): &(String, String)| format!("{name} = {class}");
        let pairs = |pairs: &[(String, String)]| shortened(pairs.iter().map(pair));
        match self {
            Self::Inside { named, found } => {
                write!(
                    f,
                    "the data set in {} is {}",
                    names::of(named),
                    names::of(found)
                )
            }
            Self::Taken(taken) => write!(f, "names taken for classes: {}", pairs(taken)),
            Self::RafDb(taken) => write!(
                f,
                "the numbers are taken to be in RAF-DB's order, a guess from the folder's name: {}",
                pairs(taken)
            ),
            Self::Without(emotions) => {
                write!(f, "there are no images of {}", emotions.join(", "))
            }
            Self::Beside(folders) => {
                write!(
                    f,
                    "left aside, as data sets of their own: {}",
                    shortened(folders)
                )
            }
            Self::Junk {
                path,
                lines: 1,
                first,
            } => {
                write!(
                    f,
                    "{path}: passed over line {first} at the end, which holds no image"
                )
            }
            Self::Junk { path, lines, first } => write!(
                f,
                "{path}: passed over {lines} lines at the end that hold no image, the first is \
                 line {first}"
            ),
        }
    }
}
