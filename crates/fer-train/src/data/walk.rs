//! What lies below a folder, links followed ([`Walk`]), and what of it is not read
//! ([`PassedOver`]).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::note::Unread;
use super::{DataError, Note};
use fer_core::images::sources::{has_image_name, is_hidden};
use fer_core::names::{self, Tally};

/// What a file or a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An image, by its name.
    Image,
    /// A file of another name.
    Other,
    /// What can't be read.
    Unread(Unread),
}

/// The files and links below a folder that are not hidden. A link counts as what it leads to. One
/// to a folder around it is not followed. Sorted by name.
pub(super) struct Walk {
    entries: walkdir::IntoIter,
}

impl Walk {
    pub fn of(folder: &Path) -> Self {
        let walk = walkdir::WalkDir::new(folder).min_depth(1);
        Self {
            entries: walk.follow_links(true).sort_by_file_name().into_iter(),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<(PathBuf, Kind), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(e) => match failed(e) {
                    Some(failed) => return Some(failed),
                    None => continue,
                },
            };
            let (kind, path) = (entry.file_type(), entry.path());
            let is_hidden = is_hidden(entry.file_name());
            let is_loop = kind.is_dir() && entry.path_is_symlink() && leads_around(path);
            if kind.is_dir() && (is_hidden || is_loop) {
                self.entries.skip_current_dir();
            }
            let kind = match kind {
                _ if is_hidden => continue,
                _ if is_loop => Kind::Unread(Unread::Loop),
                kind if kind.is_dir() => continue,
                kind if !kind.is_file() => Kind::Unread(Unread::Special),
                _ if has_image_name(path) => Kind::Image,
                _ => Kind::Other,
            };
            return Some(Ok((entry.into_path(), kind)));
        }
    }
}

/// What could not be walked; nothing if it is hidden.
fn failed(error: walkdir::Error) -> Option<<Walk as Iterator>::Item> {
    let path = error.path().unwrap_or(Path::new("")).to_path_buf();
    let is_dead = || path.is_symlink() && fs::metadata(&path).is_err();
    if path.file_name().is_some_and(is_hidden) {
        return None;
    }
    Some(match error.loop_ancestor() {
        Some(_) => Ok((path, Kind::Unread(Unread::Loop))),
        None if is_dead() => Ok((path, Kind::Unread(Unread::Dead))),
        None => Err(DataError::read(&path, error.into())),
    })
}

/// Whether a link leads to a folder that it lies in.
fn leads_around(link: &Path) -> bool {
    let place = link.parent().and_then(|place| place.canonicalize().ok());
    let target = link.canonicalize().ok();
    place
        .zip(target)
        .is_some_and(|(place, target)| place.starts_with(target))
}

/// What is passed over in the folders of a data set, by the reason.
#[derive(Debug, Clone, Default)]
pub(super) struct PassedOver {
    /// Files whose names are not those of images.
    names: Tally,
    unread: BTreeMap<Unread, Tally>,
}

impl PassedOver {
    /// Adds what is not an image to read.
    pub fn add(&mut self, path: &Path, why: Option<Unread>) {
        let tally = match why {
            None => &mut self.names,
            Some(why) => self.unread.entry(why).or_default(),
        };
        tally.add(|| names::of(path));
    }

    /// Counts and notes it in a catalog.
    pub fn tell(self, count: &mut Tally, notes: &mut Vec<Note>) {
        count.merge(self.names);
        for (why, files) in self.unread {
            let known = notes.iter_mut().find_map(|note| match note {
                Note::Unread(known, files) if *known == why => Some(files),
                _ => None,
            });
            match known {
                Some(known) => known.merge(files),
                None => notes.push(Note::Unread(why, files)),
            }
        }
    }

    /// All of it in a message; nothing if there is nothing.
    pub fn shown(&self) -> String {
        let names = (self.names.count > 0).then(|| self.names.to_string());
        let unread = self.unread.iter().map(|(why, files)| why.shown(files));
        names
            .into_iter()
            .chain(unread)
            .collect::<Vec<_>>()
            .join("; ")
    }
}
