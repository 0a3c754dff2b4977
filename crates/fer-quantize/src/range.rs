//! The ranges of activations: their distribution over images ([`Histogram`]), the range that a
//! method takes of it ([`Method`]), and the scale and zero point of that ([`Params`]).

use std::fmt;
use std::str::FromStr;

/// Bins on each side of zero.
const HALF: usize = 8192;

/// The first limit of a histogram; it doubles until it holds every value.
const FIRST_LIMIT: f32 = 1.0 / 1024.0;

/// The ranges that least error compares: shares of the largest values, falling in steps of 4 %.
const STEPS: i32 = 60;

/// A value that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

/// The distribution of values, in bins of equal width around zero. Values of exactly 0, which every
/// range holds without error, are not counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// All values are in `-limit..=limit`.
    limit: f32,
    bins: Vec<u64>,
    /// The smallest value, and the largest; zero is always between them.
    ends: [f32; 2],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            limit: FIRST_LIMIT,
            bins: vec![0; 2 * HALF],
            ends: [0.0; 2],
        }
    }
}

impl Histogram {
    /// Counts values.
    ///
    /// # Errors
    /// One is NaN or infinite; some before it have been counted.
    pub fn add(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        for value in values {
            // A float32 over half of the largest power of two has no limit above it.
            if *value == 0.0 {
                continue;
            }
            if value.is_nan() || value.abs() > f32::MAX / 4.0 {
                return Err(NotFinite);
            }
            while value.abs() > self.limit {
                self.double();
            }
            self.ends = [self.ends[0].min(*value), self.ends[1].max(*value)];
            let place = (value / self.limit * HALF as f32).floor() as i64 + HALF as i64;
            self.bins[place.clamp(0, 2 * HALF as i64 - 1) as usize] += 1;
        }
        Ok(())
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.limit < other.limit {
            self.double();
        }
        while other.limit < self.limit {
            other.double();
        }
        for (own, more) in self.bins.iter_mut().zip(&other.bins) {
            *own += more;
        }
        let [low, high] = other.ends;
        self.ends = [self.ends[0].min(low), self.ends[1].max(high)];
    }

    /// Joins the bins in pairs, those beside zero first.
    fn double(&mut self) {
        self.limit *= 2.0;
        let mut bins = vec![0; 2 * HALF];
        for (i, count) in self.bins.iter().enumerate() {
            let place = if i >= HALF {
                HALF + (i - HALF) / 2
            } else {
                HALF - 1 - (HALF - 1 - i) / 2
            };
            bins[place] += count;
        }
        self.bins = bins;
    }

    /// The range that a method takes, `[low, high]`: `low` is at most 0 and `high` at least 0.
    pub fn range(&self, method: Method) -> [f32; 2] {
        match method {
            Method::MinMax => self.ends,
            Method::Percentile(percent) => self.percentile(f64::from(percent) / 100.0),
            Method::LeastError => self.least_error(),
        }
    }

    /// The upper end of a bin, and of the one below it.
    fn edge(&self, bin: usize) -> f32 {
        (bin as f32 - HALF as f32) / HALF as f32 * self.limit
    }

    fn percentile(&self, share: f64) -> [f32; 2] {
        let total: u64 = self.bins.iter().sum();
        let most = (total as f64 * (1.0 - share)) as u64;
        let low = passing(self.bins.iter(), most).map_or(0.0, |bin| self.edge(bin));
        let from_above = passing(self.bins.iter().rev(), most);
        let high = from_above.map_or(0.0, |bin| self.edge(2 * HALF - bin));
        [low.clamp(self.ends[0], 0.0), high.clamp(0.0, self.ends[1])]
    }

    /// The range with the least mean squared error of its 256 levels: the best upper end, then the
    /// best lower end beside it.
    fn least_error(&self) -> [f32; 2] {
        let mut range = self.ends;
        for end in [1, 0] {
            let candidates = (0..STEPS).map(|step| {
                let mut candidate = range;
                candidate[end] *= 0.96f32.powi(step);
                candidate
            });
            let best = candidates
                .map(|candidate| (self.error(candidate), candidate))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            range = best.map_or(range, |(_, best)| best);
        }
        range
    }

    /// The sum of the squared errors of the values in a range of 256 levels. A value within it is
    /// off by the twelfth part of a squared step on average, one outside by its distance.
    fn error(&self, [low, high]: [f32; 2]) -> f64 {
        let step = f64::from(high - low) / 255.0;
        let within = step * step / 12.0;
        let (low, high) = (f64::from(low), f64::from(high));
        let bins = self.bins.iter().enumerate().filter(|(_, n)| **n > 0);
        bins.map(|(bin, count)| {
            let value = f64::from(self.edge(bin)) + f64::from(self.limit) / HALF as f64 / 2.0;
            let beyond = (value - high).max(low - value).max(0.0);
            *count as f64 * (beyond * beyond).max(within)
        })
        .sum()
    }
}

/// The first bin at which more than `most` values have been passed.
fn passing<'a>(mut counts: impl Iterator<Item = &'a u64>, most: u64) -> Option<usize> {
    let mut passed = 0;
    counts.position(|count| {
        passed += count;
        passed > most
    })
}

/// How a range is taken of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// From the smallest value to the largest.
    MinMax,
    /// Without the most extreme values: this percentage of the values is at or below the upper end,
    /// and as many at or above the lower.
    Percentile(f32),
    /// That with the least squared error.
    LeastError,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::LeastError => f.write_str("least-error"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let percent = || match s.strip_prefix("percentile:")?.parse() {
            Ok(percent) if (50.0..=100.0).contains(&percent) => Some(Self::Percentile(percent)),
            _ => None,
        };
        match s {
            "min-max" => Ok(Self::MinMax),
            "percentile" => Ok(Self::Percentile(99.99)),
            "least-error" => Ok(Self::LeastError),
            _ => percent().ok_or_else(|| {
                format!(
                    "'{s}' is not a method; there are min-max, percentile, percentile:P with P of \
                     50 to 100, and least-error"
                )
            }),
        }
    }
}

/// Scale and zero point of a tensor of uint8: `value = scale · (q − zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// The step between two levels, positive.
    pub scale: f32,
    /// The level of 0.
    pub zero_point: u8,
}

impl Params {
    /// Those of a range that holds 0: its ends are levels, but for the rounding of the zero point.
    pub fn of([low, high]: [f32; 2]) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        // Nothing but zeros, or numbers whose steps would be subnormal.
        if !scale.is_finite() || scale < f32::MIN_POSITIVE {
            return Self {
                scale: 1.0,
                zero_point: 0,
            };
        }
        Self {
            scale,
            zero_point: (-low / scale).round().clamp(0.0, 255.0) as u8,
        }
    }

    /// The smallest and the largest value.
    pub fn ends(self) -> [f32; 2] {
        [0, 255].map(|q| (q as f32 - f32::from(self.zero_point)) * self.scale)
    }

    /// A value as it comes back.
    pub fn round_trip(self, value: f32) -> f32 {
        let zero = f32::from(self.zero_point);
        let q = ((value / self.scale).round_ties_even() + zero).clamp(0.0, 255.0);
        (q - zero) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(values).unwrap();
        histogram
    }

    #[test]
    fn methods_are_read_as_they_are_written() {
        for method in [Method::MinMax, Method::Percentile(99.9), Method::LeastError] {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        for wrong in [
            "",
            "mean",
            "percentile:",
            "percentile:101",
            "percentile:nan",
        ] {
            assert!(wrong.parse::<Method>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_percentile_leaves_out_the_extremes() {
        let mut values: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        values.push(1000.0);
        let histogram = histogram(&values);
        assert_eq!(histogram.range(Method::MinMax), [0.0, 1000.0]);
        let [low, high] = histogram.range(Method::Percentile(99.9));
        assert_eq!(low, 0.0);
        assert!((0.9..1.3).contains(&high), "{high}");
    }

    #[test]
    fn least_error_clips_a_long_tail_and_no_short_one() {
        let even: Vec<f32> = (-1000..=1000).map(|i| i as f32 / 1000.0).collect();
        let [low, high] = histogram(&even).range(Method::LeastError);
        assert!(low < -0.9 && high > 0.9, "{low} {high}");
        let mut many = histogram(&even);
        for _ in 0..11 {
            many.merge(&many.clone());
        }
        many.merge(&histogram(&[30.0]));
        let [_, high] = many.range(Method::LeastError);
        assert!((0.9..15.0).contains(&high), "{high}");
    }

    #[test]
    fn values_that_are_no_numbers_are_refused() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert_eq!(Histogram::default().add(&[1.0, wrong]), Err(NotFinite));
        }
    }

    proptest! {
        #[test]
        fn zero_has_a_level_and_every_value_of_the_range_is_near_one(
            low in -1e6f32..=0.0, high in 0.0f32..=1e6, at in 0.0f32..=1.0
        ) {
            let params = Params::of([low, high]);
            prop_assert_eq!(params.round_trip(0.0), 0.0);
            let value = low + (high - low) * at;
            // The zero point is rounded, so that an end may be off by another half step.
            let off = (params.round_trip(value) - value).abs();
            prop_assert!(off <= params.scale * 1.001 || high - low < 1e-30, "{off} {params:?}");
        }

        #[test]
        fn histograms_hold_all_values_and_can_be_joined(
            first in prop::collection::vec(-1e4f32..1e4, 1..50),
            second in prop::collection::vec(-1e-3f32..1e-3, 1..50),
        ) {
            let first: Vec<f32> = first.into_iter().filter(|v| *v != 0.0).collect();
            let second: Vec<f32> = second.into_iter().filter(|v| *v != 0.0).collect();
            let mut joined = histogram(&first);
            joined.merge(&histogram(&second));
            let both = [first, second].concat();
            prop_assert_eq!(&joined.ends, &histogram(&both).ends);
            prop_assert_eq!(joined.bins.iter().sum::<u64>(), both.len() as u64);
            for method in [Method::MinMax, Method::Percentile(99.0), Method::LeastError] {
                let [low, high] = joined.range(method);
                prop_assert!(low <= 0.0 && 0.0 <= high);
                prop_assert!(joined.ends[0] <= low && high <= joined.ends[1]);
            }
        }
    }
}
