//! The models of a service, by name. A newer file takes a model's place between two requests.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fer_core::classifier::{Classifier, Description, EngineError};
use fer_core::panics;
use fer_core::preprocess::Preprocessor;
use fer_core::session::{Session, SessionOptions};
use fer_core::spec::ModelSpec;
use fer_faces::{Crop, FRAME};

use crate::metrics::Metrics;
use crate::settings::{Limits, Log};

/// Why a model can't be loaded.
pub type LoadFailure = Box<dyn Error + Send + Sync>;

/// Loads a model; `None` if nothing has changed since it was loaded last, unless its argument says
/// that it has to be loaded all the same.
type Load = Box<dyn FnMut(bool) -> Result<Option<Box<dyn Classifier>>, LoadFailure> + Send>;

/// A model that a service offers.
pub struct Source {
    /// Its name in requests.
    pub name: String,
    /// Loads it, at the start and at each [`reload`](crate::Control::reload).
    pub load: Load,
}

/// What became of a model at a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// Its name in requests.
    pub name: String,
    /// Whether it was loaded anew, as its file had changed or its engine had stopped; or why it
    /// could not be, so that the one loaded before goes on.
    pub outcome: Result<bool, LoadFailure>,
}

/// A model that is ready.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) session: Session,
    pub(crate) preprocessor: Preprocessor,
    pub(crate) crop: Crop,
    /// Whether it reads faces, so that pictures are searched for them.
    pub(crate) reads_faces: bool,
}

impl Model {
    pub(crate) fn spec(&self) -> &ModelSpec {
        self.session.spec()
    }
}

/// The models by name.
pub(crate) struct Models {
    /// The one that requests which name none get.
    default: String,
    ready: RwLock<BTreeMap<String, Arc<Model>>>,
    sources: Mutex<Vec<Source>>,
    opening: Opening,
}

/// What all models are opened with.
struct Opening {
    options: SessionOptions,
    metrics: Arc<Metrics>,
    log: Log,
}

impl Models {
    /// Loads all of them; the first is the default one.
    ///
    /// # Errors
    /// The name of the first that can't be loaded, and why.
    pub(crate) fn load(
        mut sources: Vec<Source>,
        limits: &Limits,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> Result<Self, (String, LoadFailure)> {
        let opening = Opening {
            options: SessionOptions {
                max_batch: limits.max_batch.max(1),
                max_wait: limits.max_wait,
                // Each picture of each request may wait.
                queue: limits.queue.saturating_mul(limits.files).clamp(1, 1 << 16),
            },
            metrics,
            log,
        };
        let mut ready = BTreeMap::new();
        for source in &mut sources {
            let loaded = opening.load(source, false);
            let model = loaded.and_then(|model| model.ok_or("nothing was loaded".into()));
            let model = model.map_err(|e| (source.name.clone(), e))?;
            ready.insert(source.name.clone(), model);
        }
        let default = sources.first().map(|source| source.name.clone());
        Ok(Self {
            default: default.ok_or((String::new(), LoadFailure::from("there is no model")))?,
            ready: RwLock::new(ready),
            sources: Mutex::new(sources),
            opening,
        })
    }

    /// The model of a name, or the default one.
    pub(crate) fn get(&self, name: Option<&str>) -> Option<Arc<Model>> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        ready.get(name.unwrap_or(&self.default)).cloned()
    }

    /// All models, the default one first.
    pub(crate) fn all(&self) -> Vec<Arc<Model>> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = ready.values().cloned().collect();
        all.sort_by_key(|model| model.name != self.default);
        all
    }

    /// The first whose engine has stopped.
    pub(crate) fn stopped(&self) -> Option<Arc<Model>> {
        let mut all = self.all().into_iter();
        all.find(|model| model.session.is_stopped())
    }

    /// Loads those anew whose files have changed or whose engines have stopped. Requests that have
    /// a model keep it; it ends with the last of them.
    pub(crate) fn reload(&self) -> Vec<Reloaded> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let reload = |source: &mut Source| {
            let model = self.get(Some(&source.name));
            let is_stopped = model.is_some_and(|model| model.session.is_stopped());
            let outcome = self.opening.load(source, is_stopped).map(|model| {
                let changed = model.is_some();
                if let Some(model) = model {
                    self.opening.metrics.reload(&source.name, false);
                    self.replace(model);
                }
                changed
            });
            if outcome.is_err() {
                self.opening.metrics.reload(&source.name, true);
            }
            Reloaded {
                name: source.name.clone(),
                outcome,
            }
        };
        sources.iter_mut().map(reload).collect()
    }

    /// Puts a model in the place of the one of its name, and waits here, not where requests are
    /// answered, until nobody uses that any more.
    fn replace(&self, model: Arc<Model>) {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        let old = ready.insert(model.name.clone(), model);
        drop(ready);
        while old.as_ref().is_some_and(|old| Arc::strong_count(old) > 1) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Opening {
    /// Loads a model and opens it; `None` if nothing has changed and it is not loaded
    /// `all_the_same`. A panic of what reads the file is a failure like any other, so that a later
    /// reload can go on.
    fn load(
        &self,
        source: &mut Source,
        all_the_same: bool,
    ) -> Result<Option<Arc<Model>>, LoadFailure> {
        let loaded = panics::caught(|| {
            let classifier = (source.load)(all_the_same)?;
            let model = classifier.map(|c| self.open(&source.name, c));
            model.transpose()
        });
        loaded.unwrap_or_else(|panic| Err(format!("loading it panicked: {panic}").into()))
    }

    /// Starts a thread for a model, once it has shown on an image of zeros that it runs.
    fn open(
        &self,
        name: &str,
        mut classifier: Box<dyn Classifier>,
    ) -> Result<Arc<Model>, LoadFailure> {
        let image = vec![0.0; classifier.spec().image_len()];
        classifier.classify(&image)?;
        let counted = Counted {
            inner: classifier,
            name: name.to_owned(),
            metrics: self.metrics.clone(),
            log: self.log.clone(),
        };
        let session = Session::start(Box::new(counted), self.options)?;
        let spec = session.spec();
        Ok(Arc::new(Model {
            name: name.to_owned(),
            preprocessor: Preprocessor::new(&spec.input),
            crop: Crop {
                frame: spec.crop.unwrap_or(FRAME),
                size: [spec.input.width, spec.input.height],
            },
            reads_faces: spec.reads_faces(),
            session,
        }))
    }
}

/// A classifier whose batches are counted and whose failures are logged.
struct Counted {
    inner: Box<dyn Classifier>,
    name: String,
    metrics: Arc<Metrics>,
    log: Log,
}

impl Classifier for Counted {
    fn spec(&self) -> &ModelSpec {
        self.inner.spec()
    }

    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
        let began = Instant::now();
        let output = self.inner.forward(input, n);
        let took = began.elapsed();
        self.metrics.batch(&self.name, n, took, output.is_err());
        if let Err(error) = &output {
            (self.log)(&error.to_string());
        }
        output
    }
}
