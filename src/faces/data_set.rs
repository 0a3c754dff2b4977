//! A data set from photographs: their faces as crops, in the folders of the photographs
//! ([`Photographs`]).

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fer_core::files::{NewFolder, NewFolderError};
use fer_core::images::sources::{self, Source};
use fer_core::images::{self, Pixels};
use fer_core::names::{self, Tally};
use fer_core::panics;
use fer_core::stream::Item;
use fer_faces::{Crop, Face, Network, SearchOptions, find};

/// How faces are cut out of photographs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutOptions {
    /// Which faces are wanted.
    pub search: SearchOptions,
    /// The crops' frame and size.
    pub crop: Crop,
    /// All faces of a picture, not only the largest.
    pub all: bool,
    /// Threads that read, cut and write; at least 1.
    pub workers: usize,
}

/// What was cut out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The pictures.
    pub pictures: usize,
    /// The faces, each a file.
    pub faces: usize,
    /// The names of the pictures without a face, in order.
    pub faceless: Vec<String>,
    /// Name and reason of the pictures that could not be read or searched, in order.
    pub unread: Vec<(String, String)>,
    /// Files that are passed over, because their names are not those of images.
    pub passed_over: Tally,
}

/// A data set that was not written.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The photographs are not in a folder.
    #[error("{path} is not a folder; name the folder with a folder of photographs for each class")]
    NoFolder {
        /// What was named.
        path: PathBuf,
    },
    /// One of the two folders lies in the other.
    #[error(
        "{out} and {photos} lie in one another, so that crops would be among the photographs; \
         name another folder"
    )]
    Within {
        /// The folder of photographs.
        photos: PathBuf,
        /// The folder to write.
        out: PathBuf,
    },
    /// The folder has no photographs.
    #[error("{photos} holds no image")]
    Empty {
        /// The folder of photographs.
        photos: PathBuf,
    },
    /// No picture has a face.
    #[error(
        "no face was found in the {pictures} pictures of {photos} ({unread} of them could not be \
         read); nothing was written"
    )]
    NoFace {
        /// The folder of photographs.
        photos: PathBuf,
        /// The number of pictures.
        pictures: usize,
        /// How many of them could not be read.
        unread: usize,
    },
    /// The folder can't be made, or is not empty.
    #[error(transparent)]
    Folder(#[from] NewFolderError),
    /// A crop can't be written.
    #[error("can't write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The photographs below a folder.
#[derive(Debug)]
pub struct Photographs {
    /// The folder as the user named it.
    folder: PathBuf,
    real: PathBuf,
    list: Vec<Source>,
    passed_over: Tally,
}

impl Photographs {
    /// Lists the pictures below a folder.
    ///
    /// # Errors
    /// It is not a folder, or there are none.
    pub fn of(folder: &Path) -> Result<Self, CutError> {
        let real = match folder.canonicalize() {
            Ok(real) if real.is_dir() => real,
            _ => {
                let path = folder.to_path_buf();
                return Err(CutError::NoFolder { path });
            }
        };
        let listed = sources::list(&[real.clone().into_os_string()]);
        let readable = |source: &Source| matches!(source, Source::File(_));
        if !listed.list.iter().any(readable) {
            let photos = folder.to_path_buf();
            return Err(CutError::Empty { photos });
        }
        Ok(Self {
            folder: folder.into(),
            real,
            list: listed.list,
            passed_over: listed.passed_over,
        })
    }

    /// How many there are, at least 1.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Cuts the faces out and writes them as PNG, at the same place in `out` as their picture has
    /// in its folder: `train/happy/a.jpg` becomes `train/happy/a.png`, and with [`CutOptions::all`]
    /// `train/happy/a-1.png`, `a-2.png`, …, the largest face first. `out` is new or empty, and is
    /// written whole or not at all. `done` is called once a picture, on any thread.
    ///
    /// # Errors
    /// The folder can't be used, no face was found, or a file can't be written.
    pub fn cut_into(
        &self,
        out: &Path,
        network: &dyn Network,
        options: &CutOptions,
        done: &(dyn Fn() + Sync),
    ) -> Result<Cut, CutError> {
        let place = real_place(out);
        if place.starts_with(&self.real) || self.real.starts_with(&place) {
            return Err(CutError::Within {
                photos: self.folder.clone(),
                out: out.into(),
            });
        }
        let folder = NewFolder::begin(out)?;
        let job = Job {
            folder: folder.path(),
            network,
            options,
        };
        let mut results = job.run(&self.list, &stems(&self.list, &self.real), done)?;
        results.sort_by_key(|(index, _)| *index);
        let mut cut = Cut {
            pictures: self.count(),
            passed_over: self.passed_over.clone(),
            ..Cut::default()
        };
        for (index, result) in results {
            match result {
                Ok(0) => cut.faceless.push(self.name(index)),
                Ok(faces) => cut.faces += faces,
                Err(reason) => cut.unread.push((self.name(index), reason)),
            }
        }
        if cut.faces == 0 {
            return Err(CutError::NoFace {
                photos: self.folder.clone(),
                pictures: cut.pictures,
                unread: cut.unread.len(),
            });
        }
        folder.keep().map_err(|source| CutError::Write {
            path: out.into(),
            source,
        })?;
        Ok(cut)
    }

    /// A picture's name, in the folder as the user named it.
    fn name(&self, index: usize) -> String {
        let source = &self.list[index];
        match source {
            Source::File(path) => match path.strip_prefix(&self.real) {
                Ok(inner) => names::of(&self.folder.join(inner)),
                Err(_) => names::of(path),
            },
            other => other.name(),
        }
    }
}

/// A folder's real path, of one that is not there yet by the part of it that is.
fn real_place(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut missing = Vec::new();
    let mut there: &Path = &path;
    loop {
        if let Ok(real) = there.canonicalize() {
            return missing
                .iter()
                .rev()
                .fold(real, |path, name| path.join(name));
        }
        match (there.parent(), there.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                there = parent;
            }
            _ => return path.clone(),
        }
    }
}

/// The place of each picture's crops, without their ending: the picture's own in the folder, with a
/// number if another picture has it already. `None` for a file that is not a picture.
fn stems(list: &[Source], real: &Path) -> Vec<Option<PathBuf>> {
    let mut taken = HashSet::new();
    let mut stem = |source: &Source| {
        let Source::File(path) = source else {
            return None;
        };
        let own = path.strip_prefix(real).ok()?.with_extension("");
        let names = (1..).map(|i| match i {
            1 => own.clone(),
            i => with_end(&own, &format!("-{i}")),
        });
        // Some systems do not tell capital letters from small ones.
        let mut free = names.filter(|name| taken.insert(name.to_string_lossy().to_lowercase()));
        free.next()
    };
    list.iter().map(&mut stem).collect()
}

/// A path with a text after its last name.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(end);
    path.with_file_name(name)
}

/// The number of faces in a picture, or why it is unknown.
type Outcome = (usize, Result<usize, String>);

/// What the threads share.
struct Job<'a> {
    folder: &'a Path,
    network: &'a dyn Network,
    options: &'a CutOptions,
}

impl Job<'_> {
    /// What came of each picture, in any order. Each thread holds one picture at a time.
    fn run(
        &self,
        list: &[Source],
        stems: &[Option<PathBuf>],
        done: &(dyn Fn() + Sync),
    ) -> Result<Vec<Outcome>, CutError> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let results = Mutex::new(Vec::with_capacity(list.len()));
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((source, stem)) = list.get(index).zip(stems.get(index)) else {
                    return;
                };
                let result = match stem {
                    Some(stem) => self.cut(source, stem),
                    None => Ok(source.load().map(|_| 0).map_err(|e| e.to_string())),
                };
                match result {
                    Ok(result) => {
                        let mut all = results.lock().unwrap_or_else(PoisonError::into_inner);
                        all.push((index, result));
                        done();
                    }
                    Err(error) => {
                        // The others end with their picture.
                        next.store(list.len(), Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.get_or_insert(error);
                        return;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.workers.clamp(1, list.len().max(1)) {
                scope.spawn(work);
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Writes the faces of a picture; the inner error is the picture's.
    fn cut(&self, source: &Source, stem: &Path) -> Result<Result<usize, String>, CutError> {
        let found = panics::caught(|| {
            let pixels = source.load().map_err(|e| e.to_string())?;
            let faces = find(&pixels, self.network, &self.options.search);
            Ok((pixels, faces.map_err(|e| e.to_string())?))
        });
        let (pixels, mut faces): (Pixels, Vec<Face>) = match found {
            Ok(Ok(found)) => found,
            Ok(Err(reason)) => return Ok(Err(reason)),
            Err(panic) => return Ok(Err(format!("reading it failed: {panic}"))),
        };
        if !self.options.all {
            faces.truncate(1);
        }
        for (index, face) in faces.iter().enumerate() {
            let name = match self.options.all {
                true => with_end(stem, &format!("-{}.png", index + 1)),
                false => with_end(stem, ".png"),
            };
            let path = self.folder.join(name);
            let parent = path.parent().unwrap_or(self.folder);
            let crop = self.options.crop.cut(&pixels, face);
            let written = std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&path, images::png(&crop)?));
            written.map_err(|source| CutError::Write { path, source })?;
        }
        Ok(Ok(faces.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_has_a_place_of_its_own() {
        let files = ["a/x.jpg", "a/X.png", "a/x-2.gif", "b/x.jpg", "x"];
        let list = files.map(|file| Source::File(Path::new("/p").join(file)));
        let found = stems(&list, Path::new("/p"));
        let found: Vec<_> = found.into_iter().flatten().collect();
        let expected = ["a/x", "a/X-2", "a/x-2-2", "b/x", "x"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_place_that_is_not_there_is_that_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(real_place(&folder.path().join("a/b")), real.join("a/b"));
    }
}
