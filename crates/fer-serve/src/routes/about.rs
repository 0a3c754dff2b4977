//! What the service says of itself: models, health, counters, its OpenAPI document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::models::Model;
use crate::problem::{self, Problem};
use crate::service::Shared;

/// `GET /v1/models`: the default one first.
pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let model = |model: Arc<Model>| {
        let (spec, description) = (model.spec(), model.session.description());
        json!({
            "name": model.name,
            "labels": spec.labels,
            "width": spec.input.width,
            "height": spec.input.height,
            "channels": spec.input.channels,
            "engine": description.engine,
            "provider": description.provider,
            "faces": model.reads_faces,
        })
    };
    let models: Vec<_> = shared.models.all().into_iter().map(model).collect();
    problem::json(StatusCode::OK, &json!({ "models": models }))
}

/// The process answers.
pub(super) async fn live() -> Response {
    problem::json(StatusCode::OK, &json!({ "live": true }))
}

/// New requests are welcome.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    if shared.is_stopping() {
        return Err(Problem::busy("what it can do while it stops"));
    }
    if let Some(model) = shared.models.stopped() {
        return Err(Problem::stopped(&model.name));
    }
    Ok(problem::json(StatusCode::OK, &json!({ "ready": true })))
}

/// `GET /metrics`, for Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let admission = &shared.admission;
    let text = shared.metrics.text(admission.waiting(), admission.held());
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        text,
    )
        .into_response()
}

/// `GET /openapi.json`.
pub(super) async fn openapi() -> Response {
    let kind = HeaderValue::from_static("application/json");
    let text = include_str!("../openapi.json");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
