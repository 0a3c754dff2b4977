//! Comma-separated values: `path,label,confidence,<one column per class>,error`. For pictures there
//! is a row a face: `path,face,x,y,w,h,score,label,confidence,<one column per class>,error`; a
//! picture without a face has one row with empty columns.

use std::io::{self, Write};

use super::{Content, FoundFace, Record, Report, Shape};
use crate::prediction::Prediction;

/// The columns of a face's place.
const PLACE: [&str; 6] = ["face", "x", "y", "w", "h", "score"];

pub(super) struct Csv<'a> {
    labels: &'a [String],
    shape: Shape,
    out: csv::Writer<Box<dyn Write + 'a>>,
}

impl<'a> Csv<'a> {
    pub(super) fn new(labels: &'a [String], shape: Shape, out: Box<dyn Write + 'a>) -> Self {
        Self {
            labels,
            shape,
            out: csv::Writer::from_writer(out),
        }
    }

    /// Writes a row: the place of face number `index`, if there is one, and its outcome.
    fn row(
        &mut self,
        path: &str,
        face: Option<(usize, &FoundFace)>,
        outcome: Option<Result<&Prediction, &String>>,
    ) -> io::Result<()> {
        let mut row = vec![path.to_owned()];
        if self.shape == Shape::Faces {
            match face {
                Some((index, face)) => {
                    row.push(index.to_string());
                    row.extend(face.bounds.iter().map(f32::to_string));
                    row.push(
                        face.score
                            .map_or_else(String::new, |score| score.to_string()),
                    );
                }
                None => row.extend(PLACE.map(|_| String::new())),
            }
        }
        if let Some(Ok(prediction)) = outcome {
            row.push(self.labels[prediction.class].clone());
            row.push(prediction.confidence().to_string());
            row.extend(prediction.probabilities.iter().map(f32::to_string));
        } else {
            row.extend((0..2 + self.labels.len()).map(|_| String::new()));
        }
        let error = outcome.and_then(Result::err);
        row.push(error.cloned().unwrap_or_default());
        Ok(self.out.write_record(row)?)
    }
}

impl Report for Csv<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let place = match self.shape {
            Shape::Whole => &[][..],
            Shape::Faces => &PLACE,
        };
        let columns = ["path"]
            .iter()
            .chain(place)
            .chain(&["label", "confidence"])
            .copied()
            .chain(self.labels.iter().map(String::as_str))
            .chain(["error"]);
        Ok(self.out.write_record(columns)?)
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let path = &record.path;
        match &record.outcome {
            Ok(Content::Whole(prediction)) => self.row(path, None, Some(Ok(prediction)))?,
            Ok(Content::Faces(picture)) if picture.faces.is_empty() => {
                self.row(path, None, None)?
            }
            Ok(Content::Faces(picture)) => {
                for (index, face) in picture.faces.iter().enumerate() {
                    self.row(path, Some((index, face)), Some(face.outcome.as_ref()))?;
                }
            }
            Err(reason) => self.row(path, None, Some(Err(reason)))?,
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
