//! Fresh weights: kernels drawn by the architecture's scheme, each from its own stream of random
//! numbers, so that they depend on the seed alone and not on device or threads.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use fer_core::random::{Purpose, Random};

/// How the values of a kernel are distributed.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    /// Uniform in ±√(6 / (fan in + fan out)), Keras's default (Glorot & Bengio 2010).
    GlorotUniform,
    /// Nearly normal ([`Random::bell`]) with standard deviation √(2 / fan in) for convolutions
    /// before a ReLU (He et al. 2015); dense layers as with [`Scheme::GlorotUniform`].
    HeNormal,
}

/// Fills the kernels (rank > 1) of a network; biases and normalisations keep their zeros and ones.
pub fn fill<M: Module>(network: M, scheme: Scheme, seed: u64) -> M {
    network.map(&mut Filler {
        scheme,
        seed,
        kernel: 0,
    })
}

struct Filler {
    scheme: Scheme,
    seed: u64,
    kernel: u64,
}

impl ModuleMapper for Filler {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D < 2 {
            return param;
        }
        let mut random = Random::new(self.seed, Purpose::Weights, self.kernel, 0);
        self.kernel += 1;
        param.map(|zeros| {
            let dims = zeros.dims();
            // Convolutions are [out, in, height, width], dense layers [in, out].
            let window: usize = dims[2..].iter().product();
            let (fan_in, fan_out) = if D == 2 {
                (dims[0], dims[1])
            } else {
                (dims[1] * window, dims[0] * window)
            };
            let values: Vec<f32> = match self.scheme {
                Scheme::HeNormal if D == 4 => {
                    let deviation = (2.0 / fan_in as f64).sqrt();
                    (0..dims.iter().product())
                        .map(|_| (random.bell() * deviation) as f32)
                        .collect()
                }
                _ => {
                    let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
                    (0..dims.iter().product())
                        .map(|_| random.around(limit) as f32)
                        .collect()
                }
            };
            Tensor::from_data(TensorData::new(values, dims), &zeros.device())
                .set_require_grad(zeros.is_require_grad())
        })
    }
}
