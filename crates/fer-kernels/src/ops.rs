//! The kernels as operations on Burn's tensors, with their own backward passes, for the flex
//! backend with and without autodiff.
//!
//! Tensors are `[batch, channels, height, width]` as everywhere in Burn. In memory, their values
//! are in the order `[batch, height, width, channels]`, expressed by strides (PyTorch's
//! `channels_last`). Inputs in another order are converted, and outputs have this order. So nothing
//! is copied between two of these operations, and Burn's own operations can be used in between.

mod constant;

use std::sync::{Arc, Mutex, PoisonError};

pub use constant::{
    chain, chain_of_planes, chain_of_sum, conv2d_prepared, depthwise, pointwise, prepare, values,
};

use burn::backend::AutodiffBackend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, DispatchDevice, Flex};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};

use super::conv::Conv;
use super::elementwise::{self, Dropout};
use super::norm::{Affine, Epilogue, Norm, Normed, Statistics};

type Tracked = FloatTensor<Autodiff<Flex>>;

/// Whether these operations support the device: the flex backend, with or without autodiff.
pub fn runs_on(device: &Device) -> bool {
    matches!(
        device.as_dispatch().clone().inner(),
        DispatchDevice::Flex(_)
    )
}

/// Whether these operations support the tensor: `f32` on the flex backend.
pub fn takes<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && runs_on(&tensor.device())
}

/// The same, and without autodiff.
pub fn is_plain<const D: usize>(tensor: &Tensor<D>) -> bool {
    takes(tensor) && !tensor.device().is_autodiff()
}

/// A tensor of rank `B` as a tensor of the same rank that is called `A`, for generic code; on the
/// flex backend without autodiff.
pub fn as_rank<const A: usize, const B: usize>(tensor: Tensor<B>) -> Tensor<A> {
    assert_eq!(A, B);
    Tensor::from_primitive::<Flex>(plain(tensor))
}

/// The values, in the order `[batch, height, width, channels]`.
pub(super) struct Image(FlexTensor);

impl Image {
    pub(super) fn new(tensor: FlexTensor) -> Self {
        let layout = tensor.layout();
        let (shape, strides) = (layout.shape(), layout.strides());
        let order = [0, 2, 3, 1];
        let permuted = Layout::new(
            Shape::from(order.map(|d| shape[d])),
            order.map(|d| strides[d]).into(),
            layout.start_offset(),
        );
        Self(tensor.with_layout(permuted).to_contiguous())
    }

    pub(super) fn values(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_default()
    }

    /// Batch, height, width, channels.
    pub(super) fn dims(&self) -> [usize; 4] {
        self.0.layout().shape().dims()
    }
}

/// A tensor `[batch, channels, height, width]` with its values in the order `[batch, height, width,
/// channels]`.
pub(super) fn image([n, height, width, channels]: [usize; 4], values: Vec<f32>) -> FlexTensor {
    let strides = [height * width * channels, 1, width * channels, channels].map(|s| s as isize);
    let layout = Layout::new(Shape::from([n, channels, height, width]), strides.into(), 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// A vector's values.
pub(super) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

pub(super) fn plain<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor
        .try_into_primitive::<Flex>()
        .unwrap_or_else(|e| unreachable!("checked by runs_on: {e:?}"))
}

pub(super) fn tracked<const D: usize>(tensor: Tensor<D>) -> Tracked {
    tensor
        .try_into_primitive::<Autodiff<Flex>>()
        .unwrap_or_else(|e| unreachable!("checked by is_autodiff: {e:?}"))
}

/// Stride and padding of a convolution; padding is above, left, below and right.
#[derive(Clone, Copy, Debug)]
pub struct ConvOptions {
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// In pixels.
    pub padding: [usize; 4],
    /// Whether ReLU follows.
    pub relu: bool,
}

impl ConvOptions {
    fn conv(self, input: [usize; 4], kernel: &FlexTensor) -> Conv {
        let [outputs, inputs, height, width] = kernel.layout().shape().dims();
        Conv {
            batch: input[0],
            input: [input[1], input[2]],
            channels: [inputs, outputs],
            kernel: [height, width],
            stride: self.stride,
            padding: self.padding,
        }
    }
}

/// The backward pass of a recorded operation.
pub(super) trait Pass<const N: usize>: Clone + std::fmt::Debug + Send + 'static {
    /// Computes the gradients of the inputs that need one from the output's gradient.
    fn backward(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// The implementation of Burn's trait for a [`Pass`].
#[derive(Debug)]
struct Recorded<P>(std::marker::PhantomData<P>);

impl<P: Pass<N>, const N: usize> Backward<Flex, N> for Recorded<P> {
    type State = P;

    fn backward(self, ops: Ops<P, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = ops.state.backward(gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

pub(super) fn record<P: Pass<N>, const N: usize>(
    inputs: [NodeGuard; N],
    output: FlexTensor,
    pass: P,
) -> Tracked {
    match Recorded(std::marker::PhantomData::<P>)
        .prepare::<NoCheckpointing>(inputs)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prepared) => prepared.finish(pass, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// Convolution of `[n, in, h, w]` with `[out, in, kernel h, kernel w]`, plus `[out]`.
pub fn conv2d(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions,
) -> Tensor<4> {
    if !x.device().is_autodiff() {
        let (output, _) =
            ConvPass::forward(plain(x), &plain(kernel), bias.map(plain).as_ref(), options);
        return Tensor::from_primitive::<Flex>(output);
    }
    let (x, x_node) = tracked(x).into_parts();
    let (kernel, kernel_node) = tracked(kernel).into_parts();
    let (bias, bias_node) = bias.map(|b| tracked(b).into_parts()).unzip();
    let (output, pass) = ConvPass::forward(x, &kernel, bias.as_ref(), options);
    Tensor::from_primitive::<Autodiff<Flex>>(match bias_node {
        Some(bias_node) => record([x_node, kernel_node, bias_node], output, pass),
        None => record([x_node, kernel_node], output, pass),
    })
}

#[derive(Clone, Debug)]
struct ConvPass {
    conv: Conv,
    input: FlexTensor,
    kernel: FlexTensor,
    /// The output, if it went through ReLU.
    activated: Option<FlexTensor>,
}

impl ConvPass {
    fn forward(
        x: FlexTensor,
        kernel: &FlexTensor,
        bias: Option<&FlexTensor>,
        options: ConvOptions,
    ) -> (FlexTensor, Self) {
        let (input, kernel) = (Image::new(x), kernel.to_contiguous());
        let conv = options.conv(input.dims(), &kernel);
        let output = conv.forward(
            input.values(),
            slice(&kernel),
            bias.map(slice),
            options.relu,
        );
        let [height, width] = conv.output();
        let output = image([conv.batch, height, width, conv.channels[1]], output);
        let activated = options.relu.then(|| output.clone());
        (
            output,
            Self {
                conv,
                input: input.0,
                kernel,
                activated,
            },
        )
    }
}

impl<const N: usize> Pass<N> for ConvPass {
    fn backward(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N] {
        let (gradient, activated) = (Image::new(gradient), self.activated.map(Image::new));
        let activated = activated.as_ref().map(Image::values);
        let gradients = self.conv.backward(
            slice(&self.input),
            slice(&self.kernel),
            gradient.values(),
            activated,
            wanted[0],
        );
        let Conv {
            batch,
            input: [height, width],
            channels,
            kernel,
            ..
        } = self.conv;
        let by_kernel = FlexTensor::new(
            Bytes::from_elems(gradients.kernel),
            Layout::contiguous(Shape::from([
                channels[1],
                channels[0],
                kernel[0],
                kernel[1],
            ])),
            DType::F32,
        );
        let mut all = [
            gradients
                .input
                .map(|values| image([batch, height, width, channels[0]], values)),
            Some(by_kernel),
            Some(vector(gradients.bias)),
        ]
        .into_iter();
        wanted.map(|wanted| all.next().flatten().filter(|_| wanted))
    }
}

/// Batch normalization with the statistics of the batch, and the operation after it. Also returns
/// the batch's means and variances (biased), `[channels]` each.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    then: Epilogue,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let (x, x_node) = tracked(x).into_parts();
    let (gamma, gamma_node) = tracked(gamma).into_parts();
    let (beta, beta_node) = tracked(beta).into_parts();
    let mut pass = NormPass::new(x, gamma, &beta, epsilon, then);
    let Normed { output, largest } = pass.norm.forward(slice(&pass.input), &pass.affine);
    pass.largest = largest.into();
    let output = image(pass.norm.output_dims(), output);
    let (mean, variance) = (
        untracked(&pass.statistics.mean),
        untracked(&pass.statistics.variance),
    );
    (
        Tensor::from_primitive::<Autodiff<Flex>>(record(
            [x_node, gamma_node, beta_node],
            output,
            pass,
        )),
        mean,
        variance,
    )
}

/// A vector on the autodiff device.
pub(super) fn untracked(values: &[f32]) -> Tensor<1> {
    Tensor::from_primitive::<Autodiff<Flex>>(<Autodiff<Flex>>::from_inner(vector(values.to_vec())))
}

#[derive(Clone, Debug)]
pub(super) struct NormPass {
    pub(super) norm: Norm,
    /// `[batch, height, width, channels]`.
    pub(super) input: FlexTensor,
    gamma: FlexTensor,
    pub(super) statistics: Statistics,
    pub(super) affine: Affine,
    epsilon: f64,
    largest: Arc<[u8]>,
}

impl NormPass {
    /// With the statistics of the batch, before the output is computed.
    pub(super) fn new(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: &FlexTensor,
        epsilon: f64,
        then: Epilogue,
    ) -> Self {
        let input = Image::new(x);
        let [batch, height, width, channels] = input.dims();
        let norm = Norm {
            batch,
            side: [height, width],
            channels,
            then,
        };
        let statistics = norm.statistics(input.values());
        let affine = Affine::new(&statistics, slice(&gamma), slice(beta), epsilon);
        Self {
            norm,
            input: input.0,
            gamma,
            statistics,
            affine,
            epsilon,
            largest: Arc::default(),
        }
    }
}

impl Pass<3> for NormPass {
    fn backward(self, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let gradient = Image::new(gradient);
        let gradients = self.norm.backward(
            slice(&self.input),
            slice(&self.gamma),
            &self.statistics,
            &self.affine,
            self.epsilon,
            &self.largest,
            gradient.values(),
        );
        let Norm {
            batch,
            side: [height, width],
            channels,
            ..
        } = self.norm;
        let by_input = image([batch, height, width, channels], gradients.input);
        let mut all = [by_input, vector(gradients.gamma), vector(gradients.beta)].into_iter();
        wanted.map(|wanted| all.next().filter(|_| wanted))
    }
}

/// 2 × 2 max pooling; not on an autodiff device.
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    let input = Image::new(plain(x));
    let [batch, height, width, channels] = input.dims();
    let norm = Norm {
        batch,
        side: [height, width],
        channels,
        then: Epilogue::MaxPool,
    };
    let as_it_is = Affine {
        scale: vec![1.0; channels],
        shift: vec![0.0; channels],
    };
    let output = norm.forward(input.values(), &as_it_is).output;
    Tensor::from_primitive::<Flex>(image(norm.output_dims(), output))
}

/// Dropout.
pub fn dropout(x: Tensor<4>, dropout: Dropout) -> Tensor<4> {
    let (x, node) = tracked(x).into_parts();
    let input = Image::new(x);
    let output = image(input.dims(), dropout.apply(input.values()));
    Tensor::from_primitive::<Autodiff<Flex>>(record([node], output, DropoutPass(dropout)))
}

#[derive(Clone, Debug)]
struct DropoutPass(Dropout);

impl Pass<1> for DropoutPass {
    fn backward(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Image::new(gradient);
        [Some(image(
            gradient.dims(),
            self.0.apply(gradient.values()),
        ))]
    }
}

/// `max(a + b, 0)`.
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    let forward = |a: FlexTensor, b: FlexTensor| {
        let (a, b) = (Image::new(a), Image::new(b));
        image(a.dims(), elementwise::add_relu(a.values(), b.values()))
    };
    if !a.device().is_autodiff() {
        return Tensor::from_primitive::<Flex>(forward(plain(a), plain(b)));
    }
    let (a, a_node) = tracked(a).into_parts();
    let (b, b_node) = tracked(b).into_parts();
    let output = forward(a, b);
    let pass = AddReluPass {
        output: output.clone(),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(record([a_node, b_node], output, pass))
}

#[derive(Clone, Debug)]
struct AddReluPass {
    output: FlexTensor,
}

impl Pass<2> for AddReluPass {
    fn backward(self, gradient: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (gradient, output) = (Image::new(gradient), Image::new(self.output));
        let gradient = image(
            gradient.dims(),
            elementwise::relu_gradient(gradient.values(), output.values()),
        );
        wanted.map(|wanted| wanted.then(|| gradient.clone()))
    }
}

/// The same tensor twice, for two branches that join again.
///
/// Burn adds the gradients of a tensor that is used twice on one thread, and in another order of
/// the values. Here the first gradient waits for the second, so both branches must lead to the
/// loss.
pub fn branch(x: Tensor<4>) -> [Tensor<4>; 2] {
    if !x.device().is_autodiff() {
        return [x.clone(), x];
    }
    let waiting = Arc::new(Mutex::new(None));
    [(); 2].map(|()| {
        let (x, node) = tracked(x.clone()).into_parts();
        Tensor::from_primitive::<Autodiff<Flex>>(record(
            [node],
            x,
            BranchPass {
                waiting: waiting.clone(),
            },
        ))
    })
}

#[derive(Clone, Debug)]
struct BranchPass {
    /// The gradient of the other branch.
    waiting: Arc<Mutex<Option<FlexTensor>>>,
}

impl Pass<1> for BranchPass {
    fn backward(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.take() {
            None => {
                *waiting = Some(gradient);
                [None]
            }
            Some(other) => {
                let (a, b) = (Image::new(gradient), Image::new(other));
                [Some(image(
                    a.dims(),
                    elementwise::add(a.values(), b.values()),
                ))]
            }
        }
    }
}

/// A step of Adam. Returns the new weight and the two new moments.
///
/// Tensors that are not shared are changed in place.
pub fn adam<const D: usize>(
    step: elementwise::Adam,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments;
    let [mut weight, gradient, mut first, mut second] =
        [weight, gradient, first, second].map(|tensor| plain(tensor).to_contiguous());
    step.step(
        weight.storage_mut(),
        slice(&gradient),
        first.storage_mut(),
        second.storage_mut(),
    );
    let [weight, first, second] = [weight, first, second].map(Tensor::from_primitive::<Flex>);
    (weight, [first, second])
}
