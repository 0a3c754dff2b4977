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
//! | bytes and metadata | `write` |
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

mod call;
mod config;
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
use self::image::{Image, scales_itself};
use self::lower::Lowering;
use self::network::{KerasNetwork, LayerEntry};
use self::weights::Place;
use fer_core::calibration::Calibration;
use fer_core::onnx::OnnxModel;
use fer_core::spec::{EMOTIONS, InputSpec, Layout, ModelSpec, OutputKind, Resize};

/// The names of the file's input and outputs.
const INPUT: &str = "input";
const OUTPUTS: [&str; 2] = ["probabilities", "logits"];

/// How a model is converted.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The classes in output order; `None` for the seven emotions where there are seven.
    pub labels: Option<Vec<String>>,
    /// The factor for pixels of 0..255; `None` for 1/255, or for 1 if the model scales its input
    /// itself.
    pub scale: Option<f64>,
    /// How images of another size were resized in training; `None` for `nearest`, as in Keras.
    pub resize: Option<Resize>,
    /// The order of the input's dimensions; `None` for the Keras model's.
    pub layout: Option<Layout>,
    /// The width and height of the input, for a model that takes images of any size.
    pub size: Option<[usize; 2]>,
    /// The output to convert, for a model that has several.
    pub output: Option<String>,
}

/// A converted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The ONNX file.
    pub onnx: Vec<u8>,
    /// What it expects and returns.
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
/// output is `probabilities`, or `logits` if the model does not end in a softmax, float32 `[N,
/// classes]`. The same model gives the same bytes.
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
    let left_out = options
        .scale
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
    [INPUT, OUTPUTS[0], OUTPUTS[1]]
        .iter()
        .for_each(|name| graph.reserve(name));
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
    let [classes] = result.shape[..] else {
        return Err(wrong(format!(
            "it returns {:?} for an image; a classifier returns one value per class",
            result.shape
        )));
    };
    let Some(last) = graph.maker(&result.name) else {
        return Err(wrong("it has no layer that computes anything".into()));
    };
    let softmax = sums_to_one(&graph, &result.name);
    let output = if softmax { OUTPUTS[0] } else { OUTPUTS[1] };
    if !softmax {
        notes.push(Note::NoSoftmax {
            operator: last.op_type.clone(),
        });
    }
    graph.rename(0, &result.name, output);
    outputs
        .iter_mut()
        .filter(|a| a.tensor == result.name)
        .for_each(|a| a.tensor = output.into());
    optimize::optimize(&mut graph, output);
    outputs.retain(|a| graph.nodes.iter().any(|n| n.output.contains(&a.tensor)));

    let labels = labels(options, classes).map_err(|names| ConvertError::Labels {
        path: name.clone(),
        classes,
        names,
    })?;
    let scale = options.scale.unwrap_or_else(|| {
        let scales = scales_itself(&network);
        match scales {
            Some(true) => notes.push(Note::ScalesItself),
            Some(false) => {}
            None => notes.push(Note::RescalesLater),
        }
        if scales == Some(true) {
            1.0
        } else {
            1.0 / 255.0
        }
    });
    let stated = ModelSpec {
        labels,
        input: InputSpec {
            scale: scale as f32,
            resize: options.resize.unwrap_or(Resize::Nearest),
            ..InputSpec::new(image.layout, image.width, image.height, image.channels)
        },
        output: if softmax {
            OutputKind::Probabilities
        } else {
            OutputKind::Logits
        },
        calibration: Calibration::NONE,
        fixed_batch: None,
        assumed: Vec::new(),
    };
    let mut metadata = stated.to_metadata();
    // With the digits of the given float64; a spec has a float32.
    for (_, value) in metadata.iter_mut().filter(|(key, _)| key == "fer.scale") {
        *value = scale.to_string();
    }
    metadata.push(("fer.architecture".into(), network.name.clone()));
    metadata.push(("fer.source".into(), source));
    metadata.push((write::LAYERS.into(), write::layers(&outputs)));
    let operators = counted(&graph);
    let (onnx, flushed) = write::write(
        graph,
        &network.name,
        (INPUT, &image.dims()),
        (output, &[classes]),
        metadata,
    )
    .map_err(wrong)?;
    let model = OnnxModel::parse(onnx.clone().into(), &name).map_err(|e| wrong(e.to_string()))?;
    let spec = ModelSpec::resolve(&model.header, &BTreeMap::new(), &name)
        .map_err(|e| wrong(e.to_string()))?;
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

/// The names of the classes in the order of the outputs. An error is the number of names given.
fn labels(options: &ConvertOptions, classes: usize) -> Result<Vec<String>, Option<usize>> {
    match &options.labels {
        None if classes == EMOTIONS.len() => Ok(EMOTIONS.map(String::from).to_vec()),
        None => Err(None),
        Some(labels) if labels.len() == classes => Ok(labels.clone()),
        Some(labels) => Err(Some(labels.len())),
    }
}

/// Whether a tensor holds probabilities: it is a softmax, a mean of softmaxes, or one of them in
/// another shape.
fn sums_to_one(graph: &Graph, tensor: &str) -> bool {
    let Some(node) = graph.maker(tensor) else {
        return false;
    };
    let input = |i: usize| node.input.get(i).map_or("", String::as_str);
    match node.op_type.as_str() {
        "Softmax" => true,
        "Reshape" | "Flatten" | "Identity" => sums_to_one(graph, input(0)),
        "Mul" => match summands(graph, input(0)) {
            Some(number) => graph
                .scalar(input(1))
                .is_some_and(|share| (share * number as f32 - 1.0).abs() < 1e-6),
            None => false,
        },
        _ => false,
    }
}

/// The number of tensors of probabilities that a tensor is the sum of, if it is such a sum.
fn summands(graph: &Graph, tensor: &str) -> Option<usize> {
    match graph.maker(tensor) {
        Some(node) if node.op_type == "Add" => {
            let [first, second] = &node.input[..] else {
                return None;
            };
            summands(graph, first)?
                .checked_add(usize::from(sums_to_one(graph, second)))
                .filter(|_| sums_to_one(graph, second))
        }
        _ => sums_to_one(graph, tensor).then_some(1),
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
