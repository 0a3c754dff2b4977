//! Damaged networks of 8-bit integers: each is an error, before memory is allocated for what the
//! file does not have.

use crate::common::Dim::{N, Open};
use crate::common::{ModelBuilder, all_right};
use fer_core::onnx::proto::{GraphProto, TensorProto};
use fer_core::onnx::qdq;

const UINT8: i32 = 2;
const INT8: i32 = 3;

/// Images of 4 × 4 values as bytes, a convolution of two kernels, and a dense layer of numbers.
fn network() -> ModelBuilder {
    let mut model = ModelBuilder::new()
        .input("x", &[Open, N(1), N(4), N(4)])
        .output("y", &[Open, N(2)])
        .weights("scale", &[], &[0.1])
        .weights("kernel_scale", &[2], &[0.1, 0.2])
        .weights("dense", &[32, 2], &[0.5; 64])
        .weights("bias", &[2], &[0.5; 2])
        .node("QuantizeLinear", &["x", "scale", "zero"], "q", &[])
        .node("DequantizeLinear", &["q", "scale", "zero"], "d", &[])
        .node(
            "DequantizeLinear",
            &["kernel", "kernel_scale"],
            "w",
            &[("axis", 0)],
        )
        .node("Conv", &["d", "w"], "c", &[])
        .node("QuantizeLinear", &["c", "scale", "zero"], "cq", &[])
        .node("DequantizeLinear", &["cq", "scale", "zero"], "cd", &[])
        .node("Flatten", &["cd"], "f", &[])
        .node("MatMul", &["f", "dense"], "m", &[])
        .node("Add", &["m", "bias"], "y", &[]);
    let mut store = |name: &str, dims: &[i64], data_type, raw: &'static [u8]| {
        let graph = model.proto.graph.mut_or_insert_default();
        graph.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type,
            raw_data: raw.into(),
            ..Default::default()
        });
    };
    store("zero", &[], UINT8, &[0]);
    store("kernel", &[2, 1, 1, 1], INT8, &[1, 2]);
    model
}

fn weights<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut TensorProto {
    let mut weights = graph.initializer.iter_mut();
    weights.find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn damaged_networks_are_errors() {
    assert!(qdq::read(&network().proto).is_ok());
    type Damage = fn(&mut GraphProto);
    let rows: [(&str, Damage, &str); 10] = [
        (
            "more outputs of a dense layer than there is memory for",
            |g| weights(g, "dense").dims = vec![32, 1 << 40],
            "m (MatMul): images of",
        ),
        (
            "more outputs of a dense layer than the file has",
            |g| weights(g, "dense").dims = vec![32, 1 << 20],
            "the tensor dense has 64 values in the file",
        ),
        (
            "more kernels than there is memory for",
            |g| weights(g, "kernel").dims = vec![1 << 40, 1, 1, 1],
            "c (Conv): images of",
        ),
        (
            "kernels without values",
            |g| {
                let kernel = weights(g, "kernel");
                (kernel.dims, kernel.raw_data) = (vec![2, 1, 0, 0], Vec::new().into());
            },
            "the tensor kernel has 0 values",
        ),
        (
            "no scales, along an axis that there is not",
            |g| {
                let scale = weights(g, "kernel_scale");
                (scale.dims, scale.raw_data) = (vec![0], Vec::new().into());
                g.node[2].attribute[0].i = -5;
            },
            "the tensor kernel_scale has 0 values",
        ),
        (
            "scales of dense weights along an axis that there is not",
            |g| {
                let dense = weights(g, "dense");
                (dense.data_type, dense.raw_data) = (INT8, vec![1; 64].into());
                let mut node = g.node[2].clone();
                (node.input[0], node.output[0]) = ("dense".into(), "dw".into());
                node.attribute[0].i = -9;
                g.node.insert(0, node);
                g.node[8].input[1] = "dw".into();
                // Of numbers, as nothing quantizes the image.
                g.node[8].input[0] = "f".into();
            },
            "the scales of its weights belong to another axis",
        ),
        (
            "scales of blocks",
            |g| {
                let mut block = g.node[2].attribute[0].clone();
                (block.name, block.i) = ("block_size".into(), 1);
                g.node[2].attribute.push(block);
            },
            "or of blocks, are not supported",
        ),
        (
            "a zero point that is no byte",
            |g| {
                let zero = weights(g, "zero");
                (zero.raw_data, zero.int32_data) = (Vec::new().into(), vec![300]);
            },
            "the tensor zero has a value 300",
        ),
        (
            "a tensor that is computed twice",
            |g| {
                let mut again = g.node[3].clone();
                again.op_type = "Relu".into();
                g.node.insert(4, again);
            },
            "its output c is computed twice",
        ),
        (
            "a bias along the batch",
            |g| weights(g, "bias").dims = vec![2, 1],
            "stored numbers are added only to",
        ),
    ];
    let wrong = rows.iter().filter_map(|(name, damage, expected)| {
        let mut model = network().proto;
        damage(model.graph.mut_or_insert_default());
        let found = match qdq::read(&model) {
            Ok(_) => "no error".into(),
            Err(e) => e.to_string(),
        };
        (!found.contains(expected)).then(|| format!("{name}: {found}"))
    });
    all_right(wrong.collect());
}
