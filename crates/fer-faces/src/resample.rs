//! A part of a picture in another size: the mean over the area of each new pixel where it shrinks,
//! linear interpolation where it grows. Beyond the picture's edges, its outermost pixels go on.

use fer_core::images::Pixels;

/// A rectangle in a picture, in pixels from its top left; it may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width, above 0.
    pub w: f64,
    /// Height, above 0.
    pub h: f64,
}

/// The pixels of `part` as an image of `width` × `height`: values of 0..=255 for each channel, row
/// by row, not rounded.
pub fn resample(pixels: &Pixels, part: Part, [width, height]: [usize; 2]) -> Vec<f32> {
    let channels = pixels.channels;
    let across = taps(part.x, part.w, width, pixels.width);
    let down = taps(part.y, part.h, height, pixels.height);
    // The columns of the picture that are used.
    let first = across.iter().map(|tap| tap.first).min().unwrap_or(0);
    let end = across.iter().map(|tap| tap.first + tap.weights.len());
    let columns = first..end.max().unwrap_or(first);
    let mut line = vec![0.0; columns.len() * channels];
    let mut out = Vec::with_capacity(width * height * channels);
    for tap in &down {
        line.fill(0.0);
        for (y, weight) in tap.sources() {
            let row = &pixels.data[(y * pixels.width + first) * channels..][..line.len()];
            for (sum, value) in line.iter_mut().zip(row) {
                *sum += weight * f32::from(*value);
            }
        }
        match channels {
            1 => horizontal::<1>(&line, first, &across, &mut out),
            _ => horizontal::<3>(&line, first, &across, &mut out),
        }
    }
    out
}

/// Adds a row of the result, from a row of the picture's columns from `first`.
fn horizontal<const CHANNELS: usize>(
    line: &[f32],
    first: usize,
    across: &[Tap],
    out: &mut Vec<f32>,
) {
    for tap in across {
        let pixels = &line[(tap.first - first) * CHANNELS..][..tap.weights.len() * CHANNELS];
        let mut sum = [0.0; CHANNELS];
        for (pixel, weight) in pixels.chunks_exact(CHANNELS).zip(&tap.weights) {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        out.extend_from_slice(&sum);
    }
}

/// The pixels that a new pixel is made of, along one axis.
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

impl Tap {
    fn sources(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let weights = self.weights.iter().enumerate();
        weights.map(|(i, weight)| (self.first + i, *weight))
    }
}

/// The taps of `count` new pixels over `length` pixels from `start`, of `limit` pixels in all.
fn taps(start: f64, length: f64, count: usize, limit: usize) -> Vec<Tap> {
    let step = length / count as f64;
    let last = limit.saturating_sub(1);
    let tap = |i: usize| {
        let from = start + i as f64 * step;
        match step >= 1.0 {
            true => mean(from, from + step, last),
            false => between(from + step / 2.0 - 0.5, last),
        }
    };
    (0..count).map(tap).collect()
}

/// The mean over the pixels between two points. What lies beyond an edge counts as its pixel.
fn mean(from: f64, to: f64, last: usize) -> Tap {
    // So far beyond that the two points may be the same number.
    if to <= 0.0 || from >= last as f64 {
        let first = if to <= 0.0 { 0 } else { last };
        let weights = vec![1.0];
        return Tap { first, weights };
    }
    let first = (from.floor().max(0.0) as usize).min(last);
    let end = ((to.ceil() - 1.0).max(0.0) as usize).clamp(first, last);
    let weight = |p: usize| {
        let low = if p == 0 { from } else { from.max(p as f64) };
        let high = if p == last {
            to
        } else {
            to.min(p as f64 + 1.0)
        };
        ((high - low) / (to - from)).max(0.0) as f32
    };
    Tap {
        first,
        weights: (first..=end).map(weight).collect(),
    }
}

/// Linear interpolation at a point between two pixels' centers.
fn between(center: f64, last: usize) -> Tap {
    let center = center.clamp(0.0, last as f64);
    let first = center.floor() as usize;
    let share = (center - first as f64) as f32;
    let weights = match first == last {
        true => vec![1.0],
        false => vec![1.0 - share, share],
    };
    Tap { first, weights }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: usize, data: &[u8]) -> Pixels {
        Pixels {
            width,
            height: data.len() / width,
            channels: 1,
            data: data.to_vec(),
        }
    }

    fn part(x: f64, y: f64, w: f64, h: f64) -> Part {
        Part { x, y, w, h }
    }

    #[test]
    fn means_interpolations_and_edges() {
        let four = gray(4, &[0, 100, 200, 40, 10, 110, 210, 50]);
        let rows = [
            (
                "as it is",
                part(0.0, 0.0, 4.0, 2.0),
                [4, 2],
                vec![0.0, 100.0, 200.0, 40.0, 10.0, 110.0, 210.0, 50.0],
            ),
            ("half", part(0.0, 0.0, 4.0, 2.0), [2, 1], vec![55.0, 125.0]),
            (
                "a fraction",
                part(0.0, 0.0, 3.0, 1.0),
                [2, 1],
                vec![100.0 / 3.0, 500.0 / 3.0],
            ),
            (
                "twice",
                part(0.0, 0.0, 2.0, 1.0),
                [4, 1],
                vec![0.0, 25.0, 75.0, 125.0],
            ),
            (
                "beyond the left",
                part(-2.0, 0.0, 4.0, 1.0),
                [4, 1],
                vec![0.0, 0.0, 0.0, 100.0],
            ),
            ("far beyond", part(50.0, 50.0, 2.0, 2.0), [1, 1], vec![50.0]),
            (
                "so far that a pixel more is the same number",
                part(-1e30, 1e30, 2.0, 2.0),
                [1, 1],
                vec![10.0],
            ),
        ];
        let mut wrong = Vec::new();
        for (row, part, size, expected) in rows {
            let found = resample(&four, part, size);
            let near = found
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a - b).abs() < 1e-3);
            if found.len() != expected.len() || !near {
                wrong.push(format!("{row}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn channels_stay_apart() {
        let pixels = Pixels {
            width: 2,
            height: 1,
            channels: 3,
            data: vec![10, 20, 30, 30, 40, 50],
        };
        assert_eq!(
            resample(&pixels, part(0.0, 0.0, 2.0, 1.0), [1, 1]),
            [20.0, 30.0, 40.0]
        );
    }
}
