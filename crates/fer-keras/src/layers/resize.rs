//! Layers that change the size of images: resizing, cropping to a size, upsampling.

use super::resample::{Method, crop_and_resize, fitted};
use super::{Layer, crop, only, pad};
use crate::config::Fields;
use crate::graph::{Graph, Value};
use crate::tensor::Tensor;

/// `Resizing`.
pub(crate) struct Resizing {
    size: [usize; 2],
    method: Method,
    aspect: Aspect,
    channels_first: bool,
}

/// What becomes of an image of other proportions.
enum Aspect {
    Distort,
    Crop,
    Pad { fill: f32 },
}

impl Resizing {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        let [crops, pads] = [
            fields.flag("crop_to_aspect_ratio", false)?,
            fields.flag("pad_to_aspect_ratio", false)?,
        ];
        fields.choice("fill_mode", "constant", &["constant"])?;
        let aspect = match (crops, pads) {
            (false, false) => Aspect::Distort,
            (true, false) => Aspect::Crop,
            (false, true) => Aspect::Pad {
                fill: fields.number("fill_value", 0.0)?,
            },
            (true, true) => return Err("it both crops and pads to the aspect ratio".into()),
        };
        Ok(Self {
            size: size(fields)?,
            method: Method::parse(fields, "bilinear")?,
            aspect,
            channels_first: fields.channels_first()?,
        })
    }
}

fn size(fields: &Fields<'_>) -> Result<[usize; 2], String> {
    Ok([fields.count("height")?, fields.count("width")?])
}

impl Layer for Resizing {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let image = graph.planes(only(inputs)?, self.channels_first)?;
        let image = match self.aspect {
            Aspect::Distort => self.method.resize(graph, image, self.size)?,
            Aspect::Crop => crop_and_resize(self.method, graph, image, self.size)?,
            Aspect::Pad { fill } => {
                let [height, width] = fitted(&image, self.size);
                let rows = height.saturating_sub(image.height) / 2;
                let columns = width.saturating_sub(image.width) / 2;
                let image = pad(graph, image, [[rows; 2], [columns; 2]], fill)?;
                self.method.resize(graph, image, self.size)?
            }
        };
        Ok(image.value(self.channels_first))
    }
}

/// `CenterCrop`, and what `RandomCrop` does in inference: the middle of the image, or of its
/// largest part with the proportions.
pub(crate) struct CenterCrop {
    size: [usize; 2],
    /// Whether a large enough image is cropped without resizing.
    exact: bool,
    channels_first: bool,
}

impl CenterCrop {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            size: size(fields)?,
            exact: true,
            channels_first: fields.channels_first()?,
        })
    }

    /// `RandomCrop`. From Keras 3 on, it depends on Keras's version whether an image of another
    /// size is resized.
    pub(crate) fn random(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            exact: false,
            ..Self::parse(fields)?
        })
    }
}

impl Layer for CenterCrop {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let image = graph.planes(only(inputs)?, self.channels_first)?;
        let [height, width] = self.size;
        let image = match image
            .height
            .checked_sub(height)
            .zip(image.width.checked_sub(width))
        {
            Some((rows, columns)) if self.exact => {
                crop(graph, image, [rows / 2, columns / 2], self.size)
            }
            _ => crop_and_resize(Method::Bilinear, graph, image, self.size)?,
        };
        Ok(image.value(self.channels_first))
    }
}

/// `UpSampling2D`.
pub(crate) struct UpSampling {
    factors: [usize; 2],
    method: Method,
    channels_first: bool,
}

impl UpSampling {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            factors: fields.pair("size", [2, 2])?,
            method: Method::parse(fields, "nearest")?,
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for UpSampling {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let image = graph.planes(only(inputs)?, self.channels_first)?;
        let height = image.height.checked_mul(self.factors[0]);
        let width = image.width.checked_mul(self.factors[1]);
        let (height, width) = height.zip(width).ok_or("its size is too large")?;
        let image = self.method.resize(graph, image, [height, width])?;
        Ok(image.value(self.channels_first))
    }
}
