//! How well a model's predictions agree with what people voted ([`Agreement`]).

use serde::Serialize;

use super::metrics::{EPSILON, Predicted, share, wilson};
use super::top;
use crate::data::votes::{Counts, Majority};

/// The figures of a model on images that people voted on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// The number of images with a majority for one of the classes.
    pub images: u64,
    /// How many the model takes for that class.
    pub correct: u64,
    /// The share of those; 0 if there are no such images.
    pub accuracy: f64,
    /// Its 95 % interval, `[low, high]`; see [`wilson`].
    pub accuracy_interval: [f64; 2],
    /// The images without such a majority.
    pub left_out: LeftOut,
    /// The number of images with a vote for one of the classes.
    pub voted_images: u64,
    /// Their mean cross-entropy in nats: `−Σ q ln p` with the classes' shares of the votes q, p
    /// clipped as in [`Evaluation::loss`](super::Evaluation::loss); 0 if there are no such images.
    pub cross_entropy: f64,
    /// The lowest that it can be: the mean of `−Σ q ln q`, the people's own disagreement.
    pub entropy: f64,
}

/// Images that no majority is compared on, by the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Two choices or more have the most votes.
    pub ties: u64,
    /// Most people chose contempt, which is not one of the classes.
    pub contempt: u64,
    /// Most people could not name the expression.
    pub unknown: u64,
    /// Most people saw no face.
    pub no_face: u64,
    /// Nobody voted.
    pub without_votes: u64,
}

impl Agreement {
    /// Computes the figures of predictions by the classes [`EMOTIONS`](fer_core::spec::EMOTIONS)
    /// that [`Evaluation::new`](super::Evaluation::new) took; `votes` are those for each
    /// prediction's image.
    pub fn new(answers: &[Predicted], votes: &[Option<Counts>]) -> Self {
        let mut found = Self::default();
        for (answer, votes) in answers.iter().zip(votes) {
            found.add(&answer.probabilities, votes.as_ref());
        }
        found.accuracy = share(found.correct, found.images);
        found.accuracy_interval = wilson(found.correct, found.images);
        let count = found.voted_images.max(1) as f64;
        found.cross_entropy /= count;
        found.entropy /= count;
        found
    }

    fn add(&mut self, probabilities: &[f32], votes: Option<&Counts>) {
        let Some(votes) = votes else {
            self.left_out.without_votes += 1;
            return;
        };
        match votes.majority() {
            Majority::Class(class) => {
                self.images += 1;
                self.correct += u64::from(top(probabilities) == class);
            }
            Majority::Tie => self.left_out.ties += 1,
            Majority::Contempt => self.left_out.contempt += 1,
            Majority::Unknown => self.left_out.unknown += 1,
            Majority::NoFace => self.left_out.no_face += 1,
        }
        let Some(distribution) = votes.distribution() else {
            return;
        };
        self.voted_images += 1;
        for (q, p) in distribution
            .iter()
            .zip(probabilities)
            .filter(|(q, _)| **q > 0.0)
        {
            self.cross_entropy -= q * f64::from(*p).clamp(EPSILON, 1.0 - EPSILON).ln();
            self.entropy -= q * q.ln();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(probabilities: [f32; 7]) -> Predicted {
        Predicted {
            name: "a".into(),
            label: 0,
            probabilities: probabilities.to_vec(),
        }
    }

    fn counts(classes: [u8; 7], [contempt, unknown, no_face]: [u8; 3]) -> Option<Counts> {
        Some(Counts {
            classes,
            contempt,
            unknown,
            no_face,
        })
    }

    #[test]
    fn the_figures_of_a_small_table_by_hand() {
        let first = [0.5, 0.25, 0.125, 0.125, 0.0, 0.0, 0.0];
        let rows = [
            (first, counts([6, 2, 0, 0, 0, 0, 0], [0, 0, 0])), // right
            (first, counts([2, 6, 0, 0, 0, 0, 0], [0, 0, 0])), // wrong
            (first, counts([0, 0, 0, 8, 0, 0, 0], [0, 2, 0])), // wrong
            (first, counts([4, 4, 0, 0, 0, 0, 0], [1, 1, 0])), // a tie
            // Contempt; of classes, all votes for one that has 0.
            (first, counts([0, 0, 0, 0, 0, 0, 1], [9, 0, 0])),
            (first, counts([0, 0, 0, 0, 0, 0, 0], [0, 9, 1])), // unknown, no class
            (first, counts([1, 0, 0, 0, 0, 0, 0], [0, 2, 7])), // no face
            (first, None),
        ];
        let answers: Vec<_> = rows.iter().map(|(p, _)| answer(*p)).collect();
        let votes: Vec<_> = rows.iter().map(|(_, votes)| *votes).collect();
        let found = Agreement::new(&answers, &votes);
        assert_eq!((found.images, found.correct, found.voted_images), (3, 1, 6));
        assert_eq!(
            (found.accuracy, found.accuracy_interval),
            (1.0 / 3.0, wilson(1, 3))
        );
        let left_out = LeftOut {
            ties: 1,
            contempt: 1,
            unknown: 1,
            no_face: 1,
            without_votes: 1,
        };
        assert_eq!(found.left_out, left_out);
        // In units of ln 2: −¾·(−1) − ¼·(−2) = 1.25; 1.75; 3; 1.5; −ln 1e-7; 1.
        let sum = (1.25 + 1.75 + 3.0 + 1.5 + 1.0) * 2f64.ln() - 1e-7f64.ln();
        assert!((found.cross_entropy - sum / 6.0).abs() < 1e-12, "{found:?}");
        let disagreement = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        let entropy = (2.0 * disagreement + 2f64.ln()) / 6.0;
        assert!((found.entropy - entropy).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn nothing_to_compare_gives_no_figures_that_are_not_finite() {
        let found = Agreement::new(&[answer([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])], &[None]);
        assert_eq!(
            (found.images, found.accuracy, found.accuracy_interval),
            (0, 0.0, [0.0, 1.0])
        );
        assert_eq!(
            (
                found.cross_entropy,
                found.entropy,
                found.left_out.without_votes
            ),
            (0.0, 0.0, 1)
        );
    }
}
