//! Why a request has no result, as a response: a status, and `{"error": "…"}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fer_core::session::SessionError;
use serde_json::json;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
        }
    }

    /// The request is not as the interface says.
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// The service has as much to do as it takes.
    pub(crate) fn busy(what: &str) -> Self {
        let reason = format!("the service is at its limit of {what}; try again later");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// The engine of a model has stopped.
    pub(crate) fn stopped(model: &str) -> Self {
        let reason = format!("the model {model} has stopped; load it anew with SIGHUP");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// The body is not the JSON that the interface takes. What the parser says of it may quote all
    /// of it, and is cut.
    pub(crate) fn json(what: &str, error: &serde_json::Error) -> Self {
        let said: String = error.to_string().chars().take(200).collect();
        Self::bad(format!("the body is not {what}: {said}"))
    }

    pub(crate) fn too_large(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    }

    /// A failure of the model, without what it says about this machine.
    pub(crate) fn of_session(error: &SessionError) -> Self {
        match error {
            SessionError::Full { .. } => Self::busy("waiting images"),
            SessionError::Input { .. } => Self::bad(error.to_string()),
            SessionError::NotFinite(_) => Self::new(StatusCode::BAD_GATEWAY, error.to_string()),
            SessionError::Engine(_) | SessionError::Stopped { .. } => {
                Self::new(StatusCode::BAD_GATEWAY, "the model failed")
            }
        }
    }
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], value.to_string()).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &json!({ "error": self.reason }));
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
