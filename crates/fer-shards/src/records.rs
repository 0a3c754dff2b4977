//! Records as Parquet files: a row a face, with the columns of the CSV format
//! ([`fer_core::report`]), and the same ones whatever was found.
//!
//! A Parquet file can't be read before it is finished. So records are written in parts, files of
//! [`PART`] pictures each ([`Parts`]), which are joined at the end ([`join`]): nothing is computed
//! anew for that, as the parts' columns are copied as they are. What is done by an interrupted run
//! is known from its parts ([`done`]).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fer_core::prediction::Prediction;
use fer_core::report::{Content, FoundFace, Record, Report, Shape};
use fer_core::{files, names};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArrayType, DataType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::ShardError;
use super::file::Positioned;
use super::parquet::{guarded, pages, values};

/// Pictures of a part, and rows of a group in the finished file where each picture has one. An
/// interrupted run loses fewer.
pub const PART: usize = 4096;

/// The most rows of a part before it ends.
const MAX_ROWS: usize = 16 * PART;

/// The columns of a face's place: its number, its box, its score.
const PLACE: [&str; 6] = ["face", "x", "y", "w", "h", "score"];

/// A row: a face, or a picture without one.
struct Row {
    path: Arc<str>,
    face: Option<Place>,
    prediction: Option<Prediction>,
    error: Option<String>,
}

struct Place {
    index: i32,
    bounds: [f32; 4],
    score: Option<f32>,
}

impl Place {
    fn of(index: usize, face: &FoundFace) -> Self {
        Self {
            index: index as i32,
            bounds: face.bounds,
            score: face.score,
        }
    }
}

/// Writes the parts of a Parquet file into a folder.
pub struct Parts {
    folder: PathBuf,
    labels: Vec<String>,
    shape: Shape,
    rows: Vec<Row>,
    pictures: usize,
    /// The number of the next part.
    next: usize,
}

impl Parts {
    /// Goes on behind so many parts that are there already.
    pub fn new(folder: &Path, labels: &[String], shape: Shape, parts: usize) -> Self {
        Self {
            folder: folder.into(),
            labels: labels.to_vec(),
            shape,
            rows: Vec::new(),
            pictures: 0,
            next: parts,
        }
    }

    /// Writes what is there as a part.
    fn write(&mut self) -> io::Result<()> {
        let path = part(&self.folder, self.next);
        let file = files::temporary(&path)?;
        let schema = schema(&self.labels, self.shape).map_err(io::Error::other)?;
        let write = || {
            let out = io::BufWriter::new(file.as_file().try_clone()?);
            let mut writer = SerializedFileWriter::new(out, schema, properties())?;
            let mut group = writer.next_row_group()?;
            self.columns(&mut group)?;
            group.close()?;
            writer.close()
        };
        write().map_err(written)?;
        file.rename(&path)?;
        self.rows.clear();
        self.pictures = 0;
        self.next += 1;
        Ok(())
    }

    fn columns<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let rows = &self.rows;
        let text = |text: &str| text.as_bytes().to_vec().into();
        column::<ByteArrayType, _>(group, rows, false, |row| Some(text(&row.path)))?;
        if self.shape != Shape::Whole {
            column::<Int32Type, _>(group, rows, true, |row| Some(row.face.as_ref()?.index))?;
            for side in 0..4 {
                column::<FloatType, _>(group, rows, true, |row| {
                    Some(row.face.as_ref()?.bounds[side])
                })?;
            }
            column::<FloatType, _>(group, rows, true, |row| row.face.as_ref()?.score)?;
        }
        column::<ByteArrayType, _>(group, rows, true, |row| {
            Some(text(&self.labels[row.prediction.as_ref()?.class]))
        })?;
        column::<FloatType, _>(group, rows, true, |row| {
            Some(row.prediction.as_ref()?.confidence())
        })?;
        for class in 0..self.labels.len() {
            column::<FloatType, _>(group, rows, true, |row| {
                Some(row.prediction.as_ref()?.probabilities[class])
            })?;
        }
        column::<ByteArrayType, _>(group, rows, true, |row| row.error.as_deref().map(text))
    }
}

/// Writes the next column of a row group.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
    optional: bool,
    value: impl Fn(&Row) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let all: Vec<Option<T::T>> = rows.iter().map(value).collect();
    let levels: Vec<i16> = all.iter().map(|value| value.is_some().into()).collect();
    let there: Vec<T::T> = all.into_iter().flatten().collect();
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has fewer columns".into()))?;
    let levels = optional.then_some(&levels[..]);
    column.typed::<T>().write_batch(&there, levels, None)?;
    column.close()
}

impl Report for Parts {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let path: Arc<str> = record.path.as_str().into();
        let row = |face, outcome: Option<Result<&Prediction, &String>>| Row {
            path: Arc::clone(&path),
            face,
            prediction: outcome.and_then(Result::ok).cloned(),
            error: outcome.and_then(Result::err).cloned(),
        };
        match &record.outcome {
            Ok(Content::Whole(prediction)) => self.rows.push(row(None, Some(Ok(prediction)))),
            Ok(Content::Faces(picture)) if picture.faces.is_empty() => {
                self.rows.push(row(None, None));
            }
            Ok(Content::Faces(picture)) => {
                let faces = picture.faces.iter().enumerate();
                self.rows.extend(faces.map(|(index, face)| {
                    row(Some(Place::of(index, face)), Some(face.outcome.as_ref()))
                }));
            }
            Err(reason) => self.rows.push(row(None, Some(Err(reason)))),
        }
        self.pictures += 1;
        if self.pictures >= PART || self.rows.len() >= MAX_ROWS {
            self.write()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.rows.is_empty() {
            true => Ok(()),
            false => self.write(),
        }
    }
}

fn part(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:08}.parquet"))
}

fn properties() -> Arc<WriterProperties> {
    let properties = WriterProperties::builder();
    Arc::new(properties.set_compression(Compression::SNAPPY).build())
}

/// The file's columns. A class whose name is that of another column gets `class` before it.
fn schema(labels: &[String], shape: Shape) -> Result<TypePtr, ParquetError> {
    let leaf = |name: &str, kind: Physical, repetition: Repetition| {
        let text = (kind == Physical::BYTE_ARRAY).then_some(LogicalType::String);
        let leaf = Type::primitive_type_builder(name, kind);
        let leaf = leaf.with_repetition(repetition).with_logical_type(text);
        leaf.build().map(Arc::new)
    };
    let place = match shape {
        Shape::Whole => &[][..],
        _ => &PLACE[..],
    };
    let others = ["path", "label", "confidence", "error"];
    let class = |(i, label): (usize, &String)| {
        let taken = others.iter().chain(place).any(|name| name == label);
        match taken || labels[..i].contains(label) {
            true => format!("class {label}"),
            false => label.clone(),
        }
    };
    let mut fields = vec![leaf("path", Physical::BYTE_ARRAY, Repetition::REQUIRED)?];
    for name in place {
        let kind = match *name {
            "face" => Physical::INT32,
            _ => Physical::FLOAT,
        };
        fields.push(leaf(name, kind, Repetition::OPTIONAL)?);
    }
    fields.push(leaf("label", Physical::BYTE_ARRAY, Repetition::OPTIONAL)?);
    let classes = labels.iter().enumerate().map(class);
    for name in ["confidence".to_string()].into_iter().chain(classes) {
        fields.push(leaf(&name, Physical::FLOAT, Repetition::OPTIONAL)?);
    }
    fields.push(leaf("error", Physical::BYTE_ARRAY, Repetition::OPTIONAL)?);
    let schema = Type::group_type_builder("schema").with_fields(fields);
    schema.build().map(Arc::new)
}

fn written(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        other => io::Error::other(other),
    }
}

/// Joins the parts in a folder to one file: each is a row group of it. Without parts, it has the
/// columns and no rows.
///
/// # Errors
/// A part can't be read, or the file can't be written.
pub fn join(folder: &Path, labels: &[String], shape: Shape, out: &File) -> io::Result<()> {
    let join = || {
        let out = io::BufWriter::new(out.try_clone()?);
        let schema = schema(labels, shape)?;
        let mut writer = SerializedFileWriter::new(out, schema, properties())?;
        for number in 0.. {
            let path = part(folder, number);
            if !path.is_file() {
                break;
            }
            let metadata = pages::metadata(&Positioned::open(&path)?)?;
            let file = File::open(&path)?;
            for group in metadata.row_groups() {
                let mut joined = writer.next_row_group()?;
                for column in group.columns() {
                    let close = ColumnCloseResult {
                        bytes_written: column.compressed_size() as u64,
                        rows_written: group.num_rows() as u64,
                        metadata: column.clone(),
                        bloom_filter: None,
                        column_index: None,
                        offset_index: None,
                    };
                    joined.append_column(&file, close)?;
                }
                joined.close()?;
            }
        }
        writer.close().map(drop)
    };
    join().map_err(written)
}

/// Whether there is a part of this number.
pub fn has_part(folder: &Path, number: usize) -> bool {
    part(folder, number).is_file()
}

/// A picture whose rows are in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The picture's name.
    pub path: String,
    /// Whether it, or one of its faces, has an error.
    pub failed: bool,
}

/// The pictures in a part; `None` if there is no such part.
///
/// # Errors
/// The part is damaged, or has other columns than these labels and this shape give.
pub fn done(
    folder: &Path,
    number: usize,
    labels: &[String],
    shape: Shape,
) -> Result<Option<Vec<Done>>, ShardError> {
    let path = part(folder, number);
    if !path.is_file() {
        return Ok(None);
    }
    let name = names::of(&path);
    let file = Positioned::open(&path).map_err(|e| ShardError::read(&name, e))?;
    let file = Arc::new(file);
    let read = guarded(|| {
        let metadata = pages::metadata(&file)?;
        let found = metadata.file_metadata().schema_descr().root_schema();
        let wanted = schema(labels, shape)?;
        let columns = |schema: &Type| -> Vec<String> {
            let fields = schema.get_fields().iter();
            fields.map(|field| field.name().to_string()).collect()
        };
        if columns(found) != columns(&wanted) {
            return Err(ParquetError::General("has other columns".into()));
        }
        let last = wanted.get_fields().len() - 1;
        let mut paths = Vec::new();
        let mut firsts = Vec::new();
        let mut errors = Vec::new();
        for group in 0..metadata.num_row_groups() {
            values::<ByteArrayType>(&file, &metadata, [group, 0], |path| {
                let path = path.map(|path| String::from_utf8_lossy(path.data()).into_owned());
                paths.push(path.unwrap_or_default());
            })?;
            if shape != Shape::Whole {
                values::<Int32Type>(&file, &metadata, [group, 1], |face| {
                    firsts.push(face.is_none_or(|face| face == 0));
                })?;
            }
            values::<ByteArrayType>(&file, &metadata, [group, last], |error| {
                errors.push(error.is_some());
            })?;
        }
        if errors.len() != paths.len() || shape != Shape::Whole && firsts.len() != paths.len() {
            return Err(ParquetError::General(
                "has columns of different length".into(),
            ));
        }
        let mut pictures: Vec<Done> = Vec::new();
        for (row, (path, failed)) in paths.into_iter().zip(errors).enumerate() {
            match pictures.last_mut() {
                Some(last) if !firsts.get(row).copied().unwrap_or(true) => last.failed |= failed,
                _ => pictures.push(Done { path, failed }),
            }
        }
        Ok(pictures)
    });
    read.map(Some)
        .map_err(|problem| ShardError::damaged(&name, problem))
}

/// Removes the parts from this one on.
///
/// # Errors
/// One can't be removed.
pub fn remove_from(folder: &Path, number: usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let own = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        if own.is_some_and(|own: usize| own >= number) && super::is_parquet(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
