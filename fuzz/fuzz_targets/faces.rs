#![no_main]
//! A detector's outputs of any values give faces that can be cut out and followed, or an error.

use fer_core::images::Pixels;
use fer_faces::{ANCHOR, anchor_count, find};
use fer_faces::{Crop, FRAME, Network, NetworkError, Scores, SearchOptions, Tracker};

/// Gives these values over and over.
struct Odd<'a>(&'a [u8]);

impl Network for Odd<'_> {
    fn anchors(&self, _: Vec<f32>, size: [usize; 2]) -> Result<Vec<f32>, NetworkError> {
        let (words, _) = self.0.as_chunks::<4>();
        let values = words.iter().map(|word| f32::from_le_bytes(*word)).cycle();
        Ok(values.take(anchor_count(size) * ANCHOR).collect())
    }

    fn scores(&self) -> Scores {
        match self.0.len() % 2 {
            0 => Scores::Probabilities,
            _ => Scores::Logits,
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([width, height], outputs)) = bytes.split_first_chunk() else {
        return;
    };
    let (width, height) = (usize::from(*width) + 1, usize::from(*height) + 1);
    let data = vec![128; width * height];
    let picture = Pixels {
        width,
        height,
        channels: 1,
        data,
    };
    let Ok(faces) = find(&picture, &Odd(outputs), &SearchOptions::default()) else {
        return;
    };
    let mut tracker = Tracker::default();
    for time in 0..3 {
        assert_eq!(tracker.detected(f64::from(time), &faces).len(), faces.len());
        tracker.moved(f64::from(time) + 0.5);
    }
    for face in faces.iter().take(4) {
        let crop = Crop {
            frame: FRAME,
            size: [8, 8],
        };
        assert_eq!(crop.cut(&picture, face).data, [128; 64]);
    }
});
