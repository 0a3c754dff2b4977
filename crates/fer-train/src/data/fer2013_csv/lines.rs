//! The lines of a file, one at a time ([`Lines`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// The longest line that is read: 4 MiB, an image of 1024×1024 pixels.
pub(super) const MAX_LINE_BYTES: u64 = 4 << 20;

/// A file to read lines of.
pub(super) fn buffered(file: File) -> BufReader<File> {
    BufReader::with_capacity(1 << 18, file)
}

/// A line without the blanks around it, and its number, from 1; why it is not read, if it is too
/// long.
pub(super) type Numbered<'a> = (usize, Result<&'a [u8], String>);

/// The lines of a file that are not empty.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    line: usize,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            line: 0,
        }
    }

    /// The next line; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Numbered<'_>>> {
        loop {
            self.line += 1;
            self.buffer.clear();
            let mut reader = self.reader.by_ref().take(MAX_LINE_BYTES + 1);
            match reader.read_until(b'\n', &mut self.buffer)? {
                0 => return Ok(None),
                n if n as u64 > MAX_LINE_BYTES => {
                    let problem = "the line is over 4 MiB; this is not a FER-2013 file";
                    return Ok(Some((self.line, Err(problem.into()))));
                }
                _ if self.text().is_empty() => {}
                _ => break,
            }
        }
        Ok(Some((self.line, Ok(self.text()))))
    }

    fn text(&self) -> &[u8] {
        match self.line {
            1 => without_bom(&self.buffer),
            _ => self.buffer.trim_ascii(),
        }
    }
}

/// The first line, without the mark that says that it is UTF-8.
pub(super) fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf".as_slice())
        .unwrap_or(line)
        .trim_ascii()
}
