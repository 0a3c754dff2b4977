//! How many images a batch has: a number that was asked for, or the one from which on larger
//! batches bring little.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The largest batch.
pub const MOST: usize = 4096;

/// Images a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// So many.
    Fixed(usize),
    /// 64, then twice as many as long as that makes it a tenth faster, up to 1,024 or to 32 MiB of
    /// images: what a GPU needs to be busy depends on the GPU and on the model.
    Growing,
}

/// A batch that is not asked for otherwise.
const USUAL: usize = 64;

/// Up to this many images a growing batch grows.
const GROWN: usize = 1024;

/// Up to this many bytes of images a growing batch grows: 32 MiB.
const GROWN_BYTES: usize = 32 << 20;

/// By how much a larger batch has to be faster.
const GAIN: f64 = 1.1;

impl Default for BatchSize {
    fn default() -> Self {
        Self::Fixed(USUAL)
    }
}

impl FromStr for BatchSize {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse() {
            Ok(n) if (1..=MOST).contains(&n) => Ok(Self::Fixed(n)),
            _ if s == "auto" => Ok(Self::Growing),
            _ => Err(format!(
                "'{s}' is no batch size; it is 1 to {MOST}, or auto"
            )),
        }
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(n) => n.fmt(f),
            Self::Growing => f.write_str("auto"),
        }
    }
}

/// The size of the batches of a run.
#[derive(Debug)]
pub(super) struct Sizes {
    size: usize,
    most: usize,
    /// Batches of this size so far; the first one is not counted, as it is when memory is taken and
    /// kernels are chosen.
    seen: usize,
    /// The size before this, and its images a second.
    before: Option<(usize, f64)>,
}

impl Sizes {
    /// `most_bytes`: no batch of more than one image is larger, whatever was asked for.
    pub fn new(asked: BatchSize, image_bytes: usize, most_bytes: usize) -> Self {
        let most = (most_bytes / image_bytes.max(1)).max(1);
        let (size, grown) = match asked {
            BatchSize::Fixed(n) => (n, n),
            BatchSize::Growing => (
                USUAL,
                (GROWN_BYTES / image_bytes.max(1)).clamp(USUAL, GROWN),
            ),
        };
        Self {
            size: size.clamp(1, most),
            most: grown.clamp(1, most),
            seen: 0,
            before: None,
        }
    }

    /// Images of the next batch.
    pub fn next(&self) -> usize {
        self.size
    }

    /// Images of the largest batch there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether a batch of this size may be too large for the device, and a smaller one was not.
    pub fn may_fail(&self) -> bool {
        self.before.is_some()
    }

    /// A batch failed. If it was larger than one that did not: the size of that, which is kept to
    /// from now on.
    pub fn failed(&mut self) -> Option<usize> {
        let (size, _) = self.before.take()?;
        (self.size, self.most) = (size, size);
        Some(size)
    }

    /// Learns from how long a batch took.
    pub fn took(&mut self, images: usize, time: Duration) {
        if images < self.size || self.size >= self.most && self.before.is_none() {
            return;
        }
        self.seen += 1;
        if self.seen < 2 {
            return;
        }
        let rate = images as f64 / time.as_secs_f64().max(1e-9);
        match self.before {
            Some((size, before)) if rate < before * GAIN => {
                // Not worth it: the smaller one for the rest of the run.
                (self.size, self.most, self.before) = (size, size, None);
            }
            _ if self.size >= self.most => self.before = None,
            _ => {
                self.before = Some((self.size, rate));
                self.size = (2 * self.size).min(self.most);
                self.seen = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of `batches` batches on a machine that takes a second and the more the larger they
    /// are, in seconds an image.
    fn sizes(asked: BatchSize, most: usize, batches: usize, an_image: f64) -> Vec<usize> {
        let mut sizes = Sizes::new(asked, 1 << 10, most << 10);
        (0..batches)
            .map(|_| {
                let size = sizes.next();
                assert!(size <= sizes.most());
                sizes.took(size, Duration::from_secs_f64(1.0 + size as f64 * an_image));
                size
            })
            .collect()
    }

    #[test]
    fn batches_grow_while_that_is_faster() {
        let rows = [
            // All that counts is the number of batches: to the largest.
            (
                BatchSize::Growing,
                4096,
                0.0,
                vec![64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 1024, 1024],
            ),
            (
                BatchSize::Growing,
                300,
                0.0,
                vec![64, 64, 128, 128, 256, 256, 300, 300, 300, 300],
            ),
            // An image more takes as long as all else: a larger batch brings nothing.
            (
                BatchSize::Growing,
                4096,
                1.0,
                vec![64, 64, 128, 128, 64, 64, 64],
            ),
            (BatchSize::Fixed(7), 4096, 0.0, vec![7, 7, 7, 7]),
            (BatchSize::Fixed(700), 20, 0.0, vec![20, 20, 20, 20]),
            (BatchSize::Growing, 1, 0.0, vec![1, 1, 1]),
        ];
        let wrong: Vec<_> = rows
            .into_iter()
            .map(|(asked, most, an_image, expected)| {
                (sizes(asked, most, expected.len(), an_image), expected)
            })
            .filter(|(found, expected)| found != expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn large_images_do_not_grow_and_a_failure_goes_back() {
        let large = Sizes::new(BatchSize::Growing, 1 << 20, 256 << 20);
        assert_eq!((large.next(), large.most()), (64, 64));
        let mut sizes = Sizes::new(BatchSize::Growing, 1, 1 << 20);
        assert_eq!(
            sizes.failed(),
            None,
            "the first size has nothing to go back to"
        );
        for _ in 0..4 {
            sizes.took(sizes.next(), Duration::from_secs(1));
        }
        assert_eq!((sizes.next(), sizes.failed()), (256, Some(128)));
        for _ in 0..4 {
            sizes.took(sizes.next(), Duration::from_millis(1));
            assert_eq!((sizes.next(), sizes.failed()), (128, None));
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, size) in [
            ("1", BatchSize::Fixed(1)),
            ("4096", BatchSize::Fixed(4096)),
            ("auto", BatchSize::Growing),
        ] {
            assert_eq!(text.parse(), Ok(size));
            assert_eq!(size.to_string(), text);
        }
        for text in ["0", "4097", "-1", "", "many"] {
            assert!(text.parse::<BatchSize>().is_err(), "{text}");
        }
    }
}
