//! `fer parity --layers`: compares a converted model with Keras layer by layer, on a few images.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use fer::ModelRef;
use fer::host::Host;
use fer::onnx::OnnxModel;
use fer::ort::{inspect, library};
use fer::parity::layers::{self, LayerDifference};
use fer::parity::{Comparison, Output};
use fer::preprocess::Preprocessor;
use fer::runtime::locate;
use fer::spec::ModelSpec;
use safetensors::SafeTensors;

/// The number of images that are compared.
const IMAGES: usize = 8;

/// Of the images that both sides could read: the one with the largest difference, and the first
/// others.
pub fn images(
    paths: Vec<PathBuf>,
    keras: &[Output],
    candidate: &[Output],
    found: &Comparison,
) -> Vec<PathBuf> {
    let read = |a: &Output| a.values.is_some();
    let sides = keras
        .iter()
        .zip(candidate)
        .map(|(k, c)| (read(k) && read(c)).then_some(&c.path));
    let mut chosen: Vec<(PathBuf, &String)> = paths
        .into_iter()
        .zip(sides)
        .filter_map(|(path, name)| Some((path, name?)))
        .collect();
    chosen.sort_by_key(|(_, name)| found.worst.as_ref().is_none_or(|w| w.path != **name));
    chosen
        .into_iter()
        .map(|(path, _)| path)
        .take(IMAGES)
        .collect()
}

/// The differences between the layers of a model and Keras's outputs, a safetensors file, on the
/// same images.
pub fn compare(
    model: &ModelRef,
    library: Option<&Path>,
    spec: &ModelSpec,
    images: &[PathBuf],
    keras: &[u8],
    host: &Host,
) -> Result<Vec<LayerDifference>> {
    let name = &model.name();
    let of = || format!("--layers: {name}");
    let file = match model {
        ModelRef::Builtin(builtin) => OnnxModel::parse(Bytes::from_static(builtin.onnx), name)?,
        ModelRef::Onnx(path) => OnnxModel::read(path)?,
        #[cfg(feature = "train")]
        ModelRef::Trained(_) => {
            return Err(anyhow::anyhow!("it is not an ONNX file")).with_context(of);
        }
    };
    let places = layers::places(&file.header.metadata).with_context(of)?;
    let keras = SafeTensors::deserialize(keras)
        .context("Keras's outputs can't be read")
        .with_context(of)?;
    let preprocessor = Preprocessor::new(&spec.input);
    let mut input = Vec::with_capacity(images.len() * spec.image_len());
    for path in images {
        input.extend(preprocessor.tensor(fer::images::read(path)?));
    }
    let library = library::open(&locate(library, host)?)?;
    let wanted: Vec<&str> = places.iter().map(|p| p.tensor.as_str()).collect();
    let found = inspect::tensors(
        library,
        &file.bytes,
        name,
        &wanted,
        &input,
        spec.input_shape(images.len()),
    )?;
    layers::compare(&places, &found, &keras).with_context(of)
}

/// Reports the first layer that differs, or that none does.
pub fn print(layers: &[LayerDifference], out: &mut dyn Write) -> std::io::Result<()> {
    let largest =
        |layers: &[LayerDifference]| layers.iter().map(|l| l.difference).fold(0.0, f64::max);
    let Some(first) = layers.iter().position(LayerDifference::departs) else {
        return writeln!(
            out,
            "  layers        {} equal Keras's to within {:.1e}",
            layers.len(),
            largest(layers)
        );
    };
    let (before, layer) = (&layers[..first], &layers[first]);
    writeln!(
        out,
        "  layers        {} is the first of {} that differs from Keras's, by {:.1e}; the layers \
         before it are within {:.1e}",
        layer.layer,
        layers.len(),
        layer.difference,
        largest(before)
    )
}
