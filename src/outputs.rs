//! What a loaded model's outputs are, where its file does not say it ([`specified`]).

use fer_core::calibration::Calibration;
use fer_core::classifier::{Classifier, Note, Respecified};
use fer_core::probe::{self, Shown};
use fer_core::spec::{Basis, Field, NOT_CALIBRATED, OutputKind, SpecError};

use crate::load_error::LoadError;

/// Finds out what the outputs are, if the model's file does not say it, and notes what is not
/// stated. `whole` if the model takes whole numbers.
///
/// # Errors
/// The outputs are scores, and a calibration is stated; or they are nothing that a class's
/// probability can be told from.
pub(crate) fn specified(
    mut classifier: Box<dyn Classifier>,
    whole: bool,
) -> Result<Box<dyn Classifier>, LoadError> {
    let mut spec = classifier.spec().clone();
    if let Some(output) = spec.assumed.iter_mut().find(|a| a.field == Field::Output) {
        let known = (!output.is_guess()).then_some(spec.output);
        // A model that fails on noise fails on images too, and says why there.
        let shown = probe::look(&mut *classifier, whole, known);
        let problem = match shown.unwrap_or(Shown::Nothing) {
            Shown::Nothing => None,
            Shown::Kind(kind) if Some(kind) == known => None,
            Shown::Kind(kind) => {
                spec.output = kind;
                output.value = format!("output {kind}");
                output.basis = Basis::Run {
                    images: probe::PROBED,
                };
                None
            }
            Shown::SharesOf(sum) => Some(format!(
                "its outputs sum to {} for each image of noise, so they are neither \
                 probabilities, which sum to 1, nor logits: export it with a softmax over the axis \
                 of the classes, or divided by that sum",
                (sum * 1e3).round() / 1e3
            )),
            Shown::Mixed => Some(
                "its outputs for an image change with the other images of the batch, as by a \
                 softmax over the axis of the images, or by an export in training mode: export it \
                 with the softmax over the axis of the classes, in inference mode"
                    .into(),
            ),
        };
        if let Some(problem) = problem {
            return Err(LoadError::Spec(SpecError {
                model: classifier.description().model.clone(),
                problem,
                missing: None,
            }));
        }
    }
    if spec.output == OutputKind::Scores && spec.calibration != Calibration::NONE {
        return Err(LoadError::Spec(SpecError {
            model: classifier.description().model.clone(),
            problem: NOT_CALIBRATED.into(),
            missing: None,
        }));
    }
    Ok(if Note::about(&spec).is_empty() {
        classifier
    } else {
        Box::new(Respecified::new(classifier, spec))
    })
}
