//! A classifier in 8-bit integers: quantized by what its answers lose on training images, measured
//! on others, and written if it keeps its labels.
//!
//! ```text
//! training images → activations → ranges, weights, biases (search) → QDQ file
//! held-out images → answers of both files → Comparison → written, or not
//! ```

mod images;
mod lab;
mod search;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fer_core::calibration::{self, Calibration};
use fer_core::classifier::EngineError;
use fer_core::files;
use fer_core::host::Host;
use fer_core::onnx::{self, OnnxError};
use fer_core::preprocess::Preprocessor;
use fer_core::session::{Session, SessionOptions as Joining};
use fer_core::spec::{ModelSpec, OutputKind};
use fer_core::stream::{Item, Stream, StreamError, StreamOptions};
use fer_ort::{ModelSource, OrtError, Provider, ProviderOptions, library, runtime};
use fer_quantize::FloatNetwork;
pub use fer_quantize::{Comparison, Figures, Method, QuantizeError};

pub use images::{Images, Picture, flat_folder};
use lab::Lab;
use search::Search;

use crate::load::{self, Backend, File, LoadOptions, ModelRef};
use crate::{LoadError, NoOnnxRuntime};

/// Metadata that is about the float32 network alone: its measured accuracy, and tensors that the
/// quantized graph does not have.
const OF_FLOAT: [&str; 3] = [
    "fer.validation.accuracy",
    "fer.validation.images",
    fer_keras::LAYERS,
];

/// How the ranges of activations are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ranges {
    /// By one method.
    By(Method),
    /// By each method, and between; each layer gets that of which the answers lose least.
    ByAnswers,
}

/// How a model is quantized, and what is allowed to be lost.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How ranges are found.
    pub ranges: Ranges,
    /// The largest share of held-out images whose label may change, 0..=1.
    pub max_changed: f64,
    /// The most by which the cross-entropy may rise, in nats.
    pub max_loss_rise: f64,
    /// Compute threads; `None` for one per core.
    pub threads: Option<usize>,
    /// ONNX Runtime's library, if the user names it.
    pub library: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ranges: Ranges::ByAnswers,
            max_changed: 0.03,
            max_loss_rise: 0.01,
            threads: None,
            library: None,
        }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The float32 network's activations are looked at.
    Activations,
    /// Weights are rounded.
    Weights,
    /// Ranges are compared.
    Ranges,
    /// Biases are corrected.
    Biases,
    /// Layers that lose most are looked for.
    Layers,
    /// Both networks classify the held-out images.
    Measuring,
}

/// A model that can be quantized.
pub struct Prepared {
    file: File,
    network: FloatNetwork,
    spec: ModelSpec,
    library: &'static library::Library,
}

/// A quantized model.
#[derive(Debug)]
pub struct Quantized {
    /// The size of the file in bytes.
    pub bytes: usize,
    /// The number of layers, and how many of them are quantized.
    pub layers: [usize; 2],
    /// The names of the layers before the last that stay in float32 because they lose most.
    pub float: Vec<String>,
    /// The number of images that it was quantized with.
    pub calibrated_on: usize,
    /// The share of these that keeps its label, and the divergence of their probabilities in nats.
    pub on_calibration: [f64; 2],
    /// The comparison on the held-out images.
    pub comparison: Comparison,
    /// The calibration of the quantized network.
    pub calibration: Calibration,
    /// Whether it was fitted again, on the held-out images.
    pub fitted: bool,
    /// Images that could not be read, with the reasons.
    pub unreadable: Vec<(String, String)>,
    /// What was lost too much of; the file was written if that is nothing.
    pub refused: Option<Refusal>,
}

/// Why a quantized model was not written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// Too many labels changed.
    Changed {
        /// The share that did.
        share: f64,
        /// The largest that was allowed.
        most: f64,
    },
    /// The cross-entropy rose too much.
    Loss {
        /// By how much, in nats.
        rise: f64,
        /// The most that was allowed.
        most: f64,
    },
}

/// A quantization that failed; no file is left of it.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeFileError {
    /// The model can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model can't be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// ONNX Runtime failed on a network that was made of it.
    #[error(transparent)]
    Ort(#[from] OrtError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine failed on the held-out images.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// An activation is NaN or infinite.
    #[error("{model}: the tensor {tensor} is not finite for a training image")]
    NotFinite {
        /// The model.
        model: String,
        /// The tensor.
        tensor: String,
    },
    /// The data has no images.
    #[error("there is no {of} image that can be read and has a class of the model's")]
    NoImages {
        /// Which kind: training or held-out.
        of: &'static str,
    },
    /// The model returns independent scores.
    #[error("{model} returns independent scores, and the loss of labels is measured on classes")]
    Scores {
        /// The model.
        model: String,
    },
    /// The system can't start a thread for the model.
    #[error("can't start a thread for the model: {0}")]
    Thread(io::Error),
    /// The file can't be written.
    #[error("can't write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Prepared {
    /// Reads a model and finds its layers. `meta` is the user's metadata.
    ///
    /// # Errors
    /// It can't be loaded or quantized, or ONNX Runtime is not there.
    pub fn open(
        model: &ModelRef,
        meta: BTreeMap<String, String>,
        settings: &Settings,
        host: &Host,
    ) -> Result<Self, QuantizeFileError> {
        let options = LoadOptions {
            backend: Backend::Ort {
                provider: Provider::Cpu,
                options: ProviderOptions::default(),
                library: settings.library.clone(),
            },
            threads: settings.threads,
            meta,
            ..LoadOptions::default()
        };
        let file = File::open(model, &options)?;
        let ModelSource::Bytes(bytes) = &file.source else {
            let model = file.name.clone();
            return Err(QuantizeError::ExternalWeights { model }.into());
        };
        let network = FloatNetwork::parse(bytes, &file.name)?;
        let found = runtime::locate(settings.library.as_deref(), host)
            .map_err(|e| LoadError::from(NoOnnxRuntime::from(e)))?;
        let library = library::open(&found).map_err(LoadError::from)?;
        // What the outputs are may be known only after the model was run.
        let spec = load::load(model, &options, host)?.spec().clone();
        if spec.output == OutputKind::Scores {
            let model = file.name.clone();
            return Err(QuantizeFileError::Scores { model });
        }
        Ok(Self {
            file,
            network,
            spec,
            library,
        })
    }

    /// What the model expects and returns.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Quantizes the model, measures it, and writes it to `target`, whole or not at all: if too
    /// much is lost, nothing is written.
    ///
    /// # Errors
    /// The data has no images, ONNX Runtime fails, or the file can't be written.
    pub fn quantize(
        &self,
        images: &Images,
        target: &Path,
        settings: &Settings,
        stage: &mut dyn FnMut(Stage),
    ) -> Result<Quantized, QuantizeFileError> {
        let mut unreadable = Vec::new();
        let lab = Lab {
            library: self.library,
            network: &self.network,
            spec: ModelSpec {
                calibration: Calibration::NONE,
                ..self.spec.clone()
            },
            threads: settings.threads,
            images: self.tensors(&images.calibration, &mut unreadable),
        };
        if lab.images.is_empty() {
            return Err(QuantizeFileError::NoImages { of: "training" });
        }
        // On images that the model was trained on, it is surer of itself than on others.
        let kept = 1.0 - settings.max_changed / 2.0;
        let found = Search::new(&lab, settings.ranges, kept, stage)?.run()?;
        stage(Stage::Measuring);
        let float = self.network.with_outputs(&[&self.network.output()])?;
        let plain = self.network.quantized(&found.plan, &BTreeMap::new())?;
        let answers = [
            self.answers(&lab, float, images)?,
            self.answers(&lab, plain, images)?,
        ];
        let measured = Measured::of(&answers, images, &mut unreadable);
        if measured.images() == 0 {
            return Err(QuantizeFileError::NoImages { of: "held-out" });
        }
        let (calibration, fitted) = self.calibration(&measured);
        let comparison = measured.compare(self.spec.calibration, calibration);
        let refused = refused(&comparison, settings);
        let layers = [
            self.network.layers.len(),
            found.plan.layers.iter().flatten().count(),
        ];
        let metadata = self.metadata(calibration, layers, lab.count(), &comparison);
        let bytes = self.network.quantized(&found.plan, &metadata)?;
        if refused.is_none() {
            self.write(&bytes, target)?;
        }
        Ok(Quantized {
            bytes: bytes.len(),
            layers,
            float: found.float,
            calibrated_on: lab.count(),
            on_calibration: [found.kept, found.lost],
            comparison,
            calibration,
            fitted,
            unreadable,
            refused,
        })
    }

    /// The tensors of the pictures that can be read.
    fn tensors(&self, pictures: &[Picture], unreadable: &mut Vec<(String, String)>) -> Vec<f32> {
        let preprocessor = Preprocessor::new(&self.spec.input);
        let mut tensors = Vec::new();
        for picture in pictures {
            match picture.load() {
                Ok(pixels) => tensors.extend(preprocessor.tensor(pixels)),
                Err(e) => unreadable.push((picture.name(), e.to_string())),
            }
        }
        tensors
    }

    /// The probabilities that a file gives for the held-out images.
    fn answers(
        &self,
        lab: &Lab<'_>,
        file: Bytes,
        images: &Images,
    ) -> Result<Vec<Result<Vec<f32>, String>>, QuantizeFileError> {
        let classifier = Box::new(lab.classifier(file)?);
        let session = Session::start(classifier, Joining::default());
        let session = session.map_err(QuantizeFileError::Thread)?;
        let mut answers = Vec::with_capacity(images.held_out.len());
        let stream = Stream::whole(&session, StreamOptions::default());
        stream.run(&images.held_out, &mut |seen| {
            let prediction = seen.prediction().map(|p| p.probabilities);
            answers.push(prediction.map_err(|e| e.to_string()));
            Ok(())
        })?;
        Ok(answers)
    }

    /// The calibration of the quantized network, fitted as that of the float32 one was, and whether
    /// it was: there have to be labels, and enough of them.
    fn calibration(&self, measured: &Measured) -> (Calibration, bool) {
        let old = self.spec.calibration;
        let Some(labels) = measured
            .labels
            .as_ref()
            .filter(|_| old != Calibration::NONE)
        else {
            return (old, false);
        };
        let labels: Option<Vec<u16>> = labels.iter().map(|l| u16::try_from(*l).ok()).collect();
        let logits: Vec<f32> = measured.quantized.iter().map(|p| p.ln()).collect();
        let fitted = labels.and_then(|labels| calibration::fit(&logits, &labels));
        fitted.map_or((old, false), |new| (new, true))
    }

    /// The file's metadata: the model's, with the new calibration and what is known of the
    /// quantization.
    fn metadata(
        &self,
        calibration: Calibration,
        [layers, quantized]: [usize; 2],
        images: usize,
        comparison: &Comparison,
    ) -> BTreeMap<String, String> {
        let spec = ModelSpec {
            calibration,
            ..self.spec.clone()
        };
        let mut rows = self.file.metadata.clone();
        for key in OF_FLOAT.iter().chain(&["fer.temperature", "fer.exponent"]) {
            rows.remove(*key);
        }
        // The file has one output and float32 at both ends.
        rows.remove("fer.output_name");
        rows.extend(spec.to_metadata());
        let known = [
            (
                "quantized",
                format!("int8 (QDQ), {quantized} of {layers} layers"),
            ),
            ("quantized.images", images.to_string()),
            ("quantized.labels_kept", format!("{:.6}", comparison.kept())),
        ];
        let accuracy = comparison
            .quantized
            .accuracy
            .into_iter()
            .flat_map(|accuracy| {
                [
                    ("validation.accuracy", format!("{accuracy:.6}")),
                    ("validation.images", comparison.images.to_string()),
                ]
            });
        let known = known.into_iter().chain(accuracy);
        rows.extend(known.map(|(key, value)| (format!("fer.{key}"), value)));
        rows
    }

    /// Writes the file, after its header was read as what the model is.
    fn write(&self, bytes: &Bytes, target: &Path) -> Result<(), QuantizeFileError> {
        let name = target.display().to_string();
        let header = onnx::read_header(bytes, &name).map_err(QuantizeError::Onnx)?;
        let read = ModelSpec::resolve(&header, &BTreeMap::new(), &name);
        let read = read.map_err(|e| QuantizeFileError::Load(LoadError::Spec(e)))?;
        if (&read.labels, &read.input) != (&self.spec.labels, &self.spec.input) {
            let reason = "its metadata does not come back as it was written".into();
            let damaged = OnnxError::Malformed { path: name, reason };
            return Err(QuantizeError::Onnx(damaged).into());
        }
        files::write(target, bytes).map_err(|source| QuantizeFileError::Write {
            path: target.into(),
            source,
        })
    }
}

/// Both networks' probabilities for the images that both classified.
struct Measured {
    classes: usize,
    float: Vec<f32>,
    quantized: Vec<f32>,
    labels: Option<Vec<usize>>,
}

impl Measured {
    fn of(
        [float, quantized]: &[Vec<Result<Vec<f32>, String>>; 2],
        images: &Images,
        unreadable: &mut Vec<(String, String)>,
    ) -> Self {
        let mut measured = Self {
            classes: 0,
            float: Vec::new(),
            quantized: Vec::new(),
            labels: images.labels.as_ref().map(|_| Vec::new()),
        };
        for (i, answers) in float.iter().zip(quantized).enumerate() {
            match answers {
                (Ok(float), Ok(quantized)) => {
                    measured.classes = float.len();
                    measured.float.extend(float);
                    measured.quantized.extend(quantized);
                    if let (Some(own), Some(all)) = (&mut measured.labels, &images.labels) {
                        own.extend(all.get(i));
                    }
                }
                (Err(e), _) | (_, Err(e)) => {
                    unreadable.push((images.held_out[i].name(), e.clone()));
                }
            }
        }
        measured
    }

    fn images(&self) -> usize {
        self.float.len() / self.classes.max(1)
    }

    fn compare(&self, float: Calibration, quantized: Calibration) -> Comparison {
        Comparison::of(
            (&self.float, float),
            (&self.quantized, quantized),
            self.classes,
            self.labels.as_deref(),
        )
    }
}

/// What is lost too much of.
fn refused(comparison: &Comparison, settings: &Settings) -> Option<Refusal> {
    let (share, rise) = (1.0 - comparison.kept(), comparison.loss_rise());
    if share > settings.max_changed {
        let most = settings.max_changed;
        return Some(Refusal::Changed { share, most });
    }
    // NaN is not below anything.
    let within = rise <= settings.max_loss_rise;
    (!within).then_some(Refusal::Loss {
        rise,
        most: settings.max_loss_rise,
    })
}
