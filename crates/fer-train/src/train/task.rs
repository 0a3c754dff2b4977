//! What a run's network takes and gives ([`Task`]): decided once, from the recipe and the data, and
//! kept with the weights.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, Input};
use crate::data::dataset::are_gray;
use crate::data::{CLASSES, Catalog, Dataset, PixelForm};
use crate::model::Shape;
use fer_core::calibration::Calibration;
use fer_core::spec::{EMOTIONS, InputSpec, Layout, ModelSpec, OutputKind, Resize};

/// The width and height that a network's images may have, in pixels.
pub const SIDES: RangeInclusive<usize> = 8..=512;

/// The classes and the images of a run. The default is FER-2013's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The classes' names, in the order of their labels.
    pub classes: Vec<String>,
    /// Width of an image in pixels, one of [`SIDES`].
    pub width: usize,
    /// Height of an image in pixels, one of [`SIDES`].
    pub height: usize,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// How images of other sizes are resized.
    pub resize: Resize,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            classes: EMOTIONS.map(String::from).to_vec(),
            width: Shape::FER2013.width,
            height: Shape::FER2013.height,
            channels: Shape::FER2013.channels,
            resize: Resize::Nearest,
        }
    }
}

impl Task {
    /// The task of a data set whose images were decoded.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn of(catalog: &Catalog, dataset: &Dataset, form: PixelForm) -> Result<Self, ConfigError> {
        let task = Self {
            classes: catalog.classes.clone(),
            width: dataset.width,
            height: dataset.height,
            channels: dataset.channels,
            resize: form.resize,
        };
        task.check().map_err(|e| {
            let source = catalog.source.display();
            ConfigError(format!("{source}: {e}"))
        })?;
        Ok(task)
    }

    /// Whether it is FER-2013's, which is not written down.
    pub fn is_fer2013(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Says what is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let distinct: HashSet<&String> = self.classes.iter().collect();
        if !CLASSES.contains(&self.classes.len()) || distinct.len() != self.classes.len() {
            return Err(format!(
                "{} classes, {} of them different: a network has {} to {} different ones",
                self.classes.len(),
                distinct.len(),
                CLASSES.start(),
                CLASSES.end()
            ));
        }
        if !SIDES.contains(&self.width) || !SIDES.contains(&self.height) {
            return Err(format!(
                "images of {}x{} pixels: a network takes sides of {} to {}",
                self.width,
                self.height,
                SIDES.start(),
                SIDES.end()
            ));
        }
        match self.channels {
            1 | 3 => Ok(()),
            n => Err(format!("{n} channels: a network takes 1 (gray) or 3 (RGB)")),
        }
    }

    /// In numbers.
    pub fn shape(&self) -> Shape {
        Shape {
            channels: self.channels,
            height: self.height,
            width: self.width,
            classes: self.classes.len(),
        }
    }

    /// What the network expects and gives, which are logits.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            labels: self.classes.clone(),
            input: InputSpec {
                resize: self.resize,
                ..InputSpec::new(Layout::Nchw, self.width, self.height, self.channels)
            },
            output: OutputKind::Logits,
            calibration: Calibration::NONE,
            crop: None,
            fixed_batch: None,
            assumed: Vec::new(),
        }
    }
}

/// The form that a recipe's images are decoded to. What the recipe leaves open follows from the
/// data: gray for the seven emotions, and where all images of a sample are stored gray, else RGB;
/// `nearest` where nothing is resized, else `antialias`.
pub fn pixel_form(input: &Input, catalog: &Catalog, indices: &[usize]) -> PixelForm {
    let size = input.size.map(|size| size.sides());
    let gray = || catalog.classes == EMOTIONS || are_gray(catalog, indices);
    let resize = match size {
        Some(_) => Resize::Antialias,
        None => Resize::Nearest,
    };
    PixelForm {
        size,
        channels: input.channels.unwrap_or_else(|| if gray() { 1 } else { 3 }),
        resize: input.resize.unwrap_or(resize),
    }
}
