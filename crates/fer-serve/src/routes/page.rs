//! The page at `/` and its files, which are in the program.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

/// What the page may do: nothing but show its own files and what the user gives it, and ask this
/// service.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob:; media-src blob:; connect-src 'self'; worker-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
pub(crate) struct File {
    /// Its address.
    pub(crate) path: &'static str,
    kind: &'static str,
    content: &'static str,
}

/// The page's files.
pub(crate) static FILES: [File; 5] = [
    File {
        path: "/",
        kind: "text/html; charset=utf-8",
        content: include_str!("../../web/index.html"),
    },
    File {
        path: "/page.js",
        kind: "text/javascript; charset=utf-8",
        content: include_str!("../../web/page.js"),
    },
    File {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        content: include_str!("../../web/page.css"),
    },
    File {
        path: "/offline.js",
        kind: "text/javascript; charset=utf-8",
        content: include_str!("../../web/offline.js"),
    },
    File {
        path: "/icon.svg",
        kind: "image/svg+xml",
        content: include_str!("../../web/icon.svg"),
    },
];

impl File {
    pub(crate) fn response(&self) -> Response {
        let headers: [(HeaderName, &str); 5] = [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (
                HeaderName::from_static("permissions-policy"),
                "camera=(self), microphone=(), geolocation=()",
            ),
        ];
        (headers, self.content).into_response()
    }
}
