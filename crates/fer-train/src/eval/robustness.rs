//! What corruptions cost a model: its accuracy at each severity, the means, and their reports.

use serde::Serialize;

use super::corruptions::{Corruption, Severity};
use super::metrics::{EvalError, Evaluation};
use super::report::{Table, percent};
use super::run::Predictions;

/// A model's accuracy on corrupted images; shares are 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Robustness {
    /// The accuracy on the images as they are.
    pub clean: f64,
    /// The mean accuracy over all corruptions and severities, each counted alike.
    pub mean: f64,
    /// `clean − mean`.
    pub lost: f64,
    /// The accuracy at each severity, the mildest first: the mean over the corruptions.
    pub by_severity: [f64; 3],
    /// One entry a corruption, in the order of [`Corruption::ALL`].
    pub corruptions: Vec<CorruptionScores>,
}

/// A model's accuracy under one corruption.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorruptionScores {
    /// The corruption.
    pub name: Corruption,
    /// The accuracy at each severity, the mildest first.
    pub accuracy: [f64; 3],
    /// Its mean.
    pub mean: f64,
}

impl Robustness {
    /// Computes the figures from the accuracy without corruption and the predictions under every
    /// severity of `corruptions`, in the order of [`Condition::all`](super::Condition::all).
    ///
    /// # Errors
    /// There are no predictions under one of them, or one can't be evaluated.
    ///
    /// # Panics
    /// If `corrupted` has not three entries a corruption.
    pub fn new(
        labels: &[String],
        clean: f64,
        corruptions: &[Corruption],
        corrupted: &[Predictions],
    ) -> Result<Self, EvalError> {
        assert_eq!(
            corrupted.len(),
            corruptions.len() * Severity::ALL.len(),
            "answers for each severity"
        );
        let accuracies: Vec<f64> = corrupted
            .iter()
            .map(|answers| Ok(Evaluation::new(labels, &answers.answers)?.accuracy))
            .collect::<Result<_, EvalError>>()?;
        let scores = |(name, accuracies): (&Corruption, &[f64])| {
            let accuracy = [accuracies[0], accuracies[1], accuracies[2]];
            CorruptionScores {
                name: *name,
                accuracy,
                mean: mean(accuracy.into_iter()),
            }
        };
        let scores: Vec<_> = corruptions
            .iter()
            .zip(accuracies.chunks_exact(3))
            .map(scores)
            .collect();
        let mean_of_all = mean(accuracies.iter().copied());
        Ok(Self {
            clean,
            mean: mean_of_all,
            lost: clean - mean_of_all,
            by_severity: Severity::ALL
                .map(|severity| mean(scores.iter().map(|s| s.accuracy[severity as usize]))),
            corruptions: scores,
        })
    }
}

/// The figures for the terminal: a line of means and a row a corruption.
pub fn text(robustness: &Robustness) -> String {
    format!(
        "accuracy under corruptions of severity 1 to 3\n{}{}\n",
        table(robustness).text(),
        summary(robustness)
    )
}

/// The same as Markdown, with a heading of the third level.
pub fn markdown(robustness: &Robustness) -> String {
    format!(
        "### Corruptions\n\nAccuracy at severity 1 to 3.\n\n{}\n{}\n",
        table(robustness).markdown(),
        summary(robustness)
    )
}

/// The means in words.
pub fn summary(r: &Robustness) -> String {
    let side = if r.lost < 0.0 { "above" } else { "below" };
    format!(
        "mean accuracy under corruptions {}, {:.2} points {side} the {} without",
        percent(r.mean, 2),
        100.0 * r.lost.abs(),
        percent(r.clean, 2)
    )
}

fn table(r: &Robustness) -> Table {
    let row = |name: &str, accuracy: [f64; 3], mean: f64| {
        let figures = accuracy
            .into_iter()
            .chain([mean])
            .map(|share| percent(share, 1));
        [name.to_string()].into_iter().chain(figures).collect()
    };
    let mut rows: Vec<Vec<String>> = r
        .corruptions
        .iter()
        .map(|s| row(s.name.name(), s.accuracy, s.mean))
        .collect();
    if rows.len() > 1 {
        rows.push(row("mean", r.by_severity, r.mean));
    }
    let header = ["corruption", "1", "2", "3", "mean"];
    Table::new(&header, rows)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Predicted;

    /// Eight images, of which so many are predicted right.
    fn answers(right: usize) -> Predictions {
        let answer = |i: usize| {
            let probabilities = if i < right {
                vec![0.75, 0.25]
            } else {
                vec![0.25, 0.75]
            };
            Predicted {
                name: i.to_string(),
                label: 0,
                probabilities,
            }
        };
        Predictions {
            answers: (0..8).map(answer).collect(),
            ..Predictions::default()
        }
    }

    fn small() -> Robustness {
        let corrupted = [7, 6, 5, 6, 4, 2].map(answers);
        let labels = ["angry", "happy"].map(String::from);
        Robustness::new(
            &labels,
            0.875,
            &[Corruption::Noise, Corruption::Equalization],
            &corrupted,
        )
        .unwrap()
    }

    #[test]
    fn the_means_by_hand() {
        let r = small();
        assert_eq!((r.clean, r.mean, r.lost), (0.875, 0.625, 0.25));
        assert_eq!(r.by_severity, [0.8125, 0.625, 0.4375]);
        let rows: Vec<_> = r
            .corruptions
            .iter()
            .map(|s| (s.name, s.accuracy, s.mean))
            .collect();
        let noise = (Corruption::Noise, [0.875, 0.75, 0.625], 0.75);
        assert_eq!(
            rows,
            [noise, (Corruption::Equalization, [0.75, 0.5, 0.25], 0.5)]
        );
        let labels = ["angry", "happy"].map(String::from);
        let empty = [answers(1), Predictions::default(), answers(1)];
        assert_eq!(
            Robustness::new(&labels, 0.5, &[Corruption::Jpeg], &empty),
            Err(EvalError::Empty)
        );
    }

    #[test]
    fn the_reports() {
        let expected = "\
accuracy under corruptions of severity 1 to 3
corruption         1       2       3    mean
noise         87.5 %  75.0 %  62.5 %  75.0 %
equalization  75.0 %  50.0 %  25.0 %  50.0 %
mean          81.2 %  62.5 %  43.8 %  62.5 %
mean accuracy under corruptions 62.50 %, 25.00 points below the 87.50 % without
";
        assert_eq!(text(&small()), expected, "\n{}", text(&small()));
        let markdown = markdown(&small());
        for line in [
            "| corruption | 1 | 2 | 3 | mean |",
            "| noise | 87.5 % | 75.0 % | 62.5 % | 75.0 % |",
        ] {
            assert!(
                markdown.lines().any(|l| l == line),
                "no line {line}\n{markdown}"
            );
        }
        let labels = ["angry", "happy"].map(String::from);
        let better =
            Robustness::new(&labels, 0.5, &[Corruption::Jpeg], &[6, 6, 6].map(answers)).unwrap();
        assert_eq!(
            summary(&better),
            "mean accuracy under corruptions 75.00 %, 25.00 points above the 50.00 % without"
        );
        assert!(
            !text(&better).contains("\nmean  "),
            "one row is its own mean: {}",
            text(&better)
        );
    }
}
