//! Comma-separated values: `path,label,confidence,<one column per class>,error`.

use std::io::{self, Write};

use super::{Record, Report};

pub(super) struct Csv<'a> {
    labels: &'a [String],
    out: csv::Writer<Box<dyn Write + 'a>>,
}

impl<'a> Csv<'a> {
    pub(super) fn new(labels: &'a [String], out: Box<dyn Write + 'a>) -> Self {
        Self {
            labels,
            out: csv::Writer::from_writer(out),
        }
    }
}

impl Report for Csv<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let columns = ["path", "label", "confidence"].into_iter();
        let columns = columns
            .chain(self.labels.iter().map(String::as_str))
            .chain(["error"]);
        Ok(self.out.write_record(columns)?)
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let mut row = vec![record.path.clone()];
        match &record.outcome {
            Ok(prediction) => {
                row.push(self.labels[prediction.class].clone());
                row.push(prediction.confidence().to_string());
                row.extend(prediction.probabilities.iter().map(f32::to_string));
                row.push(String::new());
            }
            Err(reason) => {
                row.resize(3 + self.labels.len(), String::new());
                row.push(reason.clone());
            }
        }
        self.out.write_record(row)?;
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
