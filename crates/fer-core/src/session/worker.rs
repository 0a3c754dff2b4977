//! The engine's thread: it joins requests that wait, runs them, and divides the output.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::{Request, SessionError, SessionOptions};
use crate::classifier::{Classifier, EngineError};
use crate::stream::LONGEST_WAIT;

/// Runs requests until no handle is left.
pub(super) fn serve(
    mut classifier: Box<dyn Classifier>,
    requests: &Receiver<Request>,
    options: SessionOptions,
) {
    let image = classifier.spec().image_len();
    let mut next = None;
    while let Some(first) = next.take().or_else(|| requests.recv().ok()) {
        let mut images = first.input.len() / image;
        let mut joined = vec![first];
        let deadline = Instant::now() + options.max_wait.min(LONGEST_WAIT);
        while images < options.max_batch {
            let left = deadline.saturating_duration_since(Instant::now());
            // With no time left, this takes what is already there.
            let Ok(request) = requests.recv_timeout(left) else {
                break;
            };
            if !is_wanted(&request) {
                continue;
            }
            let count = request.input.len() / image;
            if images + count > options.max_batch {
                next = Some(request);
                break;
            }
            images += count;
            joined.push(request);
        }
        joined.retain(is_wanted);
        run_batch(&mut *classifier, joined);
    }
}

/// Whether somebody still waits for the result.
fn is_wanted(request: &Request) -> bool {
    request.wanted.strong_count() > 0
}

/// Runs requests as one batch and divides the output. If that fails, each is run alone: one of
/// them, or the size of the batch, may be the reason.
fn run_batch(classifier: &mut dyn Classifier, mut requests: Vec<Request>) {
    if requests.len() > 1 {
        let joined: Vec<f32> = requests.iter().flat_map(|r| &r.input).copied().collect();
        if let Ok(output) = classified(classifier, &joined) {
            let classes = classifier.spec().labels.len();
            let image = classifier.spec().image_len();
            let mut rest = output.as_slice();
            for request in requests {
                let (own, others) = rest.split_at(request.input.len() / image * classes);
                rest = others;
                (request.reply)(Ok(own.to_vec()));
            }
            return;
        }
    }
    for request in requests.drain(..) {
        let reply = classified(classifier, &request.input).map_err(SessionError::from);
        (request.reply)(reply);
    }
}

/// The output for a batch, which may be empty.
fn classified(classifier: &mut dyn Classifier, input: &[f32]) -> Result<Vec<f32>, EngineError> {
    if input.is_empty() {
        Ok(Vec::new())
    } else {
        classifier.classify(input)
    }
}
