//! The pictures that are classified ([`pictures`]): the listed ones, and in the place of a file
//! that holds many, a shard or `fer2013.csv`, those in it, which are listed as they are needed.

use std::borrow::Cow;
use std::path::Path;

use fer::images::sources::Source;

/// The pictures of sources, in their order. A shard that can't be read is a picture that can't be
/// read, and so is the rest of one that is damaged.
pub fn pictures(sources: &[Source]) -> Pictures<'_> {
    Pictures {
        sources: sources.iter(),
        open: None,
    }
}

/// How many pictures these are; `None` if only reading a file to its end would tell.
pub fn count(sources: &[Source]) -> Option<usize> {
    let of = |source: &Source| match several_in(source) {
        None => Some(1),
        #[cfg(feature = "shards")]
        Some(path) if is_shard(path) => match fer::shards::Shard::open(path) {
            Ok(shard) => usize::try_from(shard.count()?).ok(),
            Err(_) => Some(1),
        },
        Some(_) => None,
    };
    sources.iter().map(of).sum()
}

/// The file of the first source that has many pictures.
pub fn several(sources: &[Source]) -> Option<&Path> {
    sources.iter().find_map(several_in)
}

/// The file of a source that has many pictures, by its name.
fn several_in(source: &Source) -> Option<&Path> {
    match source {
        Source::File(path) if is_shard(path) || is_csv(path) => Some(path),
        _ => None,
    }
}

/// Whether a file is a shard, in a build that reads them.
fn is_shard(path: &Path) -> bool {
    cfg!(feature = "shards") && fer::images::is_shard(path)
}

#[cfg(feature = "train")]
use fer::data::is_csv;

/// What reads CSV files of images is the code for data sets.
#[cfg(not(feature = "train"))]
fn is_csv(_: &Path) -> bool {
    false
}

/// The pictures in a file.
type Opened = Box<dyn Iterator<Item = Source> + Send>;

/// The pictures in a source that has many.
fn opened(source: &Source) -> Option<Opened> {
    match several_in(source)? {
        #[cfg(feature = "shards")]
        path if is_shard(path) => Some(shard(path, source.name())),
        #[cfg(feature = "train")]
        path if is_csv(path) => Some(csv(path)),
        _ => None,
    }
}

/// The pictures in a CSV file.
#[cfg(feature = "train")]
fn csv(path: &Path) -> Opened {
    use fer::data::{CsvImage, CsvImages};

    let source = |CsvImage { name, pixels }| match pixels {
        Ok(pixels) => Source::Pixels { name, pixels },
        Err(reason) => Source::Unusable { path: name, reason },
    };
    Box::new(CsvImages::of(path).map(source))
}

/// The pictures in a shard.
#[cfg(feature = "shards")]
fn shard(path: &Path, name: String) -> Opened {
    use fer::images::Stored;
    use fer::shards::{Shard, ShardError};

    let unusable = move |error: ShardError| Source::Unusable {
        path: name.clone(),
        reason: error.reason(),
    };
    match Shard::open(path) {
        Ok(shard) => Box::new(shard.members().map(move |member| match member {
            Ok(member) => Source::Stored {
                name: member.name,
                image: Stored(member.image),
            },
            Err(error) => unusable(error),
        })),
        Err(error) => Box::new(std::iter::once(unusable(error))),
    }
}

/// See [`pictures`].
pub struct Pictures<'a> {
    sources: std::slice::Iter<'a, Source>,
    /// The file that is being listed.
    open: Option<Opened>,
}

impl<'a> Iterator for Pictures<'a> {
    type Item = Cow<'a, Source>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next() {
                    Some(picture) => return Some(Cow::Owned(picture)),
                    None => self.open = None,
                }
            }
            let source = self.sources.next()?;
            self.open = opened(source);
            if self.open.is_none() {
                return Some(Cow::Borrowed(source));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A file may hold many pictures.
        match self.open.is_some() || several(self.sources.as_slice()).is_some() {
            true => (0, None),
            false => self.sources.size_hint(),
        }
    }
}
