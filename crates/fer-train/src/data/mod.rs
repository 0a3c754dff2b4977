//! Data sets: which labelled images there are ([`Catalog`]), which of them train, validate and test
//! ([`split`]), their pixels ([`dataset`]), what people voted them to show ([`votes`]), and what is
//! wrong with them ([`check`]).
//!
//! Two forms are read: folders of images by class, and the original competition's `fer2013.csv`;
//! see [`Catalog::open`]. A third, shards, is read by another crate ([`Catalog::of_shards`]). What
//! was taken for what, where names leave it open, is a [`Note`].

mod catalog;
pub mod check;
mod classes;
pub mod dataset;
mod error;
mod fer2013_csv;
mod fields;
mod folders;
mod layout;
mod list;
mod note;
mod shards;
pub mod split;
pub mod synth;
pub mod votes;
mod walk;

pub use catalog::{Catalog, Form, Item, Usage};
pub use classes::check as check_classes;
pub use dataset::{Dataset, PixelForm};
pub use error::DataError;
pub use fer2013_csv::{CsvImage, CsvImages, has_its_name as is_csv};
pub use folders::shortened;
pub use note::{Note, Unread};
pub use shards::{ShardImage, ShardImages};
pub use split::{Part, Parts, Split};
pub use votes::Votes;

/// How many classes a data set may have.
pub const CLASSES: std::ops::RangeInclusive<usize> = 2..=1000;

/// The most that the pixels of a data set may take in memory: 8 GiB.
pub const MAX_PIXEL_BYTES: u64 = 8 << 30;
