//! Who may ask: the `Host` and `Origin` of a request, and its token.
//!
//! A web page of any site may send requests to 127.0.0.1, and by a name of its own that leads
//! there it may even read the answers (DNS rebinding); WebSockets are not held back by browsers at
//! all. So `Host` must be an IP address, `localhost` or a known name, and `Origin`, if there is
//! one, this service or a known origin.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::problem::Problem;
use crate::service::Shared;
use crate::settings::{Access, Settings};

/// How a WebSocket of a browser, which can't set headers, carries the token: as the second of its
/// protocols, after `fer`, in URL-safe Base64.
const TOKEN_PROTOCOL: &str = "token.";

/// Checks a request, counts it, and adds what every response has.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let settings = &shared.settings;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match check(settings, &request) {
        Err(problem) => problem.into_response(),
        Ok(Allowed::Preflight) => preflight(),
        Ok(Allowed::Request) => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(store);
    if !settings.origins.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin.filter(|origin| is_listed(settings, origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    let route = matched.as_ref().map_or("other", MatchedPath::as_str);
    let status = response.status().as_u16();
    shared.metrics.request(route, status, began.elapsed());
    response
}

enum Allowed {
    Request,
    /// A browser asks whether a page of a listed origin may send a request.
    Preflight,
}

fn check(settings: &Settings, request: &Request) -> Result<Allowed, Problem> {
    let headers = request.headers();
    let host = host(request.uri(), headers)?;
    let name = without_port(host);
    if !is_own(settings, name) {
        let reason = "the host of the request is not a name of this service";
        return Err(Problem::new(StatusCode::FORBIDDEN, reason));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let listed = is_listed(settings, origin);
        if !listed && !is_same(origin, host) {
            let reason = "pages of the origin of the request may not use this service";
            return Err(Problem::new(StatusCode::FORBIDDEN, reason));
        }
        let asks = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if listed && asks && request.method() == Method::OPTIONS {
            return Ok(Allowed::Preflight);
        }
    }
    match &settings.access {
        Access::Token(token) if !is_open(request.uri().path()) => {
            let given = given_token(headers);
            match given.is_some_and(|given| token.is(&given)) {
                true => Ok(Allowed::Request),
                false => Err(Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "this service asks for its token, as Authorization: Bearer TOKEN",
                )),
            }
        }
        _ => Ok(Allowed::Request),
    }
}

/// The host that a request is for. A request with an absolute address has it there too.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
    let mut stated = headers.get_all(header::HOST).iter();
    let host = stated.next().and_then(|host| host.to_str().ok());
    let host = host.filter(|_| stated.next().is_none());
    let host = host.ok_or_else(|| Problem::bad("the request has not one Host"))?;
    match uri.authority() {
        Some(authority) if authority.as_str() != host => {
            Err(Problem::bad("the request's address and its Host differ"))
        }
        _ => Ok(host),
    }
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(host, |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_own(settings: &Settings, name: &str) -> bool {
    let own = settings.hosts.iter().map(String::as_str);
    name.parse::<IpAddr>().is_ok()
        || own
            .chain(["localhost"])
            .any(|own| own.eq_ignore_ascii_case(name))
}

fn is_listed(settings: &Settings, origin: &HeaderValue) -> bool {
    let listed = &settings.origins;
    listed
        .iter()
        .any(|listed| listed.as_bytes() == origin.as_bytes())
}

/// Whether a page of this origin comes from this service.
fn is_same(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// What needs no token, as it says nothing that is not in fer's own documents.
fn is_open(path: &str) -> bool {
    let page = crate::routes::FILES.iter().any(|file| file.path == path);
    page || matches!(
        path,
        "/healthz" | "/readyz" | "/openapi.json" | "/v2/health/live" | "/v2/health/ready"
    )
}

/// The token that a request states.
fn given_token(headers: &HeaderMap) -> Option<Vec<u8>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
        return is_bearer.then(|| token.trim_ascii().to_vec());
    }
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?;
    let mut protocols = protocols.to_str().ok()?.split(',').map(str::trim);
    let token = protocols.find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL))?;
    URL_SAFE_NO_PAD.decode(token).ok()
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, inference-header-content-length",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
