//! Converts a Keras model to an ONNX file without Python: `.keras` and `.h5` files are read, and
//! their layers become ONNX nodes.
//!
//! | step | file |
//! |---|---|
//! | which files, and what is in them | `file`, over `hdf5` |
//! | configuration → layers and their calls | `network`, with `config`, `call` and, for the oldest files, `legacy_names` |
//! | the image that goes in | `image` |
//! | a layer's weights | `weights` |
//! | layers → nodes | `lower`, one Keras layer at a time in `layers/`, one operation at a time in `ops/`, into a `graph` |
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

mod affine;
mod call;
mod config;
mod describe;
mod error;
mod file;
mod graph;
mod hdf5;
mod image;
mod layers;
mod legacy_names;
mod lower;
mod network;
mod ops;
mod optimize;
mod tensor;
mod weights;
mod write;

pub use error::{ConvertError, Note, Unsupported};
pub use write::LAYERS;

use std::collections::BTreeMap;
use std::path::Path;

use self::call::Argument;
use self::file::KerasFile;
use self::graph::Graph;
use self::image::{Image, Scaling};
use self::lower::Lowering;
use self::network::{KerasNetwork, LayerEntry};
use self::weights::Place;
use fer_core::onnx::OnnxModel;
use fer_core::spec::{FaceCrop, Hints, Layout, ModelSpec, OutputKind, Resize, parse_number};

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
    /// guess, unless the constants with which the model scales its input first say what they suit:
    /// then it is 1 or 1/255.
    pub pixels: BTreeMap<String, String>,
    /// How images of another size were resized in training; `None` for `nearest`, as in Keras.
    pub resize: Option<Resize>,
    /// How faces are cut out of pictures for the model, if it reads faces and that is known.
    pub crop: Option<FaceCrop>,
    /// The order of the input's dimensions; `None` for the Keras model's.
    pub layout: Option<Layout>,
    /// The width and height of the input, for a model that takes images of any size.
    pub size: Option<[usize; 2]>,
    /// The output to convert, for a model that has several.
    pub output: Option<String>,
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
    let mut network = KerasNetwork::parse(&file.model, keras).map_err(wrong)?;
    let index = chosen_output(&network, options.output.as_deref(), &name)?;
    network.keep_output(index);
    let mut notes = Vec::new();
    let scale = options.pixels.get("scale").map(|text| parse_number(text));
    let left_out = scale
        .and_then(Result::ok)
        .and_then(|scale| network.leave_out_scaling(scale));
    notes.extend(left_out.map(|layer| Note::ScaledByFunction { layer }));
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

    let image = Image::of(&network, options, &name)?;
    let mut graph = Graph::new(loaded.values());
    RESERVED.iter().for_each(|name| graph.reserve(name));
    let input = image.value(&mut graph);
    let mut lowering = Lowering::new(graph, &loaded, keras);
    let results = lowering
        .network(&network, &Place::default(), &[input])
        .map_err(in_layer)?;
    let [Argument::Tensor(result)] = &results[..] else {
        return Err(wrong("its output is not a tensor".into()));
    };
    let Lowering {
        mut graph,
        mut outputs,
        ..
    } = lowering;
    let result = graph.keras_order(result);
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
    let scaling = Scaling::of(&network, &loaded, keras);
    let spec = describe::spec(&model, &scaling, &image, kind, options, &mut notes, &name)?;
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

/// The index of the output with a name, which only a model of one output needs not.
fn chosen_output(
    network: &KerasNetwork,
    chosen: Option<&str>,
    path: &str,
) -> Result<usize, ConvertError> {
    let mut outputs = network.outputs.iter();
    let found = match chosen {
        Some(chosen) => outputs.position(|(name, _)| name == chosen),
        None => (network.outputs.len() == 1).then_some(0),
    };
    found.ok_or_else(|| ConvertError::Outputs {
        path: path.into(),
        outputs: network.outputs.iter().map(|(n, _)| n.clone()).collect(),
        chosen: chosen.map(String::from),
    })
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
