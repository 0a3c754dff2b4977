//! Pooling over windows and over whole images.

use super::window::Window;
use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Planes, Value, int};
use crate::tensor::Tensor;

/// The maximum or the average of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Max,
    Average,
}

/// `MaxPooling2D`, `AveragePooling2D`.
pub(crate) struct Pool {
    kind: Kind,
    window: Window,
    channels_first: bool,
}

impl Pool {
    pub(crate) fn parse(fields: &Fields<'_>, kind: Kind) -> Result<Self, String> {
        let size = fields.pair("pool_size", [2, 2])?;
        let window = Window::new(size, fields.pair("strides", size)?, fields)?;
        Ok(Self {
            kind,
            window,
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for Pool {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.channels_first)?;
        let placed = self.window.place([input.height, input.width])?;
        let [top, left, bottom, right] = placed.pads;
        let even = top == bottom && left == right;
        let name = match self.kind {
            Kind::Max => graph.node(
                "MaxPool",
                &[&input.name],
                self.window.attributes(placed.pads),
            ),
            Kind::Average if even => graph.node(
                "AveragePool",
                &[&input.name],
                self.window.attributes(placed.pads),
            ),
            // Engines disagree on whether uneven padding counts. Explicit zeros count, and are
            // corrected afterwards.
            Kind::Average => {
                let pads = [0, 0, top, left, 0, 0, bottom, right].map(|p| p as i64);
                let pads = graph.integers("pads", &pads);
                let padded = graph.node("Pad", &[&input.name, &pads], Vec::new());
                let sums = graph.node("AveragePool", &[&padded], self.window.attributes([0; 4]));
                let [rows, columns] =
                    self.factors([input.height, input.width], placed.out, [top, left]);
                let rows = graph.weight("row_factors", &rows);
                let sums = graph.node("Mul", &[&sums, &rows], Vec::new());
                let columns = graph.weight("column_factors", &columns);
                graph.node("Mul", &[&sums, &columns], Vec::new())
            }
        };
        let [height, width] = placed.out;
        Ok(Planes {
            name,
            channels: input.channels,
            height,
            width,
        }
        .value(self.channels_first))
    }
}

impl Pool {
    /// The factors for the averages over windows with zeros, so that the zeros do not count: along
    /// the height and along the width.
    fn factors(&self, image: [usize; 2], out: [usize; 2], before: [usize; 2]) -> [Tensor; 2] {
        [0, 1].map(|axis| {
            let size = self.window.size[axis];
            let inside = |at: usize| {
                let start = at * self.window.strides[axis];
                let (from, to) = (
                    start.max(before[axis]),
                    (start + size).min(before[axis] + image[axis]),
                );
                size as f32 / (to.saturating_sub(from).max(1)) as f32
            };
            let mut dims = vec![1; 4];
            dims[axis + 2] = out[axis];
            Tensor {
                dims,
                values: (0..out[axis]).map(inside).collect(),
            }
        })
    }
}

/// `GlobalMaxPooling2D`, `GlobalAveragePooling2D`.
pub(crate) struct GlobalPool {
    kind: Kind,
    keep_dims: bool,
    channels_first: bool,
}

impl GlobalPool {
    pub(crate) fn parse(fields: &Fields<'_>, kind: Kind) -> Result<Self, String> {
        Ok(Self {
            kind,
            keep_dims: fields.flag("keepdims", false)?,
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for GlobalPool {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.channels_first)?;
        let operator = if self.kind == Kind::Max {
            "GlobalMaxPool"
        } else {
            "GlobalAveragePool"
        };
        let name = graph.node(operator, &[&input.name], Vec::new());
        let channels = input.channels;
        if self.keep_dims {
            return Ok(Planes {
                name,
                channels,
                height: 1,
                width: 1,
            }
            .value(self.channels_first));
        }
        let name = graph.node("Flatten", &[&name], vec![int("axis", 1)]);
        Ok(Value::new(name, vec![channels], Order::Keras))
    }
}
