//! What is wrong with a data set ([`check`]): images that can't be read, are of another size or
//! blank, copies of one picture in training and test or under several labels, and how unequal the
//! classes are.

mod duplicates;
mod fingerprint;
mod quarantine;
mod table;

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use duplicates::{Duplicates, Group, Member, Relation};
pub use quarantine::Keep;

use super::{Catalog, Form, Item, Usage};
use fer_core::images::Decoded;
use fingerprint::Fingerprint;

/// An image whose gray values have a standard deviation below this (of 0..255) is blank: one tone,
/// give or take the noise of JPEG. FER-2013's blank images have 0, and none of its other images is
/// below 9.
pub const BLANK_DEVIATION: f64 = 4.0;

/// What [`check`] found. Images are named as in lists ([`Item::relative`]).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// The data set, as the user named it.
    pub source: String,
    /// How it lies on disk.
    pub form: Form,
    /// The number of images.
    pub images: usize,
    /// How many files are passed over, see [`Catalog::passed_over`].
    pub ignored: usize,
    /// The first of these.
    pub ignored_files: Vec<String>,
    /// What was taken for what, in words.
    pub notes: Vec<String>,
    /// The size that most images have; none if no image can be read.
    pub size: Option<Size>,
    /// The images of each class, in the order of [`Catalog::classes`].
    pub classes: Vec<ClassCount>,
    /// How unequal the classes are; none if one of them has no training images.
    pub balance: Option<Balance>,
    /// Images that can't be decoded.
    pub unreadable: Vec<Unreadable>,
    /// Images that are not of the size that most have.
    pub odd_sized: Vec<OddSized>,
    /// 16-bit images that are read as having fewer bits, which is a guess and no fault.
    pub guessed: Vec<Guessed>,
    /// Images that show nothing, see [`BLANK_DEVIATION`].
    pub blank: Vec<Blank>,
    /// Copies among the other images.
    pub duplicates: Duplicates,
}

impl CheckReport {
    /// True if no image was found fault with.
    pub fn is_clean(&self) -> bool {
        let faults = self.unreadable.len()
            + self.odd_sized.len()
            + self.blank.len()
            + self.duplicates.groups.len();
        faults == 0
    }
}

/// A 16-bit image whose values seem to have fewer bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guessed {
    /// The image.
    pub name: String,
    /// How many bits it is read as having: 8, 10, 12 or 14.
    pub bits: u8,
}

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Size {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

/// How many images a class has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// All its images, those without a usage too.
    pub images: usize,
    /// Its [`Usage::Training`] images.
    pub training: usize,
    /// Its [`Usage::PublicTest`] images.
    pub public_test: usize,
    /// Its [`Usage::PrivateTest`] images.
    pub private_test: usize,
}

/// The largest and the smallest class of the training images, or of all if none has a usage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Balance {
    /// The class with the most images.
    pub largest: String,
    /// The class with the fewest images.
    pub smallest: String,
    /// How many times as many images the largest class has.
    pub ratio: f64,
}

/// An image that can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The image.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// An image that is not of the size that most have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OddSized {
    /// The image.
    pub name: String,
    /// Its size.
    pub size: Size,
}

/// An image that shows nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Blank {
    /// The image.
    pub name: String,
    /// What it is meant for.
    pub usage: Option<Usage>,
    /// The standard deviation of its gray values.
    pub deviation: f64,
}

/// What is kept of a decoded image: little, so that a data set of any size can be checked.
struct Facts {
    guessed_bits: Option<u8>,
    size: Size,
    deviation: f64,
    /// SHA-256 of the gray values.
    digest: [u8; 32],
    look: Fingerprint,
}

impl Facts {
    fn of(decoded: Decoded) -> Self {
        let gray = decoded.pixels.into_gray();
        Self {
            guessed_bits: decoded.guessed_bits,
            size: Size {
                width: gray.width,
                height: gray.height,
            },
            deviation: deviation(&gray.data),
            digest: Sha256::digest(&gray.data).into(),
            look: Fingerprint::of(&gray),
        }
    }
}

/// Decodes every image, on all cores, and looks for faults. `progress` is called after each image,
/// on any thread.
///
/// The search for copies compares every image with every other: seconds for the 35,887 images of
/// FER-2013, minutes for ten times as many.
pub fn check(catalog: &Catalog, progress: &(dyn Fn() + Sync)) -> CheckReport {
    let facts: Vec<Result<Facts, String>> = catalog
        .items
        .par_iter()
        .map(|item| {
            let facts = item.decoded().map(Facts::of).map_err(|e| e.to_string());
            progress();
            facts
        })
        .collect();
    let size = common_size(&facts);
    let (mut unreadable, mut odd_sized, mut blank) = (Vec::new(), Vec::new(), Vec::new());
    let mut usable: Vec<(&Item, &Facts)> = Vec::new();
    let mut guessed = Vec::new();
    for (item, facts) in catalog.items.iter().zip(&facts) {
        let name = item.relative.clone();
        if let Ok(Facts {
            guessed_bits: Some(bits),
            ..
        }) = facts
        {
            guessed.push(Guessed {
                name: name.clone(),
                bits: *bits,
            });
        }
        match facts {
            Err(reason) => unreadable.push(Unreadable {
                name,
                reason: reason.clone(),
            }),
            Ok(facts) if Some(facts.size) != size => odd_sized.push(OddSized {
                name,
                size: facts.size,
            }),
            Ok(facts) if facts.deviation < BLANK_DEVIATION => {
                blank.push(Blank {
                    name,
                    usage: item.usage,
                    deviation: facts.deviation,
                });
            }
            Ok(facts) => usable.push((item, facts)),
        }
    }
    let classes = count(catalog);
    CheckReport {
        source: catalog.source.display().to_string(),
        form: catalog.form,
        images: catalog.items.len(),
        ignored: catalog.passed_over.count,
        ignored_files: catalog.passed_over.first.clone(),
        notes: catalog.notes.iter().map(ToString::to_string).collect(),
        size,
        balance: balance(&classes),
        classes,
        unreadable,
        odd_sized,
        guessed,
        blank,
        duplicates: duplicates::find(&usable),
    }
}

/// The size that most images have; of equally frequent ones the one that comes first.
fn common_size(facts: &[Result<Facts, String>]) -> Option<Size> {
    let mut counts: HashMap<Size, (usize, usize)> = HashMap::new();
    for (i, facts) in facts.iter().enumerate() {
        if let Ok(facts) = facts {
            counts.entry(facts.size).or_insert((0, usize::MAX - i)).0 += 1;
        }
    }
    counts
        .into_iter()
        .max_by_key(|(_, rank)| *rank)
        .map(|(size, _)| size)
}

fn count(catalog: &Catalog) -> Vec<ClassCount> {
    let of = |(label, class): (usize, &String)| {
        let items = catalog
            .items
            .iter()
            .filter(move |item| usize::from(item.label) == label);
        let with = |usage| {
            items
                .clone()
                .filter(|item| item.usage == Some(usage))
                .count()
        };
        ClassCount {
            class: class.clone(),
            images: items.clone().count(),
            training: with(Usage::Training),
            public_test: with(Usage::PublicTest),
            private_test: with(Usage::PrivateTest),
        }
    };
    catalog.classes.iter().enumerate().map(of).collect()
}

fn balance(classes: &[ClassCount]) -> Option<Balance> {
    let has_usage = classes
        .iter()
        .any(|c| c.training + c.public_test + c.private_test > 0);
    let images = |c: &&ClassCount| if has_usage { c.training } else { c.images };
    let (largest, smallest) = (
        classes.iter().max_by_key(images)?,
        classes.iter().min_by_key(images)?,
    );
    let ratio = images(&largest) as f64 / images(&smallest) as f64;
    ratio.is_finite().then_some(Balance {
        largest: largest.class.clone(),
        smallest: smallest.class.clone(),
        ratio,
    })
}

/// The standard deviation of some values, at least one.
fn deviation(values: &[u8]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (values
        .iter()
        .map(|v| (f64::from(*v) - mean).powi(2))
        .sum::<f64>()
        / n)
        .sqrt()
}
