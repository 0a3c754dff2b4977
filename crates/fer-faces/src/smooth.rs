//! Probabilities averaged along a track, so that a label does not flicker.

use std::collections::BTreeMap;

/// Probabilities of the tracks of one source, averaged over time.
///
/// The average is an exponential one: after `seconds`, a frame still weighs 1/e of the newest.
///
/// ```
/// use fer_faces::Smoother;
/// let mut smoother = Smoother::new(1.0);
/// assert_eq!(smoother.smooth(7, 0.0, &[1.0, 0.0]), [1.0, 0.0]);
/// let after = smoother.smooth(7, 0.1, &[0.0, 1.0]);
/// assert!(after[0] > 0.9 && after[1] < 0.1);
/// ```
#[derive(Debug, Clone)]
pub struct Smoother {
    seconds: f64,
    tracks: BTreeMap<u64, (f64, Vec<f32>)>,
}

/// A track that was not seen for this many seconds is forgotten.
const FORGOTTEN: f64 = 10.0;

impl Smoother {
    /// Averages over `seconds`; 0 returns what is given.
    pub fn new(seconds: f64) -> Self {
        Self {
            seconds,
            tracks: BTreeMap::new(),
        }
    }

    /// Takes the probabilities of a track at `time` (seconds) and returns their average so far.
    /// If the probabilities sum to 1, so does the average. A track that was not seen for 10
    /// seconds, or whose time went back, begins anew.
    pub fn smooth(&mut self, track: u64, time: f64, probabilities: &[f32]) -> Vec<f32> {
        let current = |seen: f64| (0.0..=FORGOTTEN).contains(&(time - seen));
        self.tracks.retain(|_, (seen, _)| current(*seen));
        let (seen, average) = self
            .tracks
            .entry(track)
            .or_insert_with(|| (time, probabilities.to_vec()));
        let weight = match self.seconds > 0.0 {
            true => 1.0 - (-(time - *seen) / self.seconds).exp(),
            false => 1.0,
        };
        for (average, new) in average.iter_mut().zip(probabilities) {
            *average += weight as f32 * (new - *average);
        }
        *seen = time;
        average.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_belong_to_a_track_and_follow_a_change() {
        let mut smoother = Smoother::new(0.5);
        smoother.smooth(1, 0.0, &[1.0, 0.0]);
        assert_eq!(smoother.smooth(2, 0.0, &[0.0, 1.0]), [0.0, 1.0]);
        let mut last = vec![];
        for frame in 1..=45 {
            last = smoother.smooth(1, f64::from(frame) / 30.0, &[0.0, 1.0]);
            assert!((last.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            // 1/e of the old is left after half a second.
            if frame == 15 {
                assert!((last[0] - 0.368).abs() < 0.001, "{last:?}");
            }
        }
        assert!(last[0] < 0.06, "{last:?}");
        // Long unseen, and a time before.
        assert_eq!(smoother.smooth(1, 60.0, &[1.0, 0.0]), [1.0, 0.0]);
        assert_eq!(smoother.smooth(1, 0.0, &[0.5, 0.5]), [0.5, 0.5]);
        assert_eq!(smoother.tracks.len(), 1);
    }

    #[test]
    fn no_time_is_no_average() {
        let mut smoother = Smoother::new(0.0);
        smoother.smooth(1, 0.0, &[1.0, 0.0]);
        assert_eq!(smoother.smooth(1, 0.1, &[0.25, 0.75]), [0.25, 0.75]);
    }
}
