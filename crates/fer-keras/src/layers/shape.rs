//! Layers that move values or repeat them: padding, cropping, upsampling, flattening, reshaping,
//! permuting.

use super::{Layer, only};
use crate::config::Fields;
use crate::graph::{Graph, Order, Planes, Value, int, ints, text};
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
        let [[top, bottom], [left, right]] = self.sides;
        let grown =
            |n: usize, sides: [usize; 2]| sides.iter().try_fold(n, |n, s| n.checked_add(*s));
        let (height, width) = grown(input.height, self.sides[0])
            .zip(grown(input.width, self.sides[1]))
            .ok_or("its padding is too large")?;
        let pads = graph.integers(
            "pads",
            &[0, 0, top, left, 0, 0, bottom, right].map(|p| p as i64),
        );
        let name = graph.node("Pad", &[&input.name, &pads], Vec::new());
        Ok(Planes {
            name,
            height,
            width,
            ..input
        }
        .value(self.channels_first))
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
        let [[top, _], [leftmost, _]] = self.sides;
        let starts = graph.integers("starts", &[top, leftmost].map(|p| p as i64));
        let ends = graph.integers("ends", &[top + height, leftmost + width].map(|p| p as i64));
        let axes = graph.integers("axes", &[2, 3]);
        let name = graph.node("Slice", &[&input.name, &starts, &ends, &axes], Vec::new());
        Ok(Planes {
            name,
            height,
            width,
            ..input
        }
        .value(self.channels_first))
    }
}

/// `UpSampling2D`.
pub(crate) struct UpSampling {
    size: [usize; 2],
    bilinear: bool,
    channels_first: bool,
}

impl UpSampling {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            size: fields.pair("size", [2, 2])?,
            bilinear: fields.choice("interpolation", "nearest", &["nearest", "bilinear"])?
                == "bilinear",
            channels_first: fields.channels_first()?,
        })
    }
}

impl Layer for UpSampling {
    fn lower(&self, graph: &mut Graph, inputs: &[Value], _: &[Tensor]) -> Result<Value, String> {
        let input = graph.planes(only(inputs)?, self.channels_first)?;
        let [h, w] = self.size;
        let (height, width) = input
            .height
            .checked_mul(h)
            .zip(input.width.checked_mul(w))
            .ok_or("its size is too large")?;
        let scales = graph.weight(
            "scales",
            &Tensor::vector(vec![1.0, 1.0, h as f32, w as f32]),
        );
        let attributes = if self.bilinear {
            vec![
                text("mode", "linear"),
                text("coordinate_transformation_mode", "half_pixel"),
            ]
        } else {
            vec![
                text("mode", "nearest"),
                text("coordinate_transformation_mode", "asymmetric"),
                text("nearest_mode", "floor"),
            ]
        };
        let name = graph.node("Resize", &[&input.name, "", &scales], attributes);
        Ok(Planes {
            name,
            height,
            width,
            ..input
        }
        .value(self.channels_first))
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
