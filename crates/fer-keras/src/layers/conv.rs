//! Convolutions: plain, depthwise, and separable into the two.

use super::activation::Activation;
use super::window::Window;
use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Planes, Value, int};
use crate::tensor::Tensor;

/// `Conv2D`: kernel `[height, width, channels / groups, filters]`.
pub(crate) struct Conv {
    window: Window,
    filters: usize,
    groups: usize,
    ending: Ending,
}

/// `DepthwiseConv2D`: kernel `[height, width, channels, multiplier]`.
pub(crate) struct Depthwise {
    window: Window,
    multiplier: usize,
    ending: Ending,
}

/// `SeparableConv2D`: a depthwise kernel, then one of single pixels
/// `[1, 1, channels × multiplier, filters]`.
pub(crate) struct Separable {
    depthwise: Depthwise,
    filters: usize,
}

/// What follows the convolution: bias and activation.
pub(super) struct Ending {
    pub(super) bias: bool,
    pub(super) activation: Activation,
    pub(super) channels_first: bool,
}

impl Ending {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            bias: fields.flag("use_bias", true)?,
            activation: Activation::option(fields)?,
            channels_first: fields.channels_first()?,
        })
    }
}

impl Conv {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            window: Window::new(
                kernel_size(fields)?,
                fields.pair("strides", [1, 1])?,
                fields,
            )?,
            filters: fields.count("filters")?,
            groups: fields.count_or("groups", 1)?,
            ending: Ending::parse(fields)?,
        })
    }
}

impl Depthwise {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            window: Window::new(
                kernel_size(fields)?,
                fields.pair("strides", [1, 1])?,
                fields,
            )?,
            multiplier: fields.count_or("depth_multiplier", 1)?,
            ending: Ending::parse(fields)?,
        })
    }

    /// `name` is the kernel's.
    fn sums(
        &self,
        graph: &mut Graph,
        input: &Planes,
        (name, kernel): (&str, &Tensor),
        bias: Option<&Tensor>,
    ) -> Result<Planes, String> {
        let [h, w] = self.window.size;
        kernel.must_be(name, &[h, w, input.channels, self.multiplier])?;
        let out = input
            .channels
            .checked_mul(self.multiplier)
            .ok_or("its depth_multiplier is too large")?;
        let kernel = kernel.transposed(&[2, 3, 0, 1]).reshaped(&[out, 1, h, w])?;
        convolve(
            graph,
            input,
            &self.window,
            input.channels,
            (name, &kernel),
            bias,
        )
    }
}

impl Separable {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            depthwise: Depthwise::parse(fields)?,
            filters: fields.count("filters")?,
        })
    }
}

/// The kernel's size as one option, or as rows and columns in Keras 1.
pub(super) fn kernel_size(fields: &Fields<'_>) -> Result<[usize; 2], String> {
    fields
        .get("kernel_size")
        .ok_or("its configuration lacks kernel_size")?;
    fields.pair("kernel_size", [1, 1])
}

pub(super) fn with_bias(mut names: Vec<&'static str>, bias: bool) -> Vec<&'static str> {
    names.extend(bias.then_some("bias"));
    names
}

/// `kernel` in ONNX's order, `[filters, channels / groups, height, width]`.
fn convolve(
    graph: &mut Graph,
    input: &Planes,
    window: &Window,
    groups: usize,
    (name, kernel): (&str, &Tensor),
    bias: Option<&Tensor>,
) -> Result<Planes, String> {
    let placed = window.place([input.height, input.width])?;
    let filters = kernel.dims[0];
    let kernel = graph.weight(name, kernel);
    let mut inputs = vec![input.name.clone(), kernel];
    if let Some(bias) = bias {
        bias.must_be("bias", &[filters])?;
        inputs.push(graph.weight("bias", bias));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let mut attributes = window.attributes(placed.pads);
    if groups != 1 {
        attributes.push(int("group", groups as i64));
    }
    let name = graph.node("Conv", &inputs, attributes);
    Ok(Planes {
        name,
        channels: filters,
        height: placed.out[0],
        width: placed.out[1],
    })
}

impl Layer for Conv {
    fn weights(&self) -> Vec<&'static str> {
        with_bias(vec!["kernel"], self.ending.bias)
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.ending.channels_first)?;
        let [h, w] = self.window.size;
        if !input.channels.is_multiple_of(self.groups) || !self.filters.is_multiple_of(self.groups)
        {
            return Err(format!(
                "its {} groups divide neither channels nor filters evenly",
                self.groups
            ));
        }
        weights[0].must_be(
            "kernel",
            &[h, w, input.channels / self.groups, self.filters],
        )?;
        let kernel = weights[0].transposed(&[3, 2, 0, 1]);
        let sums = convolve(
            graph,
            &input,
            &self.window,
            self.groups,
            ("kernel", &kernel),
            weights.get(1),
        )?;
        self.ending
            .activation
            .apply(graph, &sums.value(self.ending.channels_first))
    }
}

impl Layer for Depthwise {
    fn weights(&self) -> Vec<&'static str> {
        with_bias(vec!["kernel"], self.ending.bias)
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.ending.channels_first)?;
        let sums = self.sums(graph, &input, ("kernel", &weights[0]), weights.get(1))?;
        self.ending
            .activation
            .apply(graph, &sums.value(self.ending.channels_first))
    }
}

impl Layer for Separable {
    fn weights(&self) -> Vec<&'static str> {
        with_bias(
            vec!["depthwise_kernel", "pointwise_kernel"],
            self.depthwise.ending.bias,
        )
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let ending = &self.depthwise.ending;
        let input = graph.planes(only(inputs)?, ending.channels_first)?;
        let each = self
            .depthwise
            .sums(graph, &input, ("depthwise_kernel", &weights[0]), None)?;
        weights[1].must_be("pointwise_kernel", &[1, 1, each.channels, self.filters])?;
        let kernel = weights[1].transposed(&[3, 2, 0, 1]);
        let sums = convolve(
            graph,
            &each,
            &Window::POINT,
            1,
            ("pointwise_kernel", &kernel),
            weights.get(2),
        )?;
        ending
            .activation
            .apply(graph, &sums.value(ending.channels_first))
    }
}
