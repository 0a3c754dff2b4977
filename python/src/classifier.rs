//! A loaded model, and the faces it is asked about.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use fer::device::DeviceSpec;
use fer::faces::{
    Crop, Detector, DetectorRef, FRAME, Faces, Place, SearchOptions, When, guessed_crop,
};
use fer::host::Host;
use fer::ort::{Provider, ProviderOptions};
use fer::prediction::Prediction;
use fer::session::Session;
use fer::spec::parse_override;
use fer::stream::{ItemError, Observation, Reduce, Stream, StreamError, StreamOptions};
use fer::{Backend, LoadOptions, ModelRef};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;

use super::pictures::Picture;

create_exception!(fer_rs, FerError, PyException, "An error of fer.");
create_exception!(
    fer_rs,
    ModelError,
    FerError,
    "A model that can't be loaded: it is not there, damaged, or no engine runs it."
);
create_exception!(
    fer_rs,
    EngineError,
    FerError,
    "The engine failed at its work."
);
create_exception!(
    fer_rs,
    ImageError,
    FerError,
    "A picture that has no prediction."
);

/// How long the work goes on before Python is asked whether the user interrupts it.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(100);

/// A face as Python gets it: box, score, landmarks, then class and probabilities, or an error.
type Face = (
    [f32; 4],
    Option<f32>,
    Option<[[f32; 2]; 5]>,
    Option<(usize, Vec<f32>)>,
    Option<String>,
);

/// A picture as Python gets it: why it has no faces, its width and height in pixels, its faces.
type Seen = (Option<String>, usize, usize, Vec<Face>);

/// A loaded model. Any number of threads may use it at once.
#[pyclass(frozen, module = "fer_rs._fer", name = "NativeClassifier")]
pub struct NativeClassifier {
    session: Session,
    /// `None` where whole pictures are classified.
    faces: Option<Faces<'static>>,
    options: StreamOptions,
}

#[pymethods]
impl NativeClassifier {
    /// Loads a model; what `fer_rs.Classifier` documents.
    #[new]
    #[pyo3(signature = (
        *, model, engine, provider, faces, threads, library, detector, min_score, min_face,
        max_faces, small_faces, meta
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        model: Option<String>,
        engine: &str,
        provider: &str,
        faces: &str,
        threads: Option<usize>,
        library: Option<PathBuf>,
        detector: Option<PathBuf>,
        min_score: Option<f32>,
        min_face: Option<f32>,
        max_faces: Option<usize>,
        small_faces: bool,
        meta: Vec<(String, String)>,
    ) -> PyResult<Self> {
        let backend = backend(engine, provider, library)?;
        let meta = meta
            .iter()
            .map(|(key, value)| parse_override(&format!("{key}={value}")))
            .collect::<Result<_, _>>()
            .map_err(PyValueError::new_err)?;
        let options = LoadOptions {
            backend: backend.clone(),
            threads,
            meta,
            ..LoadOptions::default()
        };
        let host = Host::from_env();
        let model_error = |e: fer::LoadError| ModelError::new_err(e.to_string());
        let session = py
            .detach(|| {
                let model = model
                    .as_deref()
                    .map_or_else(ModelRef::default_model, ModelRef::find)?;
                fer::open(&model, &options, &host)
            })
            .map_err(model_error)?;
        let spec = session.spec();
        let when = match faces {
            "always" => Some(When::Always),
            "auto" => spec.reads_faces().then_some(When::Auto),
            "never" => None,
            other => {
                return Err(PyValueError::new_err(format!(
                    "faces is 'auto', 'always' or 'never', not '{other}'"
                )));
            }
        };
        let mut search = SearchOptions {
            max_faces,
            small_faces,
            ..SearchOptions::default()
        };
        if let Some(score) = min_score {
            search.min_score = score;
        }
        if let Some(side) = min_face {
            search.min_face = side;
        }
        let crop = Crop {
            frame: spec.crop.unwrap_or(FRAME),
            size: [spec.input.width, spec.input.height],
        };
        let which = match detector {
            Some(path) => DetectorRef::Onnx(path),
            None => DetectorRef::Builtin,
        };
        let named = matches!(which, DetectorRef::Onnx(_));
        let faces = when.map(|when| {
            let load = move || Detector::load(&which, &backend, threads, &host);
            Faces::new(when, search, crop, load)
        });
        let faces = match faces {
            // A file that does not fit is an error before the first picture.
            Some(faces) if named => Some(py.detach(|| faces.loaded()).map_err(model_error)?),
            faces => faces,
        };
        Ok(Self {
            session,
            faces,
            options: StreamOptions {
                workers: threads.unwrap_or_else(fer::cores).max(1),
                ..StreamOptions::default()
            },
        })
    }

    /// The class names, in the order of the probabilities.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.session.spec().labels.clone()
    }

    /// What runs: model, engine, provider, library, and notes for the user.
    #[getter]
    fn description(&self) -> (String, &'static str, String, String, Vec<String>) {
        let d = self.session.description();
        let guess = self
            .faces
            .as_ref()
            .and_then(|_| guessed_crop(self.session.spec()));
        let notes = d.notes.iter().chain(&guess);
        let notes = notes.map(ToString::to_string).collect();
        let provider = d.provider.clone();
        (
            d.model.clone(),
            d.engine,
            provider,
            d.library.clone(),
            notes,
        )
    }

    /// Classifies pictures. `whole` does not search for faces.
    fn run(&self, py: Python<'_>, pictures: Vec<Picture>, whole: bool) -> PyResult<Vec<Seen>> {
        py.detach(|| match &self.faces {
            Some(faces) if !whole => {
                let stream = Stream {
                    session: &self.session,
                    locate: faces,
                    reduce: Reduce::Each,
                    options: self.options,
                };
                observed(pictures.len(), |sink| stream.run(pictures, sink))
            }
            _ => {
                let stream = Stream::whole(&self.session, self.options);
                observed(pictures.len(), |sink| stream.run(pictures, sink))
            }
        })
    }
}

/// Where the model runs.
fn backend(engine: &str, provider: &str, library: Option<PathBuf>) -> PyResult<Backend> {
    let provider =
        Provider::from_str(provider).map_err(|e| PyValueError::new_err(e.to_string()))?;
    match engine {
        "auto" if provider == Provider::Cpu => Ok(Backend::Auto { library }),
        "auto" | "ort" => Ok(Backend::Ort {
            provider,
            options: ProviderOptions::default(),
            library,
        }),
        "burn" if provider == Provider::Cpu => Ok(Backend::Burn(DeviceSpec::default())),
        "burn" => Err(PyValueError::new_err(format!(
            "provider '{provider}' belongs to engine 'ort'"
        ))),
        other => Err(PyValueError::new_err(format!(
            "engine is 'auto', 'ort' or 'burn', not '{other}'"
        ))),
    }
}

/// Where a face is, as Python gets it.
trait Located {
    fn located(self, width: usize, height: usize)
    -> ([f32; 4], Option<f32>, Option<[[f32; 2]; 5]>);
}

impl Located for () {
    fn located(
        self,
        width: usize,
        height: usize,
    ) -> ([f32; 4], Option<f32>, Option<[[f32; 2]; 5]>) {
        ([0.0, 0.0, width as f32, height as f32], None, None)
    }
}

impl Located for Place {
    fn located(
        self,
        width: usize,
        height: usize,
    ) -> ([f32; 4], Option<f32>, Option<[[f32; 2]; 5]>) {
        match self {
            Self::Whole => ().located(width, height),
            Self::Face(f) => ([f.x, f.y, f.w, f.h], Some(f.score), Some(f.landmarks)),
        }
    }
}

/// Takes what a stream of `n` pictures observes. Ends early if Python has a signal to handle, as
/// Ctrl-C is.
fn observed<P: Located>(
    n: usize,
    run: impl FnOnce(
        &mut dyn FnMut(Observation<Picture, P>) -> std::io::Result<()>,
    ) -> Result<(), StreamError>,
) -> PyResult<Vec<Seen>> {
    let mut all = Vec::with_capacity(n);
    let mut asked = Instant::now();
    let mut interrupted = None;
    let ended = run(&mut |observation| {
        all.push(match observation.outcome {
            Err(e) => (Some(e.to_string()), 0, 0, Vec::new()),
            Ok(seen) => {
                let (width, height) = (seen.width, seen.height);
                let face = |(place, outcome): (P, Result<Prediction, ItemError>)| {
                    let (bounds, score, landmarks) = place.located(width, height);
                    let (prediction, error) = match outcome {
                        Ok(p) => (Some((p.class, p.probabilities)), None),
                        Err(e) => (None, Some(e.to_string())),
                    };
                    (bounds, score, landmarks, prediction, error)
                };
                let faces = seen.predictions.into_iter().map(face).collect();
                (None, width, height, faces)
            }
        });
        if asked.elapsed() > BETWEEN_SIGNALS {
            asked = Instant::now();
            Python::attach(|py| py.check_signals()).map_err(|e| {
                interrupted = Some(e);
                std::io::Error::from(std::io::ErrorKind::Interrupted)
            })?;
        }
        Ok(())
    });
    match (interrupted, ended) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(all),
        (None, Err(error)) => Err(EngineError::new_err(error.to_string())),
    }
}
