//! A loaded model that any number of threads can use. One thread owns the engine. [`Session`]s are
//! handles to it.
//!
//! Requests that wait at the same time run as one batch. For most engines, a batch costs little
//! more than a single image.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::classifier::{Classifier, Description, EngineError};
use crate::images::Pixels;
use crate::prediction::{NotFinite, Prediction};
use crate::preprocess::Preprocessor;
use crate::spec::ModelSpec;
use crate::stream::LONGEST_WAIT;

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
    reply: Sender<Result<Vec<f32>, SessionError>>,
    /// Gone if the caller no longer waits.
    wanted: Weak<()>,
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
            .spawn(move || serve(classifier, &receiver, options))?;
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

    /// Returns the probabilities for a batch of any size. `input` holds `n × image_len` values in
    /// the model's layout. The result is `[n, classes]`; each row sums to 1. Waits for room in the
    /// queue.
    ///
    /// # Errors
    /// The engine failed, or the input is not a whole number of images.
    pub fn classify(&self, input: Vec<f32>) -> Result<Vec<f32>, SessionError> {
        let (request, ticket) = self.request(input)?;
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
        let (request, ticket) = self.request(input)?;
        match self.shared.requests.as_ref().map(|r| r.try_send(request)) {
            Some(Ok(())) => Ok(ticket),
            Some(Err(TrySendError::Full(_))) => Err(SessionError::Full {
                queue: self.shared.queue,
            }),
            _ => Err(self.shared.stopped()),
        }
    }

    fn request(&self, input: Vec<f32>) -> Result<(Request, Ticket), SessionError> {
        let (values, image) = (input.len(), self.spec().image_len());
        if !values.is_multiple_of(image) {
            return Err(SessionError::Input { values, image });
        }
        let (reply, receiver) = channel();
        let wanted = Arc::new(());
        let request = Request {
            input,
            reply,
            wanted: Arc::downgrade(&wanted),
        };
        let ticket = Ticket {
            reply: receiver,
            model: self.shared.clone(),
            _wanted: wanted,
        };
        Ok((request, ticket))
    }
}

/// Runs requests until no handle is left.
fn serve(
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
            let count = request.input.len() / image;
            if images + count > options.max_batch {
                next = Some(request);
                break;
            }
            images += count;
            joined.push(request);
        }
        joined.retain(|request| request.wanted.strong_count() > 0);
        run_batch(&mut *classifier, joined);
    }
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
                // If nobody waits any more, nothing is lost.
                let _ = request.reply.send(Ok(own.to_vec()));
            }
            return;
        }
    }
    for request in requests.drain(..) {
        let reply = classified(classifier, &request.input).map_err(SessionError::from);
        let _ = request.reply.send(reply);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn several_threads_ask_one_model() {
        let fake = Fake::new(None);
        let batches = fake.batches.clone();
        let session = fake.session();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let session = session.clone();
                scope.spawn(move || {
                    for i in 0..50 {
                        let level = (thread * 50 + i) as f32 / 400.0;
                        let images = 1 + (i % 3);
                        let rows = session.classify(vec![level; images * 4]).unwrap();
                        assert_eq!(rows, [1.0 - level, level].repeat(images));
                    }
                });
            }
        });
        let images: usize = batches.lock().unwrap().iter().sum();
        assert_eq!(images, 8 * (17 + 2 * 17 + 3 * 16));
    }

    #[test]
    fn an_image_of_any_size_has_a_prediction() {
        let session = Fake::new(None).session();
        let image = Pixels {
            width: 4,
            height: 3,
            channels: 3,
            data: vec![51; 36],
        };
        let prediction = session.predict(image).unwrap();
        assert_eq!(
            (prediction.class, session.spec().labels[0].as_str()),
            (0, "dark")
        );
        assert!((prediction.probabilities[1] - 0.2).abs() < 1e-6);
    }

    #[test]
    fn requests_that_wait_are_one_batch() {
        let fake = Fake::new(None);
        let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
        let options = SessionOptions {
            max_batch: 4,
            ..SessionOptions::default()
        };
        let session = Session::start(Box::new(fake), options).unwrap();
        let submit = |level: f32, images: usize| session.submit(vec![level; 4 * images]).unwrap();
        let running = gate.lock().unwrap();
        let first = submit(0.0, 1);
        while batches.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        // While the first request runs, the second is dropped. The others don't all fit in one
        // batch.
        drop(submit(0.5, 1));
        let tickets = [
            submit(0.25, 1),
            submit(1.0, 2),
            submit(0.75, 3),
            submit(0.5, 5),
        ];
        drop(running);
        let rows: Vec<_> = tickets.into_iter().map(|t| t.wait().unwrap()).collect();
        assert_eq!(first.wait().unwrap(), [1.0, 0.0]);
        assert_eq!(rows[0], [0.75, 0.25]);
        assert_eq!(rows[1], [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(rows[2], [0.25, 0.75].repeat(3));
        assert_eq!(rows[3], [0.5, 0.5].repeat(5));
        assert_eq!(*batches.lock().unwrap(), [1, 3, 3, 5]);
    }

    #[test]
    fn a_failure_of_a_joined_batch_is_not_that_of_its_requests() {
        let mut fake = Fake::new(None);
        fake.fails_on = Some((1, false));
        let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
        fake.fails_once = true;
        let session = fake.session();
        let running = gate.lock().unwrap();
        let first = session.submit(vec![0.0; 4]).unwrap();
        while batches.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        let others = [0.25, 1.0].map(|level| session.submit(vec![level; 4]).unwrap());
        drop(running);
        first.wait().unwrap();
        let rows = others.map(|ticket| ticket.wait().unwrap());
        assert_eq!(rows, [[0.75, 0.25], [0.0, 1.0]]);
        assert_eq!(*batches.lock().unwrap(), [1, 1, 1]);
    }

    #[test]
    fn the_last_ticket_takes_its_request_with_it() {
        let fake = Fake::new(None);
        let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
        let session = fake.session();
        // The engine is held until the last ticket waits for its end.
        let (held, holding) = channel();
        let holder = std::thread::spawn(move || {
            let _closed = gate.lock().unwrap();
            held.send(()).unwrap();
            std::thread::sleep(Duration::from_secs(1));
        });
        holding.recv().unwrap();
        let first = session.submit(vec![0.0; 4]).unwrap();
        while batches.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        let last = session.submit(vec![1.0; 4]).unwrap();
        drop((session, first));
        drop(last);
        holder.join().unwrap();
        assert_eq!(*batches.lock().unwrap(), [1]);
    }

    #[test]
    fn a_model_without_pixels_is_refused() {
        let mut fake = Fake::new(None);
        fake.spec.input.width = 0;
        assert!(Session::start(Box::new(fake), SessionOptions::default()).is_err());
    }

    #[test]
    fn a_request_waits_for_others_as_long_as_it_was_told() {
        let options = SessionOptions {
            max_batch: 2,
            max_wait: Duration::from_secs(60),
            ..SessionOptions::default()
        };
        let fake = Fake::new(None);
        let batches = fake.batches.clone();
        let session = Session::start(Box::new(fake), options).unwrap();
        let tickets = [session.submit(vec![0.0; 4]), session.submit(vec![1.0; 4])];
        let rows = tickets.map(|t| t.unwrap().wait().unwrap());
        assert_eq!(rows, [[1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(*batches.lock().unwrap(), [2]);
    }

    #[test]
    fn what_can_go_wrong() {
        let mut fake = Fake::new(None);
        fake.fails_on = Some((2, false));
        let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
        let options = SessionOptions {
            queue: 1,
            max_batch: 1,
            ..SessionOptions::default()
        };
        let session = Session::start(Box::new(fake), options).unwrap();
        assert!(matches!(
            session.classify(vec![0.0; 5]),
            Err(SessionError::Input {
                values: 5,
                image: 4
            })
        ));
        assert_eq!(session.classify(Vec::new()).unwrap(), Vec::<f32>::new());
        let closed = gate.lock().unwrap();
        let running = session.submit(vec![0.0; 4]).unwrap();
        while batches.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        let waiting = session.submit(vec![1.0; 4]).unwrap();
        assert!(matches!(
            session.submit(vec![0.0; 4]),
            Err(SessionError::Full { queue: 1 })
        ));
        assert!(running.wait_until(Instant::now()).is_none());
        drop(closed);
        assert_eq!(waiting.wait().unwrap(), [0.0, 1.0]);
        assert!(matches!(
            session.classify(vec![0.0; 4]),
            Err(SessionError::Engine(_))
        ));
        assert_eq!(batches.lock().unwrap().len(), 2);
    }
}
