//! The sum of batch normalizations of one or several inputs of one shape, as one operation on
//! Burn's tensors with its backward pass.

use std::sync::Arc;

use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use super::elementwise;
use super::norm::{Affine, Epilogue, Norm, Normed, Statistics};
use super::ops::{self, Image, NormPass, Pass, image, plain, record, slice, tracked, untracked};

/// An input, γ and β.
pub type Term = (Tensor<4>, Tensor<1>, Tensor<1>);

/// The sum of batch normalizations with the statistics of the batch, and the operation after it.
/// Also returns the batch's means and variances (biased) for each term, `[channels]` each. `P` is
/// the number of input tensors, `3 N`.
pub fn batch_norms_train<const N: usize, const P: usize>(
    terms: [Term; N],
    epsilon: f64,
    then: Epilogue,
) -> (Tensor<4>, [[Tensor<1>; 2]; N]) {
    const { assert!(N > 0 && P == 3 * N) };
    let mut nodes: Vec<NodeGuard> = Vec::with_capacity(P);
    let passes = terms.map(|(x, gamma, beta)| {
        let (x, x_node) = tracked(x).into_parts();
        let (gamma, gamma_node) = tracked(gamma).into_parts();
        let (beta, beta_node) = tracked(beta).into_parts();
        nodes.extend([x_node, gamma_node, beta_node]);
        NormPass::new(x, gamma, &beta, epsilon, Epilogue::Nothing)
    });
    let norm = Norm {
        then,
        ..passes[0].norm
    };
    let inputs = passes.each_ref().map(|pass| slice(&pass.input));
    let Normed { output, largest } =
        norm.forward_sum(inputs, passes.each_ref().map(|pass| &pass.affine));
    let output = image(norm.output_dims(), output);
    let statistics = passes.each_ref().map(|pass| {
        let Statistics { mean, variance } = &pass.statistics;
        [untracked(mean), untracked(variance)]
    });
    let activated = (then == Epilogue::Relu).then(|| output.clone());
    let pass = SumPass {
        norm,
        passes,
        activated,
        largest: largest.into(),
    };
    let Ok(nodes) = <[NodeGuard; P]>::try_from(nodes) else {
        unreachable!("three for each term")
    };
    (
        Tensor::from_primitive::<Autodiff<Flex>>(record(nodes, output, pass)),
        statistics,
    )
}

/// The sum of batch normalizations with given statistics, and the operation after it. Each term has
/// an input, γ, β, mean and variance. Not on an autodiff device.
pub fn batch_norms<const N: usize>(
    terms: [(Tensor<4>, [Tensor<1>; 4]); N],
    epsilon: f64,
    then: Epilogue,
) -> Tensor<4> {
    const { assert!(N > 0) };
    let terms = terms.map(|(x, [gamma, beta, mean, variance])| {
        let statistics = Statistics {
            mean: ops::values(mean),
            variance: ops::values(variance),
        };
        (
            Image::new(plain(x)),
            Affine::new(
                &statistics,
                &ops::values(gamma),
                &ops::values(beta),
                epsilon,
            ),
        )
    });
    let [batch, height, width, channels] = terms[0].0.dims();
    let norm = Norm {
        batch,
        side: [height, width],
        channels,
        then,
    };
    let inputs = terms.each_ref().map(|(x, _)| x.values());
    let output = norm
        .forward_sum(inputs, terms.each_ref().map(|(_, affine)| affine))
        .output;
    Tensor::from_primitive::<Flex>(image(norm.output_dims(), output))
}

#[derive(Clone, Debug)]
struct SumPass<const N: usize> {
    norm: Norm,
    passes: [NormPass; N],
    /// The output, if it went through ReLU.
    activated: Option<FlexTensor>,
    /// With max pooling, which of the four pixels was the largest.
    largest: Arc<[u8]>,
}

impl<const N: usize, const P: usize> Pass<P> for SumPass<N> {
    fn backward(self, gradient: FlexTensor, wanted: [bool; P]) -> [Option<FlexTensor>; P] {
        let Norm {
            batch,
            side: [height, width],
            channels,
            ..
        } = self.norm;
        let dims = [batch, height, width, channels];
        let gradient = Image::new(gradient);
        let values = match self.activated.map(Image::new) {
            Some(activated) => elementwise::relu_gradient(gradient.values(), activated.values()),
            None if self.norm.then == Epilogue::MaxPool => {
                self.norm.unpooled(gradient.values(), &self.largest)
            }
            None => gradient.values().to_vec(),
        };
        let gradient = image(dims, values);
        let mut all = self
            .passes
            .into_iter()
            .zip(wanted.chunks_exact(3))
            .flat_map(|(pass, wanted)| {
                pass.backward(gradient.clone(), [wanted[0], wanted[1], wanted[2]])
            });
        std::array::from_fn(|_| all.next().flatten())
    }
}
