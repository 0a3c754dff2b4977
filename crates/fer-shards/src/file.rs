//! A file that is read at any place, from any thread ([`Positioned`]).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file, read at places that the caller names.
#[derive(Debug)]
pub struct Positioned {
    file: File,
    len: u64,
}

impl Positioned {
    /// Opens a file.
    ///
    /// # Errors
    /// It can't be opened, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "it is not a regular file"));
        }
        let len = metadata.len();
        Ok(Self { file, len })
    }

    /// The file's length in bytes, when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reads some bytes at a place; fewer than asked for at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        #[cfg(unix)]
        {
            std::os::unix::fs::FileExt::read_at(&self.file, buffer, at)
        }
        #[cfg(windows)]
        {
            std::os::windows::fs::FileExt::seek_read(&self.file, buffer, at)
        }
    }

    /// Reads `len` bytes at a place. Nothing is allocated for bytes that the file does not have.
    ///
    /// # Errors
    /// The file ends before, or can't be read.
    pub fn bytes(&self, at: u64, len: u64) -> io::Result<Vec<u8>> {
        let end = at.checked_add(len).filter(|end| *end <= self.len);
        let len = usize::try_from(len).ok().filter(|_| end.is_some());
        let mut bytes = vec![0; len.ok_or(io::ErrorKind::UnexpectedEof)?];
        From { file: self, at }.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The bytes of a file from a place on.
pub struct From<'a> {
    /// The file.
    pub file: &'a Positioned,
    /// The place, in bytes from the beginning.
    pub at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
