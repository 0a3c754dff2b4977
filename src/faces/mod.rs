//! Faces in pictures: the detector, compiled in or in ONNX Runtime ([`Detector`]), and the stage of
//! a stream that turns a picture into its faces ([`Faces`]), and data sets of crops
//! ([`Photographs`]).
//!
//! ```
//! use fer::faces::{Detector, DetectorRef, SearchOptions, find};
//! use fer::{Backend, host::Host, images};
//!
//! let host = Host::from_env();
//! let detector = Detector::load(&DetectorRef::Builtin, &Backend::default(), None, &host)?;
//! let picture = images::read("examples/photos/astronaut.jpg".as_ref())?;
//! let faces = find(&picture, &detector, &SearchOptions::default())?;
//! assert_eq!(faces.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod data_set;
mod detector;
mod locate;
#[cfg(feature = "ort")]
mod onnx_file;

use fer_core::classifier::Note;
use fer_core::spec::{Assumed, Basis, Field, ModelSpec};

pub use data_set::{Cut, CutError, CutOptions, Photographs};
pub use detector::{Detector, DetectorRef};
pub use fer_faces::{
    Crop, FRAME, Face, FaceCrop, Frame, Network, NetworkError, SearchError, SearchOptions,
    Smoother, TrackOptions, Tracker, When, find,
};
pub use locate::{Faces, Place};

/// What is guessed about the crops of a model whose pictures are searched: that they are
/// FER-2013's, if the model does not say how faces are cut out for it.
pub fn guessed_crop(spec: &ModelSpec) -> Option<Note> {
    spec.crop.is_none().then(|| {
        Note::Guessed(vec![Assumed {
            field: Field::Crop,
            value: format!("faces are cut out as {FRAME}"),
            basis: Basis::Guess,
        }])
    })
}
