//! The batch size: a fixed number, or a size that grows until larger batches bring little.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The largest batch size.
pub const MOST: usize = 4096;

/// The batch size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// A fixed number of images.
    Fixed(usize),
    /// Starts with 64 and doubles while that is at least a tenth faster, up to 1,024 images or 32
    /// MiB. How many images keep a GPU busy depends on the GPU and on the model.
    Growing,
}

/// The default batch size.
const USUAL: usize = 64;

/// The largest growing batch, in images.
const GROWN: usize = 1024;

/// The largest growing batch, in bytes of images: 32 MiB.
const GROWN_BYTES: usize = 32 << 20;

/// How much faster a larger batch must be.
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
                "'{s}' is not a batch size; it must be 1 to {MOST}, or auto"
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

/// The batch sizes of a run.
#[derive(Debug)]
pub(super) struct Sizes {
    size: usize,
    most: usize,
    /// Batches of this size so far. The first one is not timed, because memory is allocated and
    /// kernels are chosen then.
    seen: usize,
    /// The previous size, and its images per second.
    before: Option<(usize, f64)>,
}

impl Sizes {
    /// `most_bytes` limits every batch of more than one image, whatever size was requested.
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

    /// The size of the next batch.
    pub fn next(&self) -> usize {
        self.size
    }

    /// The largest size there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether a batch of this size may be too large for the device while a smaller one was not.
    pub fn may_fail(&self) -> bool {
        self.before.is_some()
    }

    /// A batch failed. Returns the previous, smaller size if there is one, and keeps to it from now
    /// on.
    pub fn failed(&mut self) -> Option<usize> {
        let (size, _) = self.before.take()?;
        (self.size, self.most) = (size, size);
        Some(size)
    }

    /// Records how long a batch took.
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
                // Not worth it: use the smaller size for the rest of the run.
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

    /// The sizes of `batches` batches on a machine that takes one second per batch plus the given
    /// seconds per image.
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
            // Only the number of batches matters: grow to the largest.
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
            // One more image takes as long as everything else: a larger batch brings nothing.
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
