//! A trained network → an ONNX file: exported by `burn-onnx`, finished (softmax, names, metadata),
//! and checked before it is kept ([`check()`]).

mod check;
mod postprocess;

pub use check::{CheckError, Checked, TOLERANCE, check, difference};

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_onnx::export::{AxisSpec, InputSpec, OnnxExporter};

use crate::data::Dataset;
use crate::model::Network;
use crate::train::checkpoint::Trained;
use crate::train::step::logits_of;
use fer_core::calibration::{self, Calibration};
use fer_core::spec::{ModelSpec, OutputKind};

/// An export that failed; no file is left of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExportError(pub String);

/// The calibration that suits a network on labelled images, see [`calibration::fit`]; `None` where
/// they can't tell it.
pub fn calibrate(network: &Network, images: &Dataset, device: &Device) -> Option<Calibration> {
    let logits = logits_of(network, images, 64, device).ok()?;
    calibration::fit(&logits, &images.labels)
}

/// The ONNX file of a trained network, in memory: `input` `[N, channels, height, width]` (0..1) →
/// `probabilities` `[N, classes]`, opset 18, with the metadata that [`fer_core::spec`] reads and
/// what is known of the training. A `calibration`, fitted on the validation images, is written down
/// for who reads the file; its probabilities stay the network's own.
///
/// # Errors
/// `burn-onnx` can't lower the network, or wrote what can't be finished.
pub fn to_onnx(
    trained: &Trained,
    calibration: Option<Calibration>,
    device: &Device,
) -> Result<Vec<u8>, ExportError> {
    // The exporter leaves the running statistics of what it was given on its own device: it gets a
    // copy that shares none.
    let network = crate::train::step::frozen(&trained.network).folded();
    let [channels, height, width] = network.input();
    let images = |n: usize| Tensor::<4>::zeros([n, channels, height, width], device);
    let axes = [
        AxisSpec::dynamic("N"),
        AxisSpec::Static,
        AxisSpec::Static,
        AxisSpec::Static,
    ];
    let exported = OnnxExporter::new()
        .export_dynamic(
            &network,
            images(2),
            images(3),
            &[InputSpec::new(axes)],
            |n: &Network, x| n.forward(x),
        )
        .map_err(|e| ExportError(format!("burn-onnx can't export this network: {e}")))?;
    let name = trained.config.architecture.exported().to_string();
    postprocess::postprocess(exported.as_bytes(), &name, &metadata(trained, calibration))
        .map_err(ExportError)
}

fn metadata(trained: &Trained, calibration: Option<Calibration>) -> BTreeMap<String, String> {
    let (config, state) = (&trained.config, &trained.state);
    let spec = ModelSpec {
        output: OutputKind::Probabilities,
        calibration: calibration.unwrap_or(Calibration::NONE),
        ..trained.spec()
    };
    let mut rows = vec![
        ("architecture", config.architecture.exported().to_string()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        // The folder's or file's own name: the rest of the path is nobody's business.
        (
            "data",
            Path::new(&state.data.path)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        ),
        ("data.split", state.data.split.clone()),
        ("data.training_images", state.data.training.to_string()),
        ("data.sha256", state.data.sha256.clone()),
    ];
    if let Some(hash) = &state.data.votes_sha256 {
        rows.push(("data.votes.sha256", hash.clone()));
    }
    // What was measured of these very weights: nothing, if they were saved within an epoch.
    if let (0, Some(line)) = (
        state.step,
        state.history.iter().rev().find(|r| r.split == "validation"),
    ) {
        rows.push(("epoch", state.epoch.to_string()));
        rows.push(("validation.accuracy", format!("{:.6}", line.accuracy)));
        rows.push(("validation.images", state.data.validation.to_string()));
    }
    let known = rows
        .into_iter()
        .map(|(key, value)| (format!("fer.{key}"), value));
    spec.to_metadata().into_iter().chain(known).collect()
}
