//! The learning rate as a function of the step: warm-up, then one of five courses.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate changes over a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// The course after the warm-up.
    pub name: Course,
    /// Epochs, or a part of one, in which the rate rises in a line from 0 to its highest.
    /// `one-cycle` counts its rise from this, or takes 30 % of the run if it is 0.
    pub warmup: f64,
    /// `cosine` and `one-cycle`: the last rate as a share of the highest. `plateau`: the lowest
    /// rate, as that share.
    pub floor: f64,
    /// `step`: the epochs between two cuts. `plateau`: epochs without a better validation loss
    /// before a cut.
    pub every: u32,
    /// `step`: the epochs that do not count; the first cut is `every` epochs after them.
    pub after: u32,
    /// `step`, `plateau`: what the rate is multiplied with.
    pub factor: f64,
}

/// The courses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// The highest rate all the time.
    #[default]
    Constant,
    /// Times `factor` after every `every` epochs beyond the first `after`.
    Step,
    /// Half a cosine down to the floor (Loshchilov & Hutter 2017, without restarts).
    Cosine,
    /// Half a cosine up from 1/25 of the highest rate, half a cosine down to the floor (Smith &
    /// Topin 2018).
    OneCycle,
    /// Times `factor` whenever the validation loss was not better for `every` epochs.
    Plateau,
}

/// One-cycle begins at this share of its highest rate.
const ONE_CYCLE_START: f64 = 1.0 / 25.0;

impl Schedule {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the key and what it may be.
    pub fn validate(&self) -> Result<(), String> {
        let cuts = matches!(self.name, Course::Step | Course::Plateau);
        let rows = [
            (
                "warmup",
                self.warmup.is_finite() && self.warmup >= 0.0,
                "0 or above",
            ),
            ("floor", (0.0..=1.0).contains(&self.floor), "0 to 1"),
            (
                "every",
                !cuts || self.every > 0,
                "above 0 for the courses step and plateau",
            ),
            (
                "factor",
                !cuts || self.factor > 0.0 && self.factor < 1.0,
                "above 0 and below 1 for the courses step and plateau",
            ),
        ];
        match rows.iter().find(|(_, right, _)| !right) {
            Some((key, _, range)) => Err(format!("schedule.{key} must be {range}")),
            None => Ok(()),
        }
    }

    /// The learning rate of a step as a share of the highest, 0..=1.
    ///
    /// `done` epochs lie behind this step, e.g. 1.5 in the middle of the second; `epochs` is the
    /// whole run; `cuts` counts how often the plateau was reached ([`Plateau::cuts`]).
    pub fn share(&self, done: f64, epochs: f64, cuts: u32) -> f64 {
        let cosine = |from: f64, to: f64, at: f64, end: f64| {
            let way = if end > 0.0 {
                (at / end).clamp(0.0, 1.0)
            } else {
                1.0
            };
            to + (from - to) * (1.0 + (PI * way).cos()) / 2.0
        };
        if self.name == Course::OneCycle {
            let rise = if self.warmup > 0.0 {
                self.warmup.min(epochs)
            } else {
                0.3 * epochs
            };
            return if done < rise {
                cosine(ONE_CYCLE_START, 1.0, done, rise)
            } else {
                cosine(1.0, self.floor, done - rise, epochs - rise)
            };
        }
        if done < self.warmup {
            return done / self.warmup;
        }
        match self.name {
            Course::Constant | Course::OneCycle => 1.0,
            Course::Step => {
                let past = (done.floor() as u32).checked_sub(self.after);
                self.factor
                    .powf(past.map_or(0, |p| p / self.every.max(1)).into())
            }
            Course::Cosine => cosine(1.0, self.floor, done - self.warmup, epochs - self.warmup),
            Course::Plateau => self.factor.powf(cuts.into()).max(self.floor),
        }
    }
}

/// Counts how often the validation loss stood still.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    best: Option<f64>,
    waited: u32,
    /// How often the rate is to be cut.
    pub cuts: u32,
}

impl Plateau {
    /// Takes an epoch's validation loss; `every` epochs without a lower one make a cut.
    pub fn observe(&mut self, loss: f64, every: u32) {
        if self.best.is_none_or(|best| loss < best) {
            self.best = Some(loss);
            self.waited = 0;
            return;
        }
        self.waited += 1;
        if self.waited >= every {
            self.cuts += 1;
            self.waited = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses() {
        let s = |name| Schedule {
            name,
            warmup: 2.0,
            floor: 0.1,
            every: 3,
            after: 4,
            factor: 0.5,
        };
        let rows = [
            (Course::Constant, 0.0, 0, 0.0),
            (Course::Constant, 1.0, 0, 0.5),
            (Course::Constant, 9.0, 0, 1.0),
            (Course::Step, 3.9, 0, 1.0),
            (Course::Step, 6.9, 0, 1.0),
            (Course::Step, 7.0, 0, 0.5),
            (Course::Step, 9.9, 0, 0.5),
            (Course::Cosine, 2.0, 0, 1.0),
            (Course::Cosine, 6.0, 0, 0.55),
            (Course::Cosine, 10.0, 0, 0.1),
            (Course::OneCycle, 0.0, 0, 0.04),
            (Course::OneCycle, 1.0, 0, 0.52),
            (Course::OneCycle, 2.0, 0, 1.0),
            (Course::OneCycle, 6.0, 0, 0.55),
            (Course::OneCycle, 10.0, 0, 0.1),
            (Course::Plateau, 5.0, 0, 1.0),
            (Course::Plateau, 5.0, 2, 0.25),
            (Course::Plateau, 5.0, 9, 0.1),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(name, done, cuts, expected)| {
                (name, done, s(*name).share(*done, 10.0, *cuts), expected)
            })
            .filter(|(_, _, found, expected)| (found - *expected).abs() > 1e-12)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn no_share_leaves_its_range() {
        for name in [
            Course::Constant,
            Course::Step,
            Course::Cosine,
            Course::OneCycle,
            Course::Plateau,
        ] {
            for warmup in [0.0, 0.5, 3.0, 10.0, 20.0] {
                let s = Schedule {
                    name,
                    warmup,
                    floor: 0.0,
                    every: 1,
                    after: 0,
                    factor: 0.1,
                };
                for step in 0..=100 {
                    let share = s.share(f64::from(step) / 10.0, 10.0, 3);
                    assert!(
                        (0.0..=1.0).contains(&share),
                        "{name:?} {warmup} {step}: {share}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_plateau_cuts_after_waiting() {
        let mut plateau = Plateau::default();
        let cuts: Vec<u32> = [1.0, 0.9, 0.95, 0.91, 0.9, 0.8, 0.85, 0.85]
            .into_iter()
            .map(|loss| {
                plateau.observe(loss, 2);
                plateau.cuts
            })
            .collect();
        assert_eq!(cuts, [0, 0, 0, 1, 1, 1, 1, 2]);
    }
}
