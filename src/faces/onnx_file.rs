//! A detector's ONNX file in ONNX Runtime: its size, and its outputs in one order.

use bytes::Bytes;
use fer_core::onnx::{self, Header};
use fer_faces::{ANCHOR, STRIDES, Scores, anchor_count};
use fer_ort::library::Library;
use fer_ort::{ModelSource, OrtNetwork, Output, Provider, ProviderOptions, SessionOptions};

use super::DetectorRef;
use crate::compiled;
use crate::load_error::LoadError;

/// The names of the outputs of OpenCV's file, without the stride, and their values an anchor.
const PARTS: [(&str, usize); 4] = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)];

/// The name of a single output whose scores are logits, as in `models/yunet.onnx`; under any other
/// name they are probabilities.
const LOGITS: &str = "anchor_logits";

/// Width and height of the image on which a provider is tried.
const TRIAL: usize = 64;

/// A detector's file in ONNX Runtime.
pub(super) struct Loaded {
    /// The network.
    pub network: OrtNetwork,
    /// Width and height, if the file fixes them.
    pub fixed: Option<[usize; 2]>,
    /// What the scores are.
    pub scores: Scores,
}

/// Loads a detector.
///
/// # Errors
/// The file is not a detector, or the provider can't run it.
pub(super) fn load(
    which: &DetectorRef,
    library: &'static Library,
    provider: Provider,
    provider_options: &ProviderOptions,
    threads: Option<usize>,
) -> Result<Loaded, LoadError> {
    let (name, source, header) = match which {
        DetectorRef::Builtin => {
            let model = compiled::detector();
            let bytes = Bytes::from_static(model.onnx);
            let header = onnx::read_header(&bytes, model.name)?;
            let name = format!("{} (built in)", model.name);
            (name, ModelSource::Bytes(bytes), header)
        }
        DetectorRef::Onnx(path) => {
            let file = onnx::OnnxModel::read(path)?;
            let source = match file.external_data {
                true => ModelSource::Path(path.clone()),
                false => ModelSource::Bytes(file.bytes),
            };
            (path.display().to_string(), source, file.header)
        }
    };
    let fixed = input_size(&header, &name)?;
    let [width, height] = fixed.unwrap_or([TRIAL; 2]);
    let options = SessionOptions {
        provider,
        provider_options,
        threads,
        // Sizes change, so that layouts for one size don't pay.
        images: None,
    };
    let shape = [1, 3, height, width];
    let mut network = OrtNetwork::load(library, &source, &name, shape, &options, Vec::new())?;
    // The names and the number of the outputs are those of a detector, or it is none.
    let trial = network.run(&vec![0.0; 3 * width * height], shape);
    let trial = trial.map_err(|e| e.to_string()).and_then(|outputs| {
        let logits = matches!(&outputs[..], [output] if output.name == LOGITS);
        anchors(outputs, [width, height]).map(|_| match logits {
            true => Scores::Logits,
            false => Scores::Probabilities,
        })
    });
    let scores = trial.map_err(|problem| LoadError::Detector {
        model: name,
        problem,
    })?;
    Ok(Loaded {
        network,
        fixed,
        scores,
    })
}

/// Width and height, if the file fixes them.
fn input_size(header: &Header, name: &str) -> Result<Option<[usize; 2]>, LoadError> {
    let wrong = |problem: &str| LoadError::Detector {
        model: name.to_owned(),
        problem: problem.to_owned(),
    };
    let [input] = &header.inputs[..] else {
        return Err(wrong("it has not one input"));
    };
    match input.dims.as_deref().unwrap_or_default()[..] {
        [None | Some(1), Some(3), Some(height), Some(width)]
            if [width, height]
                .iter()
                .all(|side| side % 32 == 0 && (320..=4096).contains(side)) =>
        {
            Ok(Some([width, height]))
        }
        [None | Some(1), Some(3), None, None] => Ok(None),
        _ => Err(wrong(
            "its input is not [1, 3, height, width] of any size, or of multiples of 32 from 320",
        )),
    }
}

/// One value after the other for each anchor, from one output or from the twelve of OpenCV's file.
pub(super) fn anchors(mut outputs: Vec<Output>, size: [usize; 2]) -> Result<Vec<f32>, String> {
    let wanted = anchor_count(size) * ANCHOR;
    if let [output] = &mut outputs[..] {
        let values = std::mem::take(&mut output.values);
        return match values.len() {
            found if found == wanted => Ok(values),
            found => Err(format!("its output has {found} values, not {wanted}")),
        };
    }
    let mut all = Vec::with_capacity(wanted);
    for stride in STRIDES {
        let cells = (size[0] / stride) * (size[1] / stride);
        let part = |(part, width): (&str, usize)| {
            let name = format!("{part}_{stride}");
            let output = outputs.iter().find(|output| output.name == name);
            let values = output.map(|output| &output.values[..]);
            match values {
                Some(values) if values.len() == cells * width => Ok((values, width)),
                Some(values) => Err(format!("its output {name} has {} values", values.len())),
                None => Err(format!("it has no output {name}")),
            }
        };
        let parts = PARTS.map(part).into_iter().collect::<Result<Vec<_>, _>>()?;
        for cell in 0..cells {
            for (values, width) in &parts {
                all.extend_from_slice(&values[cell * width..][..*width]);
            }
        }
    }
    Ok(all)
}
