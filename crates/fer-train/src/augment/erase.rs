//! Random erasing (Zhong et al. 2017, <https://arxiv.org/abs/1708.04896>): a rectangle of noise
//! hides a part of the face.

use fer_core::random::Random;

/// The rectangle's share of the image. The paper goes up to 0.4, which hides all of a face of 48x48
/// pixels that matters.
const AREA: (f64, f64) = (0.02, 0.2);

/// The rectangle's height over its width goes from 1 / `ASPECT` to `ASPECT`, wide and tall ones
/// being equally likely.
const ASPECT: f64 = 3.3;

/// A rectangle of random levels, one a pixel (the paper's "RE-R").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Its first column.
    pub left: usize,
    /// Its first row.
    pub top: usize,
    /// Its width, at least 1.
    pub wide: usize,
    /// Its levels, channel by channel and row by row.
    pub noise: Vec<u8>,
}

impl Erased {
    /// Draws the rectangle within an image of `width × height` pixels, of which there is one at
    /// least, and noise for each channel.
    pub(super) fn draw(channels: usize, width: usize, height: usize, random: &mut Random) -> Self {
        let area = random.between(AREA.0, AREA.1);
        let stretch = ASPECT.powf(random.around(0.5));
        let side =
            |share: f64, size: usize| ((share * size as f64).round() as usize).clamp(1, size);
        let (wide, high) = (
            side(area.sqrt() / stretch, width),
            side(area.sqrt() * stretch, height),
        );
        let (left, top) = (
            random.below(width - wide + 1),
            random.below(height - high + 1),
        );
        let mut noise = vec![0; channels * wide * high];
        random.fill(&mut noise);
        Self {
            left,
            top,
            wide,
            noise,
        }
    }

    /// Puts the levels into `pixels` (`[channels, height, width]`).
    pub(super) fn fill(&self, pixels: &mut [f32], channels: usize, width: usize) {
        let plane = (pixels.len() / channels.max(1)).max(1);
        let noise = (self.noise.len() / channels.max(1)).max(1);
        for (pixels, noise) in pixels
            .chunks_exact_mut(plane)
            .zip(self.noise.chunks_exact(noise))
        {
            for (row, noise) in pixels[self.top * width..]
                .chunks_mut(width)
                .zip(noise.chunks_exact(self.wide))
            {
                for (value, level) in row[self.left..].iter_mut().zip(noise) {
                    *value = f32::from(*level);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_core::random::Purpose;

    /// Whatever the image's shape, one full rectangle of the promised size is erased.
    #[test]
    fn one_rectangle_within_the_image() {
        let mut wrong = Vec::new();
        for (width, height) in [(48, 48), (9, 31), (40, 3), (1, 1)] {
            for seed in 0..200 {
                let mut pixels = vec![-1.0; width * height];
                Erased::draw(
                    1,
                    width,
                    height,
                    &mut Random::new(seed, Purpose::Augment, 0, 0),
                )
                .fill(&mut pixels, 1, width);
                let hit: Vec<(usize, usize)> = (0..pixels.len())
                    .filter(|i| pixels[*i] >= 0.0)
                    .map(|i| (i % width, i / width))
                    .collect();
                let span = |of: fn(&(usize, usize)) -> usize| {
                    let values = || hit.iter().map(of);
                    values().max().unwrap_or(0) + 1 - values().min().unwrap_or(0)
                };
                let share = hit.len() as f64 / pixels.len() as f64;
                let whole = hit.len() == span(|p| p.0) * span(|p| p.1);
                if !whole || (width == 48 && !(0.015..0.215).contains(&share)) {
                    wrong.push(format!(
                        "{width}x{height}, seed {seed}: {} pixels, whole: {whole}",
                        hit.len()
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
