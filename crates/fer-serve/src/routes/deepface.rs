//! `POST /analyze`: the request and the response of DeepFace's API for `actions: ["emotion"]`.
//!
//! Pictures come as Base64 or in a form. DeepFace also opens addresses and paths of the machine
//! that it runs on, which would let a client read what it should not: these are refused.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use fer_core::prediction::Prediction;
use fer_faces::{SearchOptions, When};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::pictures::{Kind, Named, decode, see_all};
use super::{in_time, options, parsed};
use crate::body;
use crate::multipart;
use crate::problem::{self, Problem};
use crate::see::{Search, Seen, Unseen, View};
use crate::service::Shared;

/// The most fields of a form: the picture, and DeepFace's options.
const MAX_FIELDS: usize = 32;

/// The action that there is.
const EMOTION: &str = "emotion";

/// What is read of JSON. DeepFace's other options are ignored.
#[derive(Deserialize)]
struct Json {
    img: Option<String>,
    img_path: Option<String>,
    actions: Option<Actions>,
    enforce_detection: Option<bool>,
    detector_backend: Option<String>,
}

/// Whether the actions are [`EMOTION`] alone, as a text or an array.
struct Actions(bool);

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadActions)
    }
}

struct ReadActions;

impl<'de> Visitor<'de> for ReadActions {
    type Value = Actions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("actions: a text, or an array of texts")
    }

    fn visit_str<E>(self, action: &str) -> Result<Actions, E> {
        Ok(Actions(action == EMOTION))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut actions: A) -> Result<Actions, A::Error> {
        let first = actions.next_element::<String>()?;
        let mut is_alone = first.is_some_and(|action| action == EMOTION);
        while actions.next_element::<IgnoredAny>()?.is_some() {
            is_alone = false;
        }
        Ok(Actions(is_alone))
    }
}

/// What is asked.
struct Analysis {
    picture: Bytes,
    /// Whether a picture without a face is an error, DeepFace's default; else all of it is one.
    enforce_detection: bool,
    /// `skip` takes the whole picture.
    skip_detection: bool,
}

pub(super) async fn analyze(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let model = options::model(&shared, None)?;
    let held = body::read(&shared, &parts.headers, body).await?;
    let room = shared.admission.request()?;
    let (bytes, headers) = (held.bytes.clone(), parts.headers);
    let work = async {
        let analysis = parsed(&shared, bytes.len(), move || match Kind::of(&headers)? {
            Kind::Json => {
                let json = serde_json::from_slice(&bytes);
                of_json(json.map_err(|e| Problem::json("such JSON", &e))?)
            }
            Kind::Form(boundary) => of_form(multipart::parts(&bytes, boundary, MAX_FIELDS)?),
            Kind::Bytes => Err(Problem::bad("send JSON, or a form with the file img")),
        });
        let analysis = analysis.await?;
        let search = Search {
            when: (!analysis.skip_detection).then_some(When::Auto),
            or_whole: !analysis.enforce_detection,
            options: SearchOptions::default(),
        };
        let picture = [Named {
            name: "img".into(),
            bytes: analysis.picture,
        }];
        let seen = one(see_all(&shared, &model, search, &picture).await)?;
        if seen.views.is_empty() {
            let reason = "no face was found in the picture; with enforce_detection false, all of \
                it is analyzed";
            return Err(Problem::bad(reason));
        }
        let labels = &model.spec().labels;
        let (width, height) = (seen.width, seen.height);
        let results = seen.views.iter();
        let results = results.map(|(view, p)| result(view, p, labels, [width, height]));
        Ok(json!({ "results": results.collect::<Vec<_>>() }))
    };
    let answer = in_time(&shared, work).await?;
    drop((room, held));
    Ok(problem::json(StatusCode::OK, &answer))
}

/// The only result. DeepFace's status for a picture that it can't read is 400.
fn one(mut seen: Vec<Result<Seen, Unseen>>) -> Result<Seen, Problem> {
    match seen.pop() {
        Some(Ok(seen)) => Ok(seen),
        Some(Err(Unseen::Picture(reason))) => Err(Problem::bad(reason)),
        Some(Err(Unseen::Service(problem))) => Err(problem),
        None => Err(Problem::bad("the request has no picture")),
    }
}

fn of_json(json: Json) -> Result<Analysis, Problem> {
    let picture = json.img.or(json.img_path);
    let picture = picture.ok_or_else(|| Problem::bad("img is not one picture in Base64"))?;
    if !json.actions.is_some_and(|actions| actions.0) {
        return Err(only_emotion());
    }
    Ok(Analysis {
        picture: decode(&picture)?,
        enforce_detection: json.enforce_detection.unwrap_or(true),
        skip_detection: json.detector_backend.as_deref() == Some("skip"),
    })
}

fn of_form(parts: Vec<multipart::Part>) -> Result<Analysis, Problem> {
    let text = |name: &str| {
        let found = parts.iter().find(|p| p.name == name && p.file.is_none());
        found.map(|part| String::from_utf8_lossy(&part.content).trim().to_owned())
    };
    let file = parts.iter().find(|part| part.file.is_some());
    let picture = match (file, text("img").or_else(|| text("img_path"))) {
        (Some(file), _) => file.content.clone(),
        (None, Some(encoded)) => decode(&encoded)?,
        (None, None) => return Err(Problem::bad("the form has no file img")),
    };
    // A field a value, or one with JSON's array, or names between commas.
    let fields = parts.iter().filter(|part| part.name == "actions");
    let mut actions = fields.flat_map(|part| {
        let text = str::from_utf8(&part.content).unwrap_or_default().trim();
        let names = text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .split(',');
        names.map(|name| name.trim().trim_matches(['"', '\'']))
    });
    if actions.next() != Some(EMOTION) || actions.next().is_some() {
        return Err(only_emotion());
    }
    Ok(Analysis {
        picture,
        enforce_detection: text("enforce_detection")
            .is_none_or(|t| !t.eq_ignore_ascii_case("false")),
        skip_detection: text("detector_backend").as_deref() == Some("skip"),
    })
}

fn only_emotion() -> Problem {
    Problem::bad("this service analyzes actions [\"emotion\"] alone, and wants to be asked for it")
}

/// A face as DeepFace has it: percentages, a box in whole pixels within the picture, the eyes as
/// the picture shows them from the person's side.
fn result(view: &View, prediction: &Prediction, labels: &[String], size: [usize; 2]) -> Value {
    let percent = |p: &f32| json!(f64::from(*p) * 100.0);
    let emotion: Map<String, Value> = labels
        .iter()
        .zip(&prediction.probabilities)
        .map(|(label, p)| (label.clone(), percent(p)))
        .collect();
    let (region, confidence) = match view {
        View::Whole | View::Crop => {
            let [w, h] = size;
            let eyes = Value::Null;
            let region =
                json!({"x": 0, "y": 0, "w": w, "h": h, "left_eye": eyes, "right_eye": eyes});
            (region, json!(0.0))
        }
        View::Face(face) => {
            let [width, height] = size.map(|side| side as f32);
            let whole = |x: f32, most: f32| x.clamp(0.0, most).round() as u64;
            let (x, y) = (whole(face.x, width), whole(face.y, height));
            let right = whole(face.x + face.w, width);
            let bottom = whole(face.y + face.h, height);
            let eye = |[x, y]: [f32; 2]| json!([whole(x, width), whole(y, height)]);
            let region = json!({
                "x": x, "y": y, "w": right - x, "h": bottom - y,
                "left_eye": eye(face.landmarks[1]), "right_eye": eye(face.landmarks[0]),
            });
            (region, json!(f64::from(face.score)))
        }
    };
    json!({
        "emotion": emotion,
        "dominant_emotion": labels[prediction.class],
        "region": region,
        "face_confidence": confidence,
    })
}
