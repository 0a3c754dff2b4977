#![no_main]
//! A request of any bytes gets an answer, and never the status 500.
//!
//! The first byte says what the rest is: a body for one of the interfaces, frames of a WebSocket,
//! or a whole request.

#[path = "../../crates/fer-serve/tests/all/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;

use server::Server;

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data; boundary=b";
const INFER: &str = "/v2/models/first/infer";

libfuzzer_sys::fuzz_target!(init: fer_fuzz::let_caught_panics_pass(), |bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    // The bytes before the tensors of the binary extension.
    let json = body.iter().position(|b| *b == b'\n').unwrap_or(body.len());
    let json = format!("{JSON}\r\ninference-header-content-length: {json}");
    let (path, content_type) = match kind % 10 {
        0 => ("/v1/classify", "image/png"),
        1 => ("/v1/classify?faces=always&small_faces=true", "image/png"),
        2 => ("/v1/classify?faces=never", JSON),
        3 => ("/v1/classify", FORM),
        4 => ("/analyze", JSON),
        5 => ("/analyze", FORM),
        6 => (INFER, JSON),
        7 => (INFER, &*json),
        8 => ("/v1/stream", ""),
        _ => ("", ""),
    };
    let head = match (path, content_type) {
        ("", _) => String::new(),
        (path, "") => format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\
             \r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        (path, content_type) => format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
             {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ),
    };
    let is_open = content_type.is_empty();
    let answer = answer(&head, body, is_open);
    assert!(!answer.starts_with(b"HTTP/1.1 500"), "a fault of the service");
    assert!(is_open || answer.starts_with(b"HTTP/1.1 "), "no answer");
});

/// What the service writes until the connection ends. A client that ends its half is gone, so this
/// does not end it where the service knows the end of the request.
fn answer(head: &str, body: &[u8], is_open: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(SERVER.address).expect("a connection");
    // The service may end the connection first.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = vec![0; 12];
    if is_open && !head.is_empty() {
        // A WebSocket begins with its answer.
        let _ = stream.read_exact(&mut answer);
    }
    let _ = stream.write_all(body);
    if is_open {
        let _ = stream.shutdown(Shutdown::Write);
    }
    answer.clear();
    let _ = stream.read_to_end(&mut answer);
    answer
}
