//! Emotions along tracks: the shares of each track, and its probabilities over time. Memory does
//! not grow with the length of a video: when the bins are used up, two become one, of twice the
//! length.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// The most bins of the time axis.
const MAX_BINS: usize = 720;

/// The length of a bin at first, in seconds.
const FIRST_BIN: f64 = 0.05;

/// The most tracks that are kept one by one; later ones are counted.
const MAX_TRACKS: usize = 10_000;

/// The most tracks whose course over time is kept.
const MAX_COURSES: usize = 500;

/// A frame stands for at most this many seconds: what was lost in between is nobody's.
const MAX_STEP: f64 = 1.0;

/// The weight of a frame that stands for no time, in seconds.
const NO_TIME: f64 = 1e-6;

/// What tracks showed over time.
#[derive(Debug, Clone)]
pub struct Timeline {
    labels: Vec<String>,
    tracks: BTreeMap<u64, Track>,
    /// Tracks beyond those that are kept.
    uncounted: u64,
    newest_uncounted: u64,
    bin: f64,
    start: Option<f64>,
    end: f64,
    last: Option<f64>,
    step: f64,
    frames: u64,
    frames_with_faces: u64,
    seconds_with_faces: f64,
}

/// A track so far.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    first: f64,
    last: f64,
    frames: u64,
    seconds: f64,
    /// The sums of the probabilities, each times its frame's seconds.
    sums: Vec<f64>,
    /// The seconds in which each class was the most probable one.
    led: Vec<f64>,
    /// Seconds and sums of the bins, by number from the start.
    bins: BTreeMap<usize, (f64, Vec<f32>)>,
    has_course: bool,
}

impl Track {
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The classes by the time in which they led, the first the longest.
    fn label(&self) -> usize {
        let best = |best, class| {
            if self.led[class] > self.led[best] {
                class
            } else {
                best
            }
        };
        (0..self.led.len()).fold(0, best)
    }

    /// The mean probabilities of each bin, by number.
    pub(crate) fn course(&self) -> impl Iterator<Item = (usize, Vec<f32>)> + '_ {
        self.bins.iter().map(|(bin, (seconds, sums))| {
            let mean = |sum: &f32| *sum / (*seconds as f32).max(f32::MIN_POSITIVE);
            (*bin, sums.iter().map(mean).collect())
        })
    }
}

/// One track's part of the summary.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Shares {
    track: u64,
    first: f64,
    last: f64,
    frames: u64,
    seconds: f64,
    label: String,
    shares: Map<String, Value>,
    seconds_of: Map<String, Value>,
    mean_probabilities: Map<String, Value>,
}

impl Timeline {
    /// Nothing yet; `labels` are the classes.
    pub fn new(labels: &[String]) -> Self {
        Self {
            labels: labels.to_vec(),
            tracks: BTreeMap::new(),
            uncounted: 0,
            newest_uncounted: 0,
            bin: FIRST_BIN,
            start: None,
            end: 0.0,
            last: None,
            step: 0.0,
            frames: 0,
            frames_with_faces: 0,
            seconds_with_faces: 0.0,
        }
    }

    /// The classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Adds a frame at `time` in seconds: the probabilities of each of its tracks. Times grow.
    pub fn add<'a>(&mut self, time: f64, faces: impl IntoIterator<Item = (u64, &'a [f32])>) {
        // A frame stands for the time since the one before, the first for as long as the second.
        self.step = self
            .last
            .map_or(self.step, |last| (time - last).clamp(0.0, MAX_STEP));
        if self.frames == 1 && self.step > NO_TIME {
            self.weigh_first();
        }
        let start = *self.start.get_or_insert(time);
        (self.last, self.end) = (Some(time), time.max(self.end));
        while ((self.end - start) / self.bin) as usize >= MAX_BINS {
            self.halve();
        }
        let bin = ((time - start).max(0.0) / self.bin) as usize;
        let step = self.step;
        self.frames += 1;
        let mut any = false;
        for (id, probabilities) in faces {
            any = true;
            if !self.tracks.contains_key(&id) && self.tracks.len() >= MAX_TRACKS {
                if id > self.newest_uncounted {
                    (self.uncounted, self.newest_uncounted) = (self.uncounted + 1, id);
                }
                continue;
            }
            let has_course = self.tracks.len() < MAX_COURSES;
            let classes = self.labels.len();
            let track = self.tracks.entry(id).or_insert_with(|| Track {
                first: time,
                last: time,
                frames: 0,
                seconds: 0.0,
                sums: vec![0.0; classes],
                led: vec![0.0; classes],
                bins: BTreeMap::new(),
                has_course,
            });
            track.last = time;
            track.frames += 1;
            track.seconds += step;
            let weight = step.max(NO_TIME);
            let mut best = 0;
            for (class, p) in probabilities.iter().enumerate().take(classes) {
                track.sums[class] += weight * f64::from(*p);
                if *p > probabilities[best] {
                    best = class;
                }
            }
            track.led[best] += weight;
            if track.has_course {
                let (seconds, sums) = track
                    .bins
                    .entry(bin)
                    .or_insert_with(|| (0.0, vec![0.0; classes]));
                *seconds += weight;
                let each = sums.iter_mut().zip(probabilities);
                each.for_each(|(sum, p)| *sum += weight as f32 * p);
            }
        }
        if any {
            self.frames_with_faces += 1;
            self.seconds_with_faces += step;
        }
    }

    /// Gives the first frame, whose time was not known, that of the second.
    fn weigh_first(&mut self) {
        let (step, times) = (self.step, self.step / NO_TIME);
        for track in self.tracks.values_mut() {
            track.seconds = step;
            let sums = track.sums.iter_mut().chain(&mut track.led);
            sums.for_each(|sum| *sum *= times);
            for (seconds, sums) in track.bins.values_mut() {
                *seconds *= times;
                sums.iter_mut().for_each(|sum| *sum *= times as f32);
            }
            self.seconds_with_faces = step;
        }
    }

    /// Joins pairs of bins.
    fn halve(&mut self) {
        self.bin *= 2.0;
        for track in self.tracks.values_mut() {
            let mut joined: BTreeMap<usize, (f64, Vec<f32>)> = BTreeMap::new();
            for (bin, (seconds, sums)) in std::mem::take(&mut track.bins) {
                match joined.get_mut(&(bin / 2)) {
                    Some((all, both)) => {
                        *all += seconds;
                        both.iter_mut().zip(sums).for_each(|(a, b)| *a += b);
                    }
                    None => drop(joined.insert(bin / 2, (seconds, sums))),
                }
            }
            track.bins = joined;
        }
    }

    /// Where it begins and ends, in seconds, and the length of a bin.
    pub(crate) fn extent(&self) -> (f64, f64, f64) {
        (self.start.unwrap_or(0.0), self.end + self.step, self.bin)
    }

    pub(crate) fn tracks(&self) -> &BTreeMap<u64, Track> {
        &self.tracks
    }

    /// A track's span, seconds and leading class with its share, for people.
    pub(crate) fn about(&self, track: &Track) -> (usize, f64) {
        let label = track.label();
        let all: f64 = track.led.iter().sum();
        (label, track.led[label] / all.max(1e-9))
    }

    /// What a program wants to know of the whole.
    pub fn summary(&self, source: &str) -> Value {
        let named = |values: Vec<f64>| -> Map<String, Value> {
            let names = self.labels.iter().cloned();
            names
                .zip(values.into_iter().map(|v| json!(rounded(v))))
                .collect()
        };
        let shares = self.tracks.iter().map(|(id, track)| {
            let all: f64 = track.led.iter().sum();
            let mean: f64 = track.sums.iter().sum();
            Shares {
                track: *id,
                first: rounded(track.first),
                last: rounded(track.last),
                frames: track.frames,
                seconds: rounded(track.seconds),
                label: self.labels[track.label()].clone(),
                shares: named(track.led.iter().map(|s| s / all.max(1e-9)).collect()),
                seconds_of: named(track.led.clone()),
                mean_probabilities: named(track.sums.iter().map(|s| s / mean.max(1e-9)).collect()),
            }
        });
        let shares: Vec<Shares> = shares.collect();
        let (start, end, _) = self.extent();
        json!({
            "source": source,
            "start": rounded(start),
            "seconds": rounded(end - start),
            "frames": self.frames,
            "frames_with_faces": self.frames_with_faces,
            "seconds_with_faces": rounded(self.seconds_with_faces),
            "tracks": shares,
            "more_tracks": self.uncounted,
        })
    }

    /// The courses as CSV: `track,start,end,label,` and the mean probability of each class, a row
    /// for each bin in which the track was seen.
    ///
    /// # Errors
    /// The output can't be written.
    pub fn csv(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let names: Vec<String> = self.labels.iter().map(|label| quoted(label)).collect();
        writeln!(out, "track,start,end,label,{}", names.join(","))?;
        let (start, _, bin) = self.extent();
        for (id, track) in &self.tracks {
            for (number, mean) in track.course() {
                let at = |n: usize| rounded(start + n as f64 * bin);
                let best = (0..mean.len()).fold(0, |b, i| if mean[i] > mean[b] { i } else { b });
                write!(
                    out,
                    "{id},{},{},{}",
                    at(number),
                    at(number + 1),
                    names[best]
                )?;
                for p in mean {
                    write!(out, ",{}", rounded(f64::from(p)))?;
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// To a millionth.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        vec!["happy".into(), "a,b".into()]
    }

    #[test]
    fn shares_are_those_of_the_time() {
        let mut timeline = Timeline::new(&labels());
        // One second happy, three of the other, at 10 frames a second.
        for frame in 0..40 {
            let p = if frame < 10 { [0.9, 0.1] } else { [0.2, 0.8] };
            let second = (frame >= 20).then_some((2, &p[..]));
            timeline.add(
                f64::from(frame) / 10.0,
                [(1, &p[..])].into_iter().chain(second),
            );
        }
        let summary = timeline.summary("x");
        let track = &summary["tracks"][0];
        assert_eq!(track["label"], "a,b");
        assert_eq!(track["frames"], 40);
        let near = |value: &Value, expected: f64| {
            let value = value.as_f64().unwrap();
            assert!((value - expected).abs() < 0.03, "{value} is not {expected}");
        };
        near(&track["shares"]["happy"], 0.25);
        near(&track["seconds_of"]["a,b"], 3.0);
        // The first frame counts as much as another.
        assert_eq!(
            (&track["seconds"], &summary["seconds_with_faces"]),
            (&json!(4.0), &json!(4.0))
        );
        assert_eq!(track["seconds_of"]["happy"], 1.0);
        near(&track["mean_probabilities"]["happy"], 0.375);
        near(&summary["seconds"], 4.0);
        near(&summary["tracks"][1]["first"], 2.0);
        let mut csv = Vec::new();
        timeline.csv(&mut csv).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        assert!(
            csv.starts_with("track,start,end,label,happy,\"a,b\"\n1,0,0.05,happy,0.9,0.1\n"),
            "{csv}"
        );
        assert_eq!(csv.lines().count(), 1 + 40 + 20);
    }

    #[test]
    fn memory_stays_the_same_however_long_it_is() {
        let mut timeline = Timeline::new(&labels());
        for frame in 0..30 * 3600 {
            // A new track every ten frames, and one that stays.
            let p = [0.5, 0.5];
            timeline.add(
                f64::from(frame) / 30.0,
                [(1, &p[..]), (2 + frame as u64 / 10, &p[..])],
            );
        }
        let bins = |track: &Track| track.bins.len();
        let most = timeline.tracks.values().map(bins).max().unwrap();
        assert!(most <= MAX_BINS, "{most}");
        assert_eq!(timeline.tracks.len(), MAX_TRACKS);
        assert_eq!(timeline.uncounted, 10_801 - MAX_TRACKS as u64);
        let (start, end, bin) = timeline.extent();
        assert!((end - start) / bin <= MAX_BINS as f64 + 1.0);
    }

    #[test]
    fn nothing_is_a_summary_too() {
        let timeline = Timeline::new(&labels());
        assert_eq!(timeline.summary("x")["tracks"], json!([]));
        let mut timeline = Timeline::new(&labels());
        timeline.add(3.0, [(1, &[0.5, 0.5][..])]);
        assert_eq!(timeline.summary("x")["tracks"][0]["shares"]["happy"], 1.0);
    }
}
