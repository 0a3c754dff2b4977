//! Attention over the positions of a sequence or an image.

use super::Layer;
use super::dot::transpose;
use crate::config::Fields;
use crate::graph::{Graph, Order, Value, int};
use crate::tensor::{Tensor, product};

/// `MultiHeadAttention`: kernels `[channels, heads, key_dim]` of query and key,
/// `[channels, heads, value_dim]` of the value, and `[heads, value_dim, …]` of the output.
pub(crate) struct MultiHead {
    heads: usize,
    key_dim: usize,
    value_dim: usize,
    bias: bool,
    /// The shape of a position of the output; `None` for the query's.
    output: Option<Vec<usize>>,
    /// The axes of the positions that see each other; `None` for all.
    axes: Option<Vec<i64>>,
}

/// A projected query, key or value: `[batch, others, positions, heads, size]`.
struct Projected {
    name: String,
    /// The axes whose positions do not see each other.
    others: Vec<usize>,
    positions: usize,
    size: usize,
}

impl MultiHead {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        if fields.flag("use_gate", false)? || fields.get("sliding_window").is_some() {
            return Err("its gate or sliding window can't be converted".into());
        }
        let key_dim = fields.count("key_dim")?;
        let output = fields.integers("output_shape")?.map(|dims| {
            let dims = dims
                .into_iter()
                .map(|d| usize::try_from(d).ok().filter(|d| *d > 0));
            dims.collect::<Option<Vec<usize>>>()
                .filter(|dims| product(dims).is_some())
                .ok_or("its output_shape has a dimension that is not 1 or more")
        });
        Ok(Self {
            heads: fields.count("num_heads")?,
            key_dim,
            value_dim: fields.count_or("value_dim", key_dim)?,
            bias: fields.flag("use_bias", true)?,
            output: output.transpose()?,
            axes: fields.integers("attention_axes")?,
        })
    }

    /// The axes of the positions that see each other, after the batch, from 0 on.
    fn axes(&self, rank: usize) -> Result<Vec<usize>, String> {
        let last = rank - 1;
        let Some(axes) = &self.axes else {
            return Ok((0..last).collect());
        };
        let mut found = Vec::new();
        for axis in axes {
            let at = if *axis < 0 {
                axis + rank as i64
            } else {
                axis - 1
            };
            let at = usize::try_from(at).ok().filter(|at| *at < last);
            found.push(at.ok_or_else(|| format!("its input has no attention axis {axis}"))?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn project(
        &self,
        graph: &mut Graph,
        value: &Value,
        part: &'static str,
        size: usize,
        weights: &mut std::slice::Iter<'_, Tensor>,
    ) -> Result<Projected, String> {
        let [positions @ .., channels] = &value.shape[..] else {
            return Err("its input has no axis".into());
        };
        let axes = self.axes(value.shape.len())?;
        let (seen, others): (Vec<usize>, Vec<usize>) =
            (0..positions.len()).partition(|axis| axes.contains(axis));
        let order: Vec<usize> = [&others[..], &seen, &[positions.len()]].concat();
        let dims = |axes: &[usize]| axes.iter().map(|a| positions[*a]).collect::<Vec<usize>>();
        let others = dims(&others);
        let seen = product(&dims(&seen)).ok_or("its input is too large")?;
        let all = self
            .heads
            .checked_mul(size)
            .ok_or("its heads are too large")?;
        let keras = graph.keras_order(value);
        let name = transpose(graph, &keras.name, &order);
        let name = graph.reshape(&name, &[&others[..], &[seen, *channels]].concat());
        let kernel = weights.next().ok_or("it has too few weights")?;
        kernel.must_be(&format!("{part}/kernel"), &[*channels, self.heads, size])?;
        let kernel = kernel.clone().reshaped(&[*channels, all])?;
        let kernel = graph.weight(&format!("{part}/kernel"), &kernel);
        let mut name = graph.node("MatMul", &[&name, &kernel], Vec::new());
        if self.bias {
            let bias = weights.next().ok_or("it has too few weights")?;
            bias.must_be(&format!("{part}/bias"), &[self.heads, size])?;
            let bias = graph.weight(&format!("{part}/bias"), &bias.clone().reshaped(&[all])?);
            name = graph.node("Add", &[&name, &bias], Vec::new());
        }
        let shape = [&others[..], &[seen, self.heads, size]].concat();
        Ok(Projected {
            name: graph.reshape(&name, &shape),
            others,
            positions: seen,
            size,
        })
    }
}

impl Projected {
    /// With the last three axes (positions, heads, size) in another order.
    fn ordered(&self, graph: &mut Graph, last: [usize; 3]) -> String {
        let first = self.others.len();
        let order: Vec<usize> = (0..first).chain(last.map(|axis| first + axis)).collect();
        transpose(graph, &self.name, &order)
    }
}

impl Layer for MultiHead {
    fn weights(&self) -> Vec<&'static str> {
        if self.bias {
            vec![
                "query/kernel",
                "query/bias",
                "key/kernel",
                "key/bias",
                "value/kernel",
                "value/bias",
                "attention_output/kernel",
                "attention_output/bias",
            ]
        } else {
            vec![
                "query/kernel",
                "key/kernel",
                "value/kernel",
                "attention_output/kernel",
            ]
        }
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["query", "value", "key"]
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let (query, value, key) = query_value_key(inputs)?;
        let mut weights = weights.iter();
        let queries = self.project(graph, query, "query", self.key_dim, &mut weights)?;
        let keys = self.project(graph, key, "key", self.key_dim, &mut weights)?;
        let values = self.project(graph, value, "value", self.value_dim, &mut weights)?;
        if keys.positions != values.positions
            || keys.others != values.others
            || keys.others != queries.others
        {
            return Err(format!(
                "its query of {:?}, key of {:?} and value of {:?} do not match",
                query.shape, key.shape, value.shape
            ));
        }
        let factor = Tensor::scalar(1.0 / (self.key_dim as f32).sqrt());
        let factor = graph.weight("factor", &factor);
        let scaled = graph.node("Mul", &[&queries.name, &factor], Vec::new());
        let scaled = Projected {
            name: scaled,
            ..queries
        };
        // Positions and heads change places.
        let scaled_heads = scaled.ordered(graph, [1, 0, 2]);
        let keys = keys.ordered(graph, [1, 2, 0]);
        let values = values.ordered(graph, [1, 0, 2]);
        let mixed = attend(graph, &scaled_heads, &keys, &values);
        let mixed = Projected {
            name: mixed,
            size: self.value_dim,
            ..scaled
        };
        let name = mixed.ordered(graph, [1, 0, 2]);
        let all = self.heads * mixed.size;
        let inner = [&mixed.others[..], &[mixed.positions, all]].concat();
        let name = graph.reshape(&name, &inner);

        let [positions @ .., channels] = &query.shape[..] else {
            return Err("its input has no axis".into());
        };
        let output = self.output.clone().unwrap_or_else(|| vec![*channels]);
        let width = product(&output).ok_or("its output_shape is too large")?;
        let kernel = weights.next().ok_or("it has too few weights")?;
        let dims = [&[self.heads, self.value_dim][..], &output].concat();
        kernel.must_be("attention_output/kernel", &dims)?;
        let kernel = kernel.clone().reshaped(&[all, width])?;
        let kernel = graph.weight("attention_output/kernel", &kernel);
        let mut name = graph.node("MatMul", &[&name, &kernel], Vec::new());
        if let Some(bias) = weights.next() {
            bias.must_be("attention_output/bias", &output)?;
            let bias = bias.clone().reshaped(&[width])?;
            let bias = graph.weight("attention_output/bias", &bias);
            name = graph.node("Add", &[&name, &bias], Vec::new());
        }
        // The axes return to their places.
        let axes = self.axes(query.shape.len())?;
        let (seen, others): (Vec<usize>, Vec<usize>) =
            (0..positions.len()).partition(|axis| axes.contains(axis));
        let order = [others, seen].concat();
        let moved: Vec<usize> = order.iter().map(|axis| positions[*axis]).collect();
        let name = graph.reshape(&name, &[&moved[..], &output].concat());
        let mut back: Vec<usize> = (0..positions.len()).collect();
        back.sort_by_key(|axis| order.iter().position(|a| a == axis));
        back.extend(positions.len()..positions.len() + output.len());
        let name = transpose(graph, &name, &back);
        let shape = [positions, &output].concat();
        Ok(Value::new(name, shape, Order::Keras))
    }
}

/// The softmax of queries `[…, positions, size]` × keys `[…, size, positions]`, × the values
/// `[…, positions, size]`.
fn attend(graph: &mut Graph, queries: &str, keys: &str, values: &str) -> String {
    let scores = graph.node("MatMul", &[queries, keys], Vec::new());
    let shares = graph.node("Softmax", &[&scores], vec![int("axis", -1)]);
    graph.node("MatMul", &[&shares, values], Vec::new())
}

/// The query, the value, and the key, which is the value unless it is given.
fn query_value_key(inputs: &[Value]) -> Result<(&Value, &Value, &Value), String> {
    match inputs {
        [query, value] => Ok((query, value, value)),
        [query, value, key] => Ok((query, value, key)),
        _ => Err(format!(
            "it is called with {} tensors; it takes a query, a value, and perhaps a key",
            inputs.len()
        )),
    }
}

/// `Attention`, by dot product: of queries `[…, positions, size]`.
pub(crate) struct DotAttention {
    scale: bool,
}

impl DotAttention {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, String> {
        fields.choice("score_mode", "dot", &["dot"])?;
        if fields.flag("causal", false)? {
            return Err("its causal mask can't be converted".into());
        }
        Ok(Self {
            scale: fields.flag("use_scale", false)?,
        })
    }
}

impl Layer for DotAttention {
    fn weights(&self) -> Vec<&'static str> {
        if self.scale {
            vec!["scale"]
        } else {
            Vec::new()
        }
    }

    fn lower(
        &self,
        graph: &mut Graph,
        inputs: &[Value],
        weights: &[Tensor],
    ) -> Result<Value, String> {
        let plain: Vec<Value> = inputs.iter().map(|v| graph.keras_order(v)).collect();
        let (query, value, key) = query_value_key(&plain)?;
        let matches = match (&query.shape[..], &key.shape[..], &value.shape[..]) {
            ([a @ .., _, size], [b @ .., n, inner], [c @ .., m, _]) => {
                a == b && b == c && size == inner && n == m
            }
            _ => false,
        };
        if !matches {
            return Err(format!(
                "its query of {:?}, key of {:?} and value of {:?} do not match",
                query.shape, key.shape, value.shape
            ));
        }
        let rank = key.shape.len();
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 2, rank - 1);
        let keys = transpose(graph, &key.name, &order);
        let mut queries = query.name.clone();
        if let Some(scale) = weights.first() {
            scale.must_be("scale", &[])?;
            let scale = graph.weight("scale", scale);
            queries = graph.node("Mul", &[&queries, &scale], Vec::new());
        }
        let name = attend(graph, &queries, &keys, &value.name);
        let mut shape = query.shape.clone();
        shape[rank - 1] = value.shape[rank - 1];
        Ok(Value::new(name, shape, Order::Keras))
    }
}
