//! From a picture to the views that the model sees: itself, several views, or its faces.

use super::ItemError;
use crate::images::Pixels;

/// Makes the views of an item's picture: none, one or many. Several worker threads call it at the
/// same time.
pub trait Locate<I>: Sync {
    /// What distinguishes the views of a picture: a position in it, or how the view was made.
    type Place: Send;

    /// Passes each view to `view`, in the order of their predictions: its place, and its pixels or
    /// an error. Each view becomes a tensor at once, so the pixels of only one view are in memory
    /// at a time.
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

/// The whole picture.
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
