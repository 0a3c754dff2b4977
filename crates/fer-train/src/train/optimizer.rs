//! How the weights follow the gradients: [`Adam`] or Burn's SGD, with weight decay on kernels only,
//! the global norm of the gradients bounded, and the architecture's L2 penalties.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;

use super::adam::Adam;
use super::config::{Method, Optimizer};
use crate::model::Network;

/// The optimizer for a network's parameters.
///
/// Weight decay of `adam` and `sgd` is added to the gradient; that of `adamw` is taken off the
/// weights.
pub fn build(config: &Optimizer, network: &Network) -> ModuleOptimizer {
    let decay = config.weight_decay;
    let kernels = ParamGroup::from_ids(network.kernels());
    let adam = |coupled_decay, decoupled_decay| Adam {
        beta_1: config.momentum,
        beta_2: config.beta_2,
        epsilon: config.epsilon,
        coupled_decay,
        decoupled_decay,
    };
    match config.name {
        Method::Adam => {
            ModuleOptimizer::from(adam(0.0, 0.0)).with_group(kernels, adam(decay, 0.0), None)
        }
        Method::AdamW => {
            ModuleOptimizer::from(adam(0.0, 0.0)).with_group(kernels, adam(0.0, decay), None)
        }
        Method::Sgd => {
            let momentum = (config.momentum > 0.0).then(|| {
                MomentumConfig::new()
                    .with_momentum(config.momentum)
                    .with_dampening(0.0)
                    .with_nesterov(true)
            });
            let sgd = SgdConfig::new().with_momentum(momentum);
            let decayed = sgd
                .clone()
                .with_weight_decay((decay > 0.0).then(|| WeightDecayConfig::new(decay as f32)));
            ModuleOptimizer::from(sgd.build()).with_group(kernels, decayed.build(), None)
        }
    }
}

/// Adds the gradient of `factor · Σw²` of each penalised kernel and returns the sum of the
/// penalties, `[1]`, if there are any.
pub fn penalise(network: &Network, gradients: &mut GradientsParams) -> Option<Tensor<1>> {
    let penalties = network.penalties().into_iter().map(|(kernel, factor)| {
        let weights = kernel.val().inner();
        if let Some(gradient) = gradients.remove::<4>(kernel.id) {
            gradients.register(
                kernel.id,
                gradient + weights.clone().mul_scalar(2.0 * factor),
            );
        }
        squared_norm(weights).mul_scalar(factor)
    });
    penalties.reduce(|a, b| a + b)
}

/// The architecture's penalties of these weights, as [`penalise`] returns them.
pub fn penalty(network: &Network) -> f64 {
    let penalty = |(kernel, factor): (Param<Tensor<4>>, f64)| {
        factor * f64::from(squared_norm(kernel.val()).into_scalar::<f32>())
    };
    network.penalties().into_iter().map(penalty).sum()
}

/// Scales all gradients so that their global L2 norm is at most `limit` (Pascanu et al. 2013); 0
/// for no limit.
pub fn clip(network: &Network, gradients: &mut GradientsParams, limit: f64) {
    if limit == 0.0 {
        return;
    }
    // Norm and factor stay on the device: nothing waits for it.
    if let Some(norm) = norm(network, gradients) {
        let factor = norm.clone().recip().mul_scalar(limit).clamp_max(1.0);
        // A norm that is not finite makes it no number, which the check of the loss sees.
        let factor = factor + norm.mul_scalar(0.0);
        network.visit(&mut Scale { gradients, factor });
    }
}

/// Multiplies all gradients with a factor.
pub fn scale(network: &Network, gradients: &mut GradientsParams, factor: f64) {
    struct Times<'a>(&'a mut GradientsParams, f64);
    impl ModuleVisitor for Times<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient.mul_scalar(self.1));
            }
        }
    }
    network.visit(&mut Times(gradients, factor));
}

/// Adds the gradients of the same network.
pub fn add(network: &Network, gradients: &mut GradientsParams, others: &mut GradientsParams) {
    struct Add<'a>(&'a mut GradientsParams, &'a mut GradientsParams);
    impl ModuleVisitor for Add<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let sum = match (self.0.remove::<D>(param.id), self.1.remove::<D>(param.id)) {
                (Some(a), Some(b)) => a + b,
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => return,
            };
            self.0.register(param.id, sum);
        }
    }
    network.visit(&mut Add(gradients, others));
}

/// The global L2 norm of the gradients, `[1]`; none of no gradients.
pub fn norm(network: &Network, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = Squares {
        gradients,
        sum: None,
    };
    network.visit(&mut squares);
    squares.sum.map(Tensor::sqrt)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = squared_norm(gradient);
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    /// `[1]`.
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.gradients.register(param.id, gradient.mul(factor));
        }
    }
}

fn squared_norm<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.clone().mul(tensor).sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::model::Architecture;
    use crate::train::config::Config;

    /// A network on the learning device and a gradient of `value` everywhere.
    fn network_and_gradients(value: f32) -> (Network, GradientsParams) {
        struct Uniform(GradientsParams, f32);
        impl ModuleVisitor for Uniform {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.register(
                    param.id,
                    Tensor::<D>::full(param.shape(), self.1, &Device::flex()),
                );
            }
        }
        let network = Architecture::Tiny
            .init(crate::model::Shape::FER2013, None, 1, &Device::flex())
            .train();
        let mut uniform = Uniform(GradientsParams::new(), value);
        network.visit(&mut uniform);
        (network, uniform.0)
    }

    fn values(network: &Network) -> Vec<(usize, Vec<f32>)> {
        struct Values(Vec<(usize, Vec<f32>)>);
        impl ModuleVisitor for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0
                    .push((D, param.val().into_data().try_into_vec().unwrap()));
            }
        }
        let mut values = Values(Vec::new());
        network.visit(&mut values);
        values.0
    }

    #[test]
    fn weight_decay_leaves_out_biases_and_normalisations() {
        for name in [Method::Adam, Method::AdamW, Method::Sgd] {
            let (network, gradients) = network_and_gradients(0.0);
            let base = Config::preset("tiny").unwrap().optimizer;
            let config = Optimizer {
                name,
                weight_decay: 0.1,
                ..base
            };
            let before = values(&network);
            let after = values(&build(&config, &network).step(0.001, network, gradients));
            for ((rank, before), (_, after)) in before.iter().zip(&after) {
                let size = |values: &[f32]| values.iter().map(|v| v.abs()).sum::<f32>();
                match rank {
                    1 => assert_eq!(before, after, "{name:?}"),
                    _ => assert!(size(after) < size(before), "{name:?}"),
                }
            }
        }
    }

    #[test]
    fn adam_is_keras_adam() {
        // Two steps on one weight, by the formula of Keras with a large epsilon, computed by hand
        // in float64.
        let adam = Adam {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 0.1,
            coupled_decay: 0.0,
            decoupled_decay: 0.0,
        };
        let tensor = |v: f32| Tensor::<1>::from_data(TensorData::from([v]), &Device::flex());
        let (mut weight, mut state) = (tensor(1.0), None);
        let (mut w, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
        for (t, g) in [(1, 0.5), (2, -0.25)] {
            let (next, next_state) =
                burn::optim::Optimizer::step(&adam, 0.01, weight, tensor(g as f32), state);
            (weight, state) = (next, next_state);
            m += (g - m) * 0.1;
            v += (g * g - v) * 0.001;
            let alpha = 0.01 * (1.0 - 0.999f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
            w -= m * alpha / (v.sqrt() + 0.1);
            let found: f32 = weight.clone().into_scalar();
            assert!(
                (f64::from(found) - w).abs() < 1e-7,
                "step {t}: {found} is not {w}"
            );
        }
    }

    #[test]
    fn the_global_norm_is_cut() {
        let (network, mut gradients) = network_and_gradients(0.5);
        let norm = |gradients: &GradientsParams| -> f64 {
            norm(&network, gradients).map_or(0.0, |norm| norm.into_scalar::<f32>().into())
        };
        let whole = norm(&gradients);
        clip(&network, &mut gradients, 0.0);
        clip(&network, &mut gradients, whole * 2.0);
        assert!((norm(&gradients) / whole - 1.0).abs() < 1e-6);
        clip(&network, &mut gradients, 3.0);
        assert!(
            (norm(&gradients) - 3.0).abs() < 1e-4,
            "{}",
            norm(&gradients)
        );
    }

    #[test]
    fn penalties_are_those_of_the_two_kernels() {
        let network =
            Architecture::Notebook.init(crate::model::Shape::FER2013, None, 1, &Device::flex());
        // Glorot's uniform numbers have the variance limit²/3.
        let expected: f64 = [(128.0, 512.0), (512.0, 512.0)]
            .map(|(i, o): (f64, f64)| 0.01 * (9.0 * i * o) * (6.0 / (9.0 * (i + o))) / 3.0)
            .iter()
            .sum();
        assert!(
            (penalty(&network) / expected - 1.0).abs() < 0.01,
            "{} {expected}",
            penalty(&network)
        );
    }
}
