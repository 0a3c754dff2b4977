//! The classes that a model and a data set share ([`Shared`]), found by name.

use fer_core::prediction::normalize;
use fer_core::spec::emotion;

use super::Unshared;

/// The classes that both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    /// Of each of the data's classes: its place among the shared ones.
    places: Vec<Option<usize>>,
    /// Of each shared class, in the data's order: its place in the model's output.
    outputs: Vec<usize>,
    /// Whether the model has classes that the data lacks.
    model_has_more: bool,
}

impl Shared {
    /// Finds the data's classes among the model's: by the same name, else by one that differs in
    /// case alone, else by another word for the same emotion. Of several, the first counts.
    pub fn of(classes: &[String], labels: &[String]) -> Self {
        let mut outputs = Vec::new();
        let mut free = vec![true; labels.len()];
        let mut found: Vec<Option<usize>> = vec![None; classes.len()];
        let is_same: [fn(&str, &str) -> bool; 3] = [
            |a, b| a == b,
            |a, b| a.to_lowercase() == b.to_lowercase(),
            |a, b| emotion(a).is_some() && emotion(a) == emotion(b),
        ];
        for is_same in is_same {
            for (class, found) in classes.iter().zip(&mut found) {
                let mut outputs = 0..labels.len();
                let output = || outputs.find(|i| free[*i] && is_same(class, &labels[*i]));
                if let Some(output) = found.is_none().then(output).flatten() {
                    free[output] = false;
                    *found = Some(output);
                }
            }
        }
        let places = found.into_iter().map(|output| {
            outputs.push(output?);
            Some(outputs.len() - 1)
        });
        Self {
            places: places.collect(),
            outputs,
            model_has_more: free.contains(&true),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.outputs.len()
    }

    /// Whether the data has no other classes.
    pub fn has_all_data(&self) -> bool {
        self.places.iter().all(Option::is_some)
    }

    /// Whether neither has other classes.
    pub fn is_all(&self) -> bool {
        self.has_all_data() && !self.model_has_more
    }

    /// The place of a class of the data among the shared ones.
    pub fn place(&self, class: usize) -> Option<usize> {
        self.places.get(class).copied().flatten()
    }

    /// Their names in the data.
    pub fn names(&self, classes: &[String]) -> Vec<String> {
        let shared = classes
            .iter()
            .zip(&self.places)
            .filter(|(_, place)| place.is_some());
        shared.map(|(class, _)| class.clone()).collect()
    }

    /// What is not shared; `images` is the number of images of the data's other classes.
    pub fn unshared(&self, classes: &[String], labels: &[String], images: u64) -> Option<Unshared> {
        let data = classes
            .iter()
            .zip(&self.places)
            .filter(|(_, place)| place.is_none());
        let model = labels
            .iter()
            .enumerate()
            .filter(|(i, _)| !self.outputs.contains(i));
        (!self.is_all()).then(|| Unshared {
            images,
            data_classes: data.map(|(class, _)| class.clone()).collect(),
            model_classes: model.map(|(_, label)| label.clone()).collect(),
        })
    }

    /// The probabilities of the shared classes, from all that a model gives: as they are if they
    /// are probabilities of these classes alone, else scaled to a sum of 1, as independent
    /// `scores`.
    pub fn probabilities(&self, all: &[f32], scores: bool) -> Vec<f32> {
        let mut shared: Vec<f32> = self.outputs.iter().map(|output| all[*output]).collect();
        if self.model_has_more || scores {
            normalize(&mut shared);
        }
        shared
    }
}

/// The place in a model's output of each of the data's classes, found by name: by the same name,
/// else by one that differs in case alone, else by another word for the same emotion. `None` for
/// classes that the model lacks.
pub fn outputs_of(classes: &[String], labels: &[String]) -> Vec<Option<usize>> {
    let shared = Shared::of(classes, labels);
    let place = |class| shared.place(class).map(|place| shared.outputs[place]);
    (0..classes.len()).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_core::spec::EMOTIONS;

    fn of(classes: &[&str], labels: &[&str]) -> Shared {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        Shared::of(&owned(classes), &owned(labels))
    }

    #[test]
    fn classes_are_found_by_name_in_any_order() {
        let fer = [
            "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
        ];
        let words = [
            "Anger",
            "disgust",
            "fear",
            "joy",
            "sadness",
            "surprised",
            "neutral",
        ];
        let with_contempt = [&fer[..], &["contempt"]].concat();
        let all = [0, 1, 2, 3, 6, 4, 5];
        type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [usize], bool);
        let rows: [Row; 8] = [
            (&EMOTIONS, &EMOTIONS, &[0, 1, 2, 3, 4, 5, 6], true),
            (&EMOTIONS, &fer, &all, true),
            (&EMOTIONS, &words, &all, true),
            (&EMOTIONS, &with_contempt, &all, false),
            (&EMOTIONS, &fer[..6], &[0, 1, 2, 3, 4, 5], false),
            (&with_contempt, &EMOTIONS, &[0, 1, 2, 3, 5, 6, 4], false),
            (&["cat", "dog"], &["dog", "Cat", "cat"], &[2, 0], false),
            (&["cat", "dog"], &EMOTIONS, &[], false),
        ];
        let wrong: Vec<_> = rows
            .into_iter()
            .map(|(classes, labels, outputs, is_all)| (of(classes, labels), outputs, is_all))
            .filter(|(found, outputs, all)| found.outputs != *outputs || found.is_all() != *all)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn classes_have_places_in_the_output() {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let found = outputs_of(&owned(&["joy", "cat", "sad"]), &owned(&["sad", "Happy"]));
        assert_eq!(found, [Some(1), None, Some(0)]);
    }

    #[test]
    fn what_is_not_shared_is_left_out() {
        let (classes, labels) = (
            ["happy", "contempt", "joyless", "sad"],
            ["sad", "fear", "happy"],
        );
        let shared = of(&classes, &labels);
        let places: Vec<_> = (0..4).map(|class| shared.place(class)).collect();
        assert_eq!(places, [Some(0), None, None, Some(1)]);
        assert_eq!(shared.probabilities(&[0.25, 0.5, 0.25], false), [0.5, 0.5]);
        assert_eq!(shared.probabilities(&[0.0, 1.0, 0.0], false), [0.5, 0.5]);
        // Independent scores, also of the same classes.
        let same = of(&["a", "b"], &["a", "b"]);
        assert_eq!(same.probabilities(&[0.75, 0.75], true), [0.5, 0.5]);
        assert_eq!(same.probabilities(&[0.0, 0.0], true), [0.5, 0.5]);
        assert!(
            shared
                .probabilities(&[f32::NAN; 3], false)
                .iter()
                .all(|p| p.is_nan())
        );
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(shared.names(&owned(&classes)), ["happy", "sad"]);
        let unshared = shared.unshared(&owned(&classes), &owned(&labels), 9);
        let expected = Unshared {
            images: 9,
            data_classes: owned(&["contempt", "joyless"]),
            model_classes: owned(&["fear"]),
        };
        assert_eq!(unshared, Some(expected));
        // Nothing is changed where nothing is left out of the model.
        assert_eq!(
            of(&["a", "b", "c"], &["b", "a"]).probabilities(&[0.5, 0.25], false),
            [0.25, 0.5]
        );
    }
}
