//! Transposed convolution.

use super::conv::{Ending, kernel_size, with_bias};
use super::window::Window;
use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Planes, Value, ints};
use crate::tensor::Tensor;

/// `Conv2DTranspose`: kernel `[height, width, filters, channels]`.
pub(crate) struct ConvTranspose {
    window: Window,
    /// Pixels of the output beyond the smallest; `None` for as many as strides.
    more: Option<[usize; 2]>,
    filters: usize,
    ending: Ending,
}

impl ConvTranspose {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        let strides = fields.pair("strides", [1, 1])?;
        let more = match fields.integers("output_padding")?.as_deref() {
            None => None,
            Some([both]) => Some([*both; 2]),
            Some([height, width]) => Some([*height, *width]),
            Some(_) => return Err("its output_padding has more than two numbers".into()),
        };
        let more = more.map(|more| more.map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
        if more.is_some_and(|more| more.iter().zip(strides).any(|(n, stride)| *n >= stride)) {
            return Err("its output_padding is not smaller than its strides".into());
        }
        Ok(Self {
            window: Window::new(kernel_size(fields)?, strides, fields)?,
            more,
            filters: fields.count("filters")?,
            ending: Ending::parse(fields)?,
        })
    }
}

impl Layer for ConvTranspose {
    fn weights(&self) -> Vec<&'static str> {
        with_bias(vec!["kernel"], self.ending.bias)
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let image = graph.planes(only(inputs)?, self.ending.channels_first)?;
        let [h, w] = self.window.size;
        weights[0].must_be("kernel", &[h, w, self.filters, image.channels])?;
        let placed = self
            .window
            .place_transposed([image.height, image.width], self.more)?;
        let kernel = graph.weight("kernel", &weights[0].transposed(&[3, 2, 0, 1]));
        let mut names = vec![image.name, kernel];
        if let Some(bias) = weights.get(1) {
            bias.must_be("bias", &[self.filters])?;
            names.push(graph.weight("bias", bias));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut attributes = self.window.attributes(placed.pads);
        if placed.more != [0; 2] {
            attributes.push(ints("output_padding", &placed.more.map(|n| n as i64)));
        }
        let [height, width] = placed.out;
        let sums = Planes {
            name: graph.node("ConvTranspose", &names, attributes),
            channels: self.filters,
            height,
            width,
        };
        let sums = sums.value(self.ending.channels_first);
        self.ending.activation.apply(graph, &sums)
    }
}
