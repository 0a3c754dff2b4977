//! The images that a model is quantized with: those that ranges and weights are found on, and those
//! that it is measured on.

use std::ffi::OsString;
use std::path::Path;

use fer_core::images::Pixels;
use fer_core::images::sources::{self, Source};
use fer_core::stream::{Item, ItemError};
use fer_train::data::{self, Catalog, DataError, Split};
use fer_train::eval;

/// Of images without labels, every fifth is measured on.
const HELD_OUT: usize = 5;

/// An image.
pub enum Picture {
    /// Of a data set.
    Labeled(data::Item),
    /// Of a folder without classes.
    File(Source),
}

impl Picture {
    /// How messages name it.
    pub fn name(&self) -> String {
        match self {
            Self::Labeled(item) => item.name.clone(),
            Self::File(source) => source.name(),
        }
    }
}

impl Item for Picture {
    fn load(&self) -> Result<Pixels, ItemError> {
        match self {
            Self::Labeled(item) => Ok(item.pixels()?),
            Self::File(source) => source.load(),
        }
    }
}

/// The images.
pub struct Images {
    /// Those that ranges and weights are found on.
    pub calibration: Vec<Picture>,
    /// Those that are measured on.
    pub held_out: Vec<Picture>,
    /// The place of each held-out image's class in the model's output; `None` where nothing says
    /// it.
    pub labels: Option<Vec<usize>>,
    /// How many held-out images have a class that the model lacks, and are left out.
    pub of_other_classes: usize,
}

impl Images {
    /// Divides a data set: the training part, of which `most` images are taken, evenly spread, and
    /// the validation part. `labels` are the model's.
    ///
    /// # Errors
    /// The data set can't be divided, or a part would lack a class.
    pub fn of_catalog(
        catalog: &Catalog,
        split: &Split,
        labels: &[String],
        most: usize,
    ) -> Result<Self, DataError> {
        let parts = split.divide(catalog, 0)?;
        let outputs = eval::outputs_of(&catalog.classes, labels);
        let picture = |index: &usize| Picture::Labeled(catalog.items[*index].clone());
        let known = parts.validation.iter().filter_map(|index| {
            let class = usize::from(catalog.items[*index].label);
            Some((picture(index), outputs[class]?))
        });
        let (held_out, labels): (Vec<_>, Vec<_>) = known.unzip();
        Ok(Self {
            calibration: spread(&parts.training, most).map(picture).collect(),
            of_other_classes: parts.validation.len() - held_out.len(),
            held_out,
            labels: Some(labels),
        })
    }

    /// Divides images without labels.
    pub fn unlabeled(list: &[Source], most: usize) -> Self {
        let places: Vec<usize> = (0..list.len()).collect();
        let (held_out, rest): (Vec<usize>, Vec<usize>) =
            places.into_iter().partition(|i| i % HELD_OUT == 0);
        let picture = |index: &usize| Picture::File(list[*index].clone());
        Self {
            calibration: spread(&rest, most).map(picture).collect(),
            held_out: held_out.iter().map(picture).collect(),
            labels: None,
            of_other_classes: 0,
        }
    }
}

/// At most `most` of these, evenly spread.
fn spread(all: &[usize], most: usize) -> impl Iterator<Item = &usize> {
    let count = most.min(all.len());
    (0..count).map(move |i| &all[i * all.len() / count])
}

/// The images of a folder that has them in itself and not in folders of classes; `None` for any
/// other path.
pub fn flat_folder(path: &Path) -> Option<Vec<Source>> {
    let entries = std::fs::read_dir(path).ok()?;
    let mut files = entries.flatten().map(|entry| entry.path());
    let has_images = files.any(|path| path.is_file() && sources::has_image_name(&path));
    has_images.then(|| sources::list(&[OsString::from(path)]).list)
}
