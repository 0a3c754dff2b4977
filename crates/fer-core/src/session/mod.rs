//! A loaded model that any number of threads can use. One thread owns the engine. [`Session`]s are
//! handles to it.
//!
//! Requests that wait at the same time run as one batch. For most engines, a batch costs little
//! more than a single image.

#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::classifier::{Classifier, Description, EngineError};
use crate::images::Pixels;
use crate::prediction::{NotFinite, Prediction};
use crate::preprocess::Preprocessor;
use crate::spec::ModelSpec;

/// How a session batches requests.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// The most images of a joined batch. A larger request runs as one batch.
    pub max_batch: usize,
    /// How long a request waits for others. With zero, only requests that already wait are joined.
    pub max_wait: Duration,
    /// The number of requests that may wait; see [`Session::submit`].
    pub queue: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            max_batch: 64,
            max_wait: Duration::ZERO,
            queue: 1024,
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// The engine failed on the request's batch.
    #[error(transparent)]
    Engine(Arc<EngineError>),
    /// The queue is full.
    #[error("the model's queue is full: {queue} requests are waiting")]
    Full {
        /// How many requests may wait.
        queue: usize,
    },
    /// The input is not a whole number of images.
    #[error("the input has {values} values, not a multiple of the {image} values of an image")]
    Input {
        /// The number of values of the input.
        values: usize,
        /// The number of values of one image.
        image: usize,
    },
    /// The model's output is not a prediction.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// The engine's thread panicked.
    #[error("the engine of {model} stopped")]
    Stopped {
        /// The model.
        model: String,
    },
}

impl From<EngineError> for SessionError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Arc::new(error))
    }
}

/// A handle to a loaded model. Clones share the model. The engine is dropped with the last handle.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    spec: ModelSpec,
    description: Description,
    queue: usize,
    /// `None` only while the session is being dropped.
    requests: Option<SyncSender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Request {
    input: Vec<f32>,
    reply: Reply,
    /// Gone if the caller no longer waits.
    wanted: Weak<()>,
}

/// What is done with a request's result; called on the engine's thread.
type Reply = Box<dyn FnOnce(Result<Vec<f32>, SessionError>) + Send>;

/// An accepted request whose result goes to a function ([`Session::submit_then`]). Dropping it
/// removes the request from the queue.
#[must_use = "dropping it removes the request from the queue"]
pub struct Claim {
    _wanted: Arc<()>,
}

/// An accepted request. Dropping it removes the request from the queue.
pub struct Ticket {
    // Dropped first: the engine then skips the request, also if this is the last handle.
    _wanted: Arc<()>,
    reply: Receiver<Result<Vec<f32>, SessionError>>,
    model: Arc<Shared>,
}

impl Ticket {
    /// Waits for the probabilities: `[n, classes]`, each row summing to 1.
    ///
    /// # Errors
    /// The engine failed.
    pub fn wait(self) -> Result<Vec<f32>, SessionError> {
        self.reply
            .recv()
            .unwrap_or_else(|_| Err(self.model.stopped()))
    }

    /// Waits until `deadline`. `None` if there is no result by then; the request is then dropped.
    ///
    /// # Errors
    /// The engine failed.
    pub fn wait_until(self, deadline: Instant) -> Option<Result<Vec<f32>, SessionError>> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.reply.recv_timeout(left) {
            Ok(reply) => Some(reply),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(self.model.stopped())),
        }
    }
}

impl Shared {
    fn stopped(&self) -> SessionError {
        SessionError::Stopped {
            model: self.description.model.clone(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without senders the thread ends. The engine is dropped there before this returns.
        self.requests = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("description", &self.shared.description)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Starts a thread for the model.
    ///
    /// # Errors
    /// The system can't start a thread.
    pub fn start(classifier: Box<dyn Classifier>, options: SessionOptions) -> io::Result<Self> {
        if classifier.spec().image_len() == 0 || classifier.spec().labels.is_empty() {
            let problem = "a model takes images of at least a pixel, and has at least a class";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let (spec, description) = (classifier.spec().clone(), classifier.description().clone());
        let (sender, receiver) = sync_channel(options.queue.max(1));
        let thread = std::thread::Builder::new()
            .name("session".into())
            .spawn(move || worker::serve(classifier, &receiver, options))?;
        Ok(Self {
            shared: Arc::new(Shared {
                spec,
                description,
                queue: options.queue.max(1),
                requests: Some(sender),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// What the model expects and returns.
    pub fn spec(&self) -> &ModelSpec {
        &self.shared.spec
    }

    /// What was loaded.
    pub fn description(&self) -> &Description {
        &self.shared.description
    }

    /// Whether the engine's thread has panicked, so that every request fails.
    pub fn is_stopped(&self) -> bool {
        let thread = self.shared.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Returns the probabilities for a batch of any size. `input` holds `n × image_len` values in
    /// the model's layout. The result is `[n, classes]`; each row sums to 1. Waits for room in the
    /// queue.
    ///
    /// # Errors
    /// The engine failed, or the input is not a whole number of images.
    pub fn classify(&self, input: Vec<f32>) -> Result<Vec<f32>, SessionError> {
        let (request, ticket) = self.ticketed(input)?;
        match &self.shared.requests {
            Some(requests) if requests.send(request).is_ok() => ticket.wait(),
            _ => Err(self.shared.stopped()),
        }
    }

    /// Classifies one image of any size, gray or RGB.
    ///
    /// # Errors
    /// The engine failed, or its output is not finite.
    pub fn predict(&self, image: Pixels) -> Result<Prediction, SessionError> {
        let input = Preprocessor::new(&self.spec().input).tensor(image);
        Ok(Prediction::new(&self.classify(input)?)?)
    }

    /// Puts a request into the queue and returns at once.
    ///
    /// # Errors
    /// The queue is full, or the input is not a whole number of images.
    pub fn submit(&self, input: Vec<f32>) -> Result<Ticket, SessionError> {
        let (request, ticket) = self.ticketed(input)?;
        self.enqueue(request).map(|()| ticket)
    }

    /// As [`submit`](Self::submit), for callers that must not wait on a thread: the result goes to
    /// `reply`, on the engine's thread, which it must not hold up. If the engine panics, or the
    /// request is dropped from the queue, `reply` is dropped uncalled.
    ///
    /// # Errors
    /// The queue is full, or the input is not a whole number of images.
    pub fn submit_then(
        &self,
        input: Vec<f32>,
        reply: impl FnOnce(Result<Vec<f32>, SessionError>) + Send + 'static,
    ) -> Result<Claim, SessionError> {
        let (request, wanted) = self.request(input, Box::new(reply))?;
        self.enqueue(request).map(|()| Claim { _wanted: wanted })
    }

    fn enqueue(&self, request: Request) -> Result<(), SessionError> {
        match self.shared.requests.as_ref().map(|r| r.try_send(request)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(SessionError::Full {
                queue: self.shared.queue,
            }),
            _ => Err(self.shared.stopped()),
        }
    }

    fn ticketed(&self, input: Vec<f32>) -> Result<(Request, Ticket), SessionError> {
        let (reply, receiver) = channel();
        // If nobody waits any more, nothing is lost.
        let reply = Box::new(move |result| drop(reply.send(result)));
        let (request, wanted) = self.request(input, reply)?;
        let ticket = Ticket {
            reply: receiver,
            model: self.shared.clone(),
            _wanted: wanted,
        };
        Ok((request, ticket))
    }

    fn request(&self, input: Vec<f32>, reply: Reply) -> Result<(Request, Arc<()>), SessionError> {
        let (values, image) = (input.len(), self.spec().image_len());
        if !values.is_multiple_of(image) {
            return Err(SessionError::Input { values, image });
        }
        let wanted = Arc::new(());
        let request = Request {
            input,
            reply,
            wanted: Arc::downgrade(&wanted),
        };
        Ok((request, wanted))
    }
}
