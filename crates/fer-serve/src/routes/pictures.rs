//! The pictures of a request, and their records.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use fer_core::report::{self, Content, FoundFace, Picture, Record};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::few::Few;
use crate::models::Model;
use crate::multipart;
use crate::problem::Problem;
use crate::see::{Search, Seen, Unseen, View, see};
use crate::service::Shared;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A picture of a request.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Its name in its record.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// The pictures of a request.
pub(crate) enum Pictures {
    /// The body is one.
    One(Named),
    /// Those of a form or of JSON.
    Several(Vec<Named>),
}

/// The kinds of bodies.
pub(crate) enum Kind<'a> {
    Json,
    /// A form, and its boundary.
    Form(&'a str),
    /// Bytes of a picture, whatever the header says of them.
    Bytes,
}

impl<'a> Kind<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str());
        let kind = match kind {
            None => return Ok(Self::Bytes),
            Some(Ok(kind)) => kind.trim(),
            Some(Err(_)) => return Err(Problem::bad("the type of the body is not text")),
        };
        let begins = |with: &str| {
            let start = kind.get(..with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        if begins("application/json") {
            Ok(Self::Json)
        } else if begins("multipart/") {
            let boundary = multipart::boundary(kind);
            let none = || Problem::bad("the body is not multipart/form-data with a boundary");
            boundary.map(Self::Form).ok_or_else(none)
        } else {
            Ok(Self::Bytes)
        }
    }
}

/// The most pictures in JSON that are read to be refused.
const MOST: usize = 1 << 20;

/// A picture in JSON: Base64, alone or with a name.
struct Encoded {
    name: Option<String>,
    data: String,
}

/// A picture in JSON with a name.
#[derive(Deserialize)]
struct WithName {
    name: String,
    data: String,
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadEncoded)
    }
}

struct ReadEncoded;

impl<'de> Visitor<'de> for ReadEncoded {
    type Value = Encoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Base64, or an object with name and data")
    }

    fn visit_str<E>(self, data: &str) -> Result<Encoded, E> {
        Ok(Encoded {
            name: None,
            data: data.to_owned(),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Encoded, A::Error> {
        let WithName { name, data } = WithName::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Encoded {
            name: Some(name),
            data,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    image: Option<Encoded>,
    images: Option<Few<Encoded, MOST>>,
}

impl Pictures {
    /// The pictures of a body, at most `limit`.
    pub(crate) fn of(kind: &Kind<'_>, body: &Bytes, limit: usize) -> Result<Self, Problem> {
        match kind {
            Kind::Bytes => Ok(Self::One(Named {
                name: "-".into(),
                bytes: body.clone(),
            })),
            Kind::Form(boundary) => {
                let parts = multipart::parts(body, boundary, limit)?;
                let named = |part: multipart::Part| match part.file {
                    Some(file) => Ok(Named {
                        name: file,
                        bytes: part.content,
                    }),
                    None => Err(Problem::bad("a field of the form is not a file")),
                };
                Self::some(parts.into_iter().map(named).collect::<Result<_, _>>()?)
            }
            Kind::Json => {
                let json: Json =
                    serde_json::from_slice(body).map_err(|e| Problem::json("such JSON", &e))?;
                match (json.image, json.images.map(|images| images.0)) {
                    (Some(image), None) => image.decoded("-").map(Self::One),
                    (None, Some(images)) if images.len() > limit => {
                        let reason = format!("there are more than {limit} images");
                        Err(Problem::too_large(reason))
                    }
                    (None, Some(images)) => {
                        let images = images.iter().enumerate();
                        let decoded = images.map(|(i, image)| image.decoded(&i.to_string()));
                        Self::some(decoded.collect::<Result<_, _>>()?)
                    }
                    _ => Err(Problem::bad(
                        "the body has neither image nor images, or both",
                    )),
                }
            }
        }
    }

    fn some(pictures: Vec<Named>) -> Result<Self, Problem> {
        match pictures.is_empty() {
            true => Err(Problem::bad("the request has no picture")),
            false => Ok(Self::Several(pictures)),
        }
    }
}

impl Encoded {
    fn decoded(&self, unnamed: &str) -> Result<Named, Problem> {
        Ok(Named {
            name: self.name.as_deref().unwrap_or(unnamed).to_owned(),
            bytes: decode(&self.data)?,
        })
    }
}

/// The bytes of Base64 in either of its alphabets, with or without line breaks, and with or without
/// `data:image/…;base64,` before it. An address or a path is neither.
pub(crate) fn decode(text: &str) -> Result<Bytes, Problem> {
    let data = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,").map(|(_, data)| data),
        None => Some(text),
    };
    let usual = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let data = data.and_then(|data| {
        let data = data.bytes().filter(|byte| !byte.is_ascii_whitespace());
        BASE64.decode(data.map(usual).collect::<Vec<u8>>()).ok()
    });
    let reason = "a picture is not Base64; send its bytes, not an address or a path";
    data.map(Bytes::from).ok_or_else(|| Problem::bad(reason))
}

/// Classifies several pictures at a time; the results are in their order. Dropping the future
/// takes all of them out of the queue.
pub(crate) async fn see_all(
    shared: &Arc<Shared>,
    model: &Arc<Model>,
    search: Search,
    pictures: &[Named],
) -> Vec<Result<Seen, Unseen>> {
    if let [picture] = pictures {
        return vec![see(shared, model, search, picture.bytes.clone()).await];
    }
    let mut tasks = JoinSet::new();
    for (i, picture) in pictures.iter().enumerate() {
        let (shared, model, bytes) = (shared.clone(), model.clone(), picture.bytes.clone());
        tasks.spawn(async move { (i, see(&shared, &model, search, bytes).await) });
    }
    let mut results: Vec<_> = pictures.iter().map(|_| None).collect();
    while let Some(done) = tasks.join_next().await {
        if let Ok((i, result)) = done {
            results[i] = Some(result);
        }
    }
    let lost = || Unseen::Picture("reading it failed".into());
    let result = |result: Option<_>| result.unwrap_or_else(|| Err(lost()));
    results.into_iter().map(result).collect()
}

/// The record of a picture.
pub(crate) fn record(name: &str, outcome: Result<Seen, String>, labels: &[String]) -> Value {
    let record = Record {
        path: name.to_owned(),
        moment: None,
        outcome: outcome.map(content),
    };
    report::object(&record, labels)
}

/// What a record of a picture holds.
pub(super) fn content(seen: Seen) -> Content {
    let (width, height) = (seen.width, seen.height);
    let mut faces = Vec::with_capacity(seen.views.len());
    for (view, prediction) in seen.views {
        let (bounds, score, landmarks) = match view {
            View::Whole => return Content::Whole(prediction),
            View::Crop => ([0.0, 0.0, width as f32, height as f32], None, None),
            View::Face(f) => ([f.x, f.y, f.w, f.h], Some(f.score), Some(f.landmarks)),
        };
        faces.push(FoundFace {
            track: None,
            bounds,
            score,
            landmarks,
            outcome: Ok(prediction),
        });
    }
    Content::Faces(Picture {
        width,
        height,
        faces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_its_forms_and_nothing_else_is() {
        let rows = [
            ("AQID", Some(&[1, 2, 3][..])),
            ("AQI=", Some(&[1, 2])),
            ("AQI", Some(&[1, 2])),
            (" AQID\n", Some(&[1, 2, 3])),
            ("data:image/png;base64,AQID", Some(&[1, 2, 3])),
            ("AQ\r\nID\n", Some(&[1, 2, 3])),
            ("+_-/", Some(&[0xfb, 0xff, 0xbf])),
            ("data:image/png,AQID", None),
            ("/etc/passwd.", None),
            ("http://localhost/x.jpg", None),
            ("file:///etc/passwd", None),
        ];
        let read = |text: &str| decode(text).ok().map(|b| b.to_vec());
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(t, bytes)| read(t).as_deref() != *bytes)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
