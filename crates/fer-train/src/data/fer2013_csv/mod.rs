//! The competition's `fer2013.csv` and files like it; see [`Catalog::open`](super::Catalog::open).
//!
//! Read line by line, so that a file of any length takes no more memory than its pixels, and a line
//! no more than [`MAX_LINE_BYTES`](lines::MAX_LINE_BYTES).

mod columns;
mod images;
mod labels;
mod lines;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

pub use self::images::{CsvImage, CsvImages};

use self::columns::{Columns, Row};
use self::labels::Labels;
use self::lines::{Lines, without_bom};
use super::catalog::Origin;
use super::layout::Part;
use super::{Catalog, DataError, Form, Item, MAX_PIXEL_BYTES, Note};
use fer_core::names;

/// No header is longer where a file is looked at, in bytes.
const MAX_HEADER_BYTES: u64 = 64 << 10;

const NO_IMAGES: &str =
    "holds no images; it takes a header emotion,pixels,Usage and one image a line";

/// How many lines without an image may end a file of so many images.
fn most_junk(images: usize) -> usize {
    (images / 100).max(16)
}

/// Whether a file is a CSV file by its name, `.csv` or `.tsv`.
pub fn has_its_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("csv") || e.eq_ignore_ascii_case("tsv"))
}

/// Whether a CSV file is one of images, by its header.
pub(super) fn is_one(path: &Path) -> bool {
    let mut header = Vec::new();
    let read = |file: File| {
        let mut lines = BufReader::new(file.take(MAX_HEADER_BYTES));
        lines.read_until(b'\n', &mut header)
    };
    File::open(path).and_then(read).is_ok() && Columns::find(without_bom(&header)).is_ok()
}

/// Reads the file's images with their pixels into the catalog, and their classes; `given` names
/// these.
pub(super) fn open(
    catalog: &mut Catalog,
    path: &Path,
    given: Option<&[String]>,
) -> Result<(), DataError> {
    let file = File::open(path).map_err(|e| DataError::read(path, e))?;
    read(catalog, path, lines::buffered(file), given)
}

fn read(
    catalog: &mut Catalog,
    path: &Path,
    reader: impl BufRead,
    given: Option<&[String]>,
) -> Result<(), DataError> {
    let shown = names::of(path);
    let fail = |line: usize, problem: String| DataError::Csv {
        path: shown.clone(),
        line,
        problem,
    };
    let mut lines = Lines::new(reader);
    let mut columns = None;
    let mut labels = Labels::new(given.is_some());
    let mut rows: Vec<(usize, Row)> = Vec::new();
    let mut junk: Vec<(usize, String)> = Vec::new();
    let (mut side, mut bytes) = (0, 0);
    let ended = loop {
        let Some((line, text)) = lines.next().map_err(|e| DataError::read(path, e))? else {
            break true;
        };
        let text = text.map_err(|problem| fail(line, problem))?;
        let Some(columns) = &columns else {
            columns = Some(Columns::find(text).map_err(|problem| fail(line, problem))?);
            continue;
        };
        let row = match columns.row(text, side, line, &mut labels) {
            Ok(row) => row,
            Err(problem) if columns.is_junk(text) => {
                junk.push((line, problem));
                if junk.len() > most_junk(rows.len()) {
                    break false;
                }
                continue;
            }
            Err(problem) => return Err(fail(line, problem)),
        };
        if !junk.is_empty() {
            break false;
        }
        side = row.pixels.len().isqrt();
        bytes += row.pixels.len() as u64;
        if bytes > MAX_PIXEL_BYTES {
            return Err(DataError::TooLarge {
                images: rows.len() + 1,
                width: side,
                height: side,
            });
        }
        rows.push((line, row));
    };
    // Only the end of a file may hold no images.
    let is_end = ended && !rows.is_empty();
    match junk.first() {
        Some((line, problem)) if !is_end => return Err(fail(*line, problem.clone())),
        Some((first, _)) => catalog.notes.push(Note::Junk {
            path: shown.clone(),
            lines: junk.len(),
            first: *first,
        }),
        None => {}
    }
    if rows.is_empty() {
        return Err(DataError::folders(path, NO_IMAGES));
    }
    let (classes, by_label) = labels.classes(path, given, &mut catalog.notes)?;
    let names: Vec<Arc<str>> = classes
        .iter()
        .map(|class| Arc::from(class.as_str()))
        .collect();
    let three = rows
        .iter()
        .any(|(_, row)| matches!(row.usage, Some((Part::Validation, _))));
    let file_name = names::of(Path::new(path.file_name().unwrap_or_default()));
    let item = |(index, (line, row)): (usize, (usize, Row))| {
        let label = by_label[row.label];
        Item {
            name: format!("{shown}:{line}"),
            relative: format!("{file_name}:{line}"),
            label: label as u16,
            class: Arc::clone(&names[label]),
            usage: row.usage.map(|(part, named)| part.usage(named, three)),
            origin: Origin::Memory {
                row: index,
                side,
                pixels: row.pixels.into_boxed_slice(),
            },
        }
    };
    catalog.items = rows.into_iter().enumerate().map(item).collect();
    catalog.classes = classes;
    catalog.form = Form::Csv;
    Ok(())
}
