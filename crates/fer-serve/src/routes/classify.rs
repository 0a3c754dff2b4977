//! `POST /v1/classify`: a picture as the body, several as a form, or JSON with Base64 → the records
//! of `fer infer`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::options::Options;
use super::pictures::{Kind, Pictures, record, see_all};
use super::{in_time, parsed};
use crate::body;
use crate::problem::{self, Problem};
use crate::see::Unseen;
use crate::service::Shared;

/// Of a body that is a picture, or JSON's `image`: its record, or a status. Of a form, or JSON's
/// `images`: `{"records": […]}`, where a picture that can't be read has a record that says so.
pub(super) async fn classify(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let options = Options::of(&parts.uri)?.without_stream()?;
    let model = options.model(&shared)?;
    let search = options.search(&model)?;
    Kind::of(&parts.headers)?;
    let held = body::read(&shared, &parts.headers, body).await?;
    let room = shared.admission.request()?;
    let limit = shared.settings.limits.files;
    let (bytes, headers) = (held.bytes.clone(), parts.headers);
    let work = async {
        let pictures = parsed(&shared, bytes.len(), move || {
            Pictures::of(&Kind::of(&headers)?, &bytes, limit)
        });
        let (pictures, alone) = match pictures.await? {
            Pictures::One(picture) => (vec![picture], true),
            Pictures::Several(pictures) => (pictures, false),
        };
        let seen = see_all(&shared, &model, search, &pictures).await;
        let labels = &model.spec().labels;
        let mut records = Vec::with_capacity(seen.len());
        for (picture, seen) in pictures.iter().zip(seen) {
            let seen = match seen {
                Err(Unseen::Picture(reason)) if !alone => Err(reason),
                seen => Ok(seen.map_err(Unseen::into_problem)?),
            };
            records.push(record(&picture.name, seen, labels));
        }
        Ok(match (alone, records.pop()) {
            (true, Some(record)) => record,
            (_, last) => {
                records.extend(last);
                json!({ "records": Value::Array(records) })
            }
        })
    };
    let answer = in_time(&shared, work).await?;
    drop((room, held));
    Ok(problem::json(StatusCode::OK, &answer))
}
