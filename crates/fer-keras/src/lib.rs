//! Converts a Keras model to an ONNX file without Python: `.keras` and `.h5` files are read, and
//! their layers become ONNX nodes.
//!
//! | step | file |
//! |---|---|
//! | which files, and what is in them | `file`, over `hdf5` |
//! | configuration → layers and their calls | `network`, with `config` and, for the oldest files, `legacy_names` |
//! | a layer's weights | `weights` |
//! | layers → nodes | `lower`, one Keras layer at a time in `layers/`, into a `graph` |
//! | fewer nodes with the same outputs | `optimize` |
//! | what it expects and returns, as metadata | `describe` |
//! | bytes | `write` |
//!
//! ```no_run
//! use fer_keras::{ConvertOptions, convert};
//!
//! let converted = convert("model.keras".as_ref(), None, &ConvertOptions::default())?;
//! std::fs::write("model.onnx", &converted.onnx)?;
//! println!("classes: {}", converted.spec.labels.join(", "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The files are untrusted. Any content gives a model or an error, in memory bounded by the files'
//! size.

mod config;
mod describe;
mod error;
mod file;
mod graph;
mod hdf5;
mod layers;
mod legacy_names;
mod lower;
mod network;
mod optimize;
mod tensor;
mod weights;
mod write;

pub use error::{ConvertError, Note, Unsupported};
pub use write::LAYERS;

use std::collections::BTreeMap;
use std::path::Path;

use self::file::KerasFile;
use self::graph::{Graph, Order, Value};
use self::lower::Lowering;
use self::network::{KerasNetwork, LayerEntry};
use self::tensor::product;
use self::weights::Place;
use fer_core::onnx::OnnxModel;
use fer_core::spec::{Hints, Layout, ModelSpec, OutputKind, Resize};

/// The name of the file's input.
const INPUT: &str = "input";

/// The names that no tensor inside the graph may have: the input's, and those of outputs, each of
/// which is called by what it is.
const RESERVED: [&str; 6] = [
    INPUT,
    "probabilities",
    "logits",
    "scores",
    "probability",
    "logit",
];

/// How a model is converted.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The classes in output order; `None` for those of the hints, else a guess.
    pub labels: Option<Vec<String>>,
    /// How pixels become values: `scale`, `mean`, `std` and `channel_order`, or `preprocess`, as
    /// the overrides of [`ModelSpec::resolve`] have them. Without a scale it is 1/255, which is a
    /// guess, or 1 if the model scales its input itself.
    pub pixels: BTreeMap<String, String>,
    /// How images of another size were resized in training; `None` for `nearest`, as in Keras.
    pub resize: Option<Resize>,
    /// The order of the input's dimensions; `None` for the Keras model's.
    pub layout: Option<Layout>,
    /// What the output values are, if that was found out; `None` for what the graph shows.
    pub kind: Option<OutputKind>,
    /// What other files say about the model.
    pub hints: Hints,
}

/// A converted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The ONNX file.
    pub onnx: Vec<u8>,
    /// What it expects and returns. The file states it all, and which of it is a guess.
    pub spec: ModelSpec,
    /// The number of nodes of each operator, in the order of their first use.
    pub operators: Vec<(String, usize)>,
    /// The version of Keras that wrote the model.
    pub keras: String,
    /// The number of weights that were set to zero because they were too small.
    pub flushed: usize,
    /// What the user should know.
    pub notes: Vec<Note>,
}

/// What is wrong with a layer.
#[derive(Debug)]
struct Problem {
    layer: String,
    text: String,
}

impl Problem {
    fn of(layer: &LayerEntry, text: String) -> Self {
        Self {
            layer: format!("{} ({})", layer.name, layer.class),
            text,
        }
    }
}

/// Converts a Keras model: a `.keras` file or its unpacked folder, an `.h5` file, or weights with
/// the JSON file `config` (by default `config.json` beside them).
///
/// The ONNX model has opset 18, and the channels first inside. Its input is `input`, float32 `[N,
/// H, W, C]`, or `[N, C, H, W]` if the Keras model or [`ConvertOptions::layout`] says so. Its
/// output is float32 `[N, values]`, called by its [`OutputKind`]: `probabilities` if the model ends
/// in a softmax, `scores` or `probability` if it ends in sigmoids, else `logits` or `logit`, which
/// counts as a guess unless [`ConvertOptions::kind`] says it. The same model gives the same bytes.
///
/// # Errors
/// The files can't be read, are damaged, hold layers that can't be converted, or are not an image
/// classifier.
pub fn convert(
    path: &Path,
    config: Option<&Path>,
    options: &ConvertOptions,
) -> Result<Converted, ConvertError> {
    converted(KerasFile::read(path, config)?, path, options)
}

/// As [`convert()`], for the bytes of a `.keras` or whole `.h5` file, which errors call `name`.
///
/// # Errors
/// As [`convert()`].
pub fn convert_bytes(
    bytes: Vec<u8>,
    name: &str,
    options: &ConvertOptions,
) -> Result<Converted, ConvertError> {
    let path = Path::new(name);
    converted(KerasFile::parse(path, bytes, None)?, path, options)
}

fn converted(
    file: KerasFile,
    path: &Path,
    options: &ConvertOptions,
) -> Result<Converted, ConvertError> {
    let name = path.display().to_string();
    let keras = file.major();
    let wrong = |problem: String| ConvertError::Classifier {
        path: name.clone(),
        problem,
    };
    let network = KerasNetwork::parse(&file.model, keras).map_err(wrong)?;
    let layers = lower::unsupported(&network, keras);
    if !layers.is_empty() {
        return Err(ConvertError::Unsupported { path: name, layers });
    }
    if file.weights.mirrored() {
        return Err(wrong(
            "it was trained on Theano, which stores kernels mirrored; save it again from Keras 2"
                .into(),
        ));
    }
    let in_layer = |p: Problem| ConvertError::Layer {
        path: name.clone(),
        layer: p.layer,
        problem: p.text,
    };
    let loaded = lower::load(&network, &file.weights, keras).map_err(in_layer)?;
    let source = format!(
        "Keras {} model, weights sha256 {}",
        file.version, loaded.digest
    );

    let image = Image::of(&network, options.layout).map_err(wrong)?;
    let mut graph = Graph::new(loaded.values());
    RESERVED.iter().for_each(|name| graph.reserve(name));
    let input = image.value(&mut graph);
    let mut lowering = Lowering::new(graph, &loaded, keras);
    let result = lowering
        .network(&network, &Place::default(), &[input])
        .map_err(in_layer)?;
    let Lowering {
        mut graph,
        mut outputs,
        ..
    } = lowering;
    let result = graph.keras_order(&result);
    let [values] = result.shape[..] else {
        return Err(wrong(format!(
            "it returns {:?} for an image; a classifier returns one value per class",
            result.shape
        )));
    };
    let Some(last) = graph.maker(&result.name) else {
        return Err(wrong("it has no layer that computes anything".into()));
    };
    let kind = options
        .kind
        .or_else(|| describe::output_kind(&graph, &result.name, values));
    let mut notes = Vec::new();
    if values == 1 && last.op_type == "Softmax" {
        notes.push(Note::SoftmaxOfOne);
    }
    let output = kind.unwrap_or(OutputKind::Logits).to_string();
    graph.rename(0, &result.name, &output);
    outputs
        .iter_mut()
        .filter(|a| a.tensor == result.name)
        .for_each(|a| a.tensor.clone_from(&output));
    optimize::optimize(&mut graph, &output);
    outputs.retain(|a| graph.nodes.iter().any(|n| n.output.contains(&a.tensor)));
    let operators = counted(&graph);
    let input = (INPUT, &image.dims()[..]);
    let mut model = write::model(graph, &network.name, input, (&output, &[values]));
    if let Some(labels) = options.labels.as_ref().filter(|l| l.len() != values.max(2)) {
        return Err(ConvertError::Labels {
            path: name,
            classes: values.max(2),
            names: labels.len(),
        });
    }
    let spec = describe::spec(&model, &network, &image, kind, options, &mut notes, &name)?;
    let mut metadata = spec.to_metadata();
    metadata.push(("fer.architecture".into(), network.name.clone()));
    metadata.push(("fer.source".into(), source));
    metadata.push((write::LAYERS.into(), write::layers(&outputs)));
    let (onnx, flushed) = write::bytes(&mut model, metadata).map_err(wrong)?;
    OnnxModel::parse(onnx.clone().into(), &name).map_err(|e| wrong(e.to_string()))?;
    Ok(Converted {
        onnx,
        spec,
        operators,
        keras: file.version,
        flushed,
        notes,
    })
}

/// The input of a model.
struct Image {
    /// The order of the ONNX file's input.
    layout: Layout,
    /// Whether Keras itself has the channels first.
    keras_channels_first: bool,
    width: usize,
    height: usize,
    channels: usize,
}

impl Image {
    fn of(network: &KerasNetwork, layout: Option<Layout>) -> Result<Self, String> {
        let shape = network
            .input_shape()
            .ok_or("its configuration does not state the shape of its input")?;
        let [Some(a @ 1..), Some(b @ 1..), Some(c @ 1..)] = shape[..] else {
            return Err(format!(
                "its input is {}; build it with an input of fixed height, width and channels",
                shape
                    .iter()
                    .map(|d| d.map_or("?".into(), |d| d.to_string()))
                    .collect::<Vec<String>>()
                    .join("x")
            ));
        };
        if product(&[a, b, c]).is_none_or(|n| n > graph::MAX_VALUES) {
            return Err(format!(
                "its input of {a}x{b}x{c} is too large for an image classifier"
            ));
        }
        let mut keras_channels_first = false;
        network.each_layer(&mut |layer| {
            keras_channels_first |= layer
                .config
                .get("data_format")
                .is_some_and(|f| f == "channels_first");
        });
        let (channels, height, width) = if keras_channels_first {
            (a, b, c)
        } else {
            (c, a, b)
        };
        let own = if keras_channels_first {
            Layout::Nchw
        } else {
            Layout::Nhwc
        };
        Ok(Self {
            layout: layout.unwrap_or(own),
            keras_channels_first,
            width,
            height,
            channels,
        })
    }

    /// The dimensions of the ONNX file's input.
    fn dims(&self) -> [usize; 3] {
        match self.layout {
            Layout::Nhwc => [self.height, self.width, self.channels],
            Layout::Nchw => [self.channels, self.height, self.width],
        }
    }

    /// The Keras model's input, computed from the ONNX file's.
    fn value(&self, graph: &mut Graph) -> Value {
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

fn counted(graph: &Graph) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for node in &graph.nodes {
        match counts
            .iter_mut()
            .find(|(operator, _)| *operator == node.op_type)
        {
            Some((_, count)) => *count += 1,
            None => counts.push((node.op_type.clone(), 1)),
        }
    }
    counts
}
