//! Archives (`.tar`), walked by their headers ([`Walk`]); files are read in place.
//!
//! Names of any length are read: ustar's prefix, GNU's long names, and the extensions of POSIX
//! (pax). Sparse archives are not.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fer_core::images::sources::{has_image_name, is_hidden};
use fer_core::images::{Blob, DecodeError, Foreign, MAX_FILE_BYTES};
use tar::{Header, PaxExtensions};

use super::file::Positioned;
use super::{Member, ShardError, name_of, stored};

/// The size of a header, to whose multiples contents are filled up.
pub const BLOCK: u64 = 512;

/// The longest name, or all extensions of a file, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// An archive.
#[derive(Debug)]
pub struct Tar {
    name: String,
    file: Positioned,
}

impl Tar {
    /// Opens an archive.
    ///
    /// # Errors
    /// It can't be read, or does not begin as an archive.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        let name = name_of(path);
        let file = Positioned::open(path).map_err(|e| ShardError::read(&name, e))?;
        let head = file.bytes(0, file.len().min(4096));
        let head = head.map_err(|e| ShardError::read(&name, e))?;
        let first = head.get(..BLOCK as usize).map(Header::from_byte_slice);
        if !first.is_some_and(begins) {
            return Err(no_archive(&name, &head));
        }
        Ok(Self { name, file })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The content of a small file in it.
    ///
    /// # Errors
    /// It is over `most` bytes, or can't be read.
    pub fn content(&self, file: &File, most: u64) -> Result<Vec<u8>, ShardError> {
        let name = || format!("{}/{}", self.name, file.name);
        if file.len > most {
            let problem = format!("is over {most} bytes");
            return Err(ShardError::damaged(&name(), problem));
        }
        let read = self.file.bytes(file.at, file.len);
        read.map_err(|e| ShardError::read(&name(), e))
    }
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the archive.
    pub name: String,
    /// Where its content begins.
    pub at: u64,
    /// Its content's length in bytes.
    pub len: u64,
}

impl File {
    /// Whether it is an image by its name, and not hidden.
    pub fn is_image(&self) -> bool {
        has_image_name(Path::new(&self.name)) && !self.is_hidden()
    }

    /// Whether it is a CSV file by its name, and not hidden.
    pub fn is_csv(&self) -> bool {
        let ending = Path::new(&self.name).extension();
        ending.is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) && !self.is_hidden()
    }

    fn is_hidden(&self) -> bool {
        let hidden = |part: &str| part != "." && part != ".." && is_hidden(OsStr::new(part));
        self.name.split('/').any(hidden)
    }

    /// Its content, read when it is wanted.
    pub fn image(&self, archive: &Arc<Tar>) -> Arc<dyn Blob> {
        Arc::new(Place {
            archive: Arc::clone(archive),
            at: self.at,
            len: self.len,
        })
    }
}

/// The bytes of an image in an archive.
#[derive(Debug)]
struct Place {
    archive: Arc<Tar>,
    at: u64,
    len: u64,
}

impl Blob for Place {
    fn read(&self) -> Result<Bytes, DecodeError> {
        if self.len > MAX_FILE_BYTES {
            return Err(DecodeError::FileTooLarge);
        }
        match self.archive.file.bytes(self.at, self.len) {
            Ok(bytes) => Ok(bytes.into()),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                Err(stored(cut_off(&self.archive.name)))
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// What a walk reads: a file, or what a compressed one unpacks to.
pub trait Archive {
    /// Its name in messages.
    fn name(&self) -> &str;

    /// Whether it ends here.
    fn ends(&mut self, at: u64) -> io::Result<bool>;

    /// Bytes that lie behind those that were read before. Nothing is allocated for bytes that are
    /// not there.
    fn bytes(&mut self, at: u64, len: u64) -> io::Result<Vec<u8>>;

    /// Whether it may have so many bytes.
    fn holds(&self, len: u64) -> bool;

    /// The image that a file in it is.
    ///
    /// # Errors
    /// It has to be read now, and can't be.
    fn image(&mut self, file: &File) -> Result<Arc<dyn Blob>, ShardError>;
}

impl Archive for Arc<Tar> {
    fn name(&self) -> &str {
        &self.name
    }

    fn ends(&mut self, at: u64) -> io::Result<bool> {
        // The last content may lack what fills it up.
        Ok(at >= self.file.len())
    }

    fn bytes(&mut self, at: u64, len: u64) -> io::Result<Vec<u8>> {
        self.file.bytes(at, len)
    }

    fn holds(&self, len: u64) -> bool {
        len <= self.file.len()
    }

    fn image(&mut self, file: &File) -> Result<Arc<dyn Blob>, ShardError> {
        Ok(File::image(file, self))
    }
}

/// The files of an archive, in their order. After an error there are no more.
#[derive(Debug)]
pub struct Walk<A> {
    archive: A,
    at: u64,
    ended: bool,
    images: u64,
    /// The first CSV file that is passed over.
    csv: Option<String>,
}

impl<A: Archive> Walk<A> {
    /// A walk from the beginning.
    pub fn new(archive: A) -> Self {
        Self {
            archive,
            at: 0,
            ended: false,
            images: 0,
            csv: None,
        }
    }

    /// The next image.
    pub fn next_image(&mut self) -> Option<Result<Member, ShardError>> {
        loop {
            match self.next() {
                Some(Ok(file)) if !file.is_image() => {
                    if self.csv.is_none() && file.is_csv() {
                        self.csv = Some(file.name);
                    }
                }
                Some(Ok(file)) => {
                    self.images += 1;
                    let image = self.archive.image(&file);
                    self.ended |= image.is_err();
                    let name = format!("{}/{}", self.archive.name(), file.name);
                    return Some(image.map(|image| Member { name, image }));
                }
                Some(Err(e)) => {
                    self.images += 1;
                    return Some(Err(e));
                }
                None if self.images == 0 => {
                    self.images += 1;
                    return Some(Err(no_images(self.archive.name(), self.csv.as_deref())));
                }
                None => return None,
            }
        }
    }

    /// The next header and where its content begins; `None` at the end.
    fn header(&mut self) -> Result<Option<(Header, u64)>, ShardError> {
        // Some writers leave out the empty blocks at the end.
        let ends = self.archive.ends(self.at);
        if ends.map_err(|e| failed(self.archive.name(), e))? {
            return Ok(None);
        }
        let bytes = self.archive.bytes(self.at, BLOCK);
        let bytes = bytes.map_err(|e| failed(self.archive.name(), e))?;
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&bytes);
        if is_end(&header) {
            return Ok(None);
        }
        if !is_sound(&header) {
            return Err(self.damaged("the header is damaged"));
        }
        Ok(Some((header, self.at + BLOCK)))
    }

    fn damaged(&self, problem: &str) -> ShardError {
        let problem = format!("at byte {}: {problem}", self.at);
        ShardError::damaged(self.archive.name(), problem)
    }

    /// Goes on behind a content.
    fn pass(&mut self, at: u64, len: u64) -> Result<(), ShardError> {
        let end = at.checked_add(len).filter(|end| self.archive.holds(*end));
        let next = end.and_then(|end| end.checked_next_multiple_of(BLOCK));
        self.at = next.ok_or_else(|| cut_off(self.archive.name()))?;
        Ok(())
    }

    fn read(&mut self) -> Result<Option<File>, ShardError> {
        let mut long_name = None;
        let mut long_size = None;
        loop {
            let Some((header, at)) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size();
            let mut size = size.map_err(|_| self.damaged("the header names no size"))?;
            let kind = header.entry_type();
            if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
                if size > MAX_EXTENSION {
                    return Err(self.damaged("a name or its extensions are over 1 MiB"));
                }
                let content = self.archive.bytes(at, size);
                let content = content.map_err(|e| failed(self.archive.name(), e))?;
                if kind.is_gnu_longname() {
                    let end = content.iter().position(|b| *b == 0);
                    long_name = Some(content[..end.unwrap_or(content.len())].to_vec());
                } else {
                    for extension in PaxExtensions::new(&content) {
                        let extension = extension
                            .map_err(|_| self.damaged("the header's extensions are damaged"))?;
                        match extension.key_bytes() {
                            b"path" => long_name = Some(extension.value_bytes().to_vec()),
                            b"size" => {
                                let text = str::from_utf8(extension.value_bytes()).ok();
                                let size = text.and_then(|text| text.parse().ok());
                                let wrong = "the header's extensions name no size";
                                long_size = Some(size.ok_or_else(|| self.damaged(wrong))?);
                            }
                            key if key.starts_with(b"GNU.sparse.") => {
                                return Err(self.damaged("sparse archives are not read"));
                            }
                            _ => {}
                        }
                    }
                }
                self.pass(at, size)?;
                continue;
            }
            if kind.is_gnu_sparse() {
                return Err(self.damaged("sparse archives are not read"));
            }
            if let Some(long) = long_size.take() {
                size = long;
            }
            // Links and folders have no content, whatever size they name.
            let has_content = !(kind.is_hard_link()
                || kind.is_symlink()
                || kind.is_dir()
                || kind.is_fifo()
                || kind.is_character_special()
                || kind.is_block_special());
            let size = if has_content { size } else { 0 };
            self.pass(at, size)?;
            let name = long_name
                .take()
                .unwrap_or_else(|| header.path_bytes().to_vec());
            if kind.is_file() || kind.is_contiguous() {
                return Ok(Some(File {
                    name: text(&name),
                    at,
                    len: size,
                }));
            }
        }
    }
}

impl<A: Archive> Iterator for Walk<A> {
    type Item = Result<File, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read().transpose();
        self.ended = !matches!(read, Some(Ok(_)));
        read
    }
}

/// A name in an archive as text: `./` in front is left out, and what is not UTF-8 is escaped.
fn text(name: &[u8]) -> String {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    match std::str::from_utf8(name) {
        Ok(name) => name.into(),
        #[cfg(unix)]
        Err(_) => {
            use std::os::unix::ffi::OsStrExt;
            name_of(Path::new(OsStr::from_bytes(name)))
        }
        #[cfg(not(unix))]
        Err(_) => String::from_utf8_lossy(name).into_owned(),
    }
}

/// Why bytes of an archive can't be read.
pub fn failed(archive: &str, error: io::Error) -> ShardError {
    match error.kind() {
        ErrorKind::UnexpectedEof => cut_off(archive),
        _ => ShardError::read(archive, error),
    }
}

fn cut_off(archive: &str) -> ShardError {
    ShardError::damaged(archive, "the archive is cut off; get it again")
}

/// Whether an archive may begin with this block.
pub fn begins(header: &Header) -> bool {
    is_end(header) || is_sound(header)
}

/// What is not an archive, by its first bytes.
pub fn no_archive(name: &str, head: &[u8]) -> ShardError {
    let problem = match Foreign::of(head) {
        Some(found) => found.to_string(),
        None => "is not a tar archive".into(),
    };
    ShardError::damaged(name, problem)
}

/// An archive without images; `csv` is a CSV file in it, which may hold them.
pub fn no_images(archive: &str, csv: Option<&str>) -> ShardError {
    let problem = match csv {
        Some(csv) => format!(
            "the archive holds no image files, but {csv}; unpack it with `tar xf`, and name that \
             file"
        ),
        None => "the archive holds no images".into(),
    };
    ShardError::form(archive, problem)
}

/// Whether a block is one of the empty ones that end an archive.
fn is_end(header: &Header) -> bool {
    header.as_bytes().iter().all(|b| *b == 0)
}

/// Whether a header has the checksum that it names.
fn is_sound(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    // The checksum itself counts as blanks.
    let found = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
    header.cksum().is_ok_and(|named| named == found)
}
