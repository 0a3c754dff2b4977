//! Evaluates a model on labelled images: a stream in which each image is shown in several
//! conditions, and in each of them by several views, then the figures of the predictions.

use std::collections::HashMap;

use fer_core::images::Pixels;
use fer_core::session::Session;
use fer_core::spec::OutputKind;
use fer_core::stream::{
    BatchSize, Item, ItemError, Locate, Reduce, Stream, StreamError, StreamOptions,
};

use super::{Agreement, Condition, Corruption, EvalError, Evaluation, Predicted, Robustness, Tta};
use crate::data::votes::Counts;
use crate::data::{self, Catalog, shortened};

/// What came of the images.
#[derive(Debug, Default)]
pub struct Predictions {
    /// One for each image that could be read, in order, its classes in the order of the data's.
    pub answers: Vec<Predicted>,
    /// Which items of the catalog these are.
    pub items: Vec<usize>,
    /// Name and reason of those that could not.
    pub unreadable: Vec<(String, String)>,
}

/// Where each class of the data stands in a model's output; `None` if the model's classes are others.
fn class_order(classes: &[String], labels: &[String]) -> Option<Vec<usize>> {
    let order: Option<Vec<usize>> = classes
        .iter()
        .map(|class| labels.iter().position(|l| l == class))
        .collect();
    order.filter(|order| order.len() == labels.len())
}

/// Which images a model is evaluated on, and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The data set.
    pub catalog: &'a Catalog,
    /// The chosen ones of its items.
    pub indices: &'a [usize],
    /// The corruptions in which the images are shown too.
    pub corruptions: &'a [Corruption],
    /// The views of an image in each condition, whose mean prediction counts.
    pub tta: Tta,
    /// How many views are run at once.
    pub batch_size: usize,
    /// People's votes by item, if the predictions are compared with them.
    pub votes: Option<&'a HashMap<usize, Counts>>,
}

/// The result of an evaluation.
#[derive(Debug)]
pub struct Evaluated {
    /// The figures by the labels, without corruption.
    pub evaluation: Evaluation,
    /// The figures by people's votes.
    pub agreement: Option<Agreement>,
    /// What the corruptions cost, if there are any.
    pub robustness: Option<Robustness>,
    /// Name and reason of the images that could not be read.
    pub unreadable: Vec<(String, String)>,
    /// Name and reason of the images that could not be corrupted.
    pub uncorrupted: Vec<(String, String)>,
}

/// A model that can't be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The model's classes are not the data's.
    #[error(
        "the model's classes are {}, the data's {}",
        shortened(model),
        shortened(data)
    )]
    Classes {
        /// The model's.
        model: Vec<String>,
        /// The data's.
        data: Vec<String>,
    },
    /// The engine failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The predictions can't be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

impl Request<'_> {
    /// How many times an image is classified in some condition.
    pub fn passes(&self) -> usize {
        self.indices.len() * Condition::all(self.corruptions).len()
    }

    /// Evaluates a model; `done` is called [`Request::passes`] times.
    ///
    /// # Errors
    /// The model has other classes than the data, the engine failed, or a prediction is none.
    pub fn evaluate(
        &self,
        session: &Session,
        done: &mut dyn FnMut(),
    ) -> Result<Evaluated, EvaluateError> {
        let classes = &self.catalog.classes;
        let labels = &session.spec().labels;
        let order = class_order(classes, labels).ok_or_else(|| EvaluateError::Classes {
            model: labels.clone(),
            data: classes.clone(),
        })?;
        let mut all = self.predictions(session, &order, done)?;
        let corrupted = all.split_off(1);
        let clean = all.pop().unwrap_or_default();
        let evaluation = Evaluation::new(classes, &clean.answers)?;
        let agreement = self.votes.map(|votes| {
            let own = clean.items.iter().map(|item| votes.get(item).copied());
            Agreement::new(&clean.answers, &own.collect::<Vec<_>>())
        });
        let robustness = (!self.corruptions.is_empty())
            .then(|| {
                let (clean, corruptions) = (evaluation.accuracy, self.corruptions);
                Robustness::new(classes, clean, corruptions, &corrupted)
            })
            .transpose()?;
        let read = |(name, _): &(String, String)| !clean.unreadable.iter().any(|(n, _)| n == name);
        let uncorrupted = corrupted.into_iter().flat_map(|p| p.unreadable);
        Ok(Evaluated {
            evaluation,
            agreement,
            robustness,
            uncorrupted: uncorrupted.filter(read).collect(),
            unreadable: clean.unreadable,
        })
    }

    /// Classifies every image in every condition; returns what came of each condition. `order` says
    /// where each class stands in the model's output.
    fn predictions(
        &self,
        session: &Session,
        order: &[usize],
        done: &mut dyn FnMut(),
    ) -> Result<Vec<Predictions>, StreamError> {
        let scores = session.spec().output == OutputKind::Scores;
        let all_conditions = Condition::all(self.corruptions);
        let stream = Stream {
            session,
            locate: Views(self.tta),
            reduce: Reduce::Mean(self.tta.count()),
            options: StreamOptions {
                batch_size: BatchSize::Fixed(self.batch_size),
                ..StreamOptions::default()
            },
        };
        let items = self.indices.iter().flat_map(|index| {
            let conditions = all_conditions.iter().enumerate();
            conditions.map(|(place, condition)| Shown {
                index: *index,
                item: &self.catalog.items[*index],
                place,
                condition: *condition,
            })
        });
        let mut all = Vec::new();
        all.resize_with(all_conditions.len(), Predictions::default);
        stream.run(items, &mut |seen| {
            let (shown, prediction) = seen.into_parts();
            let Shown {
                index, item, place, ..
            } = shown;
            let predictions = &mut all[place];
            let probabilities = match prediction {
                Ok(found) => {
                    let of = |class: &usize| found.probabilities[*class];
                    Ok(distribution(order.iter().map(of).collect(), scores))
                }
                // Not a matter of the image: the evaluation refuses it.
                Err(ItemError::NotFinite(_)) => Ok(vec![f32::NAN; order.len()]),
                Err(e) => Err(e.to_string()),
            };
            match probabilities {
                Ok(probabilities) => {
                    predictions.answers.push(Predicted {
                        name: item.name.clone(),
                        label: usize::from(item.label),
                        probabilities,
                    });
                    predictions.items.push(index);
                }
                Err(reason) => predictions.unreadable.push((item.name.clone(), reason)),
            }
            done();
            Ok(())
        })?;
        Ok(all)
    }
}

/// The probabilities that the figures are computed from: independent scores are divided by their
/// sum.
fn distribution(mut row: Vec<f32>, scores: bool) -> Vec<f32> {
    let sum: f32 = row.iter().sum();
    if scores && sum > 0.0 {
        row.iter_mut().for_each(|p| *p /= sum);
    }
    row
}

/// A labelled image in one of the conditions.
struct Shown<'a> {
    /// Its place in the catalog.
    index: usize,
    item: &'a data::Item,
    /// The condition's number.
    place: usize,
    condition: Condition,
}

impl Item for Shown<'_> {
    fn load(&self) -> Result<Pixels, ItemError> {
        let pixels = self.item.pixels()?;
        let shown = self.condition.apply(&pixels, &self.item.relative);
        Ok(shown
            .map_err(|reason| ItemError::View { reason })?
            .into_owned())
    }
}

/// The views of test-time augmentation.
struct Views(Tta);

impl Locate<Shown<'_>> for Views {
    type Place = ();

    fn locate(
        &self,
        _: &Shown<'_>,
        pixels: Pixels,
        view: &mut dyn FnMut((), Result<Pixels, ItemError>),
    ) -> Result<(), ItemError> {
        for pixels in self.0.views(&pixels) {
            view((), Ok(pixels));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_core::spec::EMOTIONS;

    #[test]
    fn classes_are_found_in_any_order() {
        let order = |labels: &[&str]| {
            let labels: Vec<String> = labels.iter().map(|l| l.to_string()).collect();
            class_order(&EMOTIONS.map(String::from), &labels)
        };
        assert_eq!(order(&EMOTIONS), Some(vec![0, 1, 2, 3, 4, 5, 6]));
        let competition = [
            "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
        ];
        assert_eq!(order(&competition), Some(vec![0, 1, 2, 3, 6, 4, 5]));
        let others: [&[&str]; 4] = [
            &["angry", "disgust", "fear", "happy", "sad", "surprise"],
            &[
                "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt",
            ],
            &[
                "angry", "disgust", "fear", "happy", "sad", "surprise", "surprise",
            ],
            &[
                "anger", "disgust", "fear", "happy", "sad", "surprise", "neutral",
            ],
        ];
        let taken: Vec<_> = others
            .iter()
            .filter(|labels| order(labels).is_some())
            .collect();
        assert!(taken.is_empty(), "{taken:?}");
    }
}
