//! The window of a convolution or pooling: kernel, strides, dilation and padding.

use crate::config::Fields;
use crate::graph::ints;
use fer_core::onnx::proto::AttributeProto;

/// A window's height and width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) size: [usize; 2],
    pub(crate) strides: [usize; 2],
    dilation: [usize; 2],
    /// Padding `same`: as many outputs as strides fit into the input.
    same: bool,
}

/// The positions of a window on an image.
pub(crate) struct Placed {
    /// Height and width of the output.
    pub(crate) out: [usize; 2],
    /// Pixels added: top, left, bottom, right.
    pub(crate) pads: [usize; 4],
}

/// The output of a transposed convolution.
#[derive(Default)]
pub(crate) struct Transposed {
    /// Its height and width.
    pub(crate) out: [usize; 2],
    /// Pixels removed: top, left, bottom, right.
    pub(crate) pads: [usize; 4],
    /// Pixels added: bottom, right.
    pub(crate) more: [usize; 2],
}

impl Window {
    pub(crate) fn new(
        size: [usize; 2],
        strides: [usize; 2],
        fields: &Fields<'_>,
    ) -> Result<Self, String> {
        let dilation = fields.pair("dilation_rate", [1, 1])?;
        let same = fields.choice("padding", "valid", &["valid", "same"])? == "same";
        Ok(Self {
            size,
            strides,
            dilation,
            same,
        })
    }

    /// A window of one pixel.
    pub(crate) const POINT: Self = Self {
        size: [1, 1],
        strides: [1, 1],
        dilation: [1, 1],
        same: false,
    };

    /// Places the window on an image.
    ///
    /// # Errors
    /// The image is smaller than the window.
    pub(crate) fn place(&self, image: [usize; 2]) -> Result<Placed, String> {
        let mut placed = Placed {
            out: [0; 2],
            pads: [0; 4],
        };
        for axis in 0..2 {
            let (n, stride) = (image[axis], self.strides[axis]);
            let span = self.span(axis).ok_or("its kernel is too large")?;
            if self.same {
                placed.out[axis] = n.div_ceil(stride);
                let covered = (placed.out[axis] - 1)
                    .saturating_mul(stride)
                    .saturating_add(span);
                let pad = covered.saturating_sub(n);
                placed.pads[axis] = pad / 2;
                placed.pads[axis + 2] = pad - pad / 2;
            } else {
                let room = n.checked_sub(span).ok_or_else(|| {
                    format!(
                        "its input of {}x{} pixels is smaller than its kernel",
                        image[0], image[1]
                    )
                })?;
                placed.out[axis] = room / stride + 1;
            }
        }
        Ok(placed)
    }

    /// Places the window of a transposed convolution on an image. `more` are the pixels of output
    /// beyond the smallest, of each axis; `None` for as many as strides.
    ///
    /// # Errors
    /// The output is too large.
    pub(crate) fn place_transposed(
        &self,
        image: [usize; 2],
        more: Option<[usize; 2]>,
    ) -> Result<Transposed, String> {
        let mut placed = Transposed::default();
        for axis in 0..2 {
            let (n, stride) = (image[axis], self.strides[axis]);
            let span = self.span(axis).ok_or("its kernel is too large")?;
            let more = more.map(|more| more[axis]);
            let strides = (n - 1).checked_mul(stride);
            let least = if self.same { span % 2 } else { span };
            let more = more.unwrap_or_else(|| match self.same {
                true => stride - least,
                false => stride.saturating_sub(span),
            });
            let sizes = strides.and_then(|n| {
                Some((
                    n.checked_add(span)?,
                    n.checked_add(least)?.checked_add(more)?,
                ))
            });
            let (whole, out) = sizes.ok_or("its output is too large")?;
            let pad = whole.saturating_sub(out);
            placed.out[axis] = out;
            placed.pads[axis] = pad / 2;
            placed.pads[axis + 2] = pad - pad / 2;
            placed.more[axis] = out.saturating_sub(whole);
        }
        Ok(placed)
    }

    /// The pixels that the window reaches over.
    fn span(&self, axis: usize) -> Option<usize> {
        (self.size[axis] - 1)
            .checked_mul(self.dilation[axis])?
            .checked_add(1)
    }

    /// Its ONNX attributes, without ONNX's defaults.
    pub(crate) fn attributes(&self, pads: [usize; 4]) -> Vec<AttributeProto> {
        let list = |values: &[usize]| values.iter().map(|v| *v as i64).collect::<Vec<_>>();
        let mut attributes = vec![
            ints("kernel_shape", &list(&self.size)),
            ints("strides", &list(&self.strides)),
        ];
        if self.dilation != [1, 1] {
            attributes.push(ints("dilations", &list(&self.dilation)));
        }
        if pads != [0; 4] {
            attributes.push(ints("pads", &list(&pads)));
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_behind() {
        let window = |size, strides, dilation, same| Window {
            size: [size; 2],
            strides: [strides; 2],
            dilation: [dilation; 2],
            same,
        };
        // window, pixels → outputs, pads before and after; what TensorFlow does
        let rows = [
            (window(3, 1, 1, true), 5, (5, 1, 1)),
            (window(3, 2, 1, true), 24, (12, 0, 1)),
            (window(2, 2, 1, true), 5, (3, 0, 1)),
            (window(3, 1, 2, true), 7, (7, 2, 2)),
            (window(1, 2, 1, true), 6, (3, 0, 0)),
            (window(3, 2, 1, false), 6, (2, 0, 0)),
        ];
        for (window, n, expected) in rows {
            let placed = window.place([n, n]).unwrap();
            assert_eq!(
                (placed.out[0], placed.pads[0], placed.pads[2]),
                expected,
                "{window:?} on {n}"
            );
        }
        assert!(window(3, 1, 2, false).place([4, 4]).is_err());
    }
}
