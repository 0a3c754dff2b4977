//! The items of a stream, which load their pixels, and their errors.

use std::borrow::Cow;
use std::io::Read;

use crate::images::sources::Source;
use crate::images::{self, DecodeError, Decoded, Pixels};
use crate::prediction::NotFinite;

/// Why an item, or a view of it, has no prediction. The error becomes the item's observation, and
/// the stream continues.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// The picture can't be read or decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Standard input can't be read.
    #[error("can't read standard input: {0}")]
    Stdin(#[source] std::io::Error),
    /// The item is not a picture.
    #[error("{reason}")]
    Source {
        /// The reason.
        reason: String,
    },
    /// A view of the picture can't be made.
    #[error("{reason}")]
    View {
        /// The reason.
        reason: String,
    },
    /// The tensors of a picture's views would take more memory than a stream holds.
    #[error("{views} views of it do not fit into memory, which holds {most} of the model's size")]
    TooManyViews {
        /// The views of the picture.
        views: usize,
        /// The most that fit.
        most: usize,
    },
    /// The model's output holds NaN or an infinity.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// The code that loads it or makes its views panicked.
    #[error("reading it failed: {reason}")]
    Panicked {
        /// The panic's message.
        reason: String,
    },
}

/// An item of a stream.
pub trait Item {
    /// Loads the picture. It is called once, on one of the stream's worker threads.
    ///
    /// # Errors
    /// The picture can't be loaded.
    fn load(&self) -> Result<Pixels, ItemError>;

    /// Bytes that the item holds itself until its picture is a tensor, such as pixels in memory.
    fn bytes(&self) -> usize {
        0
    }
}

impl<T: Item + ?Sized> Item for &T {
    fn load(&self) -> Result<Pixels, ItemError> {
        (**self).load()
    }

    fn bytes(&self) -> usize {
        (**self).bytes()
    }
}

impl<T: Item + Clone> Item for Cow<'_, T> {
    fn load(&self) -> Result<Pixels, ItemError> {
        (**self).load()
    }

    fn bytes(&self) -> usize {
        (**self).bytes()
    }
}

/// A picture in memory.
impl Item for Pixels {
    fn load(&self) -> Result<Pixels, ItemError> {
        Ok(self.clone())
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }
}

impl Item for Source {
    fn load(&self) -> Result<Pixels, ItemError> {
        self.decoded().map(|decoded| decoded.pixels)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Stored { image, .. } => image.0.held(),
            Self::Pixels { pixels, .. } => pixels.data.len(),
            Self::File(_) | Self::Stdin | Self::Unusable { .. } => 0,
        }
    }
}

impl Source {
    /// Reads and decodes the image.
    ///
    /// # Errors
    /// It can't be read or decoded, or the argument names no image.
    pub fn decoded(&self) -> Result<Decoded, ItemError> {
        match self {
            Self::File(path) => Ok(Decoded::read(path)?),
            Self::Stdin => {
                let mut bytes = Vec::new();
                let mut stdin = std::io::stdin().lock().take(images::MAX_FILE_BYTES + 1);
                stdin.read_to_end(&mut bytes).map_err(ItemError::Stdin)?;
                Ok(Decoded::of(&bytes)?)
            }
            Self::Stored { image, .. } => Ok(image.decoded()?),
            Self::Pixels { pixels, .. } => Ok(Decoded {
                pixels: pixels.clone(),
                guessed_bits: None,
            }),
            Self::Unusable { reason, .. } => Err(ItemError::Source {
                reason: reason.clone(),
            }),
        }
    }
}
