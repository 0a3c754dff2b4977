//! Sets weights that are too small to matter to zero.
//!
//! L2 regularization drives the kernels of dead channels towards zero without reaching it: the
//! notebook model's file holds thousands of subnormal floats. They change no output, but on x86
//! every multiplication with a subnormal takes some hundred cycles. That made the whole model 4.8
//! times slower in ONNX Runtime. The product of two small normal numbers can be subnormal too, so
//! the threshold is above the smallest normal float (1.2e-38).
//!
//! The build script compiles this file too, and flushes the models that it compiles in.

use super::proto::{ModelProto, TensorProto};

/// Weights with a magnitude below this are set to zero.
pub const TINY: f32 = 1e-30;

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

/// Sets every non-zero `f32` weight with |w| < [`TINY`] to zero and returns how many there were.
///
/// It covers the graph's initializers and constants. Weights in external files are not changed.
pub fn flush_tiny_weights(model: &mut ModelProto) -> usize {
    let Some(graph) = model.graph.as_mut() else {
        return 0;
    };
    let constants = graph
        .node
        .iter_mut()
        .filter(|node| node.op_type == "Constant")
        .flat_map(|node| node.attribute.iter_mut())
        .filter_map(|attribute| attribute.t.as_mut());
    graph
        .initializer
        .iter_mut()
        .chain(constants)
        .map(flush_tensor)
        .sum()
}

fn is_tiny(w: f32) -> bool {
    w != 0.0 && w.abs() < TINY
}

fn flush_tensor(tensor: &mut TensorProto) -> usize {
    if tensor.data_type != FLOAT {
        return 0;
    }
    let mut flushed = 0;
    for w in tensor.float_data.iter_mut().filter(|w| is_tiny(**w)) {
        *w = 0.0;
        flushed += 1;
    }
    let le = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let tiny = tensor
        .raw_data
        .chunks_exact(4)
        .filter(|b| is_tiny(le(b)))
        .count();
    if tiny > 0 {
        let mut raw = tensor.raw_data.to_vec();
        for b in raw.chunks_exact_mut(4).filter(|b| is_tiny(le(b))) {
            b.fill(0);
        }
        tensor.raw_data = raw.into();
    }
    flushed + tiny
}
