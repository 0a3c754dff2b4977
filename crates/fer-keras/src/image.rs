//! The image that goes into a model: its size, channels and data format.

use super::affine::Affine;
use super::config::Fields;
use super::graph::{Graph, MAX_VALUES, Order, Value};
use super::lower::Loaded;
use super::network::{KerasNetwork, LayerEntry};
use super::ops::{self, Effect};
use super::tensor::{Tensor, product};
use super::{ConvertError, ConvertOptions, INPUT, layers};
use fer_core::spec::Layout;

/// The input of a model.
pub(crate) struct Image {
    /// The order of the ONNX file's input.
    pub(crate) layout: Layout,
    /// Whether Keras itself has the channels first.
    keras_channels_first: bool,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
}

impl Image {
    /// Reads the input's shape from the model; `path` is its file.
    ///
    /// # Errors
    /// The shape is not that of an image, or is open, or is not the chosen one.
    pub(crate) fn of(
        network: &KerasNetwork,
        options: &ConvertOptions,
        path: &str,
    ) -> Result<Self, ConvertError> {
        let wrong = |problem: String| ConvertError::Classifier {
            path: path.into(),
            problem,
        };
        let shape = network.input_shape().ok_or_else(|| {
            wrong("its configuration does not state the shape of its input".into())
        })?;
        let dims: Vec<String> = shape
            .iter()
            .map(|d| d.map_or("?".into(), |d| d.to_string()))
            .collect();
        let text = dims.join("x");
        let [a, b, c] = shape[..] else {
            return Err(wrong(format!(
                "its input is {text}; an image has height, width and channels"
            )));
        };
        let keras_channels_first = channels_first(network, [a, b, c]);
        let (channels, stated) = if keras_channels_first {
            (a, [c, b])
        } else {
            (c, [b, a])
        };
        let channels = channels.ok_or_else(|| {
            wrong(format!(
                "its input is {text}; build it with a fixed number of channels"
            ))
        })?;
        let [width, height] = size(stated, options.size).ok_or_else(|| ConvertError::Size {
            path: path.into(),
            stated,
            chosen: options.size,
        })?;
        let values = product(&[channels, width, height]);
        if values.is_none_or(|n| n > MAX_VALUES || n == 0) {
            return Err(wrong(format!(
                "its input of {width}x{height} pixels and {channels} channels is not of an image \
                 classifier"
            )));
        }
        let own = if keras_channels_first {
            Layout::Nchw
        } else {
            Layout::Nhwc
        };
        Ok(Self {
            layout: options.layout.unwrap_or(own),
            keras_channels_first,
            width,
            height,
            channels,
        })
    }

    /// The dimensions of the ONNX file's input.
    pub(crate) fn dims(&self) -> [usize; 3] {
        match self.layout {
            Layout::Nhwc => [self.height, self.width, self.channels],
            Layout::Nchw => [self.channels, self.height, self.width],
        }
    }

    /// The Keras model's input, computed from the ONNX file's.
    pub(crate) fn value(&self, graph: &mut Graph) -> Value {
        let (c, h, w) = (self.channels, self.height, self.width);
        match (self.keras_channels_first, self.layout) {
            (true, Layout::Nchw) => Value::new(INPUT.into(), vec![c, h, w], Order::Keras),
            (true, Layout::Nhwc) => {
                let image = Value::new(INPUT.into(), vec![h, w, c], Order::Keras);
                Value::new(
                    graph.channels_first(&image).name,
                    vec![c, h, w],
                    Order::Keras,
                )
            }
            (false, Layout::Nchw) => Value::new(INPUT.into(), vec![h, w, c], Order::ChannelsFirst),
            (false, Layout::Nhwc) => Value::new(INPUT.into(), vec![h, w, c], Order::Keras),
        }
    }
}

/// The width and height: those stated, with the chosen ones where they are open.
fn size(stated: [Option<usize>; 2], chosen: Option<[usize; 2]>) -> Option<[usize; 2]> {
    let chosen = chosen.map_or([None; 2], |size| size.map(Some));
    let fits = stated.iter().zip(&chosen).all(|pair| match pair {
        (Some(stated), Some(chosen)) => stated == chosen,
        _ => true,
    });
    let [width, height] = [0, 1].map(|i| stated[i].or(chosen[i]));
    width.zip(height).filter(|_| fits).map(|(w, h)| [w, h])
}

/// Whether Keras has the channels of the image first: as the first layer with a data format says.
/// The axes may be moved before that layer. Then the shape decides, since an image has one or three
/// channels.
fn channels_first(network: &KerasNetwork, shape: [Option<usize>; 3]) -> bool {
    let mut moved = false;
    let mut format = None;
    network.each_layer(&mut |layer, _| {
        if format.is_none() {
            moved |= MOVING.contains(&layer.class.as_str());
            format = layer.config.get("data_format").and_then(|f| f.as_str());
        }
    });
    let color = |channels: Option<usize>| matches!(channels, Some(1 | 3));
    match (color(shape[0]), color(shape[2])) {
        (first, last) if moved && first != last => first,
        _ => format == Some("channels_first"),
    }
}

/// Layers and operations that may move the channels.
const MOVING: [&str; 7] = [
    "Permute",
    "Reshape",
    "Transpose",
    "Swapaxes",
    "Moveaxis",
    "TFOpLambda",
    "Lambda",
];

/// What the constants with which a model scales its input say about the pixels that go in.
pub(crate) struct Scaling {
    /// The factor for pixels of 0..255; `None` if the constants leave it open.
    pub(crate) factor: Option<&'static str>,
    /// Whether the model scales values later.
    pub(crate) later: bool,
}

impl Scaling {
    /// Follows the pixels through the first layers and operations, as far as they only scale them.
    pub(crate) fn of(network: &KerasNetwork, loaded: &Loaded, keras: u32) -> Self {
        let mut pixels = Some(Affine::NONE);
        let mut made = Affine::NONE;
        let mut later = false;
        network.each_layer(&mut |layer, place| {
            match pixels {
                None => later |= scales(layer),
                Some(before) => pixels = through(layer, loaded.of(place), keras, before),
            }
            made = pixels.unwrap_or(made);
        });
        Self {
            factor: made.suits(),
            later,
        }
    }
}

fn scales(layer: &LayerEntry) -> bool {
    matches!(layer.class.as_str(), "Rescaling" | "Normalization")
}

/// The pixels behind a layer, if it does nothing but scale them.
fn through(layer: &LayerEntry, weights: &[Tensor], keras: u32, pixels: Affine) -> Option<Affine> {
    if layer.operation {
        return match ops::parse(layer).ok()?.effect() {
            Effect::Moves => Some(pixels),
            Effect::Maps(map) => Some(pixels.then(map)),
            Effect::Other => None,
        };
    }
    if layers::passes_on(&layer.class) || layers::moves(&layer.class) {
        return Some(pixels);
    }
    let parsed = layers::parse(&layer.class, &Fields::new(&layer.config, keras)).ok()?;
    Some(pixels.then(parsed.affine(weights)?))
}

impl Affine {
    /// The factor for pixels of 0..255 that makes those for which the constants were chosen; `None`
    /// if that is open.
    fn suits(&self) -> Option<&'static str> {
        /// Far from the constants for either range.
        const BETWEEN: f64 = 16.0;
        /// More than rounding changes constants.
        const ROUNDING: f64 = 1e-3;
        let (factor, zero) = (self.scale.abs(), -self.offset / self.scale);
        // From 1 on, pixels of 0..1 with the mean `zero` can have the deviation 1 / factor.
        let standard = zero * (1.0 - zero) * factor * factor;
        match () {
            () if factor == 0.0 || !factor.is_finite() || !zero.is_finite() => None,
            () if factor < 1.0 / BETWEEN || zero.abs() > BETWEEN => Some("1"),
            () if factor > BETWEEN || standard >= 1.0 - ROUNDING => Some("1/255"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_tell_the_range_of_the_pixels() {
        // scale, offset, and the factor for pixels of 0..255
        let rows = [
            (1.0, 0.0, None),
            (1.0 / 255.0, 0.0, Some("1")),
            (1.0 / 127.5, -1.0, Some("1")),
            (-1.0 / 255.0, 1.0, Some("1")),
            (1.0, -116.0, Some("1")),
            (1.0 / 58.0, -2.0, Some("1")),
            (2.0, -1.0, Some("1/255")),
            (4.0, -2.0, Some("1/255")),
            (255.0, 0.0, Some("1/255")),
            (255.0, -116.0, Some("1/255")),
            (3.2, -0.42, Some("1/255")),
            // As of pixels of −1..1.
            (2.0, 0.1, None),
            (2.0, 0.0, None),
            (0.5, 0.0, None),
            (0.0, 1.0, None),
            (f64::INFINITY, 1.0, None),
            (f64::NAN, 0.0, None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|&(scale, offset, suited)| ((scale, offset), suited))
            .filter(|&((scale, offset), suited)| Affine { scale, offset }.suits() != suited)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
