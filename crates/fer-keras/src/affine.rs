//! Multiplications and additions of constants: what layers, operations and Python functions do to
//! pixels.

/// `scale` × input + `offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: f64,
    pub(crate) offset: f64,
}

impl Affine {
    /// What changes nothing.
    pub(crate) const NONE: Self = Self {
        scale: 1.0,
        offset: 0.0,
    };

    /// This one, then another.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            scale: self.scale * next.scale,
            offset: self.offset * next.scale + next.offset,
        }
    }
}

/// The mean of constants that differ between channels or positions; 0 if there are none.
pub(crate) fn mean(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0f64);
    for number in numbers {
        (sum, count) = (sum + number, count + 1.0);
    }
    sum / count.max(1.0)
}
