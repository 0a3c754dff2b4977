//! The images of a CSV file as they are needed, without labels ([`CsvImages`]).

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::columns::ImageColumn;
use super::lines::{Lines, buffered};
use super::{NO_IMAGES, most_junk};
use fer_core::images::Pixels;
use fer_core::names;

/// An image of a CSV file, or what is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvImage {
    /// `path/to/fer2013.csv:LINE`, the line counted from 1 as in [`Item::name`]; of what concerns
    /// the file and not a line of it, the file's path.
    ///
    /// [`Item::name`]: crate::data::Item::name
    pub name: String,
    /// Its pixels, or why there are none and what to do.
    pub pixels: Result<Pixels, String>,
}

/// The images of a CSV file in their order, read line by line, so that a file of any length takes
/// no more memory than a few lines.
///
/// The header has a column `pixels`; any others are not read, so labels need not be there. The
/// images are square and of any sizes. A wrong line is an image that can't be read, and the next
/// ones follow. Lines at the end that hold no image are passed over, as by
/// [`Catalog::open`](crate::data::Catalog::open).
pub struct CsvImages {
    name: String,
    /// What is still to be read; `None` at the end.
    rest: Option<Rest>,
    /// Images that were read.
    ready: VecDeque<CsvImage>,
    /// Lines without an image behind the last image.
    junk: Vec<CsvImage>,
    images: usize,
}

struct Rest {
    lines: Lines<BufReader<File>>,
    column: ImageColumn,
}

impl CsvImages {
    /// The images of a file. A file that can't be read, or has no header with a column of pixels,
    /// is an image that can't be read.
    pub fn of(path: &Path) -> Self {
        let mut images = Self {
            name: names::of(path),
            rest: None,
            ready: VecDeque::new(),
            junk: Vec::new(),
            images: 0,
        };
        match Rest::of(path) {
            Ok(rest) => images.rest = Some(rest),
            Err(problem) => images.end(None, problem),
        }
        images
    }

    /// Ends the file with a problem.
    fn end(&mut self, line: Option<usize>, problem: String) {
        self.rest = None;
        self.ready.extend(self.junk.drain(..));
        let name = match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        };
        let pixels = Err(problem);
        self.ready.push_back(CsvImage { name, pixels });
    }

    /// Reads a line.
    fn read(&mut self) {
        let Some(Rest { lines, column }) = &mut self.rest else {
            return;
        };
        let (line, text) = match lines.next() {
            Ok(Some((line, Ok(text)))) => (line, text),
            Ok(Some((line, Err(problem)))) => return self.end(Some(line), problem),
            Ok(None) if self.images == 0 => return self.end(None, NO_IMAGES.into()),
            Ok(None) => return self.rest = None,
            Err(e) => return self.end(None, format!("can't be read: {e}")),
        };
        let pixels = column.image(text);
        let is_junk = pixels.is_err() && column.is_junk(text);
        let square = |data: Vec<u8>| Pixels {
            width: data.len().isqrt(),
            height: data.len().isqrt(),
            channels: 1,
            data,
        };
        self.junk.push(CsvImage {
            name: format!("{}:{line}", self.name),
            pixels: pixels.map(square),
        });
        // Only the end of a file may hold no images.
        if !is_junk || self.junk.len() > most_junk(self.images) {
            self.images += self.junk.len();
            self.ready.extend(self.junk.drain(..));
        }
    }
}

impl Rest {
    fn of(path: &Path) -> Result<Self, String> {
        let reading = |e| format!("can't be read: {e}");
        let mut lines = Lines::new(buffered(File::open(path).map_err(reading)?));
        let header = lines.next().map_err(reading)?;
        let (_, header) = header.ok_or(NO_IMAGES)?;
        let column = ImageColumn::find(header?)?;
        Ok(Self { lines, column })
    }
}

impl Iterator for CsvImages {
    type Item = CsvImage;

    fn next(&mut self) -> Option<CsvImage> {
        while self.ready.is_empty() && self.rest.is_some() {
            self.read();
        }
        self.ready.pop_front()
    }
}
