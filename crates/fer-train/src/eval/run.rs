//! Evaluates a model on labelled images: a stream in which each image is shown in several
//! conditions, and in each of them by several views, then the figures of the predictions.

use std::collections::HashMap;
use std::sync::OnceLock;

use fer_core::images::{Decoded, Pixels};
use fer_core::names::Tally;
use fer_core::session::Session;
use fer_core::spec::OutputKind;
use fer_core::stream::{
    BatchSize, Item, ItemError, Locate, Reduce, Stream, StreamError, StreamOptions,
};

use super::shared::Shared;
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
    /// The names of those in which no face was found.
    pub faceless: Vec<String>,
    /// 16-bit images that are read as having fewer bits, with how many.
    pub guessed: Tally,
}

/// Finds the face that a picture's label is about; `None` if the picture has none.
pub type FindFace<'a> = dyn Fn(&Pixels) -> Result<Option<Pixels>, ItemError> + Sync + 'a;

/// Which images a model is evaluated on, and how.
pub struct Request<'a> {
    /// The data set.
    pub catalog: &'a Catalog,
    /// The chosen ones of its items.
    pub indices: &'a [usize],
    /// What cuts the face out of each picture, before corruptions; `None` for whole pictures.
    pub face: Option<&'a FindFace<'a>>,
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
    /// The names of the pictures in which no face was found.
    pub faceless: Vec<String>,
    /// Name and reason of the images that could not be corrupted.
    pub uncorrupted: Vec<(String, String)>,
    /// 16-bit images that are read as having fewer bits, with how many.
    pub guessed: Tally,
}

/// A model that can't be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// Model and data share less than two classes.
    #[error(
        "the model's classes are {}, the data's {}: they share less than two",
        shortened(model),
        shortened(data)
    )]
    Classes {
        /// The model's.
        model: Vec<String>,
        /// The data's.
        data: Vec<String>,
    },
    /// There are votes for all seven emotions, and the model lacks some.
    #[error(
        "votes are for the seven emotions, and the model has only {}",
        shortened(shared)
    )]
    Votes {
        /// The emotions that it has.
        shared: Vec<String>,
    },
    /// No picture has a face.
    #[error("no face was found in any of {pictures} pictures")]
    NoFace {
        /// The number of pictures.
        pictures: usize,
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

    /// Evaluates a model on the classes that it shares with the data; `done` is called
    /// [`Request::passes`] times.
    ///
    /// # Errors
    /// The model shares less than two classes with the data, the engine failed, or a prediction is
    /// none.
    pub fn evaluate(
        &self,
        session: &Session,
        done: &mut dyn FnMut(),
    ) -> Result<Evaluated, EvaluateError> {
        let classes = &self.catalog.classes;
        let labels = &session.spec().labels;
        let shared = Shared::of(classes, labels);
        let names = shared.names(classes);
        if shared.count() < 2 {
            return Err(EvaluateError::Classes {
                model: labels.clone(),
                data: classes.clone(),
            });
        }
        if self.votes.is_some() && !shared.has_all_data() {
            return Err(EvaluateError::Votes { shared: names });
        }
        let mut all = self.predictions(session, &shared, done)?;
        let corrupted = all.split_off(1);
        let clean = all.pop().unwrap_or_default();
        if clean.answers.is_empty() && !clean.faceless.is_empty() {
            return Err(EvaluateError::NoFace {
                pictures: clean.faceless.len(),
            });
        }
        let mut evaluation = Evaluation::new(&names, &clean.answers)?;
        let seen = clean.answers.len() + clean.unreadable.len() + clean.faceless.len();
        let images = (self.indices.len() - seen) as u64;
        evaluation.left_out = shared.unshared(classes, labels, images);
        evaluation.without_face = self.face.map(|_| clean.faceless.len() as u64);
        let agreement = self.votes.map(|votes| {
            let own = clean.items.iter().map(|item| votes.get(item).copied());
            Agreement::new(&clean.answers, &own.collect::<Vec<_>>())
        });
        let robustness = (!self.corruptions.is_empty())
            .then(|| {
                let (clean, corruptions) = (evaluation.accuracy, self.corruptions);
                Robustness::new(&names, clean, corruptions, &corrupted)
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
            faceless: clean.faceless,
            guessed: clean.guessed,
        })
    }

    /// Classifies every image of the shared classes in every condition; returns what came of each
    /// condition.
    fn predictions(
        &self,
        session: &Session,
        shared: &Shared,
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
        let label = |index: &usize| {
            let label = shared.place(self.catalog.items[*index].label.into());
            label.map(|label| (*index, label))
        };
        let chosen: Vec<(usize, usize)> = self.indices.iter().filter_map(label).collect();
        let left_out = self.indices.len() - chosen.len();
        (0..left_out * all_conditions.len()).for_each(|_| done());
        let items = chosen.iter().flat_map(|(index, label)| {
            let conditions = all_conditions.iter().enumerate();
            conditions.map(|(place, condition)| Shown {
                index: *index,
                item: &self.catalog.items[*index],
                label: *label,
                place,
                condition: *condition,
                face: self.face,
                faceless: OnceLock::new(),
                guessed_bits: OnceLock::new(),
            })
        });
        let mut all = Vec::new();
        all.resize_with(all_conditions.len(), Predictions::default);
        stream.run(items, &mut |seen| {
            let (shown, prediction) = seen.into_parts();
            let Shown {
                index,
                item,
                label,
                place,
                faceless,
                guessed_bits,
                ..
            } = shown;
            let predictions = &mut all[place];
            if let Some(bits) = guessed_bits.get() {
                predictions
                    .guessed
                    .add(|| format!("{} ({bits} bits)", item.name));
            }
            let probabilities = match prediction {
                Ok(found) => Ok(shared.probabilities(&found.probabilities, scores)),
                // Not a matter of the image: the evaluation refuses it.
                Err(ItemError::NotFinite(_)) => Ok(vec![f32::NAN; shared.count()]),
                Err(e) => Err(e.to_string()),
            };
            match probabilities {
                _ if faceless.get().is_some() => predictions.faceless.push(item.name.clone()),
                Ok(probabilities) => {
                    predictions.answers.push(Predicted {
                        name: item.name.clone(),
                        label,
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
    /// Its class, one of the shared ones.
    label: usize,
    /// The condition's number.
    place: usize,
    condition: Condition,
    face: Option<&'a FindFace<'a>>,
    /// Set if no face was found.
    faceless: OnceLock<()>,
    /// How many bits it seems to have, if that is a guess.
    guessed_bits: OnceLock<u8>,
}

impl Item for Shown<'_> {
    fn load(&self) -> Result<Pixels, ItemError> {
        let Decoded {
            pixels,
            guessed_bits,
        } = self.item.decoded()?;
        guessed_bits.map(|bits| self.guessed_bits.set(bits));
        let pixels = match self.face {
            None => pixels,
            Some(find) => find(&pixels)?.ok_or_else(|| {
                let _ = self.faceless.set(());
                let reason = "no face was found in it".into();
                ItemError::View { reason }
            })?,
        };
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
