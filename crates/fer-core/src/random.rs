//! Random numbers as a pure function of their purpose and place: the same seed and place give the
//! same numbers in every run, in any order and on any thread.
//!
//! ChaCha8 gives the bits. This module turns them into numbers itself, because the distributions of
//! `rand` may change between its versions.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// The purpose of random numbers. Each purpose has its own numbers under the same seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The augmentation of one image, by epoch and image.
    Augment = 1,
    /// The mixing of one batch, by epoch and step.
    Mixup = 2,
    /// A drawn face, by class and number.
    Synth = 3,
    /// The initial values of a kernel, by its place in the network.
    Weights = 4,
    /// The order of the images, by epoch.
    Order = 5,
    /// The images that belong to a fold, by class.
    Fold = 6,
    /// Noise for comparing two engines.
    Noise = 7,
    /// The quality of a face crop (scale, levels, resolution, compression), by epoch and image.
    Quality = 8,
    /// The corruption of an evaluation's image, by the hash of its file name and the kind of
    /// corruption.
    Corruption = 11,
}

/// A source of random numbers.
#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The numbers of a place (`major`, `minor`, e.g. epoch and image) under a seed. ChaCha's
    /// 32-byte key consists of the four values as 64-bit little-endian numbers: `seed`, `purpose`,
    /// `major`, `minor`. So no two places share their numbers.
    pub fn new(seed: u64, purpose: Purpose, major: u64, minor: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, value) in key
            .chunks_exact_mut(8)
            .zip([seed, purpose as u64, major, minor])
        {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in 0..1, without 1; a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low`..`high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in −`limit`..`limit`.
    pub fn around(&mut self, limit: f64) -> f64 {
        self.between(-limit, limit)
    }

    /// `true` with the given probability: never at 0, always at 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// A whole number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.0.next_u64()) * end as u128) >> 64) as usize
    }

    /// Approximately normal with mean 0 and variance 1: the sum of four uniform numbers, within
    /// ±3.5.
    pub fn bell(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.uniform()).sum();
        (sum - 2.0) * 3_f64.sqrt()
    }

    /// A random byte for each of `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Shuffles `items`; every order is equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resumed run depends on these exact numbers: a new version of `rand` must not change them.
    #[test]
    fn the_numbers_stay_the_same() {
        let mut random = Random::new(1, Purpose::Augment, 2, 3);
        let drawn: Vec<u64> = (0..4).map(|_| random.0.next_u64()).collect();
        assert_eq!(
            drawn,
            [
                14_483_171_256_779_454_040,
                14_042_188_402_261_770_878,
                7_053_046_440_667_782_331,
                16_172_239_282_060_685_563
            ]
        );
    }

    #[test]
    fn every_place_has_its_own_numbers() {
        let places = [
            (0, Purpose::Augment, 0, 0),
            (1, Purpose::Augment, 0, 0),
            (0, Purpose::Mixup, 0, 0),
            (0, Purpose::Quality, 0, 0),
            (0, Purpose::Augment, 1, 0),
            (0, Purpose::Augment, 0, 1),
        ];
        let first = places.map(|(seed, purpose, major, minor)| {
            Random::new(seed, purpose, major, minor).0.next_u64()
        });
        for (i, a) in first.iter().enumerate() {
            assert!(
                !first[..i].contains(a),
                "{:?} has the numbers of an earlier place",
                places[i]
            );
        }
    }

    #[test]
    fn numbers_are_in_range_and_spread() {
        let mut random = Random::new(7, Purpose::Synth, 0, 0);
        let n = 20_000;
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / n as f64;
        let uniform: Vec<f64> = (0..n).map(|_| random.uniform()).collect();
        assert!(uniform.iter().all(|v| (0.0..1.0).contains(v)));
        assert!((mean(uniform) - 0.5).abs() < 0.01);
        let bell: Vec<f64> = (0..n).map(|_| random.bell()).collect();
        assert!((mean(bell.iter().map(|v| v * v).collect()) - 1.0).abs() < 0.05);
        assert!(mean(bell).abs() < 0.03);
        let mut counts = [0; 7];
        (0..n).for_each(|_| counts[random.below(7)] += 1);
        assert!(
            counts.iter().all(|c| (2600..3120).contains(c)),
            "{counts:?}"
        );
        assert!((0..1000).all(|_| !random.chance(0.0) && random.chance(1.0)));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(7, Purpose::Synth, 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
