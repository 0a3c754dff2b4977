//! Adam (Kingma & Ba 2015) with Keras's place for ε, and AdamW's decoupled weight decay (Loshchilov
//! & Hutter 2019).
//!
//! Keras adds ε to the root of the second moment as it is; PyTorch and Burn's own Adam first
//! correct that moment's bias, which makes their ε smaller by √(1 − β₂ᵗ) (a factor of 32 in the
//! first step). It is the form before section 2.1 of the paper, where it is called ε̂.

use burn::optim::{AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor};

use fer_kernels::{elementwise, ops};

/// The optimizer; see [`crate::train::config::Optimizer`] for its numbers.
#[derive(Debug, Clone)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// ε̂.
    pub epsilon: f64,
    /// What times the weight is added to the gradient.
    pub coupled_decay: f64,
    /// What times the weight and the learning rate is taken off the weight.
    pub decoupled_decay: f64,
}

impl Adam {
    /// [`Optimizer::step`] in one pass over the memory.
    fn fused<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let (time, moments) = match state.map(|s| s.momentum) {
            None => (1, [tensor.zeros_like(), tensor.zeros_like()]),
            Some(old) => (old.time + 1, [old.moment_1, old.moment_2]),
        };
        let step = elementwise::Adam {
            beta_1: self.beta_1 as f32,
            beta_2: self.beta_2 as f32,
            epsilon: self.epsilon as f32,
            rate: self.rate(lr, time) as f32,
            coupled_decay: self.coupled_decay as f32,
            keep: (1.0 - lr * self.decoupled_decay) as f32,
        };
        let (tensor, [first, second]) = ops::adam(step, tensor, grad, moments);
        (
            tensor,
            Some(AdamState::new(AdaptiveMomentumState::new(
                time, first, second,
            ))),
        )
    }

    /// The learning rate with the biases of both moments corrected.
    fn rate(&self, lr: f64, time: usize) -> f64 {
        let steps = time as f64;
        lr * (1.0 - self.beta_2.powf(steps)).sqrt() / (1.0 - self.beta_1.powf(steps))
    }
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        mut grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        if ops::runs_on(&tensor.device()) {
            return self.fused(lr, tensor, grad, state);
        }
        if self.coupled_decay > 0.0 {
            grad = grad + tensor.clone().mul_scalar(self.coupled_decay);
        }
        let (first, second) = (
            grad.clone().mul_scalar(1.0 - self.beta_1),
            grad.square().mul_scalar(1.0 - self.beta_2),
        );
        let momentum = match state.map(|s| s.momentum) {
            None => AdaptiveMomentumState::new(1, first, second),
            Some(old) => AdaptiveMomentumState::new(
                old.time + 1,
                old.moment_1.mul_scalar(self.beta_1) + first,
                old.moment_2.mul_scalar(self.beta_2) + second,
            ),
        };
        let rate = self.rate(lr, momentum.time);
        let update =
            momentum.moment_1.clone() / momentum.moment_2.clone().sqrt().add_scalar(self.epsilon);
        let tensor = match self.decoupled_decay {
            0.0 => tensor,
            decay => tensor.mul_scalar(1.0 - lr * decay),
        };
        (
            tensor - update.mul_scalar(rate),
            Some(AdamState::new(momentum)),
        )
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}
