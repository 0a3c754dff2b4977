//! HDF5 files as untrusted input: text attributes and float datasets, in bounded memory.
//!
//! `hdf5-reader` reads the format. It is read-only, checks every offset and stops at cycles. This
//! file sets its limits and adds up what was read, because a small file can describe datasets of
//! any size (compressed, or never written). Attributes of variable-length strings are not added up,
//! because the reader copies them itself.

use std::cell::Cell;

use hdf5_reader::group::Group;
use hdf5_reader::{Attribute, Dataset, Datatype, Hdf5File, OpenOptions};

use super::tensor::{Tensor, product};

/// How many times its own size a file may unpack to, for all its datasets together, beyond
/// [`ALLOWANCE`].
const EXPANSION: usize = 16;

/// Bytes that every file may unpack to.
const ALLOWANCE: usize = 1 << 20;

/// The most bytes of one object's header, which contains attributes.
const MAX_HEADER: usize = 64 << 20;

/// An open HDF5 file in memory.
pub(crate) struct Hdf5 {
    file: Hdf5File,
    /// Bytes of datasets that may still be read.
    budget: Cell<usize>,
}

impl Hdf5 {
    /// Opens a file's bytes.
    ///
    /// # Errors
    /// They are not a complete HDF5 file.
    pub(crate) fn open(bytes: Vec<u8>) -> Result<Self, String> {
        let budget = bytes
            .len()
            .saturating_mul(EXPANSION)
            .saturating_add(ALLOWANCE);
        let options = OpenOptions::default()
            .with_max_read_bytes(budget)
            .with_max_chunk_bytes(budget)
            .with_max_object_header_bytes(MAX_HEADER.min(bytes.len()));
        let file = Hdf5File::from_vec_with_options(bytes, options).map_err(|e| e.to_string())?;
        Ok(Self {
            file,
            budget: Cell::new(budget),
        })
    }

    /// Whether the group exists; `/` is the root.
    pub(crate) fn has_group(&self, path: &str) -> bool {
        self.group(path).is_some()
    }

    /// A group's attribute of one string.
    pub(crate) fn text(&self, group: &str, name: &str) -> Option<String> {
        self.attribute(group, name)?.read_string().ok()
    }

    /// A group's attribute of many strings. Keras splits long lists into `name0`, `name1` and so
    /// on.
    pub(crate) fn texts(&self, group: &str, name: &str) -> Option<Vec<String>> {
        if let Some(whole) = self.attribute(group, name) {
            return list(&whole);
        }
        let parts = (0..).map_while(|i| self.attribute(group, &format!("{name}{i}")));
        let parts: Vec<Vec<String>> = parts.map(|a| list(&a)).collect::<Option<_>>()?;
        if parts.is_empty() {
            None
        } else {
            Some(parts.concat())
        }
    }

    /// A dataset of float16, bfloat16, float32 or float64, as float32.
    ///
    /// # Errors
    /// There is no such dataset, its values are not floats, or the file unpacks to far more than
    /// its size.
    pub(crate) fn tensor(&self, path: &str) -> Result<Tensor, String> {
        self.read(path, float, "floats").map_err(|problem| {
            let stored = self.file.dataset(path);
            if stored.is_ok_and(|d| matches!(d.dtype(), Datatype::FixedPoint { .. })) {
                format!("{problem}: the model is quantized; save it before model.quantize()")
            } else {
                problem
            }
        })
    }

    /// A dataset of 8-bit integers, as float32.
    ///
    /// # Errors
    /// As [`Hdf5::tensor`].
    pub(crate) fn tensor_of_int8(&self, path: &str) -> Result<Tensor, String> {
        self.read(path, int8, "8-bit integers")
    }

    fn read(
        &self,
        path: &str,
        number: fn(&Dataset) -> Option<Number>,
        kind: &str,
    ) -> Result<Tensor, String> {
        let dataset = self
            .file
            .dataset(path)
            .map_err(|e| format!("it has no dataset {path} ({e})"))?;
        let dims: Option<Vec<usize>> = dataset
            .shape()
            .iter()
            .map(|d| usize::try_from(*d).ok())
            .collect();
        let number = number(&dataset)
            .ok_or_else(|| format!("the values of its dataset {path} are not {kind}"))?;
        let width = number.width();
        let dims = dims.unwrap_or_else(|| vec![usize::MAX]);
        let bytes = product(&dims).and_then(|n| n.checked_mul(width));
        let (bytes, left) = bytes
            .and_then(|bytes| Some((bytes, self.budget.get().checked_sub(bytes)?)))
            .ok_or_else(|| {
                format!("its dataset {path} of {dims:?} is far too large for the file's size")
            })?;
        self.budget.set(left);
        let raw = dataset
            .read_native_bytes()
            .map_err(|e| format!("its dataset {path} can't be read: {e}"))?;
        if raw.len() != bytes {
            return Err(format!(
                "its dataset {path} holds {} bytes, its shape needs {bytes}",
                raw.len()
            ));
        }
        let values = raw.chunks_exact(width).map(|b| match (number, b) {
            (Number::BFloat16, &[a, b]) => bfloat(u16::from_le_bytes([a, b])),
            (_, &[a]) => f32::from(i8::from_ne_bytes([a])),
            (_, &[a, b]) => half(u16::from_ne_bytes([a, b])),
            (_, &[a, b, c, d]) => f32::from_ne_bytes([a, b, c, d]),
            (_, &[a, b, c, d, e, f, g, h]) => f64::from_ne_bytes([a, b, c, d, e, f, g, h]) as f32,
            _ => f32::NAN,
        });
        Ok(Tensor {
            dims,
            values: values.collect(),
        })
    }

    fn group(&self, path: &str) -> Option<Group> {
        if path == "/" {
            self.file.root_group().ok()
        } else {
            self.file.group(path).ok()
        }
    }

    fn attribute(&self, group: &str, name: &str) -> Option<Attribute> {
        self.group(group)?.attribute(name).ok()
    }
}

/// An attribute's strings. An empty list, which h5py stores as floats, has none.
fn list(attribute: &Attribute) -> Option<Vec<String>> {
    if attribute.num_elements().ok()? == 0 {
        return Some(Vec::new());
    }
    attribute.read_strings().ok()
}

/// How a dataset's numbers are stored.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// A float or an integer of HDF5, of this many bytes.
    Native(usize),
    /// The upper half of a float32, the low byte first. HDF5 has no such type: Keras stores the
    /// bytes and names the type in an attribute.
    BFloat16,
}

impl Number {
    fn width(self) -> usize {
        match self {
            Self::Native(width) => width,
            Self::BFloat16 => 2,
        }
    }
}

fn float(dataset: &Dataset) -> Option<Number> {
    let named = || dataset.attribute("dtype").ok()?.read_string().ok();
    match dataset.dtype() {
        Datatype::FloatingPoint {
            size: size @ (2 | 4 | 8),
            ..
        } => Some(Number::Native(usize::from(*size))),
        Datatype::Opaque { size: 2, .. } if named().as_deref() == Some("bfloat16") => {
            Some(Number::BFloat16)
        }
        _ => None,
    }
}

fn int8(dataset: &Dataset) -> Option<Number> {
    match dataset.dtype() {
        Datatype::FixedPoint {
            size: 1,
            signed: true,
            ..
        } => Some(Number::Native(1)),
        _ => None,
    }
}

/// A bfloat16 number.
fn bfloat(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// An IEEE half-precision number.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (
        u32::from(bits >> 15),
        u32::from((bits >> 10) & 31),
        u32::from(bits & 1023),
    );
    let magnitude = match exponent {
        0 => fraction as f32 / (1u32 << 24) as f32,
        31 => f32::from_bits(0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(((exponent + 112) << 23) | (fraction << 13)),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    #[test]
    fn half_precision() {
        let rows = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x3555, 0.333_251_95),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(bits, value)| super::half(*bits) != *value)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(super::half(0x7c00).is_infinite() && super::half(0x7e00).is_nan());
        assert_eq!(super::bfloat(0xc049), -3.140625);
    }
}
