//! A made-up data set: drawn faces in the folder layout of FER-2013, for a first run without any
//! data.
//!
//! Nobody's likeness: a face is a few dozen random numbers ([`face`]). Pose, light, skin, hair and
//! noise vary, and some faces have glasses, a beard or something in front of them, so that a
//! classifier has to look at the expression; but it's far easier than photographs are, and an
//! accuracy on it says nothing about those.

mod canvas;
mod expression;
mod face;

use std::io;
use std::path::{Path, PathBuf};

use image::ExtendedColorType;
use rayon::prelude::*;

pub use face::{SIDE, face};

use fer_core::files::{NewFolder, NewFolderError};
use fer_core::spec::EMOTIONS;

/// The smallest set: ten images a class, so that each class is in each part.
pub const MIN_COUNT: usize = 10 * EMOTIONS.len();

/// The largest set.
pub const MAX_COUNT: usize = 1_000_000;

/// A data set that could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The number of images is out of range.
    #[error("{0} images can't be drawn: it can be {MIN_COUNT} to {MAX_COUNT}")]
    Count(usize),
    /// The folder has something in it, or can't be made.
    #[error(transparent)]
    Folder(#[from] NewFolderError),
    /// A folder or file can't be written.
    #[error("{path}: can't be written: {source}")]
    Write {
        /// The folder or file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Draws a set of `count` faces into `dir`, which is made or is empty: of each class, in turn,
/// eight of ten as `train/<class>/<class>-00001.png`, one as `test/<class>/PublicTest_00001.png`
/// and one as `test/<class>/PrivateTest_00001.png`, 48x48 pixels in gray. The same files for the
/// same `count` and `seed`; a larger set holds the smaller ones. `progress` is called once an
/// image.
///
/// The set is drawn beside `dir` and moved there when it is whole.
///
/// # Errors
/// See [`SynthError`].
pub fn synth(
    dir: &Path,
    count: usize,
    seed: u64,
    progress: &(dyn Fn() + Sync),
) -> Result<(), SynthError> {
    if !(MIN_COUNT..=MAX_COUNT).contains(&count) {
        return Err(SynthError::Count(count));
    }
    let folder = NewFolder::begin(dir)?;
    let set = folder.path();
    for class in EMOTIONS {
        for part in ["train", "test"] {
            let folder = set.join(part).join(class);
            std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
    }
    (0..count).into_par_iter().try_for_each(|i| {
        let (class, number) = (i % EMOTIONS.len(), i / EMOTIONS.len());
        let path = set.join(name(class, number));
        let pixels = face(class, seed, number as u64);
        image::save_buffer(
            &path,
            &pixels,
            SIDE as u32,
            SIDE as u32,
            ExtendedColorType::L8,
        )
        .map_err(|e| failed(&path)(io::Error::other(e)))?;
        progress();
        Ok::<(), SynthError>(())
    })?;
    folder.keep().map_err(failed(dir))
}

/// The file of a class's image of this number, within the set.
fn name(class: usize, number: usize) -> PathBuf {
    let (class, ten) = (EMOTIONS[class], number / 10 + 1);
    match number % 10 {
        8 => format!("test/{class}/PublicTest_{ten:05}.png"),
        9 => format!("test/{class}/PrivateTest_{ten:05}.png"),
        k => format!("train/{class}/{class}-{:05}.png", number / 10 * 8 + k + 1),
    }
    .into()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SynthError {
    move |source| SynthError::Write {
        path: path.display().to_string(),
        source,
    }
}
