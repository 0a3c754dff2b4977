//! Comma-separated values: `path,label,confidence,<one column per class>,error`. For pictures there
//! is a row a face: `path,face,x,y,w,h,score,label,confidence,<one column per class>,error`; a
//! picture without a face has one row with empty columns. For videos, `frame,time` follow `path`,
//! for live sources `skipped` too, and `track` follows `face`.

use std::io::{self, Write};

use super::{Content, FoundFace, Record, Report, Shape};
use crate::prediction::Prediction;

/// The columns of a frame; the last for live sources.
const MOMENT: [&str; 3] = ["frame", "time", "skipped"];

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
        record: &Record,
        face: Option<(usize, &FoundFace)>,
        outcome: Option<Result<&Prediction, &String>>,
    ) -> io::Result<()> {
        let mut row = vec![record.path.clone()];
        let is_video = matches!(self.shape, Shape::Frames { .. });
        if let Shape::Frames { live } = self.shape {
            let moment = record.moment.as_ref();
            let text = |value: Option<String>| value.unwrap_or_default();
            row.push(text(moment.map(|m| m.frame.to_string())));
            row.push(text(moment.map(|m| m.rounded().to_string())));
            if live {
                let skipped = moment.and_then(|m| m.skipped);
                row.push(text(skipped.map(|n| n.to_string())));
            }
        }
        if self.shape != Shape::Whole {
            match face {
                Some((index, face)) => {
                    row.push(index.to_string());
                    if is_video {
                        row.push(face.track.map_or_else(String::new, |id| id.to_string()));
                    }
                    row.extend(face.bounds.iter().map(f32::to_string));
                    row.push(
                        face.score
                            .map_or_else(String::new, |score| score.to_string()),
                    );
                }
                None => {
                    let columns = PLACE.len() + usize::from(is_video);
                    row.extend((0..columns).map(|_| String::new()));
                }
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
        let (moment, place) = match self.shape {
            Shape::Whole => (&[][..], Vec::new()),
            Shape::Faces => (&[][..], PLACE.to_vec()),
            Shape::Frames { live } => {
                let moment = if live { &MOMENT[..] } else { &MOMENT[..2] };
                let place = [&PLACE[..1], &["track"], &PLACE[1..]].concat();
                (moment, place)
            }
        };
        let columns = ["path"]
            .iter()
            .chain(moment)
            .chain(&place)
            .chain(&["label", "confidence"])
            .copied()
            .chain(self.labels.iter().map(String::as_str))
            .chain(["error"]);
        Ok(self.out.write_record(columns)?)
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        match &record.outcome {
            Ok(Content::Whole(prediction)) => self.row(record, None, Some(Ok(prediction)))?,
            Ok(Content::Faces(picture)) if picture.faces.is_empty() => {
                self.row(record, None, None)?
            }
            Ok(Content::Faces(picture)) => {
                for (index, face) in picture.faces.iter().enumerate() {
                    self.row(record, Some((index, face)), Some(face.outcome.as_ref()))?;
                }
            }
            Err(reason) => self.row(record, None, Some(Err(reason)))?,
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
