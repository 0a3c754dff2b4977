//! The pages of a column, checked before they are decoded ([`Pages`]): their sizes before anything
//! is allocated for them, and the number of their values before they are unpacked.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::thrift::{has_sound_schema, page_size};
use crate::file::{From, Positioned};

/// The largest page: 1 GiB. Writers of pictures put a hundred rows or so into one.
const MAX_PAGE_BYTES: i64 = 1 << 30;

/// The most values of a page.
const MAX_PAGE_VALUES: u64 = 1 << 24;

/// The longest metadata of a file: 64 MiB, that of a million row groups.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// How much of a file is read to find a page's header in it; the next if it is longer.
const HEADER_BYTES: [u64; 3] = [4 << 10, 128 << 10, 4 << 20];

fn wrong(problem: impl Into<String>) -> ParquetError {
    ParquetError::General(problem.into())
}

/// A file's metadata.
///
/// # Errors
/// It is not a Parquet file, it is encrypted or damaged.
pub fn metadata(file: &Positioned) -> Result<ParquetMetaData> {
    const TAIL: u64 = 8;
    let size = file.len();
    let tail = match size.checked_sub(TAIL) {
        Some(at) => file.bytes(at, TAIL)?,
        None => return Err(wrong("is not a Parquet file, or cut off")),
    };
    let (len, magic) = tail.split_at(4);
    match magic {
        b"PAR1" => {}
        b"PARE" => return Err(wrong("is encrypted; write it without encryption")),
        _ => return Err(wrong("is not a Parquet file, or cut off; get it again")),
    }
    let len = len.iter().rev().fold(0, |len, b| len << 8 | u64::from(*b));
    if len > MAX_METADATA_BYTES || len + TAIL > size {
        return Err(wrong("the length of its metadata is wrong"));
    }
    let bytes = file.bytes(size - TAIL - len, len)?;
    if !has_sound_schema(&bytes) {
        return Err(wrong("its schema is damaged"));
    }
    ParquetMetaDataReader::decode_metadata(&bytes)
}

/// The file as the `parquet` crate reads pages from it.
struct Chunks(Arc<Positioned>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Chunks {
    type T = Header;

    /// Called for the header of a page alone; and before a page whose header was read already,
    /// where nothing is read from it.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(Header {
            file: Arc::clone(&self.0),
            at: start,
            checked: None,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        Ok(self.0.bytes(start, length as u64)?.into())
    }
}

/// The header of a page, which is checked before any of it is given out.
struct Header {
    file: Arc<Positioned>,
    at: u64,
    checked: Option<Cursor<Vec<u8>>>,
}

impl Header {
    /// The bytes from the header on: of a page that is not too large.
    fn check(&self) -> io::Result<Vec<u8>> {
        for most in HEADER_BYTES {
            let mut bytes = Vec::new();
            let from = From {
                file: &self.file,
                at: self.at,
            };
            from.take(most).read_to_end(&mut bytes)?;
            let Some(size) = page_size(&bytes) else {
                if (bytes.len() as u64) < most {
                    break;
                }
                continue;
            };
            let range = 0..=MAX_PAGE_BYTES;
            if !range.contains(&size.plain) || !range.contains(&size.stored) {
                let problem = "a page is over 1 GiB, or its size is damaged";
                return Err(io::Error::other(problem));
            }
            return Ok(bytes);
        }
        Err(io::Error::other("the header of a page is damaged"))
    }
}

impl Read for Header {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.checked.is_none() {
            self.checked = Some(Cursor::new(self.check()?));
        }
        self.checked
            .as_mut()
            .map_or(Ok(0), |bytes| bytes.read(buffer))
    }
}

/// The pages of a column in a row group.
pub struct Pages(SerializedPageReader<Chunks>);

impl Pages {
    /// The pages of a column's chunk.
    ///
    /// # Errors
    /// The file can't have them where the metadata says, or they are compressed by a codec that is
    /// not read.
    pub fn of(file: &Arc<Positioned>, chunk: &ColumnChunkMetaData, rows: usize) -> Result<Self> {
        let first = chunk.dictionary_page_offset();
        let first = first.unwrap_or_else(|| chunk.data_page_offset());
        let end = first.checked_add(chunk.compressed_size());
        let end = end.and_then(|end| u64::try_from(end).ok());
        if first < 0 || chunk.compressed_size() < 0 || end.is_none_or(|end| end > file.len()) {
            let kind = io::ErrorKind::UnexpectedEof;
            return Err(wrong(io::Error::from(kind).to_string()));
        }
        let chunks = Arc::new(Chunks(Arc::clone(file)));
        SerializedPageReader::new(chunks, chunk, rows, None).map(Self)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        page.iter().try_for_each(check)?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.0.take_deferred_dictionary()?;
        page.iter().try_for_each(check)?;
        Ok(page)
    }
}

/// Refuses pages that name more values than they can hold, for which memory would be allocated.
fn check(page: &Page) -> Result<()> {
    let (values, encoding) = match page {
        Page::DataPage {
            num_values,
            encoding,
            ..
        }
        | Page::DataPageV2 {
            num_values,
            encoding,
            ..
        } => (*num_values, *encoding),
        Page::DictionaryPage {
            buf, num_values, ..
        } => {
            // Four bytes each at least, of numbers and of texts.
            let values = u64::from(*num_values);
            return match values > MAX_PAGE_VALUES || 4 * values > buf.len() as u64 {
                true => Err(wrong("a dictionary is smaller than it says")),
                false => Ok(()),
            };
        }
    };
    if u64::from(values) > MAX_PAGE_VALUES {
        return Err(wrong("a page has over 16 million values"));
    }
    match encoding {
        #[allow(deprecated, reason = "old files have it")]
        Encoding::PLAIN | Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => Ok(()),
        other => Err(wrong(format!(
            "the encoding {other} is not read; write the file with plain or dictionary encoding"
        ))),
    }
}
