//! The pictures that are classified ([`pictures`]): the listed ones, and in a shard's place those
//! in it, which are listed as they are needed.

use std::borrow::Cow;

use fer::images::sources::Source;

/// The pictures of sources, in their order. A shard that can't be read is a picture that can't be
/// read, and so is the rest of one that is damaged.
pub fn pictures(sources: &[Source]) -> Pictures<'_> {
    Pictures {
        sources: sources.iter(),
        #[cfg(feature = "shards")]
        open: None,
    }
}

/// How many pictures these are; `None` if only reading a shard to its end would tell.
#[cfg(not(feature = "shards"))]
pub fn count(sources: &[Source]) -> Option<usize> {
    Some(sources.len())
}

/// How many pictures these are; `None` if only reading a shard to its end would tell.
#[cfg(feature = "shards")]
pub fn count(sources: &[Source]) -> Option<usize> {
    use fer::shards::Shard;

    let of = |source: &Source| match shard(source) {
        None => Some(1),
        Some(path) => match Shard::open(path) {
            Ok(shard) => usize::try_from(shard.count()?).ok(),
            Err(_) => Some(1),
        },
    };
    sources.iter().map(of).sum()
}

/// The file of a source that is a shard.
#[cfg(feature = "shards")]
fn shard(source: &Source) -> Option<&std::path::Path> {
    match source {
        Source::File(path) if fer::images::is_shard(path) => Some(path),
        _ => None,
    }
}

/// See [`pictures`].
pub struct Pictures<'a> {
    sources: std::slice::Iter<'a, Source>,
    /// The shard that is being listed, and its name.
    #[cfg(feature = "shards")]
    open: Option<(fer::shards::Members, String)>,
}

impl<'a> Iterator for Pictures<'a> {
    type Item = Cow<'a, Source>;

    #[cfg(not(feature = "shards"))]
    fn next(&mut self) -> Option<Self::Item> {
        self.sources.next().map(Cow::Borrowed)
    }

    #[cfg(feature = "shards")]
    fn next(&mut self) -> Option<Self::Item> {
        use fer::images::Stored;
        use fer::shards::Shard;

        loop {
            if let Some((members, shard)) = &mut self.open {
                match members.next() {
                    Some(Ok(member)) => {
                        return Some(Cow::Owned(Source::Stored {
                            name: member.name,
                            image: Stored(member.image),
                        }));
                    }
                    Some(Err(error)) => {
                        let path = std::mem::take(shard);
                        self.open = None;
                        let reason = error.reason();
                        return Some(Cow::Owned(Source::Unusable { path, reason }));
                    }
                    None => self.open = None,
                }
            }
            let source = self.sources.next()?;
            let Some(path) = shard(source) else {
                return Some(Cow::Borrowed(source));
            };
            match Shard::open(path) {
                Ok(shard) => self.open = Some((shard.members(), source.name())),
                Err(error) => {
                    let (path, reason) = (source.name(), error.reason());
                    return Some(Cow::Owned(Source::Unusable { path, reason }));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A shard is many pictures.
        #[cfg(feature = "shards")]
        if self.open.is_some() || self.sources.clone().any(|source| shard(source).is_some()) {
            return (0, None);
        }
        self.sources.size_hint()
    }
}
