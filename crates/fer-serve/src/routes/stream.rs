//! `/v1/stream`: a WebSocket that takes frames, a picture file each, and returns the records of a
//! video: `frame`, `time`, and a `track` for each face.
//!
//! While the model is at work, a newer frame takes the place of the one that waits, so a record is
//! always of a recent frame. `frame` counts all frames from 0, so a gap shows what was left out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fer_core::report::{self, Content, Moment, Record};
use fer_faces::{Face, Smoother, Tracker};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::options::Options;
use super::pictures::content;
use crate::admission::Room;
use crate::models::Model;
use crate::problem::Problem;
use crate::see::{Search, Seen, Unseen, View, see};
use crate::service::Shared;

/// A stream without a frame for this long ends.
const IDLE: Duration = Duration::from_secs(60);

/// The protocol of the WebSocket, which browsers name to hand over a token.
const PROTOCOL: &str = "fer";

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    use axum::extract::FromRequestParts;
    let (mut parts, _) = request.into_parts();
    let options = Options::of(&parts.uri)?;
    let model = options.model(&shared)?;
    let search = options.search(&model)?;
    let smoother = Smoother::new(options.smooth()?);
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(_) => return Err(Problem::bad("this path is for WebSockets")),
    };
    let room = shared.admission.stream()?;
    let most = shared.settings.limits.body;
    let stream = Stream {
        shared: shared.clone(),
        model: model.name.clone(),
        search,
        tracker: Tracker::default(),
        smoother,
        began: Instant::now(),
    };
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(most)
        .max_frame_size(most);
    let (counted, is_open) = (shared.metrics.stream(), shared.open.subscribe());
    let run = |socket| async move {
        stream.run(socket).await;
        drop((room, counted, is_open));
    };
    Ok(upgrade.on_upgrade(run).into_response())
}

/// A frame, its number and when it came, in seconds.
struct Frame {
    number: u64,
    time: f64,
    bytes: Bytes,
    /// Among the bytes of all requests.
    room: Room,
}

/// A frame at work.
type Work = Pin<Box<dyn Future<Output = (u64, f64, Arc<Model>, Result<Seen, Unseen>)> + Send>>;

struct Stream {
    shared: Arc<Shared>,
    /// Its name: a model that is loaded anew goes on with the next frame.
    model: String,
    search: Search,
    tracker: Tracker,
    smoother: Smoother,
    began: Instant,
}

impl Stream {
    async fn run(mut self, mut socket: WebSocket) {
        let shared = self.shared.clone();
        let (mut newest, mut frames): (Option<Frame>, u64) = (None, 0);
        let mut work: Option<Work> = None;
        let close = loop {
            if work.is_none() {
                work = newest.take().and_then(|frame| self.work(frame));
            }
            tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        let (number, time) = (frames, self.began.elapsed().as_secs_f64());
                        frames += 1;
                        let Ok(room) = shared.admission.bytes(bytes.len()) else {
                            break Some((close_code::AGAIN, "too many bytes are in memory"));
                        };
                        let frame = Frame { number, time, bytes, room };
                        shared.metrics.frame(newest.replace(frame).is_some());
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(_))) => {
                        break Some((close_code::UNSUPPORTED, "frames are binary messages"));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                },
                done = async { work.as_mut()?.await.into() }, if work.is_some() => {
                    work = None;
                    let Some((number, time, model, seen)) = done else { continue };
                    let text = self.record(number, time, &model, seen).to_string();
                    let sent = socket.send(Message::Text(text.into()));
                    match timeout(shared.settings.limits.body_time, sent).await {
                        Ok(Ok(())) => {}
                        _ => break None,
                    }
                }
                () = shared.stopping() => {
                    break Some((close_code::AWAY, "the service stops"));
                }
                () = sleep(IDLE), if work.is_none() => {
                    break Some((close_code::POLICY, "no frame has come for a while"));
                }
            }
        };
        if let Some((code, reason)) = close {
            let frame = CloseFrame {
                code,
                reason: reason.into(),
            };
            let sent = socket.send(Message::Close(Some(frame)));
            let _ = timeout(Duration::from_secs(1), sent).await;
        }
    }

    /// Begins with a frame.
    fn work(&self, frame: Frame) -> Option<Work> {
        let model = self.shared.models.get(Some(&self.model))?;
        let (shared, search) = (self.shared.clone(), self.search);
        Some(Box::pin(async move {
            let rooms = (shared.admission.frame().await, frame.room);
            let deadline = shared.settings.limits.deadline;
            let seen = timeout(deadline, see(&shared, &model, search, frame.bytes)).await;
            drop(rooms);
            let seen = seen.unwrap_or_else(|_| {
                let reason = format!("the frame took longer than {deadline:?}");
                Err(Unseen::Picture(reason))
            });
            (frame.number, frame.time, model, seen)
        }))
    }

    /// The record of a frame.
    fn record(
        &mut self,
        number: u64,
        time: f64,
        model: &Model,
        seen: Result<Seen, Unseen>,
    ) -> Value {
        let seen = seen.map_err(|e| e.into_problem().reason);
        let outcome = seen.map(|mut seen| {
            let tracks = self.track(time, &mut seen);
            let mut content = content(seen);
            if let Content::Faces(picture) = &mut content {
                for (face, track) in picture.faces.iter_mut().zip(tracks) {
                    face.track = Some(track);
                }
            }
            content
        });
        let record = Record {
            path: "-".into(),
            moment: Some(Moment {
                frame: number,
                time,
                skipped: None,
                gap: None,
            }),
            outcome,
        };
        let mut object = report::object(&record, &model.spec().labels);
        if let Value::Object(object) = &mut object {
            object.shift_remove("path");
        }
        object
    }

    /// The track of each view, whose probabilities become the averages along it.
    fn track(&mut self, time: f64, seen: &mut Seen) -> Vec<u64> {
        let whole = Face {
            x: 0.0,
            y: 0.0,
            w: seen.width as f32,
            h: seen.height as f32,
            score: 1.0,
            landmarks: [[0.0; 2]; 5],
        };
        let face = |(view, _): &(View, _)| match view {
            View::Face(face) => *face,
            View::Whole | View::Crop => whole,
        };
        let faces: Vec<Face> = seen.views.iter().map(face).collect();
        let tracks = self.tracker.detected(time, &faces);
        for ((_, prediction), track) in seen.views.iter_mut().zip(&tracks) {
            let smooth = self
                .smoother
                .smooth(*track, time, &prediction.probabilities);
            if let Ok(averaged) = fer_core::prediction::Prediction::new(&smooth) {
                *prediction = averaged;
            }
        }
        tracks
    }
}
