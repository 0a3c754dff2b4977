//! Layers that move values: padding, cropping, flattening, reshaping, permuting.

use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Planes, Value, int, ints};
use crate::tensor::{Tensor, product};

/// `ZeroPadding2D`.
pub(crate) struct ZeroPadding {
    sides: [[usize; 2]; 2],
    channels_first: bool,
}

impl ZeroPadding {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            sides: fields.sides("padding", 1)?,
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for ZeroPadding {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.channels_first)?;
        Ok(pad(graph, input, self.sides, 0.0)?.value(self.channels_first))
    }
}

/// The image with pixels of the value `fill` before and after its rows and its columns.
///
/// # Errors
/// The sizes overflow.
pub(super) fn pad(
    graph: &mut Graph,
    image: Planes,
    sides: [[usize; 2]; 2],
    fill: f32,
) -> Result<Planes, String> {
    if sides == [[0; 2]; 2] {
        return Ok(image);
    }
    let [[top, bottom], [left, right]] = sides;
    let grown = |n: usize, sides: [usize; 2]| sides.iter().try_fold(n, |n, s| n.checked_add(*s));
    let (height, width) = grown(image.height, sides[0])
        .zip(grown(image.width, sides[1]))
        .ok_or("its padding is too large")?;
    let pads = [0, 0, top, left, 0, 0, bottom, right].map(|p| p as i64);
    let pads = graph.integers("pads", &pads);
    let mut inputs = vec![image.name.clone(), pads];
    if fill != 0.0 {
        inputs.push(graph.weight("fill_value", &Tensor::scalar(fill)));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    Ok(Planes {
        name: graph.node("Pad", &inputs, Vec::new()),
        height,
        width,
        ..image
    })
}

/// The part of the image with this top left corner, height and width.
pub(super) fn crop(
    graph: &mut Graph,
    image: Planes,
    [top, left]: [usize; 2],
    [height, width]: [usize; 2],
) -> Planes {
    if [image.height, image.width] == [height, width] {
        return image;
    }
    let starts = graph.integers("starts", &[top, left].map(|p| p as i64));
    let ends = graph.integers("ends", &[top + height, left + width].map(|p| p as i64));
    let axes = graph.integers("axes", &[2, 3]);
    let name = graph.node("Slice", &[&image.name, &starts, &ends, &axes], Vec::new());
    Planes {
        name,
        height,
        width,
        ..image
    }
}

/// `Cropping2D`.
pub(crate) struct Cropping {
    sides: [[usize; 2]; 2],
    channels_first: bool,
}

impl Cropping {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            sides: fields.sides("cropping", 0)?,
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for Cropping {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.channels_first)?;
        let left = |n: usize, [before, after]: [usize; 2]| {
            n.checked_sub(before)?.checked_sub(after).filter(|n| *n > 0)
        };
        let (height, width) = left(input.height, self.sides[0])
            .zip(left(input.width, self.sides[1]))
            .ok_or("its cropping leaves nothing")?;
        let corner = self.sides.map(|[before, _]| before);
        Ok(crop(graph, input, corner, [height, width]).value(self.channels_first))
    }
}

/// `Flatten`. With `channels_first`, Keras puts the channels last before it flattens.
pub(crate) struct Flatten {
    channels_first: bool,
}

impl Flatten {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for Flatten {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let mut input = only(inputs)?.clone();
        if input.shape.len() < 2 {
            return Ok(input);
        }
        if self.channels_first {
            input = graph.keras_order(&input);
        }
        let (channels, area) = match (input.order, &input.shape[..], self.channels_first) {
            (Order::ChannelsFirst, &[h, w, c], _) => (c, h * w),
            (_, [c, others @ ..], true) => (*c, product(others).ok_or("its input is too large")?),
            _ => (1, 1),
        };
        let length = product(&input.shape).ok_or("its input is too large")?;
        let order = if channels == 1 || area == 1 {
            Order::Keras
        } else {
            Order::FlatChannelsFirst { channels, area }
        };
        Ok(Value::new(
            graph.node("Flatten", &[&input.name], vec![int("axis", 1)]),
            vec![length],
            order,
        ))
    }
}

/// `Reshape`.
pub(crate) struct Reshape {
    target: Vec<i64>,
}

impl Reshape {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            target: fields
                .integers("target_shape")?
                .ok_or("its configuration lacks target_shape")?,
        })
    }

    /// The target with its open dimension filled in.
    fn shape(&self, input: &[usize]) -> Option<Vec<usize>> {
        let length = product(input)?;
        let known: Vec<usize> = self
            .target
            .iter()
            .filter(|d| **d >= 0)
            .map(|d| *d as usize)
            .collect();
        let known = product(&known)?;
        let open = length.checked_div(known).unwrap_or(0);
        let shape: Vec<usize> = self
            .target
            .iter()
            .map(|d| usize::try_from(*d).unwrap_or(open))
            .collect();
        (self.target.len() <= 8 && product(&shape) == Some(length)).then_some(shape)
    }
}

impl Layer for Reshape {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.keras_order(only(inputs)?);
        let shape = self.shape(&input.shape).ok_or_else(|| {
            format!(
                "its target {:?} does not have the size of its input {:?}",
                self.target, input.shape
            )
        })?;
        let name = graph.reshape(&input.name, &shape);
        Ok(Value::new(name, shape, Order::Keras))
    }
}

/// `Permute`: axes from 1 on; the batch stays first.
pub(crate) struct Permute {
    axes: Vec<i64>,
}

impl Permute {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            axes: fields
                .integers("dims")?
                .ok_or("its configuration lacks dims")?,
        })
    }
}

impl Layer for Permute {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.keras_order(only(inputs)?);
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        if sorted != (1..=input.shape.len() as i64).collect::<Vec<_>>() {
            return Err(format!(
                "its dims {:?} are not a permutation of its input's axes",
                self.axes
            ));
        }
        let perm: Vec<i64> = std::iter::once(0)
            .chain(self.axes.iter().copied())
            .collect();
        let shape = self
            .axes
            .iter()
            .map(|axis| input.shape[*axis as usize - 1])
            .collect();
        Ok(Value::new(
            graph.node("Transpose", &[&input.name], vec![ints("perm", &perm)]),
            shape,
            Order::Keras,
        ))
    }
}
