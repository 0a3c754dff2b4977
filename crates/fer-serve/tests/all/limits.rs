//! Limits of size, number and time, and what waits.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::client::{connect, exchange, form, get, post, request, response};
use crate::server::{Server, picture, until};

const PATH: &str = "/v1/classify";

fn classify(server: &Server) -> crate::client::Response {
    post(server.address, PATH, "image/png", &picture(2, 2, 255))
}

/// Sends a picture and does not wait for the response.
fn send(server: &Server) -> TcpStream {
    let mut stream = connect(server.address);
    let bytes = request(
        "POST",
        PATH,
        &[("content-type", "image/png")],
        &picture(2, 2, 255),
    );
    stream.write_all(&bytes).unwrap();
    stream
}

/// The value of a gauge.
fn metric(server: &Server, name: &str) -> u64 {
    let metrics = get(server.address, "/metrics").body;
    let text = String::from_utf8(metrics).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

/// How many requests wait or run.
fn queue(server: &Server) -> u64 {
    metric(server, "fer_queue ")
}

#[test]
fn what_is_too_large_is_refused_with_its_status() {
    let server = Server::with(|settings| {
        settings.limits.body = 10_000;
        settings.limits.pixels = 2_000;
        settings.limits.files = 2;
        settings.limits.headers = 10;
    });
    let address = server.address;
    post(address, PATH, "image/png", &[0; 10_001]).expect(413);
    // Without a stated length.
    let mut chunked = b"POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n\
        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..11 {
        chunked.extend(b"3e8\r\n");
        chunked.extend([0; 1000]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    exchange(address, &chunked).unwrap().expect(413);
    let large = post(address, PATH, "image/png", &picture(50, 50, 0)).expect(422);
    assert!(
        large.error().contains("0.002 megapixels"),
        "{}",
        large.error()
    );
    let one = picture(2, 2, 0);
    let (kind, body) = form(&[
        ("a", Some("a"), &one),
        ("b", Some("b"), &one),
        ("c", Some("c"), &one),
    ]);
    post(address, PATH, &kind, &body).expect(413);
    post(
        address,
        PATH,
        "application/json",
        br#"{"images": ["", "", ""]}"#,
    )
    .expect(413);
    let fields: Vec<_> = (0..11).map(|i| format!("x-{i}")).collect();
    let fields: Vec<_> = fields.iter().map(|name| (name.as_str(), "1")).collect();
    exchange(address, &request("GET", "/healthz", &fields, b""))
        .unwrap()
        .expect(431);
    let long = "x".repeat(70_000);
    let refused = exchange(address, &request("GET", "/healthz", &[("x", &long)], b""));
    assert!(refused.is_none_or(|r| r.status == 431));
    let encoded = [("content-encoding", "gzip")];
    exchange(address, &request("POST", PATH, &encoded, &one))
        .unwrap()
        .expect(415);
    classify(&server).expect(200);
}

#[test]
fn single_requests_are_joined() {
    let server = Server::start();
    let closed = server.switches.gate.lock().unwrap();
    let first = send(&server);
    until("the first runs", || server.batches() == [1]);
    let others: Vec<_> = (0..20).map(|_| send(&server)).collect();
    until("all wait", || queue(&server) == 21);
    // Each is decoded before it waits for the model.
    std::thread::sleep(Duration::from_millis(200));
    drop(closed);
    for mut stream in std::iter::once(first).chain(others) {
        response(&mut stream).unwrap().expect(200);
    }
    assert_eq!(server.batches(), [1, 20]);
}

#[test]
fn a_full_queue_is_503_and_the_rest_is_answered() {
    let server = Server::with(|settings| settings.limits.queue = 3);
    let closed = server.switches.gate.lock().unwrap();
    let accepted: Vec<_> = (0..3).map(|_| send(&server)).collect();
    until("three wait", || queue(&server) == 3);
    for _ in 0..5 {
        let refused = classify(&server).expect(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    drop(closed);
    for mut stream in accepted {
        response(&mut stream).unwrap().expect(200);
    }
    classify(&server).expect(200);
}

#[test]
fn bytes_in_memory_are_bounded() {
    let server = Server::with(|settings| settings.limits.queue_bytes = 100_000);
    // A body that does not end holds its bytes.
    let mut slow = connect(server.address);
    let head = "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: 95000\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&[0; 90_000]).unwrap();
    until("the bytes are held", || {
        metric(&server, "fer_queue_bytes ") == 90_000
    });
    post(server.address, PATH, "image/png", &picture(200, 100, 0)).expect(503);
    classify(&server).expect(200);
    drop(slow);
    until("they are given back", || {
        post(server.address, PATH, "image/png", &picture(200, 100, 0)).status == 200
    });
}

#[test]
fn cancelled_requests_leave_the_queue() {
    let server = Server::with(|settings| settings.limits.queue = 3);
    let closed = server.switches.gate.lock().unwrap();
    let mut first = send(&server);
    until("the first runs", || server.batches() == [1]);
    let (gone, half) = (send(&server), send(&server));
    until("three wait", || queue(&server) == 3);
    classify(&server).expect(503);
    // One goes, one closes its half of the connection, which a server can't tell from that.
    drop(gone);
    half.shutdown(Shutdown::Write).unwrap();
    until("two have left", || queue(&server) == 1);
    let mut last = send(&server);
    until("another waits", || queue(&server) == 2);
    std::thread::sleep(Duration::from_millis(200));
    drop(closed);
    response(&mut first).unwrap().expect(200);
    response(&mut last).unwrap().expect(200);
    assert_eq!(server.batches(), [1, 1]);
}

#[test]
fn a_deadline_ends_a_request() {
    let server = Server::with(|s| s.limits.deadline = Duration::from_millis(200));
    let closed = server.switches.gate.lock().unwrap();
    classify(&server).expect(504);
    drop(closed);
    until("the model is free", || classify(&server).status == 200);
}

#[test]
fn slow_clients_are_cut_off_and_hold_up_nobody() {
    let server = Server::with(|settings| {
        settings.limits.head_time = Duration::from_millis(400);
        settings.limits.body_time = Duration::from_millis(400);
    });
    // A head that never ends, a body that never ends, and nothing at all.
    let starts = [
        "GET /healthz HTTP/1.1\r\nhost: local",
        "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nP5",
        "",
    ];
    let mut slow: Vec<_> = (0..60)
        .map(|i| {
            let mut stream = connect(server.address);
            stream.write_all(starts[i % 3].as_bytes()).unwrap();
            stream
        })
        .collect();
    classify(&server).expect(200);
    for (i, stream) in slow.iter_mut().enumerate() {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        let said = text.starts_with("HTTP/1.1 408");
        assert!(said || text.is_empty(), "{i}: {text}");
        assert_eq!(said, i % 3 == 1, "{i}: {text}");
    }
}

#[test]
fn a_thousand_idle_connections_hold_up_nobody() {
    let server = Server::start();
    let idle: Vec<_> = (0..1000).map(|_| connect(server.address)).collect();
    for _ in 0..20 {
        classify(&server).expect(200);
    }
    drop(idle);
}

#[test]
fn connections_above_the_limit_are_told_so() {
    let server = Server::with(|settings| settings.limits.connections = 3);
    let mut held: Vec<_> = (0..3).map(|_| connect(server.address)).collect();
    for stream in &mut held {
        stream
            .write_all(&request("GET", "/healthz", &[], b""))
            .unwrap();
        response(stream).unwrap().expect(200);
    }
    let mut refused = connect(server.address);
    assert_eq!(response(&mut refused).unwrap().status, 503);
    drop(held);
    until("there is room again", || {
        exchange(server.address, &request("GET", "/healthz", &[], b""))
            .unwrap()
            .status
            == 200
    });
}
