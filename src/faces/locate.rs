//! The stage of a stream that turns a picture into its faces.

use std::sync::OnceLock;

use fer_core::images::Pixels;
use fer_core::stream::{ItemError, Locate};
use fer_faces::{Crop, Face, SearchOptions, When};

use super::Detector;
use crate::load_error::LoadError;

/// What a prediction is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// A ready-made crop, as it is.
    Whole,
    /// A face that was found.
    Face(Face),
}

/// From a picture to the crops of its faces, the largest first. The detector is loaded when the
/// first picture needs it.
pub struct Faces<'a> {
    /// Which pictures are searched.
    pub when: When,
    /// Which faces are wanted.
    pub options: SearchOptions,
    /// How they are cut out.
    pub crop: Crop,
    load: Box<dyn Fn() -> Result<Detector, LoadError> + Send + Sync + 'a>,
    detector: OnceLock<Result<Detector, LoadError>>,
}

impl<'a> Faces<'a> {
    /// The stage; `load` loads the detector.
    pub fn new(
        when: When,
        options: SearchOptions,
        crop: Crop,
        load: impl Fn() -> Result<Detector, LoadError> + Send + Sync + 'a,
    ) -> Self {
        Self {
            when,
            options,
            crop,
            load: Box::new(load),
            detector: OnceLock::new(),
        }
    }

    /// The stage with its detector loaded.
    ///
    /// # Errors
    /// The detector can't be loaded.
    pub fn loaded(self) -> Result<Self, LoadError> {
        let detector = (self.load)()?;
        // Nothing has loaded another one yet.
        let _ = self.detector.set(Ok(detector));
        Ok(self)
    }

    /// The detector, or why it can't be loaded, once a picture has needed it.
    pub fn detector(&self) -> Option<Result<&Detector, &LoadError>> {
        self.detector.get().map(Result::as_ref)
    }

    /// The faces of a picture; `None` if it is a ready-made crop.
    ///
    /// # Errors
    /// The detector can't be loaded, or failed.
    pub fn find(&self, pixels: &Pixels) -> Result<Option<Vec<Face>>, ItemError> {
        let failed = |reason: String| ItemError::View { reason };
        if self.when.is_crop(pixels) {
            return Ok(None);
        }
        let detector = self.detector.get_or_init(|| (self.load)());
        let detector = detector.as_ref().map_err(|e| failed(e.to_string()))?;
        let found = self.when.find(pixels, detector, &self.options);
        found.map_err(|e| failed(e.to_string()))
    }

    /// The crop of a picture's largest face, a ready-made crop as it is; `None` if there is no
    /// face.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn largest(&self, pixels: &Pixels) -> Result<Option<Pixels>, ItemError> {
        Ok(match self.find(pixels)? {
            None => Some(pixels.clone()),
            Some(faces) => faces.first().map(|face| self.crop.cut(pixels, face)),
        })
    }
}

impl<I> Locate<I> for &Faces<'_> {
    type Place = Place;

    fn locate(
        &self,
        _: &I,
        pixels: Pixels,
        view: &mut dyn FnMut(Place, Result<Pixels, ItemError>),
    ) -> Result<(), ItemError> {
        match self.find(&pixels)? {
            None => view(Place::Whole, Ok(pixels)),
            Some(faces) => {
                for face in faces {
                    view(Place::Face(face), Ok(self.crop.cut(&pixels, &face)));
                }
            }
        }
        Ok(())
    }
}
