//! A request's body: read within its limits of bytes and time, counted while it is held.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::admission::Room;
use crate::problem::Problem;
use crate::service::Shared;

/// The bytes that a body is given room for before they are there.
const FIRST: usize = 64 << 10;

/// A body in memory, and its room among the bytes of all bodies.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _room: Option<Room>,
}

/// Reads a whole body.
pub(crate) async fn read(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<Held, Problem> {
    let encoded = headers.get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|e| e.as_bytes() != b"identity") {
        let reason = "the body is compressed; send it as it is";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let limits = &shared.settings.limits;
    match tokio::time::timeout(limits.body_time, collect(shared, body)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {:?}", limits.body_time),
        )),
    }
}

async fn collect(shared: &Shared, mut body: Body) -> Result<Held, Problem> {
    let limit = shared.settings.limits.body;
    let too_large = || Problem::too_large(format!("the body is over the limit of {limit} bytes"));
    let stated = body.size_hint();
    if stated.lower() > limit as u64 {
        return Err(too_large());
    }
    let expected = stated.exact().unwrap_or(0).min(FIRST as u64) as usize;
    let mut bytes = BytesMut::with_capacity(expected);
    let mut room: Option<Room> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad("the body ends before its end"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        let more = shared.admission.bytes(data.len())?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held {
        bytes: bytes.freeze(),
        _room: room,
    })
}
