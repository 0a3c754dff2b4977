//! Distillation: teachers, models that were trained before, say of each training image, as it is varied, what they take it
//! for, and the targets move towards that (Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015; the
//! same variation for both as Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", 2022).

use super::batch::Batch;
use crate::engine::{Classifier, EngineError, LoadOptions, load, trained};
use crate::model::{CLASSES, SIDE};
use crate::runtime::Host;
use crate::spec::{EMOTIONS, ModelSpec};

/// Models whose mean answer is learnt beside the labels.
pub struct Teachers {
    models: Vec<Box<dyn Classifier>>,
    share: f32,
}

impl Teachers {
    /// Loads models (see [`LoadOptions::model`]); their answer has `share`, 0..=1, of a target, the label the rest.
    ///
    /// # Errors
    /// A model can't be loaded, or takes other images or has other classes than the networks here.
    pub fn load(models: &[String], share: f64, host: &Host) -> Result<Self, EngineError> {
        let teacher = |name: &String| {
            let model = load(&LoadOptions { model: Some(name.clone()), ..LoadOptions::default() }, host)?;
            if fits(model.spec()) {
                Ok(model)
            } else {
                Err(EngineError::Unusable(format!(
                    "teacher {name} takes other images or has other classes than the network: a teacher has the classes {}, and \
                     gray images of {SIDE}x{SIDE} pixels times 1/255",
                    EMOTIONS.join(", ")
                )))
            }
        };
        Ok(Self { models: models.iter().map(teacher).collect::<Result<_, _>>()?, share: share as f32 })
    }

    /// Moves a batch's targets towards the mean of the teachers' answers to its images. The sum of an image's targets, its
    /// class's weight, stays.
    ///
    /// # Errors
    /// A teacher failed.
    pub fn teach(&mut self, batch: &mut Batch) -> Result<(), EngineError> {
        if self.models.is_empty() {
            return Ok(());
        }
        let each = self.share / self.models.len() as f32;
        let weights: Vec<f32> = batch.targets.chunks_exact(CLASSES).map(|row| row.iter().sum()).collect();
        batch.targets.iter_mut().for_each(|target| *target *= 1.0 - self.share);
        for model in &mut self.models {
            let answers = model.classify(&batch.images)?;
            for ((row, answer), weight) in
                batch.targets.chunks_exact_mut(CLASSES).zip(answers.chunks_exact(CLASSES)).zip(&weights)
            {
                row.iter_mut().zip(answer).for_each(|(target, p)| *target += each * weight * p);
            }
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
    use crate::engine::Description;
    use crate::spec::OutputKind;

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
            Ok((0..n * CLASSES).map(|i| f32::from(u8::from(i % CLASSES == self.2))).collect())
        }
    }

    fn spec() -> ModelSpec {
        ModelSpec { output: OutputKind::Probabilities, ..trained::spec() }
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
    fn targets_move_towards_the_mean_of_the_teachers_and_keep_their_weight() {
        // The second image's class counts double.
        let targets = [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]].concat();
        let given = Batch { images: vec![0.5; 2 * SIDE * SIDE], targets, labels: vec![0, 2] };
        let mut batch = given.clone();
        Teachers { models: vec![sure(1), sure(2)], share: 0.4 }.teach(&mut batch).unwrap();
        let wanted = [[0.6, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0], [0.0, 0.4, 1.6, 0.0, 0.0, 0.0, 0.0]].concat();
        assert!(batch.targets.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", batch.targets);
        assert_eq!((&batch.images, &batch.labels), (&given.images, &given.labels));
        let mut alone = given.clone();
        Teachers { models: Vec::new(), share: 0.4 }.teach(&mut alone).unwrap();
        assert_eq!(alone, given);
    }

    #[test]
    fn a_teacher_sees_what_the_network_sees() {
        let other = [
            ModelSpec { width: 64, ..spec() },
            ModelSpec { channels: 3, ..spec() },
            ModelSpec { scale: 1.0, ..spec() },
            ModelSpec { mean: vec![0.5], ..spec() },
            ModelSpec { std: vec![0.5], ..spec() },
            ModelSpec { labels: vec!["a".into(), "b".into()], ..spec() },
        ];
        assert!(fits(&spec()));
        let taken: Vec<_> = other.iter().filter(|spec| fits(spec)).collect();
        assert!(taken.is_empty(), "{taken:?}");
    }
}
