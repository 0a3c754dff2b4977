//! A service with a classifier and a detector that need no engine.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fer_core::calibration::Calibration;
use fer_core::classifier::{Classifier, Description, EngineError};
use fer_core::spec::{InputSpec, Layout, ModelSpec, OutputKind};
use fer_faces::{ANCHOR, Network, NetworkError, STRIDES, anchor_count};
use fer_serve::{Control, Service, Settings, Source};

/// Takes gray images of 2 × 2 pixels. The probability of `happy` is the mean of an image's pixels,
/// times a factor.
pub struct Fake {
    spec: ModelSpec,
    description: Description,
    switches: Switches,
    factor: f32,
}

/// What a test sees and changes of a running server's model.
#[derive(Clone, Default)]
pub struct Switches {
    /// A batch waits until it can lock this.
    pub gate: Arc<Mutex<()>>,
    /// The sizes of all batches.
    pub batches: Arc<Mutex<Vec<usize>>>,
    /// Whether batches fail.
    pub fails: Arc<AtomicBool>,
    /// Whether they panic.
    pub panics: Arc<AtomicBool>,
}

impl Fake {
    pub fn new(switches: &Switches, factor: f32) -> Self {
        Self {
            spec: ModelSpec {
                labels: vec!["happy".into(), "sad".into()],
                input: InputSpec::new(Layout::Nhwc, 2, 2, 1),
                output: OutputKind::Probabilities,
                calibration: Calibration::NONE,
                crop: None,
                fixed_batch: None,
                assumed: Vec::new(),
            },
            description: Description {
                engine: "fake",
                provider: "cpu".into(),
                model: "/secret/path/fake.onnx".into(),
                library: "/secret/library.so".into(),
                notes: Vec::new(),
            },
            switches: switches.clone(),
            factor,
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
        self.switches.batches.lock().unwrap().push(n);
        drop(self.switches.gate.lock().unwrap());
        let panics = self.switches.panics.load(Ordering::Relaxed);
        assert!(!panics, "the test wants it");
        if self.switches.fails.load(Ordering::Relaxed) {
            return Err(EngineError::Run {
                model: self.description.model.clone(),
                engine: "fake".into(),
                reason: "the test wants it".into(),
            });
        }
        let mean = |image: &[f32]| self.factor * image.iter().sum::<f32>() / 4.0;
        let happy = input.chunks_exact(4).map(mean);
        Ok(happy.flat_map(|p| [p, 1.0 - p]).collect())
    }
}

/// Finds one face, of 48 pixels about (48, 48), in every picture that is not black.
pub struct OneFace;

impl Network for OneFace {
    fn anchors(&self, image: Vec<f32>, size: [usize; 2]) -> Result<Vec<f32>, NetworkError> {
        let mut anchors = vec![0.0; anchor_count(size) * ANCHOR];
        if image.iter().any(|v| *v > 10.0) {
            let before: usize = STRIDES[..2]
                .iter()
                .map(|s| (size[0] / s) * (size[1] / s))
                .sum();
            let place = (before + size[0] / 32 + 1) * ANCHOR;
            let side = 1.5f32.ln();
            anchors[place..place + 6].copy_from_slice(&[0.9, 0.9, 0.5, 0.5, side, side]);
        }
        Ok(anchors)
    }
}

/// A running service, stopped when it goes out of scope.
pub struct Server {
    pub address: SocketAddr,
    pub control: Control,
    pub switches: Switches,
    pub log: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let switches = Switches::default();
        let one = |name: &str| {
            let mut fake = Some(Fake::new(&switches, 1.0));
            Source {
                name: name.into(),
                load: Box::new(move |_| Ok(fake.take().map(|f| Box::new(f) as _))),
            }
        };
        let sources = vec![one("first"), one("second")];
        Self::of(sources, &switches, change)
    }

    pub fn of(
        sources: Vec<Source>,
        switches: &Switches,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = log.clone();
        let mut settings = Settings {
            log: Arc::new(move |line| lines.lock().unwrap().push(line.into())),
            ..Settings::default()
        };
        change(&mut settings);
        let service = Service::open(settings, sources, Some(Arc::new(OneFace))).unwrap();
        switches.batches.lock().unwrap().clear();
        let control = service.control();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || service.run(listener).unwrap());
        Self {
            address,
            control,
            switches: switches.clone(),
            log,
            thread: Some(thread),
        }
    }

    /// Waits until the service has ended.
    pub fn join(&mut self) {
        let thread = self.thread.take();
        thread.into_iter().for_each(|thread| thread.join().unwrap());
    }

    pub fn batches(&self) -> Vec<usize> {
        self.switches.batches.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.stop();
        if !std::thread::panicking() {
            self.join();
        }
    }
}

/// A gray picture of one brightness (PGM).
pub fn picture(width: usize, height: usize, level: u8) -> Vec<u8> {
    let mut bytes = format!("P5 {width} {height} 255\n").into_bytes();
    bytes.resize(bytes.len() + width * height, level);
    bytes
}

/// Waits for a condition that other threads bring about.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
