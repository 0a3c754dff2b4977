//! Aligned columns for people: label, confidence, every class in percent. The path is last, because
//! it has no fixed width. Names are printed with escapes for control characters.

use std::borrow::Cow;
use std::io::{self, Write};

use super::{Record, Report, printable};

pub(super) struct Table<'a> {
    labels: Vec<Cow<'a, str>>,
    out: Box<dyn Write + 'a>,
    label_width: usize,
}

impl<'a> Table<'a> {
    pub(super) fn new(labels: &'a [String], out: Box<dyn Write + 'a>) -> Self {
        let labels: Vec<_> = labels.iter().map(|label| printable(label)).collect();
        let widest = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        Self {
            labels,
            out,
            label_width: widest.max("label".len()),
        }
    }

    /// The width of a class's column: its name or "100.0".
    fn width(label: &str) -> usize {
        label.chars().count().max(5)
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
        writeln!(self.out, "  path")
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        match &record.outcome {
            Ok(prediction) => {
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
                writeln!(self.out, "  {}", printable(&record.path))
            }
            Err(reason) => writeln!(
                self.out,
                "{:<w$}  {}: {}",
                "error",
                printable(&record.path),
                printable(reason),
                w = self.label_width
            ),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
