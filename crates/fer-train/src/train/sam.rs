//! Sharpness-aware minimization (Foret et al. 2021, <https://arxiv.org/abs/2010.01412>): the
//! weights `w` follow the gradients at `w + ρ·g/‖g‖`, near where the loss around them is highest.
//! `g` are the gradients at `w` of the same batch, `‖·‖` is the L2 norm of all of them together,
//! and every parameter is moved, biases and normalizations too.
//!
//! As in the authors' code, the loss of both passes has the architecture's penalties in it, both
//! have the same dropout masks (on one device; several draw theirs in turns), and the running
//! statistics are those of the first. Weight decay is the optimizer's, at `w`.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::batch::Tensors;
use super::parallel::{Done, Team};
use super::{optimizer, step};
use crate::model::Network;

/// Is added to the norm: gradients that are all zero move nothing. No other norm comes near it.
const TINY: f64 = 1e-12;

/// What [`Team::gradients`] gives, but that its gradients are those at the moved weights; the score
/// is of the weights as they are.
///
/// `rho` is how far the weights are moved, in their L2 norm; with 0 there is no second pass. `seed`
/// is called before each pass and makes both draw the same random numbers. The weights of `network`
/// stay as they are: it is a copy that is moved.
///
/// # Errors
/// Another device failed.
pub fn gradients(
    team: &Team,
    network: &Network,
    (first, others): (Tensors, Vec<Tensors>),
    rho: f64,
    seed: impl Fn(),
) -> Result<Done, String> {
    seed();
    if rho == 0.0 {
        return team.gradients(network, first, others);
    }
    let (uphill, score) = team.gradients(network, first.clone(), others.clone())?;
    let moved = moved(network, &uphill, rho);
    seed();
    let (gradients, _) = team.gradients(&moved, first, others)?;
    Ok((gradients, score))
}

/// A copy to learn with, of the same parameters and with running statistics of its own, whose
/// weights are moved by `rho` along the gradients.
fn moved(network: &Network, gradients: &GradientsParams, rho: f64) -> Network {
    // Norm and factor stay on the device: nothing waits for it.
    let norm = optimizer::norm(network, gradients);
    let factor = norm.map(|norm| norm.add_scalar(TINY).recip().mul_scalar(rho));
    step::frozen(network)
        .map(&mut Move { gradients, factor })
        .train()
}

struct Move<'a> {
    gradients: &'a GradientsParams,
    /// `[1]`; none of no gradients.
    factor: Option<Tensor<1>>,
}

impl ModuleMapper for Move<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Running statistics have no gradients.
        match (self.gradients.get::<D>(param.id), &self.factor) {
            (Some(gradient), Some(factor)) => {
                let step = gradient.mul(factor.clone().reshape([1; D]));
                param.map(|weight| weight + step)
            }
            _ => param,
        }
    }
}
