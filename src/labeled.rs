//! Data sets by their path: folders of images and `fer2013.csv`, and shards where they are read.

use std::path::Path;

use fer_train::data::{Catalog, DataError};

/// Lists a data set; see [`Catalog::open_as`], and [`Catalog::of_shards`] for a folder of shards or
/// one shard (feature `shards`). No image is opened.
///
/// # Errors
/// The path can't be read or is not of these forms, or the classes do not fit.
pub fn open(path: &Path, classes: Option<&[String]>) -> Result<Catalog, DataError> {
    #[cfg(feature = "shards")]
    if let shards = fer_shards::find(path)
        && !shards.is_empty()
    {
        return of_shards(path, shards, classes);
    }
    Catalog::open_as(path, classes)
}

#[cfg(feature = "shards")]
fn of_shards(
    path: &Path,
    shards: Vec<std::path::PathBuf>,
    classes: Option<&[String]>,
) -> Result<Catalog, DataError> {
    use fer_core::images::Stored;
    use fer_shards::{LabeledImage, labeled};
    use fer_train::data::{ShardImage, ShardImages};

    let image = |LabeledImage { name, label, image }: LabeledImage| ShardImage {
        name,
        label,
        image: Stored(image),
    };
    let read = |shard: std::path::PathBuf| {
        let images = labeled(&shard, path).map_err(|e| DataError::Shard {
            problem: e.to_string(),
        })?;
        let images = images.into_iter().map(image).collect();
        Ok(ShardImages {
            path: shard,
            images,
        })
    };
    let shards = shards.into_iter().map(read).collect::<Result<_, _>>()?;
    Catalog::of_shards(path, shards, classes)
}
