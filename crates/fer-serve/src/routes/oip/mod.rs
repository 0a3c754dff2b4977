//! The Open Inference Protocol, version 2 (KServe, Triton): models described, and tensors through
//! them, as JSON or with Triton's binary extension.
//!
//! A tensor of the input is what the model takes: resized, scaled pixels in its layout. The output
//! is its probabilities. Their names here are `input` and `probabilities`.

mod request;
mod response;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use fer_core::prediction::Prediction;
use fer_core::spec::ModelSpec;
use serde::Deserialize;
use serde_json::json;

use self::request::Infer;
use super::{in_time, options, parsed};
use crate::body;
use crate::models::Model;
use crate::problem::{self, Problem};
use crate::see::classify;
use crate::service::Shared;

/// The names of the tensors.
const INPUT: &str = "input";
const OUTPUT: &str = "probabilities";

/// The only version of a model.
const VERSION: &str = "1";

/// The header of the binary extension: how many bytes of a body are JSON.
const JSON_LENGTH: &str = "inference-header-content-length";

/// A model in an address.
#[derive(Deserialize)]
pub(super) struct Which {
    model: String,
    version: Option<String>,
}

impl Which {
    fn find(&self, shared: &Shared) -> Result<Arc<Model>, Problem> {
        let model = options::model(shared, Some(&self.model))?;
        match self.version.as_deref() {
            None | Some(VERSION) => Ok(model),
            Some(_) => {
                let reason = "the model's only version is 1";
                Err(Problem::new(StatusCode::NOT_FOUND, reason))
            }
        }
    }
}

/// `GET /v2`.
pub(super) async fn server() -> Response {
    let about = json!({
        "name": "fer",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "classification"],
    });
    problem::json(StatusCode::OK, &about)
}

/// `GET /v2/models/{model}`: its tensors, of which the first dimension is the batch.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(which): Path<Which>,
) -> Result<Response, Problem> {
    let model = which.find(&shared)?;
    let spec = model.spec();
    let about = json!({
        "name": model.name,
        "versions": [VERSION],
        "platform": format!("fer_{}", model.session.description().engine),
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": dims(spec, None)}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, spec.labels.len()]}],
        "parameters": {"labels": spec.labels},
    });
    Ok(problem::json(StatusCode::OK, &about))
}

/// The dimensions of a batch of so many images, or of any number.
fn dims(spec: &ModelSpec, images: Option<i64>) -> Vec<i64> {
    let mut dims = spec.input.shape(1).map(|dim| dim as i64);
    dims[0] = images.unwrap_or(-1);
    dims.to_vec()
}

/// `GET /v2/models/{model}/ready`.
pub(super) async fn ready(
    State(shared): State<Arc<Shared>>,
    Path(which): Path<Which>,
) -> Result<Response, Problem> {
    let model = which.find(&shared)?;
    if shared.is_stopping() {
        return Err(Problem::busy("what it can do while it stops"));
    }
    if model.session.is_stopped() {
        return Err(Problem::stopped(&model.name));
    }
    let about = json!({ "name": model.name, "ready": true });
    Ok(problem::json(StatusCode::OK, &about))
}

/// `POST /v2/models/{model}/infer`.
pub(super) async fn infer(
    State(shared): State<Arc<Shared>>,
    Path(which): Path<Which>,
    request: Request,
) -> Result<Response, Problem> {
    let model = which.find(&shared)?;
    let (parts, body) = request.into_parts();
    let json_length = json_length(&parts.headers)?;
    let held = body::read(&shared, &parts.headers, body).await?;
    let room = shared.admission.request()?;
    let (bytes, wanted) = (held.bytes.clone(), model.clone());
    let work = async {
        let request = parsed(&shared, bytes.len(), move || {
            Infer::read(&bytes, json_length, wanted.spec())
        });
        let request = request.await?;
        let output = classify(&shared, &model, request.tensors).await?;
        let rows = output.chunks_exact(model.spec().labels.len());
        rows.map(Prediction::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Problem::of_session(&e.into()))?;
        Ok(response::write(
            &model,
            &request.id,
            &request.outputs,
            &output,
        ))
    };
    let response = in_time(&shared, work).await?;
    drop((room, held));
    Ok(response)
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
    let Some(length) = headers.get(JSON_LENGTH) else {
        return Ok(None);
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    let bad = || Problem::bad(format!("{JSON_LENGTH} is not a number of bytes"));
    length.map(Some).ok_or_else(bad)
}
