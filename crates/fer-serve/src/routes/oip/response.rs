//! Probabilities → the body of an inference response, as JSON or with bytes after it.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::request::Wanted;
use super::{JSON_LENGTH, OUTPUT, VERSION};
use crate::models::Model;
use crate::problem;

/// The values of an output.
enum Data {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

/// The response for the probabilities of some images, `[n, classes]`.
pub(super) fn write(
    model: &Model,
    id: &Option<String>,
    outputs: &[Wanted],
    probabilities: &[f32],
) -> Response {
    let labels = &model.spec().labels;
    let images = probabilities.len() / labels.len();
    let (mut described, mut binary, mut is_binary) = (Vec::new(), Vec::new(), false);
    for wanted in outputs {
        let (width, data) = match wanted.classes.min(labels.len()) {
            0 => (labels.len(), Data::Numbers(probabilities.to_vec())),
            best => {
                let rows = probabilities.chunks_exact(labels.len());
                let texts = rows.flat_map(|row| ranked(row, labels, best)).collect();
                (best, Data::Texts(texts))
            }
        };
        let mut output = json!({
            "name": OUTPUT,
            "datatype": data.datatype(),
            "shape": [images, width],
        });
        if wanted.binary {
            is_binary = true;
            let bytes = data.bytes();
            output["parameters"] = json!({ "binary_data_size": bytes.len() });
            binary.extend(bytes);
        } else {
            output["data"] = data.json();
        }
        described.push(output);
    }
    let mut body = Map::new();
    body.insert("model_name".into(), json!(model.name));
    body.insert("model_version".into(), json!(VERSION));
    if let Some(id) = id {
        body.insert("id".into(), json!(id));
    }
    body.insert("outputs".into(), Value::Array(described));
    let body = Value::Object(body);
    if !is_binary {
        return problem::json(StatusCode::OK, &body);
    }
    let mut bytes = body.to_string().into_bytes();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            HeaderName::from_static(JSON_LENGTH),
            bytes.len().to_string(),
        ),
    ];
    bytes.extend(binary);
    (headers, bytes).into_response()
}

/// The best classes of a row, as Triton writes them: `value:index:label`.
fn ranked(row: &[f32], labels: &[String], best: usize) -> Vec<String> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    let text = |i: &usize| format!("{:.6}:{i}:{}", row[*i], labels[*i]);
    order[..best].iter().map(text).collect()
}

impl Data {
    fn datatype(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "FP32",
            Self::Texts(_) => "BYTES",
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Numbers(values) => json!(values),
            Self::Texts(texts) => json!(texts),
        }
    }

    /// Little-endian float32, or texts with their lengths before them.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Numbers(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Texts(texts) => texts
                .iter()
                .flat_map(|text| {
                    let length = u32::try_from(text.len()).unwrap_or_default().to_le_bytes();
                    length.into_iter().chain(text.bytes())
                })
                .collect(),
        }
    }
}
