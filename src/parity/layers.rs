//! Layer by layer: finds where the outputs of a converted model begin to differ from Keras's.
//!
//! A converted file's metadata names the tensor of each layer's output and its order. Keras's
//! outputs come from `scripts/keras/predict.py`.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde::Serialize;

use fer_ort::inspect::Tensor;

/// The largest difference of a layer's output, relative to its largest value: rounding errors add
/// up over the layers.
pub const TOLERANCE: f64 = 1e-4;

/// The position of a layer's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The layer, with the names of the models that contain it.
    pub layer: String,
    /// The tensor of the ONNX file.
    pub tensor: String,
    /// Empty for Keras's order, `NCHW`, or `CxA` for a vector of channels by pixels.
    order: String,
}

/// The difference of a layer's output from Keras's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerDifference {
    /// The layer.
    pub layer: String,
    /// The largest difference, relative to the largest of Keras's values if that is over 1.
    pub difference: f64,
}

impl LayerDifference {
    /// Whether it exceeds [`TOLERANCE`].
    pub fn departs(&self) -> bool {
        self.difference > TOLERANCE
    }
}

/// A file's layers can't be compared with Keras's.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// The file's metadata does not name its layers: `fer convert` did not write it.
    #[error("its metadata does not state the tensors of its layers")]
    NoPlaces,
    /// The metadata that names the layers can't be read.
    #[error("its metadata '{}' can't be read: {source}", fer_keras::LAYERS)]
    Metadata {
        /// The reason.
        source: serde_json::Error,
    },
    /// A layer's output and Keras's have different numbers of values.
    #[error("its layer {layer} returns {values} values, Keras's {expected}")]
    Values {
        /// The layer.
        layer: String,
        /// The number of values of its tensor.
        values: usize,
        /// The number of Keras's values.
        expected: usize,
    },
    /// No layer has the name of one of Keras's.
    #[error("it has no layer in common with the Keras model")]
    NoneShared,
}

/// The layers whose outputs are in an ONNX file with this metadata, in the order of computation. A
/// layer that is called more than once is left out.
///
/// # Errors
/// `fer convert` did not write the file, or its metadata is damaged.
pub fn places(metadata: &BTreeMap<String, String>) -> Result<Vec<Place>, LayersError> {
    let text = metadata
        .get(fer_keras::LAYERS)
        .ok_or(LayersError::NoPlaces)?;
    let rows: Vec<(String, String, String)> =
        serde_json::from_str(text).map_err(|source| LayersError::Metadata { source })?;
    let once = |layer: &String| rows.iter().filter(|(l, ..)| l == layer).count() == 1;
    let kept = rows.iter().filter(|(layer, ..)| once(layer)).cloned();
    Ok(kept
        .map(|(layer, tensor, order)| Place {
            layer,
            tensor,
            order,
        })
        .collect())
}

/// Compares the tensors of `places`, in their order, with Keras's outputs by layer name. Layers
/// that Keras does not have are left out.
///
/// # Errors
/// A tensor and Keras's have different numbers of values, or there is nothing to compare.
pub fn compare(
    places: &[Place],
    found: &[Tensor],
    keras: &SafeTensors<'_>,
) -> Result<Vec<LayerDifference>, LayersError> {
    let mut differences = Vec::new();
    for (place, tensor) in places.iter().zip(found) {
        let Ok(expected) = keras.tensor(&place.layer) else {
            continue;
        };
        let expected: Vec<f32> = expected
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let values = in_keras_order(tensor, &place.order);
        if values.len() != expected.len() {
            return Err(LayersError::Values {
                layer: place.layer.clone(),
                values: values.len(),
                expected: expected.len(),
            });
        }
        let largest = expected
            .iter()
            .fold(1.0f64, |m, v| m.max(f64::from(v.abs())));
        let off = values
            .iter()
            .zip(&expected)
            .map(|(a, b)| f64::from(*a) - f64::from(*b));
        // NaN is the largest difference.
        let off = off
            .map(|d| if d.is_nan() { f64::INFINITY } else { d.abs() })
            .fold(0.0, f64::max);
        differences.push(LayerDifference {
            layer: place.layer.clone(),
            difference: off / largest,
        });
    }
    if differences.is_empty() {
        Err(LayersError::NoneShared)
    } else {
        Ok(differences)
    }
}

fn in_keras_order(tensor: &Tensor, order: &str) -> Vec<f32> {
    let flat = order
        .split_once('x')
        .and_then(|(c, a)| Some((c.parse().ok()?, a.parse().ok()?)));
    let (channels, area) = match (&tensor.dims[..], flat) {
        ([_, c, h, w], _) if order == "NCHW" => (*c, h * w),
        (_, Some((channels, area))) => (channels, area),
        _ => return tensor.values.clone(),
    };
    if channels == 0 || area == 0 {
        return tensor.values.clone();
    }
    let image = |image: &[f32]| -> Vec<f32> {
        let pixel = |p: usize| (0..channels).map(move |c| c * area + p);
        (0..area)
            .flat_map(pixel)
            .filter_map(|i| image.get(i).copied())
            .collect()
    };
    tensor
        .values
        .chunks(channels * area)
        .flat_map(image)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_brought_into_keras_order() {
        let tensor = |dims: &[usize]| Tensor {
            dims: dims.to_vec(),
            values: (0..8).map(|v| v as f32).collect(),
        };
        let moved = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        assert_eq!(in_keras_order(&tensor(&[2, 2, 1, 2]), "NCHW"), moved);
        assert_eq!(in_keras_order(&tensor(&[2, 4]), "2x2"), moved);
        assert_eq!(
            in_keras_order(&tensor(&[2, 2, 1, 2]), ""),
            tensor(&[]).values
        );
    }
}
