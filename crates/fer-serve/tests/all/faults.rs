//! Ten thousand malformed requests. None may end the service, or go without a status that says it
//! was the client's fault.

use std::io::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::client::{connect, form, post, request, response};
use crate::server::{Server, picture};

/// Requests of each kind.
const EACH: usize = 2500;

/// What is done to the bytes of a good body.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let index = any::<prop::sample::Index>;
    let one = prop_oneof![
        index().prop_map(Damage::Cut),
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (index(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(i, b)| Damage::Insert(i, b)),
        (index(), index()).prop_map(|(a, b)| Damage::Repeat(a, b)),
    ];
    prop::collection::vec(one, 1..4)
}

fn damaged(good: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for damage in damages.iter().filter(|_| !good.is_empty()) {
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Repeat(a, b) => {
                let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
                let part = bytes[a.min(b)..a.max(b)].to_vec();
                bytes.extend(part);
            }
        }
    }
    bytes
}

#[test]
fn ten_thousand_malformed_requests_are_refused_one_by_one() {
    let server = Server::start();
    let mut runner = TestRunner::deterministic();
    let mut draw = || damages().new_tree(&mut runner).unwrap().current();

    let white = picture(3, 3, 255);
    let (form_kind, form_body) = form(&[("a", Some("a.pgm"), &white), ("b", Some("b"), &white)]);
    let json = br#"{"images": ["UDUgMSAxIDI1NQr/", {"name": "d", "data": "UDUgMSAxIDI1NQoA"}]}"#;
    let header = br#"{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2, 2, 1],
        "parameters": {"binary_data_size": 16}}]}"#;
    let tensor = [header.as_slice(), &[0; 16]].concat();
    let length = header.len().to_string();
    let whole = request(
        "POST",
        "/v1/classify",
        &[("content-type", "image/png")],
        &white,
    );

    let mut stream = connect(server.address);
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for round in 0..EACH {
        let kinds: [(&str, &str, &[u8]); 3] = [
            ("/v1/classify", &form_kind, &form_body),
            ("/v1/classify", "application/json", json),
            (
                "/v2/models/first/infer",
                "application/octet-stream",
                &tensor,
            ),
        ];
        for (path, kind, good) in kinds {
            let mut headers = vec![("content-type", kind)];
            let wild;
            if path.ends_with("infer") {
                // Every other time the length is wrong rather than the bytes.
                wild = match round % 4 {
                    1 => (round * 7919 % 400).to_string(),
                    3 => "9".repeat(round % 25),
                    _ => length.clone(),
                };
                headers.push(("inference-header-content-length", &wild));
            }
            let bytes = request("POST", path, &headers, &damaged(good, &draw()));
            let found = stream
                .write_all(&bytes)
                .ok()
                .and_then(|()| response(&mut stream));
            let Some(found) = found else {
                stream = connect(server.address);
                *statuses.entry(0).or_default() += 1;
                continue;
            };
            if found.header("connection") == Some("close") {
                stream = connect(server.address);
            }
            *statuses.entry(found.status).or_default() += 1;
        }
        // The head itself: the connection may end without a response.
        let mut raw = connect(server.address);
        let _ = raw.write_all(&damaged(&whole, &draw()));
        let _ = raw.shutdown(std::net::Shutdown::Write);
        let status = response(&mut raw).map_or(0, |found| found.status);
        *statuses.entry(status).or_default() += 1;
    }
    assert_eq!(statuses.values().sum::<usize>(), 4 * EACH);
    // Harmless damage is answered; nothing is the service's fault.
    let known = [0, 200, 400, 403, 404, 405, 413, 415, 422, 431, 505];
    let wrong: Vec<_> = statuses
        .iter()
        .filter(|(s, _)| !known.contains(s))
        .collect();
    assert!(wrong.is_empty(), "{statuses:?}");
    assert!(statuses[&400] > EACH, "{statuses:?}");
    assert!(
        server.log.lock().unwrap().is_empty(),
        "{:?}",
        server.log.lock().unwrap()
    );
    post(server.address, "/v1/classify", "image/png", &white).expect(200);
}
