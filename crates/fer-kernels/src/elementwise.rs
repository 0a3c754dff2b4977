//! Elementwise operations: dropout, sums with ReLU, and Adam's step.

use super::simd::{Shared, buffer, vectorized};
use super::team::{on_pool, parallel};

/// The number of values of one task.
const BLOCK: usize = 1 << 15;

fn blocks(len: usize, body: impl Fn(std::ops::Range<usize>) + Sync + Send) {
    on_pool(|| {
        parallel(len.div_ceil(BLOCK), |block| {
            body(block * BLOCK..len.min((block + 1) * BLOCK))
        })
    });
}

/// A new buffer that is filled block by block, each block by one task. `body` gets the block's
/// range and the zeroed block.
fn made(len: usize, body: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync + Send) -> Vec<f32> {
    // SAFETY: the blocks, each of them one task's, make up all of the buffer.
    unsafe {
        buffer(len, |target| {
            blocks(len, |range| {
                body(range.clone(), target.fresh(range.start, range.len()))
            })
        })
    }
}

/// Dropout (Srivastava et al. 2014): a value is kept and divided by the probability of keeping it,
/// or becomes zero.
///
/// The choice is a function of the seed and the position, so the backward pass computes it again
/// instead of storing a mask.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The probability of zero, 0..1.
    pub rate: f64,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Dropout {
    /// The values, or their gradients, after dropout.
    pub fn apply(&self, values: &[f32]) -> Vec<f32> {
        let limit = (self.rate * 2f64.powi(32)) as u32;
        let factor = (1.0 / (1.0 - self.rate)) as f32;
        let (low, high) = (self.seed as u32, (self.seed >> 32) as u32);
        made(values.len(), |range, output| {
            vectorized!({
                for (i, (y, x)) in output.iter_mut().zip(&values[range.clone()]).enumerate() {
                    let place = (range.start + i) as u32;
                    let random = mix(mix(place ^ low).wrapping_add(high));
                    *y = if random >= limit { x * factor } else { 0.0 };
                }
            });
        })
    }
}

/// A bijection of 32 bits in which every input bit flips each output bit with a probability near
/// one half (`lowbias32` of C. Wellons, 2018).
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// ReLU; NaN stays NaN.
#[inline(always)]
pub(super) fn above_zero(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `max(a + b, 0)`.
pub fn add_relu(a: &[f32], b: &[f32]) -> Vec<f32> {
    assert_eq!(a.len(), b.len());
    made(a.len(), |range, output| {
        vectorized!({
            for ((y, a), b) in output.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                *y = above_zero(a + b);
            }
        });
    })
}

/// `a + b`.
pub fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    assert_eq!(a.len(), b.len());
    made(a.len(), |range, output| {
        vectorized!({
            for ((y, a), b) in output.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                *y = a + b;
            }
        });
    })
}

/// The gradient where `activated` is positive, and zero elsewhere.
pub fn relu_gradient(gradient: &[f32], activated: &[f32]) -> Vec<f32> {
    assert_eq!(gradient.len(), activated.len());
    made(gradient.len(), |range, output| {
        vectorized!({
            for ((y, g), activated) in output
                .iter_mut()
                .zip(&gradient[range.clone()])
                .zip(&activated[range])
            {
                *y = if *activated > 0.0 { *g } else { 0.0 };
            }
        });
    })
}

/// The parameters of a step of Adam; `train::adam` explains them.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The learning rate with the bias correction of the moments.
    pub rate: f32,
    /// Coupled weight decay: this factor times the weight is added to the gradient.
    pub coupled_decay: f32,
    /// Decoupled weight decay: the weight is multiplied by this factor first.
    pub keep: f32,
}

impl Adam {
    /// Updates in place.
    pub fn step(
        &self,
        weight: &mut [f32],
        gradient: &[f32],
        moment_1: &mut [f32],
        moment_2: &mut [f32],
    ) {
        let len = weight.len();
        assert!(gradient.len() == len && moment_1.len() == len && moment_2.len() == len);
        let buffers = [
            Shared::new(weight),
            Shared::new(moment_1),
            Shared::new(moment_2),
        ];
        let Self {
            beta_1,
            beta_2,
            epsilon,
            rate,
            coupled_decay,
            keep,
        } = *self;
        blocks(len, |range| {
            // SAFETY: each block is one task's.
            let [weight, first, second] =
                buffers.map(|b| unsafe { b.part(range.start, range.len()) });
            vectorized!({
                for (((w, m), v), g) in weight
                    .iter_mut()
                    .zip(first)
                    .zip(second)
                    .zip(&gradient[range])
                {
                    let g = g + *w * coupled_decay;
                    *m = *m * beta_1 + g * (1.0 - beta_1);
                    *v = *v * beta_2 + g * g * (1.0 - beta_2);
                    *w = *w * keep - *m / (v.sqrt() + epsilon) * rate;
                }
            });
        });
    }
}
