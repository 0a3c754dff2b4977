//! Pictures as Python hands them over, as items of a stream.

use std::path::PathBuf;

use fer::images::{self, MAX_PIXELS, Pixels};
use fer::stream::{Item, ItemError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// A picture. Bytes stay Python's.
pub enum Picture {
    /// An image file.
    Path(PathBuf),
    /// An image file's bytes.
    Encoded(PyBackedBytes),
    /// `height × width × channels` values, row by row: gray, or red, green and blue.
    Pixels {
        data: PyBackedBytes,
        height: usize,
        width: usize,
        channels: usize,
    },
}

impl<'py> FromPyObject<'_, 'py> for Picture {
    type Error = PyErr;

    /// A `str` or path, `bytes`, or pixels as `(bytes, height, width, 1 or 3)`.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok((data, height, width, channels)) =
            object.extract::<(PyBackedBytes, usize, usize, usize)>()
        {
            let pixels = (height as u64).saturating_mul(width as u64);
            if !(1..=MAX_PIXELS).contains(&pixels)
                || !matches!(channels, 1 | 3)
                || data.len() as u64 != pixels * channels as u64
            {
                return Err(PyValueError::new_err(format!(
                    "an array of {height}x{width}x{channels} is not a picture of 1 to \
                     {MAX_PIXELS} pixels with 1 or 3 channels"
                )));
            }
            return Ok(Self::Pixels {
                data,
                height,
                width,
                channels,
            });
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
            Self::Pixels {
                data,
                height,
                width,
                channels,
            } => Pixels {
                width: *width,
                height: *height,
                channels: *channels,
                data: data.to_vec(),
            },
        })
    }
}
