//! What a data set was taken for where its names did not say it outright ([`Note`]).

use std::fmt;
use std::path::PathBuf;

use super::folders::shortened;
use fer_core::names::{self, Tally};

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
    /// Folders beside the parts that were left aside, as they hold parts or a CSV file themselves.
    /// Copies of the data set do.
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
    /// Files and links that could be meant as images and were not read.
    Unread(Unread, Tally),
}

/// Why a file or a link in the folders of a data set is not read, though its name may be an
/// image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// It is an image beside the class folders.
    Beside,
    /// It is a link to what is not there.
    Dead,
    /// It is a link to a folder around it.
    Loop,
    /// It is a pipe, a socket or a device.
    Special,
}

impl Unread {
    /// What is not read, in words.
    pub(super) fn shown(self, files: &Tally) -> String {
        let what = match (self, files.count) {
            (Self::Beside, 1) => "image beside the class folders",
            (Self::Beside, _) => "images beside the class folders",
            (Self::Dead, 1) => "link that leads nowhere",
            (Self::Dead, _) => "links that lead nowhere",
            (Self::Loop, 1) => "link to a folder around it",
            (Self::Loop, _) => "links to folders around them",
            (Self::Special, 1) => "pipe, socket or device",
            (Self::Special, _) => "pipes, sockets or devices",
        };
        format!("{} {what}: {files}", files.count)
    }
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
            Self::Unread(why, files) => write!(f, "not read: {}", why.shown(files)),
        }
    }
}
