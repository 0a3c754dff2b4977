//! Pictures as Python hands them over, as items of a stream.

use std::path::PathBuf;

use fer::images::{self, Pixels};
use fer::stream::{Item, ItemError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::array::Array;

/// A picture. Bytes and arrays stay Python's.
pub enum Picture {
    /// An image file.
    Path(PathBuf),
    /// An image file's bytes.
    Encoded(PyBackedBytes),
    /// Pixels.
    Array(Array),
}

impl<'py> FromPyObject<'_, 'py> for Picture {
    type Error = PyErr;

    /// A `str` or path, `bytes`, or an array of `uint8`: `[height, width, 1 or 3]`.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Some(array) = Array::of(&object)? {
            return Ok(Self::Array(array));
        }
        if let Ok(bytes) = object.extract::<PyBackedBytes>() {
            return Ok(Self::Encoded(bytes));
        }
        Ok(Self::Path(object.extract()?))
    }
}

impl Item for Picture {
    fn load(&self) -> Result<Pixels, ItemError> {
        Ok(match self {
            Self::Path(path) => images::read(path)?,
            Self::Encoded(bytes) => images::decode(bytes)?,
            Self::Array(array) => array.pixels(),
        })
    }
}
