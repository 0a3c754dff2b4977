//! A model's predictions for labelled images: a stream in which each image is shown in several
//! conditions, and in each of them by several views.

use fer_core::images::Pixels;
use fer_core::session::Session;
use fer_core::stream::{
    BatchSize, Item, ItemError, Locate, Reduce, Stream, StreamError, StreamOptions,
};

use super::{Condition, Predicted, Tta};
use crate::data::{self, Catalog};

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

/// Where each class of the data stands in a model's output; none if the model's classes are others.
pub fn class_order(classes: &[String], labels: &[String]) -> Option<Vec<usize>> {
    let order: Option<Vec<usize>> = classes
        .iter()
        .map(|class| labels.iter().position(|l| l == class))
        .collect();
    order.filter(|order| order.len() == labels.len())
}

/// Which images a model is asked about, and how.
#[derive(Debug)]
pub struct Questions<'a> {
    /// The data set.
    pub catalog: &'a Catalog,
    /// The chosen ones of its items.
    pub indices: &'a [usize],
    /// The conditions in which every image is shown.
    pub conditions: &'a [Condition],
    /// The views of an image in each condition, whose mean prediction counts.
    pub tta: Tta,
    /// How many views are run at once.
    pub batch_size: usize,
    /// Where each class stands in the model's output: [`class_order`].
    pub class_order: &'a [usize],
}

impl Questions<'_> {
    /// Classifies every image in every condition; `done` is called for each of them. Returns
    /// what came of each condition.
    ///
    /// # Errors
    /// The engine failed.
    pub fn ask(
        &self,
        session: &Session,
        done: &mut dyn FnMut(),
    ) -> Result<Vec<Predictions>, StreamError> {
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
            let conditions = self.conditions.iter().enumerate();
            conditions.map(|(place, condition)| Shown {
                index: *index,
                item: &self.catalog.items[*index],
                place,
                condition: *condition,
            })
        });
        let mut all = Vec::new();
        all.resize_with(self.conditions.len(), Predictions::default);
        stream.run(items, &mut |seen| {
            let (shown, prediction) = seen.into_parts();
            let Shown {
                index, item, place, ..
            } = shown;
            let predictions = &mut all[place];
            let probabilities = match prediction {
                Ok(found) => {
                    let of = |class: &usize| found.probabilities[*class];
                    Ok(self.class_order.iter().map(of).collect())
                }
                // Not a matter of the image: the evaluation refuses it.
                Err(ItemError::NotFinite(_)) => Ok(vec![f32::NAN; self.class_order.len()]),
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
