//! Any network with one image as its input: all its outputs, by their names.

use fer_core::classifier::{Description, EngineError, Note};
use ort::session::Session;
use ort::value::TensorRef;

use crate::classifier::{ModelSource, SessionOptions, one_line, start};
use crate::error::OrtError;
use crate::library::Library;

/// A network in an ONNX Runtime session.
pub struct OrtNetwork {
    session: Session,
    description: Description,
}

/// An output of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions, the batch first.
    pub dims: Vec<usize>,
    /// Its values, in the order of its dimensions.
    pub values: Vec<f32>,
}

impl OrtNetwork {
    /// Starts a session. On any provider but the CPU, runs it once on zeros of `shape` to see where
    /// each operator was placed.
    ///
    /// # Errors
    /// As [`OrtClassifier::load`](crate::OrtClassifier::load).
    pub fn load(
        library: &'static Library,
        source: &ModelSource,
        name: &str,
        shape: [usize; 4],
        options: &SessionOptions<'_>,
        notes: Vec<Note>,
    ) -> Result<Self, OrtError> {
        let (session, description) = start(library, source, name, shape, options, notes)?;
        Ok(Self {
            session,
            description,
        })
    }

    /// What runs.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// All outputs for one input of `shape`.
    ///
    /// # Errors
    /// ONNX Runtime failed, or an output is not float32.
    pub fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, EngineError> {
        let session = &mut self.session;
        let mut run = || -> ort::Result<Vec<Output>> {
            let tensor = TensorRef::from_array_view((shape, input))?;
            let outputs = session.run(ort::inputs![tensor])?;
            let values = outputs.iter().map(|(name, value)| {
                let (dims, values) = value.try_extract_tensor::<f32>()?;
                let dims = dims.iter().map(|d| usize::try_from(*d).unwrap_or(0));
                Ok(Output {
                    name: name.to_owned(),
                    dims: dims.collect(),
                    values: values.to_vec(),
                })
            });
            values.collect()
        };
        run().map_err(|e| EngineError::Run {
            model: self.description.model.clone(),
            engine: "ONNX Runtime".into(),
            reason: one_line(&e.to_string()),
        })
    }
}
