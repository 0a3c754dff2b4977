//! Shared by the tests of this crate: a classifier that needs no engine.

use std::sync::{Arc, Mutex};

use crate::calibration::Calibration;
use crate::classifier::{Classifier, Description, EngineError};
use crate::session::{Session, SessionOptions};
use crate::spec::{InputSpec, Layout, ModelSpec, OutputKind};

/// Takes gray images of 2 × 2 pixels. The probability of `light` is the mean of an image's pixels.
pub(crate) struct Fake {
    pub(crate) spec: ModelSpec,
    description: Description,
    /// The size of each batch so far.
    pub(crate) batches: Arc<Mutex<Vec<usize>>>,
    /// The batch that fails, counted from 0, and whether it panics.
    pub(crate) fails_on: Option<(usize, bool)>,
    /// It gets through that batch when it is asked again.
    pub(crate) fails_once: bool,
    /// A batch waits until it can lock this.
    pub(crate) gate: Arc<Mutex<()>>,
}

impl Fake {
    pub(crate) fn new(fixed_batch: Option<usize>) -> Self {
        let spec = ModelSpec {
            labels: vec!["dark".into(), "light".into()],
            input: InputSpec::new(Layout::Nhwc, 2, 2, 1),
            output: OutputKind::Probabilities,
            calibration: Calibration::NONE,
            crop: None,
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
            batches: Arc::default(),
            fails_on: None,
            gate: Arc::default(),
            fails_once: false,
        }
    }

    pub(crate) fn session(self) -> Session {
        Session::start(Box::new(self), SessionOptions::default()).unwrap()
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
        let mut batches = self.batches.lock().unwrap();
        match self.fails_on {
            Some((batch, true)) if batch == batches.len() => {
                drop(batches);
                panic!("the engine panics, as the test wants")
            }
            Some((batch, false)) if batch == batches.len() => {
                if self.fails_once {
                    self.fails_on = None;
                }
                return Err(EngineError::Run {
                    model: "fake".into(),
                    engine: "fake".into(),
                    reason: "the test wants it".into(),
                });
            }
            _ => batches.push(n),
        }
        drop(batches);
        drop(self.gate.lock().unwrap());
        let mean = |image: &[f32]| image.iter().sum::<f32>() / image.len() as f32;
        let light = input.chunks_exact(4).map(mean);
        Ok(light.flat_map(|m| [1.0 - m, m]).collect())
    }
}
