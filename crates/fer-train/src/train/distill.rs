//! Distillation: a teacher, a model that was trained before, says of each training image, as it is
//! varied, what it takes it for, and the targets move towards that; several teachers take turns,
//! batch by batch, which costs no more than one (Hinton, Vinyals & Dean, "Distilling the Knowledge
//! in a Neural Network", 2015; the same variation for both as Beyer et al., "Knowledge
//! distillation: A good teacher is patient and consistent", 2022).

use fer_core::classifier::{Classifier, EngineError};
use fer_core::spec::{EMOTIONS, ModelSpec};

use super::batch::Batch;
use crate::model::{CLASSES, SIDE};
use crate::trained;

/// A teacher that takes other images or has other classes than the networks here.
#[derive(Debug, thiserror::Error)]
#[error(
    "teacher {model} takes other images or has other classes than the network: a teacher has \
     the classes {}, and gray images of {SIDE}x{SIDE} pixels times 1/255",
    EMOTIONS.join(", ")
)]
pub struct TeacherError {
    /// The teacher.
    pub model: String,
}

/// Models whose predictions are learned beside the labels.
#[derive(Default)]
pub struct Teachers {
    models: Vec<Box<dyn Classifier>>,
    share: f32,
}

impl Teachers {
    /// Takes loaded models; their prediction has `share`, 0..=1, of a target, the label the rest.
    ///
    /// # Errors
    /// A model takes other images or has other classes than the networks here.
    pub fn new(models: Vec<Box<dyn Classifier>>, share: f64) -> Result<Self, TeacherError> {
        if let Some(model) = models.iter().find(|model| !fits(model.spec())) {
            return Err(TeacherError {
                model: model.description().model.clone(),
            });
        }
        Ok(Self {
            models,
            share: share as f32,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Moves the targets of batch number `turn` of a run towards a teacher's answers to its images.
    /// The sum of an image's targets, its class's weight, stays.
    ///
    /// # Errors
    /// The teacher failed.
    pub fn distill(&mut self, batch: &mut Batch, turn: u64) -> Result<(), EngineError> {
        let count = self.models.len().max(1) as u64;
        let Some(model) = self.models.get_mut((turn % count) as usize) else {
            return Ok(());
        };
        let answers = model.classify(&batch.images)?;
        for (row, answer) in batch
            .targets
            .chunks_exact_mut(CLASSES)
            .zip(answers.chunks_exact(CLASSES))
        {
            let weight: f32 = row.iter().sum();
            row.iter_mut()
                .zip(answer)
                .for_each(|(target, p)| *target += self.share * (weight * p - *target));
        }
        Ok(())
    }
}

fn fits(spec: &ModelSpec) -> bool {
    let network = trained::spec();
    let size = |spec: &ModelSpec| (spec.width, spec.height, spec.channels);
    spec.labels == network.labels
        && size(spec) == size(&network)
        && (spec.scale - network.scale).abs() < 1e-9
        && spec.mean.iter().all(|m| *m == 0.0)
        && spec.std.iter().all(|s| *s == 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_core::classifier::Description;
    use fer_core::spec::OutputKind;

    /// Takes everything for one class.
    struct Sure(ModelSpec, Description, usize);

    impl Classifier for Sure {
        fn spec(&self) -> &ModelSpec {
            &self.0
        }
        fn description(&self) -> &Description {
            &self.1
        }
        fn forward(&mut self, _: &[f32], n: usize) -> Result<Vec<f32>, EngineError> {
            Ok((0..n * CLASSES)
                .map(|i| f32::from(u8::from(i % CLASSES == self.2)))
                .collect())
        }
    }

    fn spec() -> ModelSpec {
        ModelSpec {
            output: OutputKind::Probabilities,
            ..trained::spec()
        }
    }

    fn sure(class: usize) -> Box<dyn Classifier> {
        let description = Description {
            engine: "burn",
            provider: "cpu".into(),
            model: "sure".into(),
            library: String::new(),
            notes: Vec::new(),
        };
        Box::new(Sure(spec(), description, class))
    }

    #[test]
    fn targets_move_towards_the_teacher_whose_turn_it_is_and_keep_their_weight() {
        // The second image's class counts double.
        let targets = [
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0],
        ]
        .concat();
        let given = Batch {
            images: vec![0.5; 2 * SIDE * SIDE],
            targets,
            labels: vec![0, 2],
        };
        let mut teachers = Teachers {
            models: vec![sure(1), sure(2)],
            share: 0.4,
        };
        for (turn, wanted) in [
            (
                0,
                [
                    [0.6, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0],
                    [0.0, 0.8, 1.2, 0.0, 0.0, 0.0, 0.0],
                ]
                .concat(),
            ),
            (
                1,
                [
                    [0.6, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0],
                    [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0],
                ]
                .concat(),
            ),
            (
                2,
                [
                    [0.6, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0],
                    [0.0, 0.8, 1.2, 0.0, 0.0, 0.0, 0.0],
                ]
                .concat(),
            ),
        ] {
            let mut batch = given.clone();
            teachers.distill(&mut batch, turn).unwrap();
            assert!(
                batch
                    .targets
                    .iter()
                    .zip(&wanted)
                    .all(|(a, b)| (a - b).abs() < 1e-6),
                "{turn}: {:?}",
                batch.targets
            );
            assert_eq!(
                (&batch.images, &batch.labels),
                (&given.images, &given.labels)
            );
        }
        let mut alone = given.clone();
        Teachers {
            models: Vec::new(),
            share: 0.4,
        }
        .distill(&mut alone, 0)
        .unwrap();
        assert_eq!(alone, given);
    }

    #[test]
    fn a_teacher_sees_what_the_network_sees() {
        let other = [
            ModelSpec {
                width: 64,
                ..spec()
            },
            ModelSpec {
                channels: 3,
                ..spec()
            },
            ModelSpec {
                scale: 1.0,
                ..spec()
            },
            ModelSpec {
                mean: vec![0.5],
                ..spec()
            },
            ModelSpec {
                std: vec![0.5],
                ..spec()
            },
            ModelSpec {
                labels: vec!["a".into(), "b".into()],
                ..spec()
            },
        ];
        assert!(fits(&spec()));
        let taken: Vec<_> = other.iter().filter(|spec| fits(spec)).collect();
        assert!(taken.is_empty(), "{taken:?}");
    }
}
