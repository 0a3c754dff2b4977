//! Records of classified images, or of the faces in pictures, and their formats, one file each.

mod csv_format;
mod json;
mod jsonl;
mod printable;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::prediction::Prediction;

pub use jsonl::object;
pub use printable::printable;

/// The result for one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The image, as the user named it.
    pub path: String,
    /// Which frame of a video it is; `None` for a picture.
    pub moment: Option<Moment>,
    /// What was found, or why nothing could be.
    pub outcome: Result<Content, String>,
}

/// A frame of a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Its number, from 0.
    pub frame: u64,
    /// Its presentation time in seconds.
    pub time: f64,
    /// The frames of a live source that were passed over since the record before.
    pub skipped: Option<u64>,
    /// How long a live source was lost before this, in seconds, if it was.
    pub gap: Option<f64>,
}

/// What was found in an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The prediction for the whole image.
    Whole(Prediction),
    /// Its faces.
    Faces(Picture),
}

impl Content {
    /// Whether no face's prediction failed.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Faces(picture) => picture.faces.iter().all(|face| face.outcome.is_ok()),
        }
    }
}

/// The faces of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The picture's width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
    /// The faces, the largest first; none if none was found.
    pub faces: Vec<FoundFace>,
}

/// A face in a picture, in pixels from its top left.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundFace {
    /// The track of a face in a video: the same person in all its frames.
    pub track: Option<u64>,
    /// The box: left, top, width, height. It may reach beyond the picture.
    pub bounds: [f32; 4],
    /// How sure the detector is, 0..=1; `None` for a ready-made crop, whose box is all of it.
    pub score: Option<f32>,
    /// The person's right eye, left eye, tip of the nose, right and left corner of the mouth.
    pub landmarks: Option<[[f32; 2]; 5]>,
    /// The prediction, or why there is none.
    pub outcome: Result<Prediction, String>,
}

/// The kind of a report's records. A report has one kind, so that its columns do not depend on what
/// is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One prediction for each image.
    Whole,
    /// The faces of each picture.
    Faces,
    /// The faces of each frame of a video.
    Frames {
        /// Whether frames may be passed over.
        live: bool,
    },
}

impl Moment {
    /// The time to a microsecond, as records have it.
    pub fn rounded(&self) -> f64 {
        (self.time * 1e6).round() / 1e6
    }
}

/// Writes records in one format.
pub trait Report {
    /// Writes what comes before the first record.
    ///
    /// # Errors
    /// The output can't be written.
    fn begin(&mut self) -> io::Result<()>;

    /// Writes one record.
    ///
    /// # Errors
    /// The output can't be written.
    fn record(&mut self, record: &Record) -> io::Result<()>;

    /// Writes what comes after the last record, and flushes.
    ///
    /// # Errors
    /// The output can't be written.
    fn finish(&mut self) -> io::Result<()>;
}

/// The formats of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON array.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

impl Format {
    /// A report of this format on `out`, for a model with these classes.
    pub fn report<'a>(
        self,
        labels: &'a [String],
        shape: Shape,
        out: Box<dyn Write + 'a>,
    ) -> Box<dyn Report + 'a> {
        match self {
            Self::Table => Box::new(table::Table::new(labels, shape, out)),
            Self::Json => Box::new(json::Json::new(labels, out)),
            Self::Jsonl => Box::new(jsonl::Jsonl::new(labels, out)),
            Self::Csv => Box::new(csv_format::Csv::new(labels, shape, out)),
        }
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            _ => Err(format!(
                "'{s}' is not a format; the formats are table, json, jsonl and csv"
            )),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        })
    }
}
