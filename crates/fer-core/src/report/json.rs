//! One JSON array of records, written record by record.

use std::io::{self, Write};

use super::{Record, Report, jsonl};

pub(super) struct Json<'a> {
    labels: &'a [String],
    out: Box<dyn Write + 'a>,
    any: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(labels: &'a [String], out: Box<dyn Write + 'a>) -> Self {
        Self {
            labels,
            out,
            any: false,
        }
    }
}

impl Report for Json<'_> {
    fn begin(&mut self) -> io::Result<()> {
        self.out.write_all(b"[")
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.out
            .write_all(if self.any { b",\n " } else { b"\n " })?;
        self.any = true;
        serde_json::to_writer(&mut self.out, &jsonl::object(record, self.labels))
            .map_err(io::Error::from)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out
            .write_all(if self.any { b"\n]\n" } else { b"]\n" })?;
        self.out.flush()
    }
}
