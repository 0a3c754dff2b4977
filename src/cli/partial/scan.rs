//! What the folder of an interrupted output holds ([`Scan`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Result, bail};
use fer::report::{Format, Shape};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::output::RecordFormat;
use super::Done;

/// The file of JSON lines or CSV.
pub const RECORDS: &str = "records";

/// The longest line that is read: 64 MiB, of a picture with a hundred thousand faces.
const MAX_LINE: u64 = 64 << 20;

/// The records of an output's folder.
pub struct Scan<'a> {
    pub folder: &'a Path,
    pub format: RecordFormat,
    #[cfg_attr(
        not(feature = "shards"),
        expect(dead_code, reason = "Parquet's columns are named by them")
    )]
    pub labels: &'a [String],
    pub shape: Shape,
}

/// A record as far as it matters here.
#[derive(Deserialize)]
struct Line {
    path: String,
    error: Option<IgnoredAny>,
    #[serde(default)]
    faces: Vec<Face>,
}

#[derive(Deserialize)]
struct Face {
    error: Option<IgnoredAny>,
}

impl Scan<'_> {
    /// Counts the pictures whose records are whole, which have to be the first of `names`, and cuts
    /// off what follows.
    pub fn cut(&self, names: &mut dyn Iterator<Item = String>) -> Result<Done> {
        let mut done = Done::default();
        let mut add = |path: String, failed: bool| {
            match names.next() {
                Some(name) if name == path => {}
                Some(name) => bail!(
                    "record {} is of {path}, and this run's picture there is {name}; name the same \
                     pictures as before",
                    done.pictures + 1
                ),
                None => bail!(
                    "record {} is of {path}, and this run has no picture there; name the same \
                     pictures as before",
                    done.pictures + 1
                ),
            }
            done.pictures += 1;
            done.failed += usize::from(failed);
            Ok(())
        };
        match self.format {
            RecordFormat::Text(Format::Csv) => self.csv(&mut add)?,
            RecordFormat::Text(_) => self.lines(&mut add)?,
            #[cfg(feature = "shards")]
            RecordFormat::Parquet => self.read_parts(&mut add)?,
        }
        Ok(done)
    }

    /// JSON lines, up to the first that is not whole.
    fn lines(&self, add: &mut dyn FnMut(String, bool) -> Result<()>) -> Result<()> {
        let file = self.open()?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut whole) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = reader
                .by_ref()
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                break;
            }
            let Ok(record) = serde_json::from_slice::<Line>(&line) else {
                break;
            };
            let failed = record.error.is_some() || record.faces.iter().any(|f| f.error.is_some());
            add(record.path, failed)?;
            whole += read as u64;
        }
        Ok(file.set_len(whole)?)
    }

    /// Rows of CSV, up to the last picture, whose rows may be cut off where none can tell.
    fn csv(&self, add: &mut dyn FnMut(String, bool) -> Result<()>) -> Result<()> {
        let file = self.open()?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(BufReader::new(&file));
        let mut record = csv::ByteRecord::new();
        // The picture that is being read: where it begins, its name, whether it failed.
        let mut picture: Option<(u64, String, bool)> = None;
        let mut header = true;
        loop {
            let at = reader.position().byte();
            // A row that is cut off has fewer columns than the header.
            if !matches!(reader.read_byte_record(&mut record), Ok(true)) {
                break;
            }
            if std::mem::take(&mut header) {
                continue;
            }
            let failed = record.iter().next_back().is_some_and(|e| !e.is_empty());
            let is_next = match self.shape {
                Shape::Whole => true,
                _ => matches!(record.get(1), Some(b"" | b"0")),
            };
            match &mut picture {
                Some((_, _, any)) if !is_next => *any |= failed,
                _ => {
                    if let Some((_, path, failed)) = picture.take() {
                        add(path, failed)?;
                    }
                    let path = record.get(0).unwrap_or_default();
                    picture = Some((at, String::from_utf8_lossy(path).into_owned(), failed));
                }
            }
        }
        // Without a picture, the header may be cut off as well.
        let whole = picture.map_or(0, |(at, ..)| at);
        Ok(file.set_len(whole)?)
    }

    fn open(&self) -> io::Result<File> {
        let path = self.folder.join(RECORDS);
        File::options().read(true).write(true).open(path)
    }

    /// Parts of Parquet, up to the first that can't be read.
    #[cfg(feature = "shards")]
    fn read_parts(&self, add: &mut dyn FnMut(String, bool) -> Result<()>) -> Result<()> {
        use fer::shards::records::{done, remove_from};

        for number in 0.. {
            match done(self.folder, number, self.labels, self.shape) {
                Ok(Some(pictures)) => {
                    for picture in pictures {
                        add(picture.path, picture.failed)?;
                    }
                }
                Ok(None) | Err(_) => {
                    remove_from(self.folder, number)?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The number of parts of Parquet that there are.
    #[cfg(feature = "shards")]
    pub fn parts(&self) -> usize {
        use fer::shards::records::has_part;

        (0..)
            .take_while(|number| has_part(self.folder, *number))
            .count()
    }
}
