//! The image that goes into a model: its size, channels and data format.

use super::graph::{Graph, MAX_VALUES, Order, Value};
use super::network::{KerasNetwork, LayerEntry};
use super::ops::{self, Effect};
use super::tensor::product;
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
            shape: text.clone(),
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

/// Whether the model scales pixels of 0..255 itself: the first layer that changes values rescales
/// or normalizes them, or operations before it do. `None` if a later layer does.
pub(crate) fn scales_itself(network: &KerasNetwork) -> Option<bool> {
    let mut first = None;
    let mut later = false;
    let mut pixels = Pixels::default();
    network.each_layer(&mut |layer, _| match first {
        None => first = pixels.pass(layer),
        Some(_) => later |= scales(layer),
    });
    match first.unwrap_or_else(|| pixels.of_bytes()) {
        false if later => None,
        scales => Some(scales),
    }
}

fn scales(layer: &LayerEntry) -> bool {
    matches!(layer.class.as_str(), "Rescaling" | "Normalization")
}

/// What operations have done to the pixels so far.
struct Pixels {
    factor: f64,
    /// The largest constant that was added, in units of the input's pixels.
    shift: f64,
}

impl Default for Pixels {
    fn default() -> Self {
        Self {
            factor: 1.0,
            shift: 0.0,
        }
    }
}

impl Pixels {
    /// Whether the operations are made for pixels of 0..255, not of 0..1: the constants are large.
    fn of_bytes(&self) -> bool {
        /// Far from the constants for either range.
        const BETWEEN: f64 = 16.0;
        self.factor < 1.0 / BETWEEN || self.shift > BETWEEN
    }

    /// Lets the pixels through a layer. Returns whether they have been rescaled if the layer is not
    /// just a step of that.
    fn pass(&mut self, layer: &LayerEntry) -> Option<bool> {
        let effect = match ops::parse(layer) {
            Ok(operation) if layer.operation => operation.effect(),
            _ if layers::passes_on(&layer.class) || layers::moves(&layer.class) => Effect::Moves,
            _ => return Some(scales(layer) || self.of_bytes()),
        };
        match effect {
            Effect::Moves => {}
            Effect::Scales(by) => self.factor *= by,
            Effect::Shifts(by) => self.shift = self.shift.max(by / self.factor),
            Effect::Other => return Some(self.of_bytes()),
        }
        None
    }
}
