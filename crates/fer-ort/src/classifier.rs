//! The `ort` engine: any ONNX image classifier through ONNX Runtime, on the requested provider or
//! not at all.

use std::path::PathBuf;

use bytes::Bytes;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;

use fer_core::classifier::{Classifier, Description, EngineError, Note};
use fer_core::spec::ModelSpec;

use crate::error::OrtError;
use crate::library::Library;
use crate::placement;
use crate::{Provider, ProviderOptions};

/// The source of a session's model.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// An ONNX file's bytes.
    Bytes(Bytes),
    /// An ONNX file with weights in other files.
    Path(PathBuf),
}

/// How a session runs.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions<'a> {
    /// The execution provider.
    pub provider: Provider,
    /// Its options.
    pub provider_options: &'a ProviderOptions,
    /// Threads of the CPU's operators; `None` for one per core.
    pub threads: Option<usize>,
    /// How many images there will be, if known.
    pub images: Option<usize>,
}

/// For up to this many images, a session is built without the CPU's blocked memory layouts. For the
/// notebook model they take 30 ms to prepare and save 2 ms per image.
const FEW_IMAGES: usize = 16;

/// A model in an ONNX Runtime session.
pub struct OrtClassifier {
    session: Session,
    spec: ModelSpec,
    description: Description,
}

impl OrtClassifier {
    /// Starts a session. On any provider but the CPU, runs it once to see where each operator was
    /// placed.
    ///
    /// # Errors
    /// The library lacks the provider, the provider can't start or runs none of the model's
    /// operators, or ONNX Runtime rejects the model.
    pub fn load(
        library: &'static Library,
        source: &ModelSource,
        name: &str,
        spec: ModelSpec,
        options: &SessionOptions<'_>,
        notes: Vec<Note>,
    ) -> Result<Self, OrtError> {
        let shape = spec.input_shape(spec.fixed_batch.unwrap_or(1));
        let (session, description) = start(library, source, name, shape, options, notes)?;
        Ok(Self {
            session,
            spec,
            description,
        })
    }
}

impl Classifier for OrtClassifier {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn forward(&mut self, input: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
        let shape = self.spec.input_shape(n);
        run(&mut self.session, input, shape).map_err(|e| EngineError::Run {
            model: self.description.model.clone(),
            engine: "ONNX Runtime".into(),
            reason: one_line(&e.to_string()),
        })
    }
}

/// A session on the provider of the options, and what runs in it. On any provider but the CPU, it
/// has run once on an input of `shape`, and the notes say where each operator was placed.
pub(crate) fn start(
    library: &Library,
    source: &ModelSource,
    name: &str,
    shape: [usize; 4],
    options: &SessionOptions<'_>,
    mut notes: Vec<Note>,
) -> Result<(Session, Description), OrtError> {
    let provider = options.provider;
    let session = if provider == Provider::Cpu {
        commit(&mut builder(library, options)?, source, name)?
    } else {
        let (session, placement) = placement::start(library, source, name, shape, options)?;
        notes.extend(placement.elsewhere_note(provider));
        session
    };
    let description = Description {
        engine: "ort",
        provider: provider.describe(options.provider_options),
        model: name.to_string(),
        library: library.to_string(),
        notes,
    };
    Ok((session, description))
}

/// A session's options, without a provider.
pub(crate) fn builder(
    library: &Library,
    options: &SessionOptions<'_>,
) -> Result<SessionBuilder, OrtError> {
    let refuse = |e: &dyn std::fmt::Display| OrtError::Options {
        reason: e.to_string(),
    };
    let threads = options.threads.unwrap_or_else(fer_core::cores);
    let few = options.images.is_some_and(|n| n <= FEW_IMAGES);
    Session::builder(library.environment())
        .map_err(|e| refuse(&e))?
        .with_optimization_level(if few {
            GraphOptimizationLevel::Level2
        } else {
            GraphOptimizationLevel::All
        })
        .map_err(|e| refuse(&e))?
        .with_intra_threads(threads)
        .map_err(|e| refuse(&e))?
        // Threads that spin between two operators save a wake-up each time. For one image they only
        // take CPU time from the rest.
        .with_intra_op_spinning(!few)
        .map_err(|e| refuse(&e))
}

pub(crate) fn commit(
    builder: &mut SessionBuilder,
    source: &ModelSource,
    name: &str,
) -> Result<Session, OrtError> {
    let session = match source {
        ModelSource::Bytes(bytes) => builder.commit_from_memory(bytes),
        ModelSource::Path(path) => builder.commit_from_file(path),
    };
    session.map_err(|e| OrtError::Session {
        model: name.to_string(),
        reason: one_line(&e.to_string()),
    })
}

pub(crate) fn run(
    session: &mut Session,
    input: &[f32],
    shape: [usize; 4],
) -> ort::Result<Vec<f32>> {
    let tensor = TensorRef::from_array_view((shape, input))?;
    let outputs = session.run(ort::inputs![tensor])?;
    let (_, values) = outputs[0].try_extract_tensor::<f32>()?;
    Ok(values.to_vec())
}

/// ONNX Runtime's error text in one line, without the source location at its start.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // "<file:line function> [ONNXRuntimeError] : 1 : FAIL : <what happened>"
    match text
        .rsplit_once("[ONNXRuntimeError] : ")
        .and_then(|(_, rest)| rest.splitn(3, " : ").nth(2))
    {
        Some(what) => what.to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn errors_are_cut_to_what_happened() {
        let rows = [
            (
                "/a/b.cc:20 X& Y::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load\n library : \
                 x",
                "Failed to load library : x",
            ),
            ("No Op registered\n\tfor Foo", "No Op registered for Foo"),
            ("[ONNXRuntimeError] : odd", "[ONNXRuntimeError] : odd"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(text, line)| super::one_line(text) != *line)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
