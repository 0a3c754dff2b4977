//! Corruptions of single levels: what becomes of a pixel does not depend on its neighbors.

use super::level;
use crate::augment::equalized;
use fer_core::images::Pixels;
use fer_core::random::Random;

/// Adds noise of this standard deviation, in levels; the same to all channels of a pixel, so that
/// gray stays gray.
pub(super) fn noise(pixels: &Pixels, deviation: f64, random: &mut Random) -> Pixels {
    let noisy = |pixel: &[u8]| {
        let noise = deviation * random.bell();
        pixel
            .iter()
            .map(|value| level(f64::from(*value) + noise))
            .collect::<Vec<u8>>()
    };
    Pixels {
        data: pixels
            .data
            .chunks(pixels.channels)
            .flat_map(noisy)
            .collect(),
        ..*pixels
    }
}

/// Adds `change` to all levels.
pub(super) fn brightness(pixels: &Pixels, change: f64) -> Pixels {
    mapped(pixels, |value| value + change)
}

/// Multiplies the levels' differences from their mean, which is that of all channels, with
/// `factor`.
pub(super) fn contrast(pixels: &Pixels, factor: f64) -> Pixels {
    let sum: u64 = pixels.data.iter().map(|value| u64::from(*value)).sum();
    let mean = sum as f64 / pixels.data.len() as f64;
    mapped(pixels, |value| mean + factor * (value - mean))
}

/// Raises the levels, as shares of 255, to the power `exponent`: above 1 darkens.
pub(super) fn gamma(pixels: &Pixels, exponent: f64) -> Pixels {
    mapped(pixels, |value| 255.0 * (value / 255.0).powf(exponent))
}

/// Multiplies the levels with `gain`, clips them, equalizes their histogram, and mixes the result
/// with the image as it was; `share` is the result's.
///
/// By [`equalized`], on the levels of the image in gray; color channels
/// follow the map that comes of them. An image of one level stays as it is.
pub(super) fn equalization(pixels: &Pixels, gain: f64, share: f64) -> Pixels {
    let gained = mapped(pixels, |value| gain * value);
    let map = equalized(&gained.clone().into_gray().data);
    let mixed = |(old, new): (&u8, &u8)| {
        level((1.0 - share) * f64::from(*old) + share * f64::from(map[usize::from(*new)]))
    };
    Pixels {
        data: pixels.data.iter().zip(&gained.data).map(mixed).collect(),
        ..*pixels
    }
}

/// Changes each level in the same way.
fn mapped(pixels: &Pixels, map: impl Fn(f64) -> f64) -> Pixels {
    let table: [u8; 256] = std::array::from_fn(|value| level(map(value as f64)));
    Pixels {
        data: pixels
            .data
            .iter()
            .map(|value| table[usize::from(*value)])
            .collect(),
        ..*pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(data: &[u8]) -> Pixels {
        Pixels {
            width: data.len(),
            height: 1,
            channels: 1,
            data: data.to_vec(),
        }
    }

    #[test]
    fn levels_by_hand() {
        type Change = fn(&Pixels) -> Pixels;
        let rows: [(&str, &[u8], Change, &[u8]); 12] = [
            (
                "lighter",
                &[0, 100, 230, 255],
                |p| brightness(p, 40.0),
                &[40, 140, 255, 255],
            ),
            (
                "darker",
                &[0, 39, 100, 255],
                |p| brightness(p, -40.0),
                &[0, 0, 60, 215],
            ),
            // The mean is 100.
            (
                "half the contrast",
                &[0, 50, 100, 250],
                |p| contrast(p, 0.5),
                &[50, 75, 100, 175],
            ),
            (
                "no contrast",
                &[10, 20, 30, 41],
                |p| contrast(p, 0.0),
                &[25; 4],
            ),
            // 255 · (51/255)² = 10.2, 255 · (128/255)² = 64.25
            (
                "gamma 2",
                &[0, 51, 128, 255],
                |p| gamma(p, 2.0),
                &[0, 10, 64, 255],
            ),
            // 255 · √(51/255) = 114.04, 255 · √(128/255) = 180.67
            (
                "gamma 1/2",
                &[0, 51, 128, 255],
                |p| gamma(p, 0.5),
                &[0, 114, 181, 255],
            ),
            // Up to each level are 1, 3, 4, 5 of 5 pixels: without the lowest 0, 2, 3, 4 of 4.
            (
                "equalized",
                &[10, 20, 20, 30, 40],
                |p| equalization(p, 1.0, 1.0),
                &[0, 128, 128, 191, 255],
            ),
            (
                "half",
                &[10, 20, 20, 30, 40],
                |p| equalization(p, 1.0, 0.5),
                &[5, 74, 74, 111, 148],
            ),
            // 200, 240, 255 and 255 after the gain.
            (
                "gained",
                &[167, 200, 220, 250],
                |p| equalization(p, 1.2, 1.0),
                &[0, 85, 255, 255],
            ),
            (
                "one level",
                &[7, 7, 7],
                |p| equalization(p, 1.0, 1.0),
                &[7, 7, 7],
            ),
            ("white", &[255], |p| equalization(p, 1.2, 1.0), &[255]),
            (
                "two levels",
                &[3, 4],
                |p| equalization(p, 1.0, 1.0),
                &[0, 255],
            ),
        ];
        let mut wrong = Vec::new();
        for (name, from, change, expected) in rows {
            let to = change(&gray(from)).data;
            if to != expected {
                wrong.push(format!("{name}: {from:?} became {to:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn noise_has_its_deviation_and_no_mean() {
        let from = Pixels {
            width: 200,
            height: 100,
            channels: 1,
            data: vec![128; 20_000],
        };
        let random = &mut Random::new(1, fer_core::random::Purpose::Corruption, 2, 3);
        let noise: Vec<f64> = noise(&from, 10.0, random)
            .data
            .iter()
            .map(|v| f64::from(*v) - 128.0)
            .collect();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / 20_000.0;
        assert!(mean(noise.clone()).abs() < 0.3);
        // Rounding adds a variance of 1/12.
        assert!((mean(noise.iter().map(|n| n * n).collect()) - 100.1).abs() < 3.0);
    }

    #[test]
    fn colors_are_equalized_by_their_gray() {
        // Gray levels 76 and 29: the lower becomes 0, the higher 255; and the map of levels between
        // them steps up at 76.
        let from = Pixels {
            width: 2,
            height: 1,
            channels: 3,
            data: vec![255, 0, 0, 0, 0, 255],
        };
        assert_eq!(equalization(&from, 1.0, 1.0).data, [255, 0, 0, 0, 0, 255]);
        let from = Pixels {
            width: 2,
            height: 1,
            channels: 3,
            data: vec![80, 80, 10, 60, 60, 60],
        };
        assert_eq!(
            equalization(&from, 1.0, 1.0).data,
            [255, 255, 0, 0, 0, 0],
            "gray 72 and 60"
        );
    }
}
