//! `/v1/stream`.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::server::{Server, picture, until};

type Socket = WebSocket<TcpStream>;

fn open(server: &Server, query: &str) -> Socket {
    let stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let address = format!("ws://{}/v1/stream{query}", server.address);
    let request = address.into_client_request().unwrap();
    tungstenite::client(request, stream).unwrap().0
}

fn send(socket: &mut Socket, frame: Vec<u8>) {
    socket.send(Message::binary(frame)).unwrap();
}

fn record(socket: &mut Socket) -> Value {
    match socket.read().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_have_records_with_tracks() {
    let server = Server::start();
    let mut socket = open(&server, "");
    let mut last = -1.0;
    for number in 0..3 {
        send(&mut socket, picture(256, 192, 255));
        let found = record(&mut socket);
        assert_eq!(found["frame"], number);
        assert!(found["time"].as_f64().unwrap() > last);
        last = found["time"].as_f64().unwrap();
        assert_eq!(
            (&found["width"], &found["faces"][0]["track"]),
            (&json!(256), &json!(1))
        );
        assert_eq!(found["faces"][0]["label"], "happy");
        assert!(found.get("path").is_none());
    }
    send(&mut socket, picture(256, 192, 0));
    assert_eq!(record(&mut socket)["faces"], json!([]));
    send(&mut socket, b"no picture".to_vec());
    assert!(
        record(&mut socket)["error"]
            .as_str()
            .unwrap()
            .contains("not an image")
    );
    send(&mut socket, picture(256, 192, 255));
    assert_eq!(record(&mut socket)["frame"], 5);
}

#[test]
fn probabilities_are_averaged_along_a_track() {
    let server = Server::start();
    let happy = |query: &str| {
        let mut socket = open(&server, query);
        // A face that is bright, then gray.
        send(&mut socket, picture(256, 192, 255));
        record(&mut socket);
        send(&mut socket, picture(256, 192, 51));
        record(&mut socket)["faces"][0]["probabilities"]["happy"]
            .as_f64()
            .unwrap()
    };
    assert!((happy("") - 0.2).abs() < 1e-6);
    assert!(happy("?smooth=60") > 0.9);
}

#[test]
fn the_newest_frame_counts() {
    let server = Server::start();
    let mut socket = open(&server, "?faces=never");
    let closed = server.switches.gate.lock().unwrap();
    send(&mut socket, picture(2, 2, 0));
    until("the first frame runs", || server.batches() == [1]);
    for level in 1..=100 {
        send(&mut socket, picture(2, 2, level));
    }
    until("all have come", || {
        let metrics = crate::client::get(server.address, "/metrics").body;
        String::from_utf8(metrics)
            .unwrap()
            .contains("fer_frames_total 101")
    });
    drop(closed);
    assert_eq!(record(&mut socket)["frame"], 0);
    let newest = record(&mut socket);
    assert_eq!(newest["frame"], 100);
    let happy = newest["probabilities"]["happy"].as_f64().unwrap();
    assert!((happy - 100.0 / 255.0).abs() < 1e-6, "{newest}");
    assert_eq!(server.batches(), [1, 1]);
}

/// Why a stream was closed.
fn closed(socket: &mut Socket) -> String {
    loop {
        match socket.read() {
            Ok(Message::Close(Some(frame))) => return frame.reason.to_string(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

#[test]
fn frames_count_among_the_bytes_in_memory() {
    let server = Server::with(|settings| settings.limits.queue_bytes = 60_000);
    let mut socket = open(&server, "?faces=never");
    let gate = server.switches.gate.lock().unwrap();
    send(&mut socket, picture(200, 200, 0));
    until("the first frame runs", || server.batches() == [1]);
    send(&mut socket, picture(200, 200, 0));
    assert_eq!(closed(&mut socket), "too many bytes are in memory");
    drop(gate);
    let mut socket = open(&server, "?faces=never");
    send(&mut socket, picture(200, 200, 0));
    assert_eq!(record(&mut socket)["frame"], 0);
}

#[test]
fn a_stream_ends_with_a_reason() {
    let server = Server::with(|settings| settings.limits.streams = 2);
    let mut first = open(&server, "");
    first.send(Message::text("frame")).unwrap();
    assert_eq!(closed(&mut first), "frames are binary messages");
    drop(first);
    let mut second = open(&server, "");
    until("the first has ended", || {
        let metrics = crate::client::get(server.address, "/metrics").body;
        String::from_utf8(metrics)
            .unwrap()
            .contains("fer_streams 1")
    });
    let _third = open(&server, "");
    let bytes = crate::client::request(
        "GET",
        "/v1/stream",
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
        b"",
    );
    crate::client::exchange(server.address, &bytes)
        .unwrap()
        .expect(503);
    crate::client::get(server.address, "/v1/stream").expect(400);
    server.control.stop();
    assert_eq!(closed(&mut second), "the service stops");
}
