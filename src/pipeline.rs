//! Many images through one model: decoding and preprocessing on all cores beside inference, answers in input order, and
//! never more than a few batches in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::{Classifier, EngineError};
use crate::image::sources::Source;
use crate::image::{self, Pixels};
use crate::preprocess::Preprocessor;
use crate::report::{Prediction, Record};

/// How a run goes about its work.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Images a batch, at least 1.
    pub batch_size: usize,
    /// Threads that decode and preprocess, at least 1.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch_size: 64, workers: crate::cores() }
    }
}

/// Why a run stopped before its last image.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A record could not be written.
    #[error("can't write the results: {0}")]
    Output(#[from] std::io::Error),
}

/// An image's tensor, or why there is none.
type Loaded = Result<Vec<f32>, String>;

/// Classifies all images and hands each record to `emit`, in the order of `sources`. An image that can't be read gives a
/// record with an error.
///
/// # Errors
/// The engine failed, or `emit` did.
pub fn run(
    sources: &[Source],
    classifier: &mut dyn Classifier,
    options: Options,
    emit: &mut dyn FnMut(Record) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let batch_size = options.batch_size.max(1);
    let preprocessor = Preprocessor::new(classifier.spec());
    // One batch is decoded while another is computed.
    let window = Window::new(sources.len(), 2 * batch_size);
    let (sender, receiver) = sync_channel(batch_size);
    std::thread::scope(|scope| {
        for _ in 0..options.workers.clamp(1, sources.len().max(1)) {
            let (sender, window, preprocessor) = (sender.clone(), &window, &preprocessor);
            scope.spawn(move || work(sources, window, preprocessor, &sender));
        }
        drop(sender);
        let result = collect(sources, classifier, batch_size, &window, &receiver, emit);
        // On an error the workers may still wait for room in the window or the channel.
        window.close();
        drop(receiver);
        result
    })
}

/// Decodes images until there are no more.
fn work(sources: &[Source], window: &Window, preprocessor: &Preprocessor, sender: &SyncSender<(usize, Loaded)>) {
    while let Some(index) = window.claim() {
        let tensor = read(&sources[index]).map(|pixels| preprocessor.tensor(pixels));
        if sender.send((index, tensor)).is_err() {
            return;
        }
    }
}

/// Reads the image a source means; the error is a text for its record.
pub fn read(source: &Source) -> Result<Pixels, String> {
    match source {
        Source::File(path) => image::read(path).map_err(|e| e.to_string()),
        Source::Stdin => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().take(image::MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|e| e.to_string()).and_then(|_| image::decode(&bytes).map_err(|e| e.to_string()))
        }
        Source::Unusable { reason, .. } => Err(reason.clone()),
    }
}

/// Puts the tensors in order, runs the batches and emits the records.
fn collect(
    sources: &[Source],
    classifier: &mut dyn Classifier,
    batch_size: usize,
    window: &Window,
    receiver: &Receiver<(usize, Loaded)>,
    emit: &mut dyn FnMut(Record) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let classes = classifier.spec().labels.len();
    let mut early = BTreeMap::new();
    let mut batch = Vec::with_capacity(batch_size.min(sources.len()) * classifier.spec().image_len());
    // The records of this batch: `Ok` for a row of it.
    let mut waiting: Vec<(usize, Result<(), String>)> = Vec::new();
    let mut rows = 0;
    for index in 0..sources.len() {
        let loaded = loop {
            if let Some(loaded) = early.remove(&index) {
                break loaded;
            }
            match receiver.recv() {
                Ok((i, loaded)) => drop(early.insert(i, loaded)),
                Err(_) => break Err("its reader stopped".into()),
            }
        };
        window.taken(index + 1);
        match loaded {
            Ok(tensor) => {
                batch.extend_from_slice(&tensor);
                waiting.push((index, Ok(())));
                rows += 1;
            }
            Err(reason) => waiting.push((index, Err(reason))),
        }
        if rows == batch_size || waiting.len() >= 2 * batch_size || index + 1 == sources.len() {
            let probabilities = if rows == 0 { Vec::new() } else { classifier.classify(&batch)? };
            let mut answers = probabilities.chunks_exact(classes);
            for (index, outcome) in waiting.drain(..) {
                let outcome = outcome.and_then(|()| Prediction::new(answers.next().unwrap_or_default()));
                emit(Record { path: sources[index].name(), outcome })?;
            }
            batch.clear();
            rows = 0;
        }
    }
    Ok(())
}

/// The images that may be decoded now: at most `ahead` beyond those that were taken.
struct Window {
    len: usize,
    ahead: usize,
    state: Mutex<State>,
    room: Condvar,
}

struct State {
    next: usize,
    taken: usize,
}

impl Window {
    fn new(len: usize, ahead: usize) -> Self {
        Self { len, ahead, state: Mutex::new(State { next: 0, taken: 0 }), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next image to decode, when there is room for it.
    fn claim(&self) -> Option<usize> {
        let full = |s: &mut State| s.next < self.len && s.next >= s.taken + self.ahead;
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        let index = state.next;
        state.next += 1;
        (index < self.len).then_some(index)
    }

    /// Makes room: the first `count` images are out of the way.
    fn taken(&self, count: usize) {
        self.lock().taken = count;
        self.room.notify_all();
    }

    /// Ends the work: no image is claimed any more.
    fn close(&self) {
        self.lock().next = self.len;
        self.room.notify_all();
    }
}
