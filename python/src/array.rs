//! NumPy's arrays of 8-bit pixels, read where they are ([`Array`]).
//!
//! A batch is not copied. Its arrays are kept alive, and a worker takes a picture out of its array
//! when it is the picture's turn, without Python's lock, in one pass whatever the strides.
//!
//! Nothing keeps Python from writing to an array meanwhile: `writeable` is a flag of one view of a
//! memory that others may have too, and an exported buffer forbids no write. So no Rust reference
//! to the pixels is made. Each value is loaded once, as an atomic, into pixels of fer's own, and
//! what is computed depends on these alone. Of a picture that is written to at the same time, each
//! value is the old or the new one.

use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use fer::images::{MAX_PIXELS, Pixels};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// A picture in a NumPy array: gray, or red, green and blue.
pub struct Array {
    /// Keeps the memory.
    _array: Py<PyAny>,
    /// The address of the first value.
    first: usize,
    height: usize,
    width: usize,
    channels: usize,
    /// How many bytes lie between two rows, two pixels, two values of a pixel.
    strides: [isize; 3],
}

impl Array {
    /// The picture in an array of `uint8` whose axes are height, width, and 1 or 3 channels; `None`
    /// if the object is no array.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        static NDARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let ndarray = NDARRAY.import(object.py(), "numpy", "ndarray")?;
        if !object.is_instance(ndarray)? {
            return Ok(None);
        }
        // By the attribute of NumPy's own class, which a class derived from it can't replace: what
        // it says of the memory is true.
        let attribute = ndarray.getattr("__array_interface__")?;
        let interface = attribute.call_method1("__get__", (object,))?;
        let kind: String = interface.get_item("typestr")?.extract()?;
        if kind != "|u1" {
            return Err(PyTypeError::new_err(format!(
                "an array of {kind} is not one of uint8"
            )));
        }
        let (first, _): (usize, bool) = interface.get_item("data")?.extract()?;
        let shape: Vec<usize> = interface.get_item("shape")?.extract()?;
        let strides: Option<Vec<isize>> = interface.get_item("strides")?.extract()?;
        let of_a_picture = match shape[..] {
            [height, width, channels @ (1 | 3)] => Some([height, width, channels]).filter(|_| {
                let pixels = (height as u64).saturating_mul(width as u64);
                (1..=MAX_PIXELS).contains(&pixels)
            }),
            _ => None,
        };
        let Some([height, width, channels]) = of_a_picture else {
            let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
            return Err(PyValueError::new_err(format!(
                "an array of {} is not a picture of 1 to {MAX_PIXELS} pixels with 1 or 3 channels",
                shape.join("x")
            )));
        };
        let strides = match strides.as_deref() {
            Some([row, pixel, value]) => [*row, *pixel, *value],
            _ => [(width * channels) as isize, channels as isize, 1],
        };
        Ok(Some(Self {
            _array: object.clone().unbind(),
            first,
            height,
            width,
            channels,
            strides,
        }))
    }

    /// The picture's pixels, read once.
    pub fn pixels(&self) -> Pixels {
        let [row, pixel, value] = self.strides;
        let step = |from: usize, index: usize, stride: isize| {
            from.wrapping_add_signed(stride.wrapping_mul(index as isize))
        };
        let mut data = Vec::with_capacity(self.height * self.width * self.channels);
        for y in 0..self.height {
            let row = step(self.first, y, row);
            if value == 1 && pixel == self.channels as isize {
                // SAFETY: the values of a row follow each other, in memory of the array, which is
                // kept alive.
                unsafe { load(row, self.width * self.channels, &mut data) };
                continue;
            }
            for x in 0..self.width {
                let pixel = step(row, x, pixel);
                for channel in 0..self.channels {
                    // SAFETY: the shape and the strides lead to a value of the array, which is kept
                    // alive.
                    unsafe { load(step(pixel, channel, value), 1, &mut data) };
                }
            }
        }
        Pixels {
            width: self.width,
            height: self.height,
            channels: self.channels,
            data,
        }
    }
}

/// Adds the values at an address to `data`, by loads that others may write beside: of eight values
/// where they are aligned.
///
/// # Safety
/// The memory can be read.
unsafe fn load(from: usize, len: usize, data: &mut Vec<u8>) {
    let first = ptr::with_exposed_provenance::<u8>(from);
    let byte = |at: usize| {
        // SAFETY: it is one of the values, and atomics of a byte have no alignment.
        let value = unsafe { &*first.wrapping_add(at).cast::<AtomicU8>() };
        value.load(Ordering::Relaxed)
    };
    let head = first.align_offset(size_of::<u64>()).min(len);
    let words = (len - head) / size_of::<u64>();
    data.extend((0..head).map(byte));
    for at in 0..words {
        let word = first.wrapping_add(head + at * size_of::<u64>());
        // SAFETY: they are eight of the values, aligned.
        let word = unsafe { &*word.cast::<AtomicU64>() };
        data.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    data.extend((head + words * size_of::<u64>()..len).map(byte));
}
