//! Runs pictures through a model. Worker threads decode and preprocess in parallel with inference.
//! Observations arrive in the order of the items. Memory is bounded.
//!
//! ```text
//! items → load → Locate → Preprocessor → batches → Session → Reduce → Observation → sink
//!         (1)    (1 → N)                                      (N → M)   (1)
//! ```
//!
//! If an item fails, its observation says why, and the stream continues. Only errors of the engine
//! and of the sink end it.

mod batch_size;
mod item;
mod locate;
mod reduce;
#[cfg(test)]
mod tests;
mod window;

pub use batch_size::BatchSize;
pub use item::{Item, ItemError};
pub use locate::{Locate, Whole};
pub use reduce::Reduce;

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use self::batch_size::Sizes;
use self::reduce::Row;
use self::window::Window;
use crate::panics;
use crate::prediction::Prediction;
use crate::preprocess::Preprocessor;
use crate::session::{Session, SessionError};

/// The most bytes of the tensors of one batch: 256 MiB. A model of large images gets smaller
/// batches.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// The most bytes of tensors that wait for their batch; a single item may exceed it.
const MAX_WAITING_BYTES: usize = 2 * MAX_BATCH_BYTES;

/// No wait is longer: times far away can't be computed with.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How a stream works.
#[derive(Debug, Clone, Copy)]
pub struct StreamOptions {
    /// The batch size.
    pub batch_size: BatchSize,
    /// Threads that decode and preprocess; at least 1.
    pub workers: usize,
    /// How long a picture may wait for its batch to fill; `None` for as long as items follow.
    pub max_wait: Option<Duration>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            batch_size: BatchSize::default(),
            workers: crate::cores(),
            max_wait: None,
        }
    }
}

/// Why a stream stopped before its last item.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The engine failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The sink failed.
    #[error("can't write the results: {0}")]
    Sink(#[from] std::io::Error),
}

/// The result for an item.
#[derive(Debug)]
pub struct Observation<I, P> {
    /// The item.
    pub item: I,
    /// The predictions for its picture, or why there are none.
    pub outcome: Result<Seen<P>, ItemError>,
}

/// The predictions for a picture.
#[derive(Debug)]
pub struct Seen<P> {
    /// The picture's width in pixels.
    pub width: usize,
    /// The picture's height in pixels.
    pub height: usize,
    /// The place and the prediction of each view, or of each group that [`Reduce`] averaged.
    pub predictions: Vec<(P, Result<Prediction, ItemError>)>,
}

impl<I> Observation<I, ()> {
    /// The item, and the one prediction of a stream over [`Whole`] pictures.
    pub fn into_parts(self) -> (I, Result<Prediction, ItemError>) {
        let prediction = self.outcome.and_then(|seen| {
            let prediction = seen.predictions.into_iter().next();
            prediction.map_or_else(
                || {
                    Err(ItemError::View {
                        reason: "the picture has no view".into(),
                    })
                },
                |(_, prediction)| prediction,
            )
        });
        (self.item, prediction)
    }

    /// The one prediction of a stream over [`Whole`] pictures.
    ///
    /// # Errors
    /// There is no view, or its prediction failed.
    pub fn prediction(self) -> Result<Prediction, ItemError> {
        self.into_parts().1
    }
}

/// A model, and how pictures become its predictions.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a, L> {
    /// The model.
    pub session: &'a Session,
    /// From a picture to its views.
    pub locate: L,
    /// From the predictions for the views to those of the observation.
    pub reduce: Reduce,
    /// Batch size and threads.
    pub options: StreamOptions,
}

impl<'a> Stream<'a, Whole> {
    /// One prediction per picture, for the whole picture.
    pub fn whole(session: &'a Session, options: StreamOptions) -> Self {
        Self {
            session,
            locate: Whole,
            reduce: Reduce::Each,
            options,
        }
    }
}

impl<L> Stream<'_, L> {
    /// Runs all items through the model and passes an observation of each to `sink`, in order. One
    /// thread at a time takes the next item, when there is room for it. A call of the iterator's
    /// `next` is waited for, even after a failure, so a live source has to end on request.
    ///
    /// # Errors
    /// The engine failed, or `sink` did.
    pub fn run<I: Item + Send>(
        &self,
        items: impl IntoIterator<Item = I, IntoIter: Send>,
        sink: &mut dyn FnMut(Observation<I, L::Place>) -> std::io::Result<()>,
    ) -> Result<(), StreamError>
    where
        L: Locate<I>,
    {
        let spec = self.session.spec();
        let image_bytes = spec.image_len() * size_of::<f32>();
        let sizes = Sizes::new(self.options.batch_size, image_bytes, MAX_BATCH_BYTES);
        let preprocessor = Preprocessor::new(&spec.input);
        // One batch is decoded while another is computed.
        let ahead = 2 * sizes.most();
        let items = items.into_iter();
        let workers = match items.size_hint() {
            (_, Some(most)) => self.options.workers.clamp(1, most.max(1)),
            _ => self.options.workers.max(1),
        };
        let window = Window::new(items, ahead, MAX_WAITING_BYTES);
        let (sender, receiver) = sync_channel(ahead);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (sender, window, preprocessor) = (sender.clone(), &window, &preprocessor);
                scope.spawn(move || self.work(window, preprocessor, &sender));
            }
            drop(sender);
            // However this ends, the workers must not keep waiting for room.
            let _close = CloseOnDrop(&window);
            let collected = self.collect(sizes, &window, &receiver, sink);
            drop(receiver);
            collected
        })
    }

    /// Prepares items until none are left.
    fn work<I: Item, S: Iterator<Item = I>>(
        &self,
        window: &Window<S>,
        preprocessor: &Preprocessor,
        sender: &SyncSender<(usize, Loaded<I, L::Place>)>,
    ) where
        L: Locate<I>,
    {
        let close = CloseOnDrop(window);
        while let Some((index, item)) = window.claim() {
            let held = item.bytes();
            window.holds(held);
            let prepared = panics::caught(|| self.prepare(&item, preprocessor));
            let prepared = prepared.unwrap_or_else(|reason| Err(ItemError::Panicked { reason }));
            let tensors = prepared.as_ref().map_or(0, Prepared::bytes);
            window.holds(tensors);
            let bytes = held + tensors;
            let loaded = Loaded {
                item,
                prepared,
                bytes,
            };
            if sender.send((index, loaded)).is_err() {
                return;
            }
        }
        // No more items: other workers may still be busy.
        std::mem::forget(close);
    }

    fn prepare<I: Item>(
        &self,
        item: &I,
        preprocessor: &Preprocessor,
    ) -> Result<Prepared<L::Place>, ItemError>
    where
        L: Locate<I>,
    {
        let pixels = item.load()?;
        let (width, height) = (pixels.width, pixels.height);
        let mut rows = Vec::new();
        let view_bytes = self.session.spec().image_len() * size_of::<f32>();
        let most = (MAX_WAITING_BYTES / view_bytes.max(1)).max(1);
        let mut views = 0;
        self.locate.locate(item, pixels, &mut |place, view| {
            views += 1;
            if views <= most {
                rows.push((place, view.map(|pixels| preprocessor.tensor(pixels))));
            }
        })?;
        if views > most {
            return Err(ItemError::TooManyViews { views, most });
        }
        Ok(Prepared {
            width,
            height,
            rows,
        })
    }

    /// Puts the items in order, runs the batches and passes on the observations.
    fn collect<I, S: Iterator<Item = I>>(
        &self,
        sizes: Sizes,
        window: &Window<S>,
        receiver: &Receiver<(usize, Loaded<I, L::Place>)>,
        sink: &mut dyn FnMut(Observation<I, L::Place>) -> std::io::Result<()>,
    ) -> Result<(), StreamError>
    where
        L: Locate<I>,
    {
        let mut batcher = Batcher {
            session: self.session,
            reduce: self.reduce,
            sizes,
            tensors: Vec::new(),
            pending: VecDeque::new(),
            rows: VecDeque::new(),
        };
        let mut early = BTreeMap::new();
        let mut deadline = None;
        for index in 0.. {
            let loaded = loop {
                if let Some(loaded) = early.remove(&index) {
                    break Some(loaded);
                }
                match receive(receiver, deadline) {
                    Ok((i, loaded)) => drop(early.insert(i, loaded)),
                    Err(RecvTimeoutError::Timeout) => {
                        batcher.flush(sink)?;
                        deadline = None;
                    }
                    Err(RecvTimeoutError::Disconnected) => break None,
                }
            };
            let Some(loaded) = loaded else {
                return batcher.flush(sink);
            };
            window.taken(loaded.bytes);
            batcher.add(loaded, sink)?;
            deadline = match self.options.max_wait {
                Some(wait) if !batcher.pending.is_empty() => {
                    Some(deadline.unwrap_or_else(|| Instant::now() + wait.min(LONGEST_WAIT)))
                }
                _ => None,
            };
        }
        Ok(())
    }
}

fn receive<T>(receiver: &Receiver<T>, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
    match deadline {
        None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(deadline) => receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

/// Closes the window when it goes out of scope, so that no worker waits forever.
struct CloseOnDrop<'a, S: Iterator>(&'a Window<S>);

impl<S: Iterator> Drop for CloseOnDrop<'_, S> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An item that a worker has finished.
struct Loaded<I, P> {
    item: I,
    prepared: Result<Prepared<P>, ItemError>,
    bytes: usize,
}

/// A picture's views as tensors.
struct Prepared<P> {
    width: usize,
    height: usize,
    rows: Vec<Row<P>>,
}

impl<P> Prepared<P> {
    fn bytes(&self) -> usize {
        let values = |(_, tensor): &Row<P>| tensor.as_ref().map_or(0, Vec::len);
        self.rows.iter().map(values).sum::<usize>() * size_of::<f32>()
    }
}

/// An item that waits for rows of the model's output.
struct Pending<I, P> {
    item: I,
    outcome: Result<Waiting<P>, ItemError>,
}

struct Waiting<P> {
    width: usize,
    height: usize,
    views: Vec<(P, Result<(), ItemError>)>,
}

impl<I, P> Pending<I, P> {
    /// The number of output rows that it needs.
    fn rows(&self) -> usize {
        let views = self.outcome.as_ref().map(|waiting| &waiting.views);
        views.map_or(0, |views| views.iter().filter(|(_, v)| v.is_ok()).count())
    }
}

/// Collects views of several items into batches, and turns their predictions into observations.
struct Batcher<'a, I, P> {
    session: &'a Session,
    reduce: Reduce,
    sizes: Sizes,
    /// Views that wait for their batch.
    tensors: Vec<f32>,
    /// Items that wait for rows, in order.
    pending: VecDeque<Pending<I, P>>,
    /// Output rows of an item that is not yet complete.
    rows: VecDeque<Vec<f32>>,
}

impl<I, P> Batcher<'_, I, P> {
    fn add(
        &mut self,
        loaded: Loaded<I, P>,
        sink: &mut dyn FnMut(Observation<I, P>) -> std::io::Result<()>,
    ) -> Result<(), StreamError> {
        let outcome = loaded.prepared.map(|prepared| Waiting {
            width: prepared.width,
            height: prepared.height,
            views: prepared
                .rows
                .into_iter()
                .map(|(place, row)| (place, row.map(|t| self.tensors.extend_from_slice(&t))))
                .collect(),
        });
        let item = loaded.item;
        self.pending.push_back(Pending { item, outcome });
        let image = self.session.spec().image_len();
        while self.tensors.len() >= self.sizes.next() * image {
            self.classify(self.sizes.next())?;
        }
        // Items without views do not wait for a batch that may never fill.
        if self.pending.len() >= 2 * self.sizes.next() {
            return self.flush(sink);
        }
        self.emit(sink)
    }

    /// Runs what waits, and passes on all observations.
    fn flush(
        &mut self,
        sink: &mut dyn FnMut(Observation<I, P>) -> std::io::Result<()>,
    ) -> Result<(), StreamError> {
        let waiting = self.tensors.len() / self.session.spec().image_len();
        if waiting > 0 {
            self.classify(waiting)?;
        }
        self.emit(sink)
    }

    /// Runs a batch of the first `count` views.
    fn classify(&mut self, count: usize) -> Result<(), StreamError> {
        let rest = self
            .tensors
            .split_off(count * self.session.spec().image_len());
        let batch = std::mem::replace(&mut self.tensors, rest);
        let began = Instant::now();
        // If a batch is too large for the device's memory, run it in parts of the previous size.
        let kept = self.sizes.may_fail().then(|| batch.clone());
        let output = match (self.session.classify(batch), kept) {
            (Ok(output), _) => {
                self.sizes.took(count, began.elapsed());
                output
            }
            (Err(e), kept) => match (self.sizes.failed(), kept) {
                (Some(smaller), Some(batch)) => self.in_parts(&batch, smaller)?,
                _ => return Err(e.into()),
            },
        };
        let classes = self.session.spec().labels.len();
        self.rows
            .extend(output.chunks_exact(classes).map(<[f32]>::to_vec));
        Ok(())
    }

    /// The output for a batch, computed in parts of at most `size` views.
    fn in_parts(&self, batch: &[f32], size: usize) -> Result<Vec<f32>, SessionError> {
        let parts = batch.chunks(size * self.session.spec().image_len());
        let outputs = parts.map(|part| self.session.classify(part.to_vec()));
        Ok(outputs.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Passes on the observations of the items whose rows are complete.
    fn emit(
        &mut self,
        sink: &mut dyn FnMut(Observation<I, P>) -> std::io::Result<()>,
    ) -> Result<(), StreamError> {
        while let Some(first) = self.pending.front() {
            if first.rows() > self.rows.len() {
                return Ok(());
            }
            let Some(Pending { item, outcome }) = self.pending.pop_front() else {
                return Ok(());
            };
            let outcome = outcome.map(|waiting| Seen {
                width: waiting.width,
                height: waiting.height,
                predictions: self.predictions(waiting.views),
            });
            sink(Observation { item, outcome })?;
        }
        Ok(())
    }

    fn predictions(
        &mut self,
        views: Vec<(P, Result<(), ItemError>)>,
    ) -> Vec<(P, Result<Prediction, ItemError>)> {
        let rows = views.into_iter().map(|(place, view)| {
            let row = view.map(|()| self.rows.pop_front().unwrap_or_default());
            (place, row)
        });
        self.reduce.apply(rows.collect())
    }
}
