//! What can be wrong with a data set.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use fer_core::images::address;
use fer_core::names;

/// A data set that can't be used, and why; the text is for the user.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("{path}: can't be read: {source}")]
    Read {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The path, or the folders in it, are not those of a data set.
    #[error("{path}: {problem}")]
    Folders {
        /// The folder.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The classes are plain numbers, whose meaning nothing says.
    #[error(
        "{path}: the classes are plain numbers ({}), and nothing says what they mean",
        super::shortened(numbers)
    )]
    Numbers {
        /// The folder or CSV file.
        path: String,
        /// The numbers, as they are written.
        numbers: Vec<String>,
    },
    /// A label of a CSV file is a number whose meaning nothing says.
    #[error("{path}:{line}: the emotion is '{number}'; it can be 0 to 6, as in fer2013.csv")]
    Label {
        /// The file.
        path: String,
        /// The first line that has it, from 1.
        line: usize,
        /// The number.
        number: usize,
        /// The numbers that take a name each if the file's classes are others.
        numbers: RangeInclusive<usize>,
    },
    /// A line of the CSV file is wrong.
    #[error("{path}:{line}: {problem}")]
    Csv {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A shard can't be read, or is not one of labeled images.
    #[error("{problem}")]
    Shard {
        /// The shard and the place in it, what is wrong, and what to do.
        problem: String,
    },
    /// A list of images does not fit the data set.
    #[error("{path}: {problem}")]
    List {
        /// The list.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file of votes can't be used, or does not fit the data set.
    #[error("{path}: {problem}")]
    Votes {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The data set can't be divided as asked.
    #[error("the split {split} does not work here: {problem}")]
    Split {
        /// The split.
        split: String,
        /// Why, and what to do.
        problem: String,
    },
    /// An image has another size than most.
    #[error("{name}: the image is {width}x{height} and {problem}")]
    OddSize {
        /// The image.
        name: String,
        /// Its width in pixels.
        width: usize,
        /// Its height in pixels.
        height: usize,
        /// The size of most images, and how many others have another one.
        problem: String,
        /// The size of most images: width and height in pixels.
        usual: [usize; 2],
        /// An image of that size.
        like: String,
    },
    /// An image can't be read, or not be used beside the others.
    #[error("{name}: {problem}")]
    Image {
        /// The image.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The pixels are over [`MAX_PIXEL_BYTES`](super::MAX_PIXEL_BYTES), or over the memory there
    /// is.
    #[error(
        "{images} images of {width}x{height} pixels are too much to hold in memory (the limit is \
         {} GiB); use fewer or smaller ones",
        super::MAX_PIXEL_BYTES >> 30
    )]
    TooLarge {
        /// The number of images.
        images: usize,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
}

impl DataError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        match path.to_str().and_then(address) {
            Some(problem) if source.kind() == io::ErrorKind::NotFound => {
                Self::folders(path, problem)
            }
            _ => Self::Read {
                path: names::of(path),
                source,
            },
        }
    }

    pub(super) fn folders(path: &Path, problem: impl Into<String>) -> Self {
        Self::Folders {
            path: names::of(path),
            problem: problem.into(),
        }
    }
}
