//! `POST /analyze`, as DeepFace's clients use it.

use serde_json::{Value, json};

use crate::client::{Response, form, get, post};
use crate::server::{Server, picture};

/// Base64, for tests.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let word = (0..3).fold(0u32, |w, i| w << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        (0..4)
            .map(|i| match i <= chunk.len() {
                true => DIGITS[(word >> (18 - 6 * i) & 63) as usize] as char,
                false => '=',
            })
            .collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

fn analyze(server: &Server, body: &Value) -> Response {
    let body = body.to_string();
    post(
        server.address,
        "/analyze",
        "application/json",
        body.as_bytes(),
    )
}

#[test]
fn requests_of_deepface_have_its_responses() {
    let server = Server::start();
    let image = format!("data:image/jpeg;base64,{}", base64(&picture(256, 192, 255)));
    let found = analyze(&server, &json!({"img": image, "actions": ["emotion"]}))
        .expect(200)
        .json();
    let result = &found["results"][0];
    assert_eq!(result["emotion"], json!({"happy": 100.0, "sad": 0.0}));
    assert_eq!(result["dominant_emotion"], "happy");
    assert!((result["face_confidence"].as_f64().unwrap() - 0.9).abs() < 1e-3);
    let region = &result["region"];
    assert_eq!(
        (&region["x"], &region["w"], &region["h"]),
        (&json!(24), &json!(48), &json!(48))
    );
    assert!(region["left_eye"].is_array() && region["right_eye"].is_array());

    // As a form, the way its clients send files.
    let white = picture(256, 192, 255);
    for actions in ["[\"emotion\"]", "emotion"] {
        let (kind, body) = form(&[
            ("img", Some("a.jpg"), &white),
            ("actions", None, actions.as_bytes()),
            ("detector_backend", None, b"opencv"),
        ]);
        let found = post(server.address, "/analyze", &kind, &body)
            .expect(200)
            .json();
        assert_eq!(
            found["results"][0]["dominant_emotion"], "happy",
            "{actions}"
        );
    }
}

#[test]
fn a_picture_without_a_face_is_an_error_unless_it_may_be() {
    let server = Server::start();
    let image = base64(&picture(256, 192, 0));
    let actions = json!(["emotion"]);
    let none = analyze(&server, &json!({"img": image, "actions": actions})).expect(400);
    assert!(none.error().contains("no face"), "{}", none.error());
    for more in [
        json!({"enforce_detection": false}),
        json!({"detector_backend": "skip"}),
    ] {
        let mut body = json!({"img_path": image, "actions": actions});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let found = analyze(&server, &body).expect(200).json();
        let region = &found["results"][0]["region"];
        assert_eq!(
            (&region["w"], &region["h"]),
            (&json!(256), &json!(192)),
            "{more}"
        );
    }
    // It is decoded once.
    let metrics = String::from_utf8(get(server.address, "/metrics").body).unwrap();
    let pictures = metrics
        .lines()
        .find(|line| line.starts_with("fer_pictures_total"));
    assert_eq!(pictures, Some("fer_pictures_total 3"), "{metrics}");
}

#[test]
fn addresses_paths_and_other_actions_are_refused() {
    let server = Server::start();
    let image = base64(&picture(2, 2, 255));
    let emotion = json!(["emotion"]);
    let rows = [
        json!({"img": "/etc/passwd", "actions": emotion}),
        json!({"img_path": "/root/tests/dataset/img1.jpg", "actions": emotion}),
        json!({"img": "https://localhost/a.jpg", "actions": emotion}),
        json!({"img": "file:///etc/passwd", "actions": emotion}),
        json!({"img": image}),
        json!({"img": image, "actions": ["age", "emotion"]}),
        json!({"img": image, "actions": []}),
        json!({"img": image, "actions": 7}),
        json!({"img": [image], "actions": emotion}),
        json!({"img": image, "actions": emotion, "enforce_detection": "no"}),
        json!({"actions": emotion}),
        json!([]),
    ];
    let wrong: Vec<_> = rows
        .iter()
        .filter(|row| analyze(&server, row).status != 400)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
