//! The Open Inference Protocol.

use serde_json::json;

use crate::client::{exchange, get, post, request};
use crate::server::Server;

const INFER: &str = "/v2/models/first/infer";

#[test]
fn the_server_and_its_models_are_described() {
    let server = Server::start();
    let at = |path: &str| get(server.address, path);
    assert_eq!(at("/v2").expect(200).json()["name"], "fer");
    let model = at("/v2/models/first").expect(200).json();
    assert_eq!(model["versions"], json!(["1"]));
    assert_eq!(
        model["inputs"],
        json!([{"name": "input", "datatype": "FP32", "shape": [-1, 2, 2, 1]}])
    );
    assert_eq!(model["outputs"][0]["shape"], json!([-1, 2]));
    assert_eq!(
        at("/v2/models/second/versions/1").expect(200).json()["name"],
        "second"
    );
    for path in [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/first/ready",
        "/v2/models/first/versions/1/ready",
        "/healthz",
        "/readyz",
    ] {
        at(path).expect(200);
    }
    for path in [
        "/v2/models/third",
        "/v2/models/first/versions/2",
        "/v2/models/third/ready",
    ] {
        at(path).expect(404);
    }
}

#[test]
fn json_in_json_out() {
    let server = Server::start();
    let body = json!({"id": "7", "inputs": [{"name": "input", "datatype": "FP32",
        "shape": [2, 2, 2, 1], "data": [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]}]});
    let found = post(
        server.address,
        INFER,
        "application/json",
        body.to_string().as_bytes(),
    );
    let found = found.expect(200).json();
    assert_eq!(
        found,
        json!({"model_name": "first", "model_version": "1", "id": "7", "outputs": [
        {"name": "probabilities", "datatype": "FP32", "shape": [2, 2],
            "data": [1.0, 0.0, 0.5, 0.5]}]})
    );
    let mut body = body;
    body["outputs"] = json!([{"name": "probabilities", "parameters": {"classification": 1}}]);
    let found = post(
        server.address,
        INFER,
        "application/json",
        body.to_string().as_bytes(),
    );
    let output = &found.expect(200).json()["outputs"][0];
    assert_eq!(output["data"][0], "1.000000:0:happy");
    assert_eq!(
        (&output["shape"], &output["datatype"]),
        (&json!([2, 1]), &json!("BYTES"))
    );
}

#[test]
fn bytes_in_bytes_out() {
    let server = Server::start();
    let header = json!({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2, 2, 1],
        "parameters": {"binary_data_size": 16}}], "parameters": {"binary_data_output": true}});
    let header = header.to_string();
    let tensor = [0.25f32; 4].map(f32::to_le_bytes).concat();
    let body = [header.as_bytes(), &tensor].concat();
    let length = header.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let path = "/v2/models/first/versions/1/infer";
    let found = exchange(server.address, &request("POST", path, &headers, &body)).unwrap();
    let found = found.expect(200);
    let json_length: usize = found
        .header("inference-header-content-length")
        .unwrap()
        .parse()
        .unwrap();
    let (json, bytes) = found.body.split_at(json_length);
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert_eq!(bytes, [0.25f32, 0.75].map(f32::to_le_bytes).concat());

    // Lengths that do not fit.
    for (length, body) in [
        ("0", &body[..]),
        ("1", &body),
        ("99999", &body),
        ("-1", &body),
        ("x", &body),
        ("18446744073709551616", &body),
        (&length, &body[..body.len() - 1]),
        (&length, &[&body[..], &[0; 4]].concat()),
    ] {
        let headers = [("inference-header-content-length", length)];
        let request = request("POST", path, &headers, body);
        exchange(server.address, &request).unwrap().expect(400);
    }
}

#[test]
fn a_large_request_runs_as_several_batches_of_bounded_bytes() {
    let server = Server::with(|settings| {
        settings.limits.max_batch = 4;
        settings.limits.queue_bytes = 20_000;
    });
    let infer = |images: usize| {
        let data = vec![1; images * 4];
        let body = json!({"inputs": [{"name": "input", "datatype": "FP32",
            "shape": [images, 2, 2, 1], "data": data}]});
        let body = body.to_string();
        post(server.address, INFER, "application/json", body.as_bytes())
    };
    let found = infer(10).expect(200).json();
    assert_eq!(found["outputs"][0]["shape"], json!([10, 2]));
    assert_eq!(found["outputs"][0]["data"][18], 1.0);
    assert_eq!(server.batches(), [4, 4, 2]);
    // Some 8,000 bytes of JSON are 16,000 bytes of tensors.
    infer(1000).expect(503);
    infer(10).expect(200);
}
