//! Which columns of a Parquet file are images and labels, and what the labels mean ([`Columns`]).

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

/// Names of columns of images, the most usual first. As `image`, so its `bytes` within a structure.
const IMAGES: [&str; 11] = [
    "image",
    "img",
    "bytes",
    "image_bytes",
    "img_bytes",
    "picture",
    "content",
    "data",
    "jpg",
    "jpeg",
    "png",
];

/// Names of columns of labels, the most usual first.
const LABELS: [&str; 8] = [
    "label",
    "labels",
    "emotion",
    "expression",
    "class",
    "target",
    "category",
    "cls",
];

/// The columns of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The images' bytes.
    pub image: usize,
    /// What the images show.
    pub label: Option<Label>,
}

/// A column of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Which column it is.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// The names of the classes, by their numbers, if the file has them.
    pub classes: Option<Vec<String>>,
}

impl Columns {
    /// Finds the columns in a file's schema.
    ///
    /// # Errors
    /// No column has images, or several have; the text names the columns.
    pub fn of(metadata: &ParquetMetaData) -> Result<Self, String> {
        let file = metadata.file_metadata();
        let columns = file.schema_descr().columns();
        let is_image = |column: &ColumnDescriptor| is_binary(column) && column.max_rep_level() == 0;
        let images: Vec<usize> = (0..columns.len())
            .filter(|i| is_image(&columns[*i]))
            .collect();
        let named = |name: &&str| {
            let matches = |i: &&usize| {
                let path = columns[**i].path().parts();
                let whole = path.len() == 1 || path.len() == 2 && path[1] == "bytes";
                whole && path[0].eq_ignore_ascii_case(name)
            };
            images.iter().find(matches).copied()
        };
        let names = || {
            let names = columns.iter().map(|column| column.path().string());
            names.take(20).collect::<Vec<_>>().join(", ")
        };
        let image = match (IMAGES.iter().find_map(named), &images[..]) {
            (Some(image), _) => image,
            (None, [only]) => *only,
            (None, []) => {
                return Err(format!(
                    "has no column with the bytes of images (there is {}); it takes one named \
                     image, of binary values or of a structure with bytes",
                    names()
                ));
            }
            (None, _) => {
                return Err(format!(
                    "has several columns of binary values (there is {}); name that of the images \
                     image",
                    names()
                ));
            }
        };
        let label = |name: &&str| {
            let index = columns.iter().position(|column| {
                let path = column.path().parts();
                path.len() == 1 && path[0].eq_ignore_ascii_case(name) && is_label(column)
            })?;
            let name = columns[index].name().to_string();
            let classes = classes(file, &name);
            Some(Label {
                index,
                name,
                classes,
            })
        };
        Ok(Self {
            image,
            label: LABELS.iter().find_map(label),
        })
    }
}

/// Whether a column is of bytes that are not a text.
fn is_binary(column: &ColumnDescriptor) -> bool {
    column.physical_type() == Physical::BYTE_ARRAY
        && column.logical_type_ref().is_none()
        && column.converted_type() == ConvertedType::NONE
}

/// Whether a column is of whole numbers or texts.
fn is_label(column: &ColumnDescriptor) -> bool {
    let number = matches!(column.physical_type(), Physical::INT32 | Physical::INT64)
        && matches!(
            column.logical_type_ref(),
            None | Some(LogicalType::Integer { .. })
        );
    let text = column.physical_type() == Physical::BYTE_ARRAY;
    column.max_rep_level() == 0 && (number || text)
}

/// The names of the classes of a column that Hugging Face's metadata gives.
fn classes(file: &FileMetaData, label: &str) -> Option<Vec<String>> {
    let metadata = file.key_value_metadata()?;
    let own = metadata.iter().find(|pair| pair.key == "huggingface")?;
    let info: Value = serde_json::from_str(own.value.as_deref()?).ok()?;
    let names = info["info"]["features"][label]["names"].as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|n| Some(n.as_str()?.into())).collect();
    names.filter(|names| !names.is_empty())
}
