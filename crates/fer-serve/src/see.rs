//! A picture's bytes → its faces → tensors → the model → what a record holds.

use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use fer_core::images::{Decoded, Pixels};
use fer_core::panics;
use fer_core::prediction::Prediction;
use fer_core::session::SessionError;
use fer_core::stream::ItemError;
use fer_faces::{Face, SearchOptions, When};
use tokio::sync::oneshot;

use crate::models::Model;
use crate::problem::Problem;
use crate::service::Shared;

/// Which faces a request is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Search {
    /// `None` if the whole picture is classified.
    pub(crate) when: Option<When>,
    /// Whether the whole of a picture without a face is classified.
    pub(crate) or_whole: bool,
    pub(crate) options: SearchOptions,
}

/// What was seen in a picture.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// What each prediction is for, the largest face first.
    pub(crate) views: Vec<(View, Prediction)>,
}

/// What a prediction is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum View {
    /// The whole picture, as asked for, or as it has no face.
    Whole,
    /// A picture that is a ready-made crop of a face.
    Crop,
    /// A face that was found.
    Face(Face),
}

/// Why a picture has no record of its own.
pub(crate) enum Unseen {
    /// It can't be read: the fault of the picture, which others need not suffer for.
    Picture(String),
    /// The service could not do it.
    Service(Problem),
}

impl Unseen {
    /// The same for a request about this picture alone.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::Picture(reason) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason),
            Self::Service(problem) => problem,
        }
    }
}

/// A picture's views as one batch.
struct Prepared {
    width: usize,
    height: usize,
    views: Vec<View>,
    tensors: Vec<f32>,
}

/// Decodes, searches and classifies a picture. Dropping the future takes it out of all queues.
pub(crate) async fn see(
    shared: &Arc<Shared>,
    model: &Arc<Model>,
    search: Search,
    bytes: Bytes,
) -> Result<Seen, Unseen> {
    let seen = seen(shared, model, search, bytes).await;
    match &seen {
        Ok(seen) => {
            let views = seen.views.iter();
            let faces = views.filter(|(view, _)| matches!(view, View::Face(_)));
            shared.metrics.picture(Some(faces.count()));
        }
        Err(Unseen::Picture(_)) => shared.metrics.picture(None),
        Err(Unseen::Service(_)) => {}
    }
    seen
}

async fn seen(
    shared: &Arc<Shared>,
    model: &Arc<Model>,
    search: Search,
    bytes: Bytes,
) -> Result<Seen, Unseen> {
    let stopped = || Problem::busy("what it can do while it stops");
    let room = shared.admission.decoder().await;
    let room = room.ok_or_else(|| Unseen::Service(stopped()))?;
    let work = {
        let (shared, model) = (shared.clone(), model.clone());
        move || {
            // Kept to the end, also if nobody waits for it any more.
            let _room = room;
            panics::caught(|| prepare(&shared, &model, search, &bytes))
        }
    };
    let prepared = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(prepared)) => prepared.map_err(|e| unseen(shared, &e))?,
        Ok(Err(reason)) => {
            let error = ItemError::Panicked { reason };
            return Err(Unseen::Picture(error.to_string()));
        }
        Err(_) => return Err(Unseen::Service(stopped())),
    };
    let Prepared {
        width,
        height,
        views,
        tensors,
    } = prepared;
    let output = classify(shared, model, tensors).await;
    let output = output.map_err(Unseen::Service)?;
    let rows = output.chunks_exact(model.spec().labels.len());
    let predictions = rows.map(Prediction::new).collect::<Result<Vec<_>, _>>();
    let predictions = predictions.map_err(|e| Unseen::Service(Problem::of_session(&e.into())))?;
    Ok(Seen {
        width,
        height,
        views: views.into_iter().zip(predictions).collect(),
    })
}

/// A failure of the detector is the service's; its message may name what is on this machine.
fn unseen(shared: &Shared, error: &ItemError) -> Unseen {
    match error {
        ItemError::View { reason } => {
            (shared.settings.log)(reason);
            let problem = Problem::new(StatusCode::BAD_GATEWAY, "the face detector failed");
            Unseen::Service(problem)
        }
        error => Unseen::Picture(error.to_string()),
    }
}

/// The probabilities for tensors of any number of images: `[n, classes]`. Those of many images run
/// as several batches, so that one request neither takes the model from the others for long nor
/// has the engine make room for all of it at once. Tensors that wait count as bytes in memory.
pub(crate) async fn classify(
    shared: &Shared,
    model: &Arc<Model>,
    tensors: Vec<f32>,
) -> Result<Vec<f32>, Problem> {
    let _room = shared.admission.bytes(size_of_val(&tensors[..]))?;
    let most = shared.settings.limits.max_batch.max(1);
    let most = most.saturating_mul(model.spec().image_len());
    if tensors.len() <= most {
        return batch(model, tensors).await;
    }
    let mut output = Vec::new();
    for part in tensors.chunks(most) {
        output.extend(batch(model, part.to_vec()).await?);
    }
    Ok(output)
}

/// The probabilities for tensors that run as one batch, maybe with those of other requests.
async fn batch(model: &Arc<Model>, tensors: Vec<f32>) -> Result<Vec<f32>, Problem> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let (sender, receiver) = oneshot::channel();
    let reply = move |result| drop(sender.send(result));
    let claim = model.session.submit_then(tensors, reply);
    let _claim = claim.map_err(|e| Problem::of_session(&e))?;
    let stopped = || SessionError::Stopped {
        model: model.name.clone(),
    };
    let output = receiver.await.unwrap_or_else(|_| Err(stopped()));
    output.map_err(|e| Problem::of_session(&e))
}

/// Decodes a picture, finds its faces, and makes their tensors; on a thread that may wait.
fn prepare(
    shared: &Shared,
    model: &Model,
    search: Search,
    bytes: &[u8],
) -> Result<Prepared, ItemError> {
    let pixels = Decoded::within(bytes, shared.settings.limits.pixels)?.pixels;
    let (width, height) = (pixels.width, pixels.height);
    let faces = find(shared, search, &pixels)?;
    let (mut views, mut tensors) = (Vec::new(), Vec::new());
    let whole = match &faces {
        None => Some(search.when.map_or(View::Whole, |_| View::Crop)),
        Some(faces) => (faces.is_empty() && search.or_whole).then_some(View::Whole),
    };
    match (whole, faces) {
        (Some(view), _) => {
            views.push(view);
            tensors = model.preprocessor.tensor(pixels);
        }
        (None, faces) => {
            for face in faces.unwrap_or_default() {
                views.push(View::Face(face));
                tensors.extend(model.preprocessor.tensor(model.crop.cut(&pixels, &face)));
            }
        }
    }
    Ok(Prepared {
        width,
        height,
        views,
        tensors,
    })
}

/// The faces of a picture; `None` if it is not to be searched, or is a ready-made crop.
fn find(shared: &Shared, search: Search, pixels: &Pixels) -> Result<Option<Vec<Face>>, ItemError> {
    let failed = |reason: String| ItemError::View { reason };
    let Some(when) = search.when.filter(|when| !when.is_crop(pixels)) else {
        return Ok(None);
    };
    let detector = shared.detector.as_deref();
    let detector = detector.ok_or_else(|| failed("the service has no face detector".into()))?;
    let found = when.find(pixels, detector, &search.options);
    found.map_err(|e| failed(e.to_string()))
}
