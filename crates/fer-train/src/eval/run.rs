//! A classifier's answers to labelled images: decoded a block at a time, in all cores, and run in
//! batches.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{Condition, Predicted, Tta, mean};
use crate::data::{Catalog, Item};
use fer_core::classifier::{Classifier, EngineError};
use fer_core::images::Pixels;
use fer_core::preprocess::Preprocessor;

/// The most memory for decoded images that wait for their next corruption: 256 MiB. An image over
/// its share of it is decoded anew for each.
const KEPT_BYTES: usize = 256 << 20;

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

/// Which images a classifier is asked about, and how.
#[derive(Debug)]
pub struct Questions<'a> {
    /// The data set.
    pub catalog: &'a Catalog,
    /// The chosen ones of its items.
    pub indices: &'a [usize],
    /// The states in which every image is shown.
    pub conditions: &'a [Condition],
    /// The views of an image in each state, whose mean answer counts.
    pub tta: Tta,
    /// About how many views are run at once.
    pub batch_size: usize,
    /// Where each class stands in the model's output: [`class_order`].
    pub class_order: &'a [usize],
}

impl Questions<'_> {
    /// Classifies every image under every condition; `done` is called for each of them. Returns
    /// what came of each condition. Batches do not depend on what other conditions there are.
    ///
    /// # Errors
    /// The engine failed.
    pub fn ask(
        &self,
        classifier: &mut dyn Classifier,
        done: &mut dyn FnMut(),
    ) -> Result<Vec<Predictions>, EngineError> {
        let preprocessor = Preprocessor::new(&classifier.spec().input);
        let mut all: Vec<Predictions> = self
            .conditions
            .iter()
            .map(|_| Predictions::default())
            .collect();
        for block in self
            .indices
            .chunks((self.batch_size / self.tta.count()).max(1))
        {
            let room = if self.conditions.len() > 1 {
                KEPT_BYTES / block.len()
            } else {
                0
            };
            let images: Vec<Image> = block
                .par_iter()
                .map(|i| Image::new(*i, &self.catalog.items[*i], room))
                .collect();
            for (condition, answers) in self.conditions.iter().zip(&mut all) {
                self.classify(&images, *condition, &preprocessor, classifier, answers)?;
                images.iter().for_each(|_| done());
            }
        }
        Ok(all)
    }

    fn classify(
        &self,
        images: &[Image<'_>],
        condition: Condition,
        preprocessor: &Preprocessor,
        classifier: &mut dyn Classifier,
        answers: &mut Predictions,
    ) -> Result<(), EngineError> {
        let tensors = |image: &Image<'_>| -> Result<Vec<f32>, String> {
            let pixels = image.under(condition)?;
            Ok(self
                .tta
                .views(&pixels)
                .into_iter()
                .flat_map(|view| preprocessor.tensor(view))
                .collect())
        };
        let views: Vec<Result<Vec<f32>, String>> = images.par_iter().map(tensors).collect();
        let input: Vec<f32> = views.iter().flatten().flatten().copied().collect();
        let output = if input.is_empty() {
            Vec::new()
        } else {
            classifier.classify(&input)?
        };
        let classes = classifier.spec().labels.len();
        let mut rows = output.chunks_exact(classes * self.tta.count());
        for (image, view) in images.iter().zip(views) {
            let Item { name, label, .. } = image.item;
            match view {
                Ok(_) => {
                    // `classify` answers for every image or fails.
                    let Some(rows) = rows.next() else { continue };
                    let mean = mean(rows, classes);
                    let probabilities = self.class_order.iter().map(|class| mean[*class]).collect();
                    answers.answers.push(Predicted {
                        name: name.clone(),
                        label: usize::from(*label),
                        probabilities,
                    });
                    answers.items.push(image.index);
                }
                Err(reason) => answers.unreadable.push((name.clone(), reason)),
            }
        }
        Ok(())
    }
}

/// An image of a block, and its pixels if they are kept.
struct Image<'a> {
    /// Its place in the catalog.
    index: usize,
    item: &'a Item,
    kept: Option<Pixels>,
}

impl<'a> Image<'a> {
    /// Keeps what takes up to `room` bytes; with none, nothing is decoded yet.
    fn new(index: usize, item: &'a Item, room: usize) -> Self {
        let decoded = if room > 0 { item.pixels().ok() } else { None };
        Self {
            index,
            item,
            kept: decoded.filter(|pixels| pixels.data.len() <= room),
        }
    }

    /// The pixels under a condition, or why there are none.
    fn under(&self, condition: Condition) -> Result<Cow<'_, Pixels>, String> {
        let pixels = match &self.kept {
            Some(pixels) => Cow::Borrowed(pixels),
            None => Cow::Owned(self.item.pixels().map_err(|e| e.to_string())?),
        };
        match condition {
            Condition::Clean => Ok(pixels),
            Condition::Corrupted(corruption, severity) => corruption
                .apply(severity, &pixels, &self.item.relative)
                .map(Cow::Owned),
        }
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
