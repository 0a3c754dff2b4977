//! Who may ask: hosts, origins, tokens.

use fer_serve::{Access, Token};

use crate::client::{exchange, get, post, request};
use crate::server::{Server, picture};

const TOKEN: &str = "a-token-of-24-characters";

#[test]
fn hosts_and_origins_are_those_of_a_list() {
    let server = Server::with(|settings| {
        settings.hosts = vec!["faces.example".into()];
        settings.origins = vec!["https://app.example".into()];
    });
    // Host, Origin, and the status.
    let rows = [
        ("localhost", None, 200),
        ("localhost:8080", None, 200),
        ("127.0.0.1:8080", None, 200),
        ("192.168.1.7", None, 200),
        ("[::1]:8080", None, 200),
        ("faces.example", None, 200),
        ("Faces.Example:443", None, 200),
        ("evil.example", None, 403),
        ("evil.example:8080", None, 403),
        ("localhost.evil.example", None, 403),
        ("faces.example.evil.example", None, 403),
        ("", None, 403),
        ("localhost:8080", Some("http://localhost:8080"), 200),
        ("faces.example", Some("https://faces.example"), 200),
        ("localhost:8080", Some("https://app.example"), 200),
        ("localhost:8080", Some("http://app.example"), 403),
        ("localhost:8080", Some("https://evil.example"), 403),
        ("localhost:8080", Some("http://localhost:9090"), 403),
        ("localhost:8080", Some("null"), 403),
        ("localhost:8080", Some(""), 403),
    ];
    let mut wrong = Vec::new();
    for (host, origin, status) in rows {
        let mut headers = vec![("host", host), ("content-type", "image/png")];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let body = picture(2, 2, 255);
        let bytes = request("POST", "/v1/classify", &headers, &body);
        let found = exchange(server.address, &bytes).unwrap();
        let allowed = found.header("access-control-allow-origin");
        let listed = origin.filter(|origin| *origin == "https://app.example");
        if found.status != status || allowed != listed {
            wrong.push(format!("{host} {origin:?}: {} {allowed:?}", found.status));
        }
        // WebSockets, which browsers do not hold back.
        let upgrade = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = [&headers[..], &upgrade].concat();
        let bytes = request("GET", "/v1/stream", &headers, b"");
        let found = exchange(server.address, &bytes).unwrap();
        let status = if status == 200 { 101 } else { status };
        if found.status != status {
            wrong.push(format!("WebSocket {host} {origin:?}: {}", found.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // Not one host.
    for head in [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        exchange(server.address, head.as_bytes())
            .unwrap()
            .expect(400);
    }
}

#[test]
fn only_listed_origins_get_a_preflight() {
    let server = Server::with(|s| s.origins = vec!["https://app.example".into()]);
    let ask = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        exchange(
            server.address,
            &request("OPTIONS", "/v1/classify", &headers, b""),
        )
        .unwrap()
    };
    let allowed = ask("https://app.example").expect(204);
    assert_eq!(
        allowed.header("access-control-allow-methods"),
        Some("GET, POST")
    );
    ask("https://evil.example").expect(403);
    // Without a list there are no such headers.
    let plain = get(Server::start().address, "/healthz");
    assert!(
        !plain
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("access-control"))
    );
}

#[test]
fn a_token_is_asked_for() {
    let server = Server::with(|s| s.access = Access::Token(Token::new(TOKEN)));
    let protocol = "fer, token.YS10b2tlbi1vZi0yNC1jaGFyYWN0ZXJz";
    let good = format!("Bearer {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    let basic = format!("Basic {TOKEN}");
    let rows = [
        (None, 401),
        (Some(("authorization", good.as_str())), 200),
        (
            Some(("authorization", "bearer a-token-of-24-characters")),
            200,
        ),
        (Some(("authorization", longer.as_str())), 401),
        (Some(("authorization", basic.as_str())), 401),
        (Some(("authorization", "Bearer")), 401),
        (Some(("authorization", "Bearer ")), 401),
        (Some(("authorization", "")), 401),
        (Some(("sec-websocket-protocol", protocol)), 200),
        (Some(("sec-websocket-protocol", "fer, token.AAAA")), 401),
        (Some(("sec-websocket-protocol", "fer, token.?")), 401),
    ];
    let mut wrong = Vec::new();
    for path in ["/v1/models", "/metrics", "/v2/models/first", "/v2"] {
        for (header, status) in rows {
            let headers: Vec<_> = header.into_iter().collect();
            let found = exchange(server.address, &request("GET", path, &headers, b"")).unwrap();
            if found.status != status {
                wrong.push(format!("{path} {header:?}: {}", found.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let refused = get(server.address, "/v1/models").expect(401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    post(
        server.address,
        "/v1/classify",
        "image/png",
        &picture(2, 2, 0),
    )
    .expect(401);
    for path in [
        "/",
        "/page.js",
        "/healthz",
        "/readyz",
        "/v2/health/live",
        "/openapi.json",
    ] {
        get(server.address, path).expect(200);
    }
}

#[test]
fn the_page_may_load_nothing_from_elsewhere() {
    let server = Server::start();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
    ] {
        let file = get(server.address, path).expect(200);
        assert!(file.header("content-type").unwrap().starts_with(kind));
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        let text = String::from_utf8(file.body).unwrap();
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains("https://") && !elsewhere.contains("http://"),
            "{path}"
        );
    }
}
