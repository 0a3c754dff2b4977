//! A model's input ([`InputSpec`]), and whether a tensor prepared for one model means the same to
//! another.

use std::fmt;

use super::{ChannelOrder, Layout, Resize};

/// A model's input: the size and channels of an image, and how pixels become values.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// The order of the input's dimensions.
    pub layout: Layout,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 for gray, 3 for color.
    pub channels: usize,
    /// The order of three channels.
    pub order: ChannelOrder,
    /// The factor for pixels of 0..255.
    pub scale: f32,
    /// Subtracted from a scaled pixel, one value per channel in the model's order; empty for zeros.
    pub mean: Vec<f32>,
    /// Divides the rest, one value per channel in the model's order; empty for ones.
    pub std: Vec<f32>,
    /// How images of other sizes are resized.
    pub resize: Resize,
}

impl InputSpec {
    /// Two inputs scale pixels alike if the values of a black and of a white pixel differ by at
    /// most this fraction of their distance. Scales with seven digits are within it. A difference
    /// that shows in a prediction is not.
    pub const TOLERANCE: f32 = 1e-6;

    /// The usual input: pixels become 0..=1, colors are RGB, and images of other sizes are resized
    /// as in Keras.
    pub fn new(layout: Layout, width: usize, height: usize, channels: usize) -> Self {
        Self {
            layout,
            width,
            height,
            channels,
            order: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: Vec::new(),
            std: Vec::new(),
            resize: Resize::Nearest,
        }
    }

    /// The number of values of one image's tensor: height × width × channels.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The input's shape for a batch of `n` images.
    pub fn shape(&self, n: usize) -> [usize; 4] {
        match self.layout {
            Layout::Nhwc => [n, self.height, self.width, self.channels],
            Layout::Nchw => [n, self.channels, self.height, self.width],
        }
    }

    /// The value of a pixel of 0..=255 in one of the model's channels: `(pixel × scale − mean) /
    /// std`.
    pub fn value(&self, channel: usize, pixel: u8) -> f32 {
        let x = f32::from(pixel) * self.scale;
        let x = self.mean.get(channel).map_or(x, |mean| x - mean);
        self.std.get(channel).map_or(x, |std| x / std)
    }

    /// Checks that tensors prepared for `other` mean the same to this input: the same size,
    /// channels and order of values (with one channel, orders do not matter), and the same
    /// pixel values to within [`TOLERANCE`](Self::TOLERANCE). The resize method is not compared.
    ///
    /// # Errors
    /// The first difference.
    pub fn accepts(&self, other: &Self) -> Result<(), Mismatch> {
        let size = |input: &Self| format!("{}x{}", input.width, input.height);
        Mismatch::check(
            Field::Size,
            (self.width, self.height) == (other.width, other.height),
            || size(other),
            || size(self),
        )?;
        Mismatch::check(
            Field::Channels,
            self.channels == other.channels,
            || other.channels.to_string(),
            || self.channels.to_string(),
        )?;
        Mismatch::check(
            Field::Layout,
            self.channels == 1 || self.layout == other.layout,
            || other.layout.to_string(),
            || self.layout.to_string(),
        )?;
        Mismatch::check(
            Field::ChannelOrder,
            self.channels == 1 || self.order == other.order,
            || other.order.to_string(),
            || self.order.to_string(),
        )?;
        for channel in 0..self.channels {
            let ends = |input: &Self| [0, 255].map(|pixel| input.value(channel, pixel));
            let (own, others) = (ends(self), ends(other));
            let near = Self::TOLERANCE * (others[1] - others[0]).abs();
            Mismatch::check(
                Field::Values,
                (0..2).all(|i| (own[i] - others[i]).abs() <= near),
                || format!("{}..{}", others[0], others[1]),
                || format!("{}..{}", own[0], own[1]),
            )?;
        }
        Ok(())
    }
}

/// A part of a spec: what two models differ in, or what is not known of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Width and height.
    Size,
    /// Gray or RGB.
    Channels,
    /// The order of the dimensions.
    Layout,
    /// The order of the colors.
    ChannelOrder,
    /// The values of the pixels 0..=255.
    Values,
    /// How images of other sizes are resized.
    Resize,
    /// The classes or their order.
    Labels,
    /// What the output values are.
    Output,
    /// Which of several outputs is the classifier's.
    OutputName,
    /// How faces are cut out.
    Crop,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "image size",
            Self::Channels => "number of channels",
            Self::Layout => "layout",
            Self::ChannelOrder => "order of colors",
            Self::Values => "range of pixel values",
            Self::Resize => "way of resizing",
            Self::Labels => "list of classes",
            Self::Output => "kind of output",
            Self::OutputName => "output",
            Self::Crop => "crop of faces",
        })
    }
}

/// A model does not accept tensors prepared for another model, or has other classes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its {field} is {found}, not {wanted}")]
pub struct Mismatch {
    /// The first difference.
    pub field: Field,
    /// The other model's value.
    pub wanted: String,
    /// This model's value.
    pub found: String,
}

impl Mismatch {
    pub(super) fn check(
        field: Field,
        same: bool,
        wanted: impl Fn() -> String,
        found: impl Fn() -> String,
    ) -> Result<(), Self> {
        if same {
            return Ok(());
        }
        let (wanted, found) = (wanted(), found());
        Err(Self {
            field,
            wanted,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> InputSpec {
        InputSpec::new(Layout::Nchw, 48, 32, 3)
    }

    #[test]
    fn what_means_the_same_is_accepted_and_the_first_difference_is_named() {
        let base = input();
        let gray = |layout| InputSpec {
            layout,
            channels: 1,
            ..input()
        };
        let changed = |change: fn(&mut InputSpec)| {
            let mut input = input();
            change(&mut input);
            input
        };
        let rows = [
            (changed(|_| ()), base.clone(), None),
            (changed(|i| i.width = 47), base.clone(), Some(Field::Size)),
            (
                changed(|i| i.channels = 1),
                base.clone(),
                Some(Field::Channels),
            ),
            (
                changed(|i| i.layout = Layout::Nhwc),
                base.clone(),
                Some(Field::Layout),
            ),
            (gray(Layout::Nhwc), gray(Layout::Nchw), None),
            (
                changed(|i| i.order = ChannelOrder::Bgr),
                base.clone(),
                Some(Field::ChannelOrder),
            ),
            (changed(|i| i.scale = 0.003_921_569), base.clone(), None),
            (
                changed(|i| i.scale = 0.003_921_5),
                base.clone(),
                Some(Field::Values),
            ),
            (
                changed(|i| i.scale = 1.0),
                base.clone(),
                Some(Field::Values),
            ),
            (
                changed(|i| i.mean = vec![0.0, 0.0, 0.1]),
                base.clone(),
                Some(Field::Values),
            ),
            (
                changed(|i| i.std = vec![1.0, 0.5, 1.0]),
                base.clone(),
                Some(Field::Values),
            ),
            (
                changed(|i| (i.mean, i.std) = (vec![0.0; 3], vec![1.0; 3])),
                base.clone(),
                None,
            ),
            (changed(|i| i.resize = Resize::Antialias), base, None),
            // The same values in two forms: -1..1.
            (
                changed(|i| (i.mean, i.std) = (vec![0.5; 3], vec![0.5; 3])),
                changed(|i| (i.scale, i.mean) = (1.0 / 127.5, vec![1.0; 3])),
                None,
            ),
        ];
        let mut wrong = Vec::new();
        for (i, (own, other, field)) in rows.iter().enumerate() {
            let found = own.accepts(other).err().map(|m| m.field);
            if found != *field || other.accepts(own).err().map(|m| m.field) != *field {
                wrong.push(format!("row {i}: {found:?}, not {field:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
