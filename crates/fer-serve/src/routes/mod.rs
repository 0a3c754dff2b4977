//! The interfaces of the service.
//!
//! | file | interface |
//! |---|---|
//! | `classify` | `POST /v1/classify`: pictures → the records of `fer infer` |
//! | `stream` | `/v1/stream`: frames → records with tracks, by WebSocket |
//! | `deepface` | `POST /analyze`, as DeepFace's API has it |
//! | `oip` | `/v2/…`: the Open Inference Protocol, tensors → tensors |
//! | `about` | models, health, counters, the OpenAPI document |
//! | `page` | the page at `/` and its files |
//! | `options`, `pictures` | what requests for pictures share |

mod about;
mod classify;
mod deepface;
mod oip;
mod options;
mod page;
mod pictures;
mod stream;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub(crate) use page::FILES;

use crate::guard::guard;
use crate::problem::Problem;
use crate::service::Shared;

/// Bodies above this are parsed on a thread that may wait.
const SMALL: usize = 64 << 10;

/// All routes, each behind the guard.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/v1/classify", post(classify::classify))
        .route("/v1/models", get(about::models))
        .route("/v1/stream", get(stream::stream))
        .route("/analyze", post(deepface::analyze))
        .route("/v2", get(oip::server))
        .route("/v2/health/live", get(about::live))
        .route("/v2/health/ready", get(about::ready))
        .route("/v2/models/{model}", get(oip::model))
        .route("/v2/models/{model}/ready", get(oip::ready))
        .route("/v2/models/{model}/infer", post(oip::infer))
        .route("/v2/models/{model}/versions/{version}", get(oip::model))
        .route(
            "/v2/models/{model}/versions/{version}/ready",
            get(oip::ready),
        )
        .route(
            "/v2/models/{model}/versions/{version}/infer",
            post(oip::infer),
        )
        .route("/healthz", get(about::live))
        .route("/readyz", get(about::ready))
        .route("/metrics", get(about::metrics))
        .route("/openapi.json", get(about::openapi));
    for file in &FILES {
        router = router.route(file.path, get(move || async { file.response() }));
    }
    router
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            let reason = "this path takes another method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, reason)
        })
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// The result of `work`, or the status for a request that takes too long.
async fn in_time<T>(
    shared: &Shared,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let deadline = shared.settings.limits.deadline;
    let done = tokio::time::timeout(deadline, work).await;
    done.unwrap_or_else(|_| {
        let reason = format!("the request took longer than {deadline:?}");
        Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, reason))
    })
}

/// Parses a body of so many bytes: at once if it is small, else where other requests need not
/// wait for it.
async fn parsed<T: Send + 'static>(
    shared: &Shared,
    bytes: usize,
    parse: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= SMALL {
        return parse();
    }
    let stopped = || Problem::busy("what it can do while it stops");
    let room = shared.admission.decoder().await.ok_or_else(stopped)?;
    let work = move || {
        let _room = room;
        parse()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(stopped()))
}
