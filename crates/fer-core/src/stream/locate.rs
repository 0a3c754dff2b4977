//! From a picture to the views of it that the model sees: itself, several views, or its faces.

use super::ItemError;
use crate::images::Pixels;

/// A part or a variation of a picture that the model is asked about.
#[derive(Debug)]
pub struct View<P> {
    /// Where in the picture it is, or how it was made.
    pub place: P,
    /// Its pixels, or why there are none.
    pub pixels: Result<Pixels, ItemError>,
}

/// Makes the views of an item's picture: none, one or many. Worker threads call it, several at a
/// time.
pub trait Locate<I>: Sync {
    /// What tells the views of a picture apart.
    type Place: Send;

    /// The views, in the order of their predictions.
    ///
    /// # Errors
    /// The picture as a whole can't be searched. One view that can't be made is its own error.
    fn locate(&self, item: &I, pixels: Pixels) -> Result<Vec<View<Self::Place>>, ItemError>;
}

/// The whole picture, as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whole;

impl<I> Locate<I> for Whole {
    type Place = ();

    fn locate(&self, _: &I, pixels: Pixels) -> Result<Vec<View<()>>, ItemError> {
        Ok(vec![View {
            place: (),
            pixels: Ok(pixels),
        }])
    }
}
