//! Distillation: a teacher, a model that was trained before, says of each training image, as it is
//! varied, what it takes it for, and the targets move towards that; several teachers take turns,
//! batch by batch, which costs no more than one (Hinton, Vinyals & Dean, "Distilling the Knowledge
//! in a Neural Network", 2015; the same variation for both as Beyer et al., "Knowledge
//! distillation: A good teacher is patient and consistent", 2022).

use fer_core::classifier::{Classifier, EngineError};
use fer_core::prediction::normalize;
use fer_core::spec::{Mismatch, ModelSpec, OutputKind};

use super::batch::Batch;

/// A teacher that takes other images or has other classes than the networks here.
#[derive(Debug, thiserror::Error)]
#[error(
    "teacher {model} does not fit the network: {mismatch}; a teacher has the classes and takes the \
     images of the network that it teaches"
)]
pub struct TeacherError {
    /// The teacher.
    pub model: String,
    /// The first difference.
    pub mismatch: Mismatch,
}

/// Models whose predictions are learned beside the labels.
#[derive(Default)]
pub struct Teachers {
    models: Vec<Box<dyn Classifier>>,
    share: f32,
}

impl Teachers {
    /// Takes loaded models, for a network that takes and gives what `network` says; their
    /// prediction has `share`, 0..=1, of a target, the label the rest.
    ///
    /// # Errors
    /// A model takes other images or has other classes than the networks here.
    pub fn new(
        models: Vec<Box<dyn Classifier>>,
        share: f64,
        network: &ModelSpec,
    ) -> Result<Self, TeacherError> {
        for model in &models {
            model
                .spec()
                .accepts(network)
                .map_err(|mismatch| TeacherError {
                    model: model.description().model.clone(),
                    mismatch,
                })?;
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

    /// Moves the targets of batch number `turn` of a run towards a teacher's predictions to its
    /// images. The sum of an image's targets, its class's weight, stays.
    ///
    /// # Errors
    /// The teacher failed.
    pub fn distill(&mut self, batch: &mut Batch, turn: u64) -> Result<(), EngineError> {
        let count = self.models.len().max(1) as u64;
        let Some(model) = self.models.get_mut((turn % count) as usize) else {
            return Ok(());
        };
        let classes = model.spec().labels.len();
        let mut answers = model.classify(&batch.images)?;
        if model.spec().output == OutputKind::Scores {
            answers.chunks_exact_mut(classes).for_each(normalize);
        }
        for (row, answer) in batch
            .targets
            .chunks_exact_mut(classes)
            .zip(answers.chunks_exact(classes))
        {
            let weight: f32 = row.iter().sum();
            row.iter_mut()
                .zip(answer)
                .for_each(|(target, p)| *target += self.share * (weight * p - *target));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::task::Task;
    use fer_core::classifier::Description;

    const CLASSES: usize = 7;

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
            ..Task::default().spec()
        }
    }

    fn sure(class: usize) -> Sure {
        let description = Description {
            engine: "burn",
            provider: "cpu".into(),
            model: "sure".into(),
            library: String::new(),
            notes: Vec::new(),
        };
        Sure(spec(), description, class)
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
            images: vec![0.5; 2 * 48 * 48],
            shape: [1, 48, 48],
            targets,
            labels: vec![0, 2],
        };
        let mut teachers = Teachers {
            models: vec![Box::new(sure(1)), Box::new(sure(2))],
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
        let changed = |change: fn(&mut ModelSpec)| {
            let mut spec = spec();
            change(&mut spec);
            spec
        };
        let taken = |spec: ModelSpec| {
            let Sure(_, description, class) = sure(0);
            Teachers::new(
                vec![Box::new(Sure(spec, description, class))],
                0.5,
                &self::spec(),
            )
            .is_ok()
        };
        assert!(taken(spec()));
        let others = [
            changed(|spec| spec.input.width = 64),
            changed(|spec| spec.input.channels = 3),
            changed(|spec| spec.input.scale = 1.0),
            changed(|spec| spec.input.mean = vec![0.5]),
            changed(|spec| spec.input.std = vec![0.5]),
            changed(|spec| spec.labels = vec!["a".into(), "b".into()]),
        ];
        let wrong: Vec<_> = others
            .into_iter()
            .filter(|spec| taken(spec.clone()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
