//! The exponential moving average of a network's weights and running statistics, which generalises
//! better than the last step's (Polyak & Juditsky 1992; Izmailov et al. 2018).

use std::any::Any;
use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::model::Network;

/// Moves `average` towards `network` after step number `step` (from 0): it keeps `decay` of itself,
/// less in the first steps, as min(decay, (1 + step) / (10 + step)).
///
/// Both are on the device without autodiff; they share no tensors.
pub fn update(average: Network, network: &Network, decay: f64, step: u64) -> Network {
    let step = step as f64;
    let keep = decay.min((1.0 + step) / (10.0 + step));
    let mut values = Values(VecDeque::new());
    network.visit(&mut values);
    average.map(&mut Mix {
        values: values.0,
        keep,
    })
}

/// The tensors of a network in the order of its fields; their ranks differ, hence `Any`.
struct Values(VecDeque<Box<dyn Any>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push_back(Box::new(param.val()));
    }
}

struct Mix {
    values: VecDeque<Box<dyn Any>>,
    keep: f64,
}

impl ModuleMapper for Mix {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self
            .values
            .pop_front()
            .and_then(|value| value.downcast::<Tensor<D>>().ok());
        match value {
            Some(value) => {
                param.map(|old| old.mul_scalar(self.keep) + value.mul_scalar(1.0 - self.keep))
            }
            // Two networks of one architecture have the same fields.
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::Architecture;
    use crate::train::step::frozen;

    fn first(network: &Network) -> f32 {
        let mut values = Values(VecDeque::new());
        network.visit(&mut values);
        values.0[0]
            .downcast_ref::<Tensor<4>>()
            .unwrap()
            .clone()
            .slice([0..1, 0..1, 0..1, 0..1])
            .into_scalar()
    }

    #[test]
    fn an_average_moves_towards_the_network_and_leaves_it_alone() {
        let device = Device::flex();
        let (average, network) = (
            Architecture::Tiny.init(crate::model::Shape::FER2013, None, 1, &device),
            Architecture::Tiny.init(crate::model::Shape::FER2013, None, 2, &device),
        );
        let (old, new) = (first(&average), first(&network));
        let average = update(frozen(&average), &network, 0.99, 0);
        assert!(
            (first(&average) - (old * 0.1 + new * 0.9)).abs() < 1e-6,
            "the first step keeps a tenth"
        );
        let before = first(&average);
        let average = update(average, &network, 0.99, 1_000_000);
        assert!((first(&average) - (before * 0.99 + new * 0.01)).abs() < 1e-6);
        assert_eq!(first(&network), new);
    }
}
