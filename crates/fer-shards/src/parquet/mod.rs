//! Parquet files with a column of images ([`Parquet`]): opened by their footer, and read a few rows
//! at a time, at the rows that are wanted.

mod columns;
pub mod pages;
mod thrift;

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fer_core::images::{Blob, DecodeError, MAX_FILE_BYTES};
use fer_core::panics;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use self::columns::{Columns, Label};
use self::pages::Pages;
use crate::file::Positioned;
use crate::set::MAX_LABEL_BYTES;
use crate::{Member, ShardError, name_of, stored};

/// The most rows that are read ahead.
const BLOCK_ROWS: usize = 64;

/// The most blocks of rows, and places in the file, that are kept: of as many threads as work in
/// different parts of it.
const KEPT: usize = 8;

/// The most bytes of the blocks that are kept; the last one may exceed them.
const KEPT_BYTES: usize = 64 << 20;

/// Rows that a file may have, however short it is. Images take a byte at least.
const ROWS: u64 = 1 << 20;

/// A Parquet file with a column of images.
pub struct Parquet {
    name: String,
    file: Arc<Positioned>,
    metadata: ParquetMetaData,
    columns: Columns,
    /// The first row of each row group, and the number of all rows.
    starts: Vec<u64>,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Parquet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parquet").field(&self.name).finish()
    }
}

/// What was read of a file.
#[derive(Default)]
struct Kept {
    /// The latest last.
    blocks: VecDeque<Block>,
    places: VecDeque<Place>,
}

/// The images of some rows, one behind the other.
struct Block {
    first: u64,
    rows: Vec<Option<Bytes>>,
}

/// A place in the column of images.
struct Place {
    group: usize,
    /// The next row that is read.
    row: u64,
    reader: ColumnReaderImpl<ByteArrayType>,
}

impl Block {
    fn bytes(&self) -> usize {
        self.rows.iter().flatten().map(Bytes::len).sum()
    }

    fn get(&self, row: u64) -> Option<&Option<Bytes>> {
        let at = usize::try_from(row.checked_sub(self.first)?).ok()?;
        self.rows.get(at)
    }
}

/// Runs what the `parquet` crate does with a file's bytes. It is meant to return an error on any
/// bytes, and panics on some.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    let outcome = match panics::caught(work) {
        Ok(outcome) => outcome.map_err(|e| match e {
            ParquetError::General(problem) => problem,
            other => other.to_string(),
        }),
        Err(panic) => Err(format!("is damaged ({panic})")),
    };
    // Some messages have several lines.
    outcome.map_err(|e| e.lines().next().unwrap_or("is damaged").trim().to_string())
}

impl Parquet {
    /// Opens a file.
    ///
    /// # Errors
    /// It can't be read, is not a Parquet file, is damaged, or has no column of images.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        let name = name_of(path);
        let file = Positioned::open(path).map_err(|e| ShardError::read(&name, e))?;
        let metadata = guarded(|| pages::metadata(&file));
        let metadata = metadata.map_err(|problem| ShardError::damaged(&name, problem))?;
        let columns = Columns::of(&metadata).map_err(|problem| ShardError::form(&name, problem))?;
        let mut starts = vec![0];
        let mut rows = 0u64;
        for group in metadata.row_groups() {
            let more = u64::try_from(group.num_rows()).ok();
            let sum = more.and_then(|more| rows.checked_add(more));
            rows = sum
                .filter(|rows| *rows <= ROWS.max(file.len()))
                .ok_or_else(|| {
                    ShardError::damaged(&name, "names more rows than it can hold images")
                })?;
            starts.push(rows);
        }
        Ok(Self {
            name,
            file: Arc::new(file),
            metadata,
            columns,
            starts,
            kept: Mutex::default(),
        })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The image of a row.
    pub fn member(self: &Arc<Self>, row: u64) -> Member {
        Member {
            name: format!("{}#{row}", self.name),
            image: Arc::new(Cell {
                file: Arc::clone(self),
                row,
            }),
        }
    }

    /// The column of labels.
    pub fn label(&self) -> Option<&Label> {
        self.columns.label.as_ref()
    }

    /// The labels of all rows, as the file has them: names, or numbers as text; `None` where there
    /// is none, which is -1 too. Empty without a column of labels.
    ///
    /// # Errors
    /// The column is damaged.
    pub fn labels(&self) -> Result<Vec<Option<String>>, ShardError> {
        let Some(label) = self.label() else {
            return Ok(Vec::new());
        };
        let mut labels = Vec::new();
        for group in 0..self.metadata.num_row_groups() {
            let read = guarded(|| self.labels_of(group, label.index, &mut labels));
            let whole = read.and_then(|()| match labels.len() as u64 == self.starts[group + 1] {
                true => Ok(()),
                false => Err("it has fewer values than rows".into()),
            });
            whole.map_err(|problem| {
                let problem = format!("the column {}: {problem}", label.name);
                ShardError::damaged(&self.name, problem)
            })?;
        }
        Ok(labels)
    }

    fn labels_of(
        &self,
        group: usize,
        column: usize,
        labels: &mut Vec<Option<String>>,
    ) -> Result<(), ParquetError> {
        use parquet::basic::Type as Physical;

        fn number(n: i64) -> Option<String> {
            (n >= 0).then(|| n.to_string())
        }
        let kind = self.metadata.row_group(group).column(column).column_type();
        let (file, metadata) = (&self.file, &self.metadata);
        match kind {
            Physical::INT32 => values::<Int32Type>(file, metadata, [group, column], |value| {
                labels.push(value.and_then(|n| number(n.into())));
            }),
            Physical::INT64 => values::<Int64Type>(file, metadata, [group, column], |value| {
                labels.push(value.and_then(number));
            }),
            _ => {
                let mut too_long = false;
                values::<ByteArrayType>(file, metadata, [group, column], |value| {
                    let len = value.as_ref().map_or(0, ByteArray::len);
                    too_long |= len > MAX_LABEL_BYTES;
                    let value = value.filter(|_| len <= MAX_LABEL_BYTES);
                    labels.push(value.map(|v| String::from_utf8_lossy(v.data()).into_owned()));
                })?;
                match too_long {
                    true => {
                        let problem = format!("a label is over {MAX_LABEL_BYTES} bytes");
                        Err(ParquetError::General(problem))
                    }
                    false => Ok(()),
                }
            }
        }
    }

    /// The image of a row; `None` if it has none.
    fn image(&self, row: u64) -> Result<Option<Bytes>, ShardError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.blocks.iter().rev().find_map(|block| block.get(row));
        if let Some(image) = known {
            return Ok(image.clone());
        }
        let damaged = |problem: String| {
            let problem = format!("its row group can't be read: {problem}");
            ShardError::damaged(&self.name, problem)
        };
        let group = self.starts.partition_point(|start| *start <= row) - 1;
        // The place that is nearest before the row. It is lost after an error.
        let near = kept.places.iter().enumerate();
        let near = near.filter(|(_, place)| place.group == group && place.row <= row);
        let near = near.max_by_key(|(_, place)| place.row).map(|(i, _)| i);
        let place = near.and_then(|i| kept.places.remove(i));
        let (place, block) = guarded(|| self.read_on(place, group, row)).map_err(damaged)?;
        let image = block.get(row).cloned();
        // At the end of its row group, a place is of no more use, and its page may be large.
        if place.row < self.starts[group + 1] {
            kept.places.push_back(place);
        }
        kept.blocks.push_back(block);
        while kept.places.len() > KEPT {
            kept.places.pop_front();
        }
        let bytes = |blocks: &VecDeque<Block>| blocks.iter().map(Block::bytes).sum::<usize>();
        while kept.blocks.len() > KEPT || kept.blocks.len() > 1 && bytes(&kept.blocks) > KEPT_BYTES
        {
            kept.blocks.pop_front();
        }
        image.ok_or_else(|| damaged("it has fewer values than rows".into()))
    }

    /// Reads a block of rows from this one on, from a place before it if there is one.
    fn read_on(
        &self,
        place: Option<Place>,
        group: usize,
        row: u64,
    ) -> Result<(Place, Block), ParquetError> {
        let column = self.columns.image;
        let mut place = match place {
            Some(place) => place,
            None => Place {
                group,
                row: self.starts[group],
                reader: reader(&self.file, &self.metadata, [group, column])?,
            },
        };
        let before = (row - place.row) as usize;
        place.row += place.reader.skip_records(before)? as u64;
        let mut rows = Vec::new();
        let left = (self.starts[group + 1] - row) as usize;
        if place.row == row {
            let present = present(&self.metadata, column);
            let mut bytes = 0;
            while rows.len() < left.min(BLOCK_ROWS) && bytes < KEPT_BYTES / KEPT {
                let Some(value) = next(&mut place.reader, 1, present)?.pop() else {
                    break;
                };
                // A copy, as the value is a part of its page, which is large.
                let value = value.map(|value| Bytes::copy_from_slice(value.data()));
                bytes += value.as_ref().map_or(0, Bytes::len);
                rows.push(value);
            }
        }
        place.row += rows.len() as u64;
        Ok((place, Block { first: row, rows }))
    }
}

/// Passes the values of a column in a row group to a function.
///
/// # Errors
/// It is damaged. It may have fewer values than the group has rows.
pub fn values<T: DataType>(
    file: &Arc<Positioned>,
    metadata: &ParquetMetaData,
    [group, column]: [usize; 2],
    mut take: impl FnMut(Option<T::T>),
) -> Result<(), ParquetError> {
    const ROWS: usize = 4096;
    let mut reader = reader::<T>(file, metadata, [group, column])?;
    let mut left = metadata.row_group(group).num_rows() as usize;
    while left > 0 {
        let values = next(&mut reader, left.min(ROWS), present(metadata, column))?;
        if values.is_empty() {
            break;
        }
        left -= values.len();
        values.into_iter().for_each(&mut take);
    }
    Ok(())
}

fn reader<T: DataType>(
    file: &Arc<Positioned>,
    metadata: &ParquetMetaData,
    [group, column]: [usize; 2],
) -> Result<ColumnReaderImpl<T>, ParquetError> {
    let group = metadata.row_group(group);
    let chunk = group.column(column);
    let pages = Pages::of(file, chunk, group.num_rows() as usize)?;
    let column = chunk.column_descr_ptr();
    Ok(ColumnReaderImpl::new(column, Box::new(pages)))
}

/// The definition level of a value that is there.
fn present(metadata: &ParquetMetaData, column: usize) -> i16 {
    let schema = metadata.file_metadata().schema_descr();
    schema.column(column).max_def_level()
}

/// The next values of a column, at most so many. `present` is the definition level of a value that
/// is there.
fn next<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    most: usize,
    present: i16,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (rows, ..) = reader.read_records(most, Some(&mut levels), None, &mut values)?;
    let mut values = values.into_iter();
    Ok((0..rows)
        .map(|row| match levels.get(row) {
            Some(level) if *level < present => None,
            _ => values.next(),
        })
        .collect())
}

/// The image of a row.
#[derive(Debug)]
struct Cell {
    file: Arc<Parquet>,
    row: u64,
}

impl Blob for Cell {
    fn read(&self) -> Result<Bytes, DecodeError> {
        match self.file.image(self.row).map_err(stored)? {
            Some(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => Err(DecodeError::FileTooLarge),
            Some(bytes) => Ok(bytes),
            None => Err(DecodeError::Stored {
                reason: "the row has no bytes of an image".into(),
            }),
        }
    }
}
