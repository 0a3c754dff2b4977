//! Aligned columns for people: label, confidence, every class in percent, for pictures the face's
//! box. The path is last, because it has no fixed width. Names are printed with escapes for control
//! characters.

use std::borrow::Cow;
use std::io::{self, Write};

use super::{Content, FoundFace, Record, Report, Shape, printable};
use crate::prediction::Prediction;

/// What stands in the place of a label.
const NO_FACE: &str = "no face";

/// The width of a face's box: `12345x12345 at 12345,12345` at most, mostly half of that.
const PLACE: usize = 20;

pub(super) struct Table<'a> {
    labels: Vec<Cow<'a, str>>,
    shape: Shape,
    out: Box<dyn Write + 'a>,
    label_width: usize,
}

impl<'a> Table<'a> {
    pub(super) fn new(labels: &'a [String], shape: Shape, out: Box<dyn Write + 'a>) -> Self {
        let labels: Vec<_> = labels.iter().map(|label| printable(label)).collect();
        let widest = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        Self {
            labels,
            shape,
            out,
            label_width: widest.max(match shape {
                Shape::Whole => "label".len(),
                Shape::Faces | Shape::Frames { .. } => NO_FACE.len(),
            }),
        }
    }

    /// The width of a class's column: its name or "100.0".
    fn width(label: &str) -> usize {
        label.chars().count().max(5)
    }

    /// Writes the columns of a prediction.
    fn prediction(&mut self, prediction: &Prediction) -> io::Result<()> {
        let label = &self.labels[prediction.class];
        let confidence = format!("{:.1} %", 100.0 * prediction.confidence());
        write!(
            self.out,
            "{label:<w$}  {confidence:>10}",
            w = self.label_width
        )?;
        for (label, p) in self.labels.iter().zip(&prediction.probabilities) {
            write!(self.out, "  {:>w$.1}", 100.0 * p, w = Self::width(label))?;
        }
        Ok(())
    }

    /// Writes a line with what could not be predicted.
    fn word(&mut self, word: &str, text: &str) -> io::Result<()> {
        writeln!(
            self.out,
            "{word:<w$}  {}",
            printable(text),
            w = self.label_width
        )
    }

    fn face(&mut self, path: &str, face: &FoundFace) -> io::Result<()> {
        let prediction = match &face.outcome {
            Ok(prediction) => prediction,
            Err(reason) => return self.word("error", &format!("{path}: {reason}")),
        };
        self.prediction(prediction)?;
        let [x, y, w, h] = face.bounds;
        let place = match face.score {
            Some(_) => format!("{w:.0}x{h:.0} at {x:.0},{y:.0}"),
            None => "all of it".into(),
        };
        let place = match face.track {
            Some(track) => format!("#{track} {place}"),
            None => place,
        };
        writeln!(self.out, "  {place:<PLACE$}  {}", printable(path))
    }
}

impl Report for Table<'_> {
    fn begin(&mut self) -> io::Result<()> {
        write!(
            self.out,
            "{:<w$}  confidence",
            "label",
            w = self.label_width
        )?;
        for label in &self.labels {
            write!(self.out, "  {label:>w$}", w = Self::width(label))?;
        }
        if self.shape != Shape::Whole {
            write!(self.out, "  {:<PLACE$}", "face")?;
        }
        writeln!(self.out, "  path")
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let path = match &record.moment {
            Some(moment) => &format!("{} at {:.3} s", record.path, moment.time),
            None => &record.path,
        };
        match &record.outcome {
            Ok(Content::Whole(prediction)) => {
                self.prediction(prediction)?;
                writeln!(self.out, "  {}", printable(path))
            }
            Ok(Content::Faces(picture)) if picture.faces.is_empty() => self.word(NO_FACE, path),
            Ok(Content::Faces(picture)) => {
                let mut faces = picture.faces.iter();
                faces.try_for_each(|face| self.face(path, face))
            }
            Err(reason) => self.word("error", &format!("{path}: {reason}")),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
