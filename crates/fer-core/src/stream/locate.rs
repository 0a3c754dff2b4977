//! From a picture to the views of it that the model sees: itself, several views, or its faces.

use super::ItemError;
use crate::images::Pixels;

/// Makes the views of an item's picture: none, one or many. Worker threads call it, several at a
/// time.
pub trait Locate<I>: Sync {
    /// What tells the views of a picture apart: where in it one is, or how it was made.
    type Place: Send;

    /// Hands each view to `view`, in the order of their predictions: its place, and its pixels or
    /// why there are none. Each becomes a tensor at once, so that pixels of one view at a time are
    /// in memory.
    ///
    /// # Errors
    /// The picture as a whole can't be searched.
    fn locate(
        &self,
        item: &I,
        pixels: Pixels,
        view: &mut dyn FnMut(Self::Place, Result<Pixels, ItemError>),
    ) -> Result<(), ItemError>;
}

/// The whole picture, as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whole;

impl<I> Locate<I> for Whole {
    type Place = ();

    fn locate(
        &self,
        _: &I,
        pixels: Pixels,
        view: &mut dyn FnMut((), Result<Pixels, ItemError>),
    ) -> Result<(), ItemError> {
        view((), Ok(pixels));
        Ok(())
    }
}
