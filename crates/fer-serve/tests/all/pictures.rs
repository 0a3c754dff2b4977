//! `POST /v1/classify`.

use serde_json::json;

use crate::client::{form, get, post};
use crate::server::{Server, picture};

const PATH: &str = "/v1/classify";

#[test]
fn a_picture_as_the_body_has_one_record() {
    let server = Server::start();
    let record = |query: &str, body: &[u8]| {
        let path = format!("{PATH}{query}");
        post(server.address, &path, "image/x-portable-graymap", body)
            .expect(200)
            .json()
    };
    let probabilities = json!({"happy": 1.0, "sad": 0.0});
    let crop = json!({"path": "-", "width": 4, "height": 4, "faces": [{
        "box": {"x": 0.0, "y": 0.0, "w": 4.0, "h": 4.0}, "score": null, "landmarks": null,
        "label": "happy", "confidence": 1.0, "probabilities": probabilities}]});
    assert_eq!(record("", &picture(4, 4, 255)), crop);
    let whole = json!({"path": "-", "label": "happy", "confidence": 1.0,
        "probabilities": probabilities});
    assert_eq!(record("?faces=never", &picture(4, 4, 255)), whole);
    assert_eq!(
        record("?faces=never&model=second", &picture(400, 4, 255)),
        whole
    );

    let found = record("", &picture(256, 192, 255));
    let face = &found["faces"][0];
    assert_eq!(face["label"], "happy");
    assert_eq!(face["box"]["w"].as_f64().unwrap().round(), 48.0, "{face}");
    assert_eq!(face["box"]["x"].as_f64().unwrap().round(), 24.0, "{face}");
    assert_eq!(face["landmarks"].as_array().unwrap().len(), 5);
    for (query, faces) in [("", 1), ("?min_face=49", 0), ("?min_score=0.95", 0)] {
        let found = record(query, &picture(256, 192, 255));
        assert_eq!(found["faces"].as_array().unwrap().len(), faces, "{query}");
    }
    assert_eq!(record("", &picture(256, 192, 0))["faces"], json!([]));
}

#[test]
fn forms_and_json_have_a_record_a_picture() {
    let server = Server::start();
    let (white, black) = (picture(2, 2, 255), picture(2, 2, 0));
    let (kind, body) = form(&[
        ("images", Some("white.pgm"), &white),
        ("images", Some("../bad.jpg"), b"\xff\xd8\xff\xe0 damaged"),
        ("x", Some("black.pgm"), &black),
    ]);
    let records = post(server.address, PATH, &kind, &body).expect(200).json();
    let records = records["records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["faces"][0]["label"], "happy");
    assert_eq!(records[1]["path"], "../bad.jpg");
    assert!(
        records[1]["error"].as_str().unwrap().contains("JPEG"),
        "{records:?}"
    );
    assert_eq!(records[2]["faces"][0]["label"], "sad");

    // Base64 of `P5 1 1 255\n` and a byte.
    let [light, dark] = ["UDUgMSAxIDI1NQr/", "UDUgMSAxIDI1NQoA"];
    let send = |body: serde_json::Value| {
        let body = body.to_string();
        post(
            server.address,
            PATH,
            "application/json; charset=utf-8",
            body.as_bytes(),
        )
    };
    let data = format!("data:image/x;base64,{dark}");
    let several = send(json!({"images": [light, {"name": "d", "data": data}]})).expect(200);
    let records = several.json();
    assert_eq!(records["records"][0]["path"], "0");
    assert_eq!(records["records"][1]["path"], "d");
    assert_eq!(records["records"][1]["faces"][0]["label"], "sad");
    assert_eq!(
        send(json!({"image": light})).expect(200).json()["path"],
        "-"
    );

    let refused = [
        json!({}),
        json!([]),
        json!({"images": []}),
        json!({"image": light, "images": [light]}),
        json!({"image": 7}),
        json!({"images": [[1, 2, 3]]}),
        json!({"images": [{"name": "a"}]}),
        json!({"image": "/etc/passwd"}),
        json!({"image": "http://localhost/x.jpg"}),
        json!({"image": light, "faces": "never"}),
    ];
    let wrong: Vec<_> = refused
        .into_iter()
        .filter(|body| send(body.clone()).status != 400)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn what_is_wrong_is_said() {
    let server = Server::start();
    let good = picture(2, 2, 255);
    let rows: [(&str, &str, &[u8], u16, &str); 9] = [
        (PATH, "image/jpeg", b"not a picture", 422, "not an image"),
        (PATH, "image/jpeg", b"", 422, "empty"),
        (
            "/v1/classify?model=third",
            "image/png",
            &good,
            404,
            "no model",
        ),
        ("/v1/classify?colour=1", "image/png", &good, 400, "colour"),
        (
            "/v1/classify?min_score=2",
            "image/png",
            &good,
            400,
            "min_score",
        ),
        ("/v1/classify?smooth=1", "image/png", &good, 400, "smooth"),
        (PATH, "multipart/form-data", &good, 400, "boundary"),
        (PATH, "application/json", &good, 400, "JSON"),
        ("/v1/nothing", "image/png", &good, 404, "nothing here"),
    ];
    let mut wrong = Vec::new();
    for (path, kind, body, status, said) in rows {
        let response = post(server.address, path, kind, body);
        if response.status != status || !response.error().contains(said) {
            wrong.push(format!(
                "{path} {kind}: {} {}",
                response.status,
                response.error()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        get(server.address, PATH)
            .expect(405)
            .error()
            .contains("method")
    );
}

#[test]
fn a_failure_of_the_model_says_nothing_of_the_machine() {
    let server = Server::start();
    server
        .switches
        .fails
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let response = post(server.address, PATH, "image/png", &picture(2, 2, 9)).expect(502);
    assert!(!response.error().contains("secret"), "{}", response.error());
    assert!(server.log.lock().unwrap()[0].contains("/secret/path"));
    let models = get(server.address, "/v1/models")
        .expect(200)
        .json()
        .to_string();
    assert!(
        models.contains("first") && !models.contains("secret"),
        "{models}"
    );
}

#[test]
fn counters_count() {
    let server = Server::start();
    for _ in 0..3 {
        post(server.address, PATH, "image/png", &picture(256, 256, 255)).expect(200);
    }
    // Nothing is found in a whole picture or a crop.
    for (query, side) in [("?faces=never", 256), ("", 4)] {
        let path = format!("{PATH}{query}");
        post(
            server.address,
            &path,
            "image/png",
            &picture(side, side, 255),
        )
        .expect(200);
    }
    post(server.address, PATH, "image/png", b"x").expect(422);
    get(server.address, "/some/path").expect(404);
    let metrics = get(server.address, "/metrics").expect(200);
    let text = String::from_utf8(metrics.body).unwrap();
    let wanted = [
        "fer_requests_total{route=\"/v1/classify\",status=\"200\"} 5",
        "fer_requests_total{route=\"/v1/classify\",status=\"422\"} 1",
        "fer_requests_total{route=\"other\",status=\"404\"} 1",
        "fer_request_seconds_count{route=\"/v1/classify\"} 6",
        "fer_batch_images_count{model=\"first\"}",
        "fer_pictures_total 6",
        "fer_pictures_unreadable_total 1",
        "fer_faces_total 3",
        "fer_queue 0",
        "# EOF",
    ];
    let missing: Vec<_> = wanted.iter().filter(|line| !text.contains(*line)).collect();
    assert!(missing.is_empty(), "{missing:?} in {text}");
}

#[test]
fn the_openapi_document_has_every_path() {
    let server = Server::start();
    let document = get(server.address, "/openapi.json").expect(200).json();
    let paths = document["paths"].as_object().unwrap();
    let mut wrong = Vec::new();
    for (path, item) in paths {
        let concrete = path.replace("{model}", "first").replace("{version}", "1");
        let method = item
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .to_uppercase();
        let request = crate::client::request(&method, &concrete, &[], b"");
        let response = crate::client::exchange(server.address, &request).unwrap();
        if matches!(response.status, 404 | 405) {
            wrong.push(path.clone());
        }
    }
    assert!(wrong.is_empty(), "in the document alone: {wrong:?}");
    let router = include_str!("../../src/routes/mod.rs");
    let routes = router.split(".route(").skip(1);
    let routes = routes.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let missing: Vec<_> = routes.filter(|route| !paths.contains_key(*route)).collect();
    assert!(missing.is_empty(), "not in the document: {missing:?}");
}
