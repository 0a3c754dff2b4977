//! Compressed archives (`.tar.gz`), read from the beginning to the end: bytes in the middle of one
//! can't be reached without all before them.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fer_core::images::{Blob, DecodeError, MAX_FILE_BYTES};
use flate2::bufread::MultiGzDecoder;
use tar::Header;

use super::tar::{Archive, BLOCK, File, begins, failed, no_archive};
use super::{ShardError, name_of};

/// The first bytes of a file that gzip made.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether a file is compressed, by its first bytes.
pub fn is_one(path: &Path) -> bool {
    let mut head = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == MAGIC
}

/// A compressed archive.
#[derive(Debug, Clone)]
pub struct Gzip {
    name: String,
    path: PathBuf,
}

impl Gzip {
    /// Opens a compressed archive.
    ///
    /// # Errors
    /// It can't be read, or what it unpacks to does not begin as an archive.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        let archive = Self {
            name: name_of(path),
            path: path.to_path_buf(),
        };
        let mut head = Vec::new();
        let mut reader = archive.read();
        let unpacked = reader.unpacked();
        let read = unpacked.and_then(|unpacked| unpacked.take(4096).read_to_end(&mut head));
        read.map_err(|e| failed(&archive.name, e))?;
        let first = head.get(..BLOCK as usize).map(Header::from_byte_slice);
        match first.is_some_and(begins) {
            true => Ok(archive),
            false => Err(no_archive(&archive.name, &head)),
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads it from the beginning.
    pub fn read(&self) -> Reader {
        Reader {
            archive: self.clone(),
            unpacked: None,
            at: 0,
        }
    }
}

type Unpacked = BufReader<MultiGzDecoder<BufReader<fs::File>>>;

/// A compressed archive as it is read.
#[derive(Debug)]
pub struct Reader {
    archive: Gzip,
    /// Opened where it is read first.
    unpacked: Option<Box<Unpacked>>,
    /// How many bytes were unpacked.
    at: u64,
}

impl Reader {
    fn unpacked(&mut self) -> io::Result<&mut Unpacked> {
        if self.unpacked.is_none() {
            let file = BufReader::new(fs::File::open(&self.archive.path)?);
            self.unpacked = Some(Box::new(BufReader::new(MultiGzDecoder::new(file))));
        }
        self.unpacked
            .as_deref_mut()
            .ok_or(ErrorKind::NotFound.into())
    }

    /// Passes over what lies before a place; how many bytes of that are not there.
    fn pass(&mut self, to: u64) -> io::Result<u64> {
        let before = to.checked_sub(self.at).ok_or(ErrorKind::InvalidInput)?;
        let passed = io::copy(&mut self.unpacked()?.take(before), &mut io::sink())?;
        self.at += passed;
        Ok(before - passed)
    }
}

impl Archive for Reader {
    fn name(&self) -> &str {
        &self.archive.name
    }

    fn ends(&mut self, at: u64) -> io::Result<bool> {
        match self.pass(at)? {
            0 => Ok(self.unpacked()?.fill_buf()?.is_empty()),
            // The last content may lack what fills it up, and no more.
            1..BLOCK => Ok(true),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn bytes(&mut self, at: u64, len: u64) -> io::Result<Vec<u8>> {
        let missing = self.pass(at)?;
        let mut bytes = Vec::new();
        let read = self.unpacked()?.take(len).read_to_end(&mut bytes)? as u64;
        self.at += read;
        match missing == 0 && read == len {
            true => Ok(bytes),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn holds(&self, _: u64) -> bool {
        // That is seen at its end.
        true
    }

    fn image(&mut self, file: &File) -> Result<Arc<dyn Blob>, ShardError> {
        if file.len > MAX_FILE_BYTES {
            return Ok(Arc::new(Held(None)));
        }
        let bytes = self.bytes(file.at, file.len);
        let bytes = bytes.map_err(|e| failed(&self.archive.name, e))?;
        Ok(Arc::new(Held(Some(bytes.into()))))
    }
}

/// The bytes of an image, in memory; `None` if they are too many.
#[derive(Debug)]
struct Held(Option<Bytes>);

impl Blob for Held {
    fn read(&self) -> Result<Bytes, DecodeError> {
        self.0.clone().ok_or(DecodeError::FileTooLarge)
    }

    fn held(&self) -> usize {
        self.0.as_ref().map_or(0, Bytes::len)
    }
}
