//! The votes for one image ([`Counts`]): their majority and their distribution.

use fer_core::spec::EMOTIONS;

/// How many people chose what for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By class, in the order of [`EMOTIONS`].
    pub classes: [u8; EMOTIONS.len()],
    /// For contempt, which is not one of the classes.
    pub contempt: u8,
    /// For an expression that can't be named.
    pub unknown: u8,
    /// For a picture without a face.
    pub no_face: u8,
}

/// What most people chose for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Majority {
    /// A class, an index into [`EMOTIONS`].
    Class(usize),
    /// Contempt.
    Contempt,
    /// An expression that can't be named.
    Unknown,
    /// No face.
    NoFace,
    /// Two choices or more have the most votes.
    Tie,
}

impl Counts {
    /// Each choice with its votes.
    fn choices(&self) -> impl Iterator<Item = (Majority, u8)> {
        let others = [
            (Majority::Contempt, self.contempt),
            (Majority::Unknown, self.unknown),
            (Majority::NoFace, self.no_face),
        ];
        self.classes
            .into_iter()
            .enumerate()
            .map(|(class, votes)| (Majority::Class(class), votes))
            .chain(others)
    }

    /// Whether nobody voted.
    pub fn is_empty(&self) -> bool {
        self.choices().all(|(_, votes)| votes == 0)
    }

    /// Which of the ten choices has the most votes.
    pub fn majority(&self) -> Majority {
        let most = self.choices().map(|(_, votes)| votes).max();
        let mut first = self
            .choices()
            .filter(|(_, votes)| Some(*votes) == most)
            .map(|(choice, _)| choice);
        match (first.next(), first.next()) {
            (Some(choice), None) => choice,
            _ => Majority::Tie,
        }
    }

    /// The classes' shares of the votes for classes, 0..=1 with a sum of 1; `None` if nobody chose
    /// a class.
    pub fn distribution(&self) -> Option<[f64; EMOTIONS.len()]> {
        shares(self.classes)
    }

    /// The distribution to learn from: [`distribution`](Self::distribution) of the classes with two
    /// votes or more. A class's only vote counts as a slip, as in FER+'s own code (`_process_data`
    /// in <https://github.com/microsoft/FERPlus/blob/master/src/ferplus.py>).
    pub fn soft_label(&self) -> Option<[f64; EMOTIONS.len()]> {
        shares(self.classes.map(|votes| if votes > 1 { votes } else { 0 }))
    }
}

fn shares(votes: [u8; EMOTIONS.len()]) -> Option<[f64; EMOTIONS.len()]> {
    let sum: u32 = votes.iter().map(|votes| u32::from(*votes)).sum();
    (sum > 0).then(|| votes.map(|votes| f64::from(votes) / f64::from(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(classes: [u8; 7], [contempt, unknown, no_face]: [u8; 3]) -> Counts {
        Counts {
            classes,
            contempt,
            unknown,
            no_face,
        }
    }

    #[test]
    fn the_majority_is_of_all_ten_choices() {
        let rows = [
            ([7, 0, 0, 0, 2, 1, 0], [0, 0, 0], Majority::Class(0)),
            ([0, 0, 0, 1, 2, 3, 4], [0, 0, 0], Majority::Class(6)),
            ([0, 0, 0, 3, 3, 0, 0], [4, 0, 0], Majority::Contempt),
            ([2, 0, 0, 0, 2, 0, 0], [0, 6, 0], Majority::Unknown),
            ([0, 0, 0, 0, 0, 0, 0], [0, 0, 10], Majority::NoFace),
            ([5, 0, 0, 0, 5, 0, 0], [0, 0, 0], Majority::Tie),
            ([0, 0, 4, 0, 2, 0, 0], [0, 4, 0], Majority::Tie),
            ([0, 0, 0, 0, 0, 0, 0], [5, 0, 5], Majority::Tie),
            ([0, 0, 0, 0, 0, 0, 0], [0, 0, 0], Majority::Tie),
            ([0, 1, 0, 0, 0, 0, 0], [0, 0, 0], Majority::Class(1)),
            ([255, 254, 0, 0, 0, 0, 0], [255, 0, 0], Majority::Tie),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(classes, others, expected)| {
                (
                    counts(*classes, *others).majority(),
                    expected,
                    classes,
                    others,
                )
            })
            .filter(|(found, expected, ..)| found != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn distributions_by_hand() {
        let happy = Some([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let spread = Some([0.25, 0.25, 0.0, 0.0, 0.25, 0.25, 0.0]);
        let some = Some([0.625, 0.0, 0.125, 0.0, 0.25, 0.0, 0.0]);
        let sure = Some([5.0 / 7.0, 0.0, 0.0, 0.0, 2.0 / 7.0, 0.0, 0.0]);
        // All votes for classes count in the distribution; the only one for a class does not in the
        // soft label.
        let rows = [
            ([0, 0, 0, 10, 0, 0, 0], happy, happy),
            (
                [0, 0, 1, 2, 0, 0, 0],
                Some([0.0, 0.0, 1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0]),
                happy,
            ),
            ([5, 0, 1, 0, 2, 0, 0], some, sure),
            ([1, 1, 0, 0, 1, 1, 0], spread, None),
            ([2, 2, 0, 0, 2, 2, 0], spread, spread),
            ([0; 7], None, None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(classes, distribution, label)| {
                (counts(*classes, [1, 2, 3]), distribution, label)
            })
            .map(|(c, distribution, label)| {
                ((c.distribution(), c.soft_label()), (*distribution, *label))
            })
            .filter(|(found, expected)| found != expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let all = counts([255; 7], [255; 3]).distribution();
        assert_eq!(all, Some([1.0 / 7.0; 7]), "no sum overflows");
    }
}
