//! Many images through one model: decoding and preprocessing on all cores beside inference, answers
//! in input order, and never more than a few batches in memory.

mod batch_size;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use batch_size::BatchSize;

use self::batch_size::Sizes;
use crate::classifier::{Classifier, EngineError};
use crate::images::sources::Source;
use crate::images::{self, Pixels};
use crate::preprocess::Preprocessor;
use crate::report::{Prediction, Record};

/// How a run goes about its work.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Images a batch.
    pub batch_size: BatchSize,
    /// Threads that decode and preprocess, at least 1.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_size: BatchSize::default(),
            workers: crate::cores(),
        }
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

/// The most that the tensors of one batch take: 256 MiB. A model of large images gets smaller
/// batches.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// An image's tensor, or why there is none.
type Loaded = Result<Vec<f32>, String>;

/// Classifies all images and hands each record to `emit`, in the order of `sources`. An image that
/// can't be read gives a record with an error.
///
/// # Errors
/// The engine failed, or `emit` did.
pub fn run(
    sources: &[Source],
    classifier: &mut dyn Classifier,
    options: Options,
    emit: &mut dyn FnMut(Record) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let image_bytes = classifier.spec().image_len() * size_of::<f32>();
    let sizes = Sizes::new(options.batch_size, image_bytes, MAX_BATCH_BYTES);
    let preprocessor = Preprocessor::new(classifier.spec());
    // One batch is decoded while another is computed.
    let window = Window::new(sources.len(), 2 * sizes.most());
    let (sender, receiver) = sync_channel(sizes.most());
    std::thread::scope(|scope| {
        for _ in 0..options.workers.clamp(1, sources.len().max(1)) {
            let (sender, window, preprocessor) = (sender.clone(), &window, &preprocessor);
            scope.spawn(move || work(sources, window, preprocessor, &sender));
        }
        drop(sender);
        // However this ends, be it by a panic, the workers must not go on waiting for room.
        let _close = CloseOnDrop(&window);
        let receiver = receiver;
        collect(sources, classifier, sizes, &window, &receiver, emit)
    })
}

/// Decodes images until there are no more.
fn work(
    sources: &[Source],
    window: &Window,
    preprocessor: &Preprocessor,
    sender: &SyncSender<(usize, Loaded)>,
) {
    // A worker that panics takes the image in its hand with it.
    let close = CloseOnDrop(window);
    while let Some(index) = window.claim() {
        let tensor = read(&sources[index]).map(|pixels| preprocessor.tensor(pixels));
        if sender.send((index, tensor)).is_err() {
            break;
        }
    }
    // No more images: others may still have work in hand, and the window is at its end anyway.
    std::mem::forget(close);
}

/// Ends the whole work when it goes out of scope, a panic included: nobody then waits for what will
/// never come.
struct CloseOnDrop<'a>(&'a Window);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Reads the image a source means; the error is a text for its record.
pub fn read(source: &Source) -> Result<Pixels, String> {
    match source {
        Source::File(path) => images::read(path).map_err(|e| e.to_string()),
        Source::Stdin => {
            let mut bytes = Vec::new();
            let read = std::io::stdin()
                .lock()
                .take(images::MAX_FILE_BYTES + 1)
                .read_to_end(&mut bytes);
            read.map_err(|e| e.to_string())
                .and_then(|_| images::decode(&bytes).map_err(|e| e.to_string()))
        }
        Source::Unusable { reason, .. } => Err(reason.clone()),
    }
}

/// Puts the tensors in order, runs the batches and emits the records.
fn collect(
    sources: &[Source],
    classifier: &mut dyn Classifier,
    mut sizes: Sizes,
    window: &Window,
    receiver: &Receiver<(usize, Loaded)>,
    emit: &mut dyn FnMut(Record) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let classes = classifier.spec().labels.len();
    let mut early = BTreeMap::new();
    let mut batch = Vec::new();
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
        let size = sizes.next();
        if rows == size || waiting.len() >= 2 * size || index + 1 == sources.len() {
            let began = Instant::now();
            let probabilities = match classified(classifier, &batch) {
                Ok(probabilities) => {
                    sizes.took(rows, began.elapsed());
                    probabilities
                }
                // A larger batch than the device has memory for: in parts of the size before.
                Err(e) => match sizes.failed() {
                    Some(smaller) => in_parts(classifier, &batch, smaller)?,
                    None => return Err(e.into()),
                },
            };
            let mut answers = probabilities.chunks_exact(classes);
            for (index, outcome) in waiting.drain(..) {
                let outcome =
                    outcome.and_then(|()| Prediction::new(answers.next().unwrap_or_default()));
                emit(Record {
                    path: sources[index].name(),
                    outcome,
                })?;
            }
            batch.clear();
            rows = 0;
        }
    }
    Ok(())
}

/// The answers to a batch, which may be empty.
fn classified(classifier: &mut dyn Classifier, batch: &[f32]) -> Result<Vec<f32>, EngineError> {
    if batch.is_empty() {
        Ok(Vec::new())
    } else {
        classifier.classify(batch)
    }
}

/// The answers to a batch by batches of at most `size` images.
fn in_parts(
    classifier: &mut dyn Classifier,
    batch: &[f32],
    size: usize,
) -> Result<Vec<f32>, EngineError> {
    let mut answers = Vec::new();
    for part in batch.chunks(size * classifier.spec().image_len()) {
        answers.extend(classifier.classify(part)?);
    }
    Ok(answers)
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
        Self {
            len,
            ahead,
            state: Mutex::new(State { next: 0, taken: 0 }),
            room: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next image to decode, when there is room for it.
    fn claim(&self) -> Option<usize> {
        let full = |s: &mut State| s.next < self.len && s.next >= s.taken + self.ahead;
        let mut state = self
            .room
            .wait_while(self.lock(), full)
            .unwrap_or_else(PoisonError::into_inner);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Description;
    use crate::spec::{Layout, ModelSpec, OutputKind, Resize};
    use std::path::PathBuf;

    /// Answers with the mean of each image's pixels, and may fail on the n-th batch.
    struct Fake {
        spec: ModelSpec,
        description: Description,
        batches: Vec<usize>,
        fails_on: Option<usize>,
    }

    impl Fake {
        fn new(fixed_batch: Option<usize>, fails_on: Option<usize>) -> Self {
            let spec = ModelSpec {
                labels: vec!["dark".into(), "light".into()],
                layout: Layout::Nhwc,
                width: 2,
                height: 2,
                channels: 1,
                scale: 1.0 / 255.0,
                mean: Vec::new(),
                std: Vec::new(),
                resize: Resize::Nearest,
                output: OutputKind::Probabilities,
                calibration: crate::calibration::Calibration::NONE,
                fixed_batch,
                assumed: Vec::new(),
            };
            let description = Description {
                engine: "fake",
                provider: "cpu".into(),
                model: "fake".into(),
                library: String::new(),
                notes: Vec::new(),
            };
            Self {
                spec,
                description,
                batches: Vec::new(),
                fails_on,
            }
        }
    }

    impl Classifier for Fake {
        fn spec(&self) -> &ModelSpec {
            &self.spec
        }
        fn description(&self) -> &Description {
            &self.description
        }
        fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
            if self.fails_on == Some(self.batches.len()) {
                return Err(EngineError::Run {
                    model: "fake".into(),
                    engine: "a test".into(),
                    reason: "the fake fails".into(),
                });
            }
            self.batches.push(n);
            let mean = |image: &[f32]| image.iter().sum::<f32>() / image.len() as f32;
            Ok(input
                .chunks_exact(4)
                .map(mean)
                .flat_map(|m| [1.0 - m, m])
                .collect())
        }
    }

    /// `count` images, each of its own gray; the index tells the gray. Every seventh is no image.
    fn images(folder: &std::path::Path, count: usize) -> Vec<Source> {
        let image = |i: usize| {
            let path: PathBuf = folder.join(format!("{i}.pgm"));
            let bytes = if i % 7 == 3 {
                b"no image".to_vec()
            } else {
                [b"P5 2 2 255\n", &[i as u8; 4][..]].concat()
            };
            std::fs::write(&path, bytes).unwrap();
            Source::File(path)
        };
        (0..count).map(image).collect()
    }

    fn run_fake(
        fake: &mut Fake,
        sources: &[Source],
        batch_size: usize,
    ) -> (Vec<Record>, Result<(), RunError>) {
        let mut records = Vec::new();
        let options = Options {
            batch_size: BatchSize::Fixed(batch_size),
            workers: 4,
        };
        let result = run(sources, fake, options, &mut |record| {
            records.push(record);
            Ok(())
        });
        (records, result)
    }

    #[test]
    fn records_keep_the_order_whatever_the_batch() {
        let folder = tempfile::tempdir().unwrap();
        let sources = images(folder.path(), 100);
        for (batch_size, fixed) in [(1, None), (3, None), (64, None), (1000, None), (8, Some(5))] {
            let mut fake = Fake::new(fixed, None);
            let (records, result) = run_fake(&mut fake, &sources, batch_size);
            result.unwrap();
            assert_eq!(records.len(), 100);
            for (i, record) in records.iter().enumerate() {
                assert_eq!(record.path, sources[i].name());
                match &record.outcome {
                    Ok(p) => assert!(
                        (p.probabilities[1] - i as f32 / 255.0).abs() < 1e-6,
                        "image {i}: {p:?}"
                    ),
                    Err(_) => assert_eq!(i % 7, 3),
                }
            }
            assert!(
                fake.batches
                    .iter()
                    .all(|n| fixed.map_or(*n <= batch_size, |f| *n == f)),
                "{:?}",
                fake.batches
            );
        }
    }

    #[test]
    fn an_engine_that_fails_ends_the_run_after_what_was_answered() {
        let folder = tempfile::tempdir().unwrap();
        let sources = images(folder.path(), 50);
        let (records, result) = run_fake(&mut Fake::new(None, Some(2)), &sources, 8);
        assert!(matches!(result, Err(RunError::Engine(_))));
        assert!(
            (16..40).contains(&records.len()),
            "two batches and their errors: {}",
            records.len()
        );
    }

    #[test]
    fn an_engine_that_panics_hangs_nothing() {
        struct Panics(Fake);
        impl Classifier for Panics {
            fn spec(&self) -> &ModelSpec {
                self.0.spec()
            }
            fn description(&self) -> &Description {
                self.0.description()
            }
            fn forward(&mut self, _: &[f32], _: usize) -> Result<Vec<f32>, EngineError> {
                panic!("the engine panics, as the test wants");
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let sources = images(folder.path(), 200);
        let mut engine = Panics(Fake::new(None, None));
        let options = Options {
            batch_size: BatchSize::Fixed(2),
            workers: 2,
        };
        let run =
            std::panic::AssertUnwindSafe(|| run(&sources, &mut engine, options, &mut |_| Ok(())));
        assert!(
            std::panic::catch_unwind(run).is_err(),
            "and it ends, rather than hang"
        );
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let sources = images(folder.path(), 50);
        let mut seen = 0;
        let result = run(
            &sources,
            &mut Fake::new(None, None),
            Options {
                batch_size: BatchSize::Fixed(4),
                workers: 3,
            },
            &mut |_| {
                seen += 1;
                if seen == 5 {
                    Err(std::io::ErrorKind::BrokenPipe.into())
                } else {
                    Ok(())
                }
            },
        );
        assert!(matches!(result, Err(RunError::Output(_))));
        assert_eq!(seen, 5);
    }

    #[test]
    fn no_images_no_batches() {
        let mut fake = Fake::new(None, None);
        assert!(run_fake(&mut fake, &[], 8).0.is_empty());
        let bad = vec![
            Source::Unusable {
                path: "x".into(),
                reason: "y".into()
            };
            40
        ];
        assert_eq!(run_fake(&mut fake, &bad, 8).0.len(), 40);
        assert!(fake.batches.is_empty());
    }
}
