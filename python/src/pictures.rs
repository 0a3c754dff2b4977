//! Pictures as Python hands them over, as items of a stream.

use std::path::PathBuf;
use std::sync::Mutex;

use fer::images::{self, MAX_PIXELS, Pixels};
use fer::stream::{Item, ItemError};
use numpy::{PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// A picture.
pub enum Picture {
    /// An image file.
    Path(PathBuf),
    /// An image file's bytes, which stay Python's.
    Encoded(PyBackedBytes),
    /// Pixels: gray, or red, green and blue. They are copied once, from Python's array, and taken
    /// when the picture is loaded.
    Pixels(Mutex<Option<Pixels>>),
}

impl<'py> FromPyObject<'_, 'py> for Picture {
    type Error = PyErr;

    /// A `str` or path, `bytes`, or a C-contiguous array `[height, width, 1 or 3]` of `uint8`.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.extract::<PyReadonlyArray3<'py, u8>>() {
            let &[height, width, channels] = array.shape() else {
                return Err(PyTypeError::new_err(
                    "an array of pixels has three dimensions",
                ));
            };
            let fits = (height as u64).saturating_mul(width as u64) <= MAX_PIXELS;
            if height == 0 || width == 0 || !fits || !matches!(channels, 1 | 3) {
                return Err(PyTypeError::new_err(format!(
                    "an array of {height}x{width}x{channels} is not a picture of 1 to \
                     {MAX_PIXELS} pixels with 1 or 3 channels"
                )));
            }
            return Ok(Self::Pixels(Mutex::new(Some(Pixels {
                width,
                height,
                channels,
                data: array.as_slice()?.to_vec(),
            }))));
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
            Self::Pixels(pixels) => {
                let taken = pixels.lock().ok().and_then(|mut pixels| pixels.take());
                // A stream loads each item once.
                taken.ok_or_else(|| ItemError::Source {
                    reason: "its pixels were already taken".into(),
                })?
            }
        })
    }
}
