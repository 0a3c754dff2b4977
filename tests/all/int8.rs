//! Models of 8-bit integers in QDQ form: fer's kernels against ONNX Runtime on the same file.

use std::collections::HashSet;

use bytes::Bytes;
use fer::compiled;
use fer::kernels::int8::Instructions;
use fer::onnx::proto::{
    AttributeProto, AttributeType, Message, ModelProto, NodeProto, StringStringEntryProto,
    TensorProto, ValueInfoProto,
};

use super::convert::on_ort;
use crate::common::ort;

const SIDE: usize = 12;
const CLASSES: usize = 7;

/// A graph with made-up weights.
struct Graph {
    model: ModelProto,
    state: u32,
}

impl Graph {
    fn new() -> Self {
        let mut model = ModelProto {
            ir_version: 8,
            ..Default::default()
        };
        model.opset_import.push(Default::default());
        model.opset_import[0].version = 18;
        let labels = r#"["angry","disgust","fear","happy","neutral","sad","surprise"]"#;
        for (key, value) in [("fer.labels", labels), ("fer.output", "probabilities")] {
            model.metadata_props.push(StringStringEntryProto {
                key: key.into(),
                value: value.into(),
                ..Default::default()
            });
        }
        let graph = model.graph.mut_or_insert_default();
        graph.name = "test".into();
        let port = |name: &str, sides: &[usize]| {
            let mut info = ValueInfoProto {
                name: name.into(),
                ..Default::default()
            };
            let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
            tensor.elem_type = 1;
            let shape = tensor.shape.mut_or_insert_default();
            shape.dim.push(Default::default());
            shape.dim[0].set_dim_param("N".into());
            for side in sides {
                shape.dim.push(Default::default());
                shape.dim.last_mut().unwrap().set_dim_value(*side as i64);
            }
            info
        };
        graph.input.push(port("input", &[1, SIDE, SIDE]));
        graph.output.push(port("output", &[CLASSES]));
        Self { model, state: 1 }
    }

    /// A number of 0..1.
    fn number(&mut self) -> f32 {
        self.state = self
            .state
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.state >> 8) as f32 / (1 << 24) as f32
    }

    fn store(&mut self, name: &str, dims: &[usize], data_type: i32, raw: Vec<u8>) -> String {
        let graph = self.model.graph.mut_or_insert_default();
        graph.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.iter().map(|side| *side as i64).collect(),
            data_type,
            raw_data: raw.into(),
            ..Default::default()
        });
        name.into()
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.store(name, dims, 1, raw)
    }

    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        ints: &[(&str, &[i64])],
    ) -> String {
        let attribute = |(name, ints): &(&str, &[i64])| {
            let mut attribute = AttributeProto {
                name: (*name).into(),
                ..Default::default()
            };
            match ints {
                [one] => (attribute.i, attribute.type_) = (*one, AttributeType::INT.into()),
                several => {
                    attribute.ints = several.to_vec();
                    attribute.type_ = AttributeType::INTS.into();
                }
            }
            attribute
        };
        self.model
            .graph
            .mut_or_insert_default()
            .node
            .push(NodeProto {
                op_type: operator.into(),
                name: output.into(),
                input: inputs.iter().map(|i| (*i).into()).collect(),
                output: vec![output.into()],
                attribute: ints.iter().map(attribute).collect(),
                ..Default::default()
            });
        output.into()
    }

    /// QuantizeLinear and DequantizeLinear.
    fn bytes(&mut self, x: &str, scale: f32, zero: u8) -> String {
        let s = self.floats(&format!("{x}_scale"), &[], &[scale]);
        let z = self.store(&format!("{x}_zero"), &[], 2, vec![zero]);
        let q = self.node(
            "QuantizeLinear",
            &[x, &s, &z],
            &format!("{x}_quantized"),
            &[],
        );
        self.node(
            "DequantizeLinear",
            &[&q, &s, &z],
            &format!("{x}_dequantized"),
            &[],
        )
    }

    /// Integers with their scales, along the first axis.
    fn integers(&mut self, name: &str, dims: &[usize], scales: &[f32], bits: u32) -> String {
        let len = dims.iter().product();
        let values: Vec<f32> = (0..len).map(|_| self.number()).collect();
        let largest = (1u32 << (bits - 1)) as f32 - 1.0;
        let whole = values
            .iter()
            .map(|v| ((v * 2.0 - 1.0) * largest).round() as i32);
        let (data_type, raw): (i32, Vec<u8>) = match bits {
            8 => (3, whole.map(|w| w as i8 as u8).collect()),
            _ => (6, whole.flat_map(i32::to_le_bytes).collect()),
        };
        let zeros = vec![0; scales.len() * if bits == 8 { 1 } else { 4 }];
        let q = self.store(&format!("{name}_quantized"), dims, data_type, raw);
        let s = self.floats(&format!("{name}_scale"), &[scales.len()], scales);
        let z = self.store(&format!("{name}_zero"), &[scales.len()], data_type, zeros);
        self.node("DequantizeLinear", &[&q, &s, &z], name, &[("axis", &[0])])
    }

    /// The weights and the bias of a layer of bytes whose input has this scale.
    fn weights(&mut self, name: &str, dims: &[usize], from: f32) -> [String; 2] {
        let scales: Vec<f32> = (0..dims[0])
            .map(|_| 0.002 + 0.003 * self.number())
            .collect();
        let units: Vec<f32> = scales.iter().map(|s| s * from).collect();
        let kernel = self.integers(&format!("{name}.weight"), dims, &scales, 8);
        let bias = self.integers(&format!("{name}.bias"), &dims[..1], &units, 11);
        [kernel, bias]
    }

    fn conv(&mut self, name: &str, x: &str, dims: [usize; 4], from: f32, stride: i64) -> String {
        let [kernel, bias] = self.weights(name, &dims, from);
        let pad = dims[2] as i64 / 2;
        let (sides, strides) = ([dims[2] as i64, dims[3] as i64], [stride; 2]);
        let more: [(&str, &[i64]); 3] = [
            ("kernel_shape", &sides),
            ("strides", &strides),
            ("pads", &[pad; 4]),
        ];
        self.node("Conv", &[x, &kernel, &bias], name, &more)
    }

    fn finish(self) -> Bytes {
        self.model.write_to_bytes().unwrap().into()
    }
}

/// A network with residual sums, a layer of numbers, and the end of fer's own.
fn residual() -> Bytes {
    let mut g = Graph::new();
    let x = g.bytes("input", 1.0 / 255.0, 0);
    let a = g.conv("a", &x, [8, 1, 3, 3], 1.0 / 255.0, 1);
    let a = g.bytes(&a, 0.01, 0);
    let b = g.conv("b", &a, [8, 8, 3, 3], 0.01, 1);
    let b = g.bytes(&b, 0.02, 120);
    let sum = g.node("Add", &[&a, &b], "sum", &[]);
    let sum = g.bytes(&sum, 0.015, 0);
    let pool: [(&str, &[i64]); 2] = [("kernel_shape", &[2, 2]), ("strides", &[2, 2])];
    let c = g.node("MaxPool", &[&sum], "pool", &pool);
    let c = g.bytes(&c, 0.015, 0);
    let d = g.conv("d", &c, [20, 8, 3, 3], 0.015, 2);
    let d = g.node("Relu", &[&d], "relu", &[]);
    let d = g.bytes(&d, 0.02, 0);
    // Between bytes on both sides, ONNX Runtime would quantize the weights itself.
    let weights: Vec<f32> = (0..24 * 20 * 9).map(|_| g.number() * 0.1 - 0.05).collect();
    let e = g.floats("e.weight", &[24, 20, 3, 3], &weights);
    let e = g.node("Conv", &[&d, &e], "e", &[("pads", &[1; 4])]);
    let e = g.node("Relu", &[&e], "e_relu", &[]);
    let f = g.node("GlobalAveragePool", &[&e], "mean", &[]);
    let f = g.node("Flatten", &[&f], "flat", &[("axis", &[1])]);
    let weights: Vec<f32> = (0..24 * CLASSES).map(|_| g.number() * 4.0 - 2.0).collect();
    let w = g.floats("dense", &[24, CLASSES], &weights);
    let h = g.node("MatMul", &[&f, &w], "product", &[]);
    let bias = g.floats(
        "dense.bias",
        &[CLASSES],
        &[0.1, -0.1, 0.2, 0.0, 0.3, -0.2, 0.05],
    );
    let h = g.node("Add", &[&h, &bias], "logits", &[]);
    g.node("Softmax", &[&h], "output", &[("axis", &[1])]);
    g.finish()
}

/// A network whose dense layers take all values of an image.
fn dense() -> Bytes {
    let mut g = Graph::new();
    let x = g.bytes("input", 1.0 / 255.0, 0);
    let a = g.conv("a", &x, [5, 1, 5, 5], 1.0 / 255.0, 2);
    let a = g.bytes(&a, 0.01, 0);
    let a = g.node("Flatten", &[&a], "flat", &[("axis", &[1])]);
    let a = g.bytes(&a, 0.01, 0);
    let [w, b] = g.weights("b", &[30, 5 * 36], 0.01);
    let b = g.node("Gemm", &[&a, &w, &b], "b", &[("transB", &[1])]);
    let b = g.bytes(&b, 0.02, 0);
    let [w, c] = g.weights("c", &[CLASSES, 30], 0.02);
    let c = g.node("Gemm", &[&b, &w, &c], "c", &[("transB", &[1])]);
    let c = g.bytes(&c, 0.05, 128);
    g.node("Softmax", &[&c], "output", &[("axis", &[1])]);
    g.finish()
}

#[test]
fn qdq_files_answer_what_onnx_runtime_answers() {
    let count = 50;
    let mut g = Graph::new();
    let input: Vec<f32> = (0..count * SIDE * SIDE)
        .map(|_| (g.number() * 255.0).round() / 255.0)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, onnx) in [("residual", residual()), ("dense", dense())] {
        let networks = Instructions::ALL.into_iter().filter(|i| {
            if !i.is_supported() {
                println!("SKIPPED: this processor has no {i}");
            }
            i.is_supported()
        });
        let outputs: Vec<_> = networks
            .map(|i| (i, compiled::network(&onnx, i).unwrap().forward(&input)))
            .collect();
        let first = &outputs[0].1;
        assert_eq!(first.len(), count * CLASSES);
        for (instructions, output) in &outputs {
            assert_eq!(output, first, "{instructions}");
        }
        let distinct = first.chunks(CLASSES).map(best).collect::<HashSet<_>>();
        assert!(distinct.len() > 1, "{name}: all images are {distinct:?}");
        if ort().is_none() {
            continue;
        }
        let path = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&path, &onnx).unwrap();
        let mut engine = on_ort(&path).unwrap();
        let expected = engine.outputs(&input).unwrap();
        let most = first
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        if most > 1e-3 {
            wrong.push((name, most));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn best(row: &[f32]) -> usize {
    (0..row.len())
        .max_by(|a, b| row[*a].total_cmp(&row[*b]))
        .unwrap()
}

/// A layer of numbers between bytes on both sides, of which one weight is far larger than the
/// others: with one scale of 8 bits for all of them, nothing would be left of these. Its bias is
/// made by a node, as `fer quantize` writes it.
#[test]
fn onnx_runtime_computes_a_layer_of_numbers_between_bytes_as_it_is() {
    if ort().is_none() {
        return;
    }
    let mut g = Graph::new();
    let x = g.bytes("input", 1.0 / 255.0, 0);
    let a = g.conv("a", &x, [8, 1, 3, 3], 1.0 / 255.0, 1);
    let a = g.bytes(&a, 0.01, 0);
    let mut weights: Vec<f32> = (0..16 * 8 * 9).map(|_| g.number() * 0.1 - 0.05).collect();
    weights[0] = 20.0;
    let w = g.floats("b.weight", &[16, 8, 3, 3], &weights);
    let bias = g.integers("b.bias", &[16], &[1e-10; 16], 30);
    let b = g.node("Conv", &[&a, &w, &bias], "b", &[("pads", &[1; 4])]);
    let b = g.node("Relu", &[&b], "b_relu", &[]);
    let b = g.bytes(&b, 0.004, 0);
    let f = g.node("GlobalAveragePool", &[&b], "mean", &[]);
    let f = g.node("Flatten", &[&f], "flat", &[("axis", &[1])]);
    let weights: Vec<f32> = (0..16 * CLASSES).map(|_| g.number() * 8.0 - 4.0).collect();
    let w = g.floats("dense", &[16, CLASSES], &weights);
    let h = g.node("MatMul", &[&f, &w], "logits", &[]);
    g.node("Softmax", &[&h], "output", &[("axis", &[1])]);
    let input: Vec<f32> = (0..20 * SIDE * SIDE)
        .map(|_| (g.number() * 255.0).round() / 255.0)
        .collect();
    let onnx = g.finish();
    let found = compiled::network(&onnx, Instructions::best())
        .unwrap()
        .forward(&input);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("float.onnx");
    std::fs::write(&path, &onnx).unwrap();
    let expected = on_ort(&path).unwrap().outputs(&input).unwrap();
    let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let most = off.fold(0.0, f32::max);
    assert!(most < 2e-3, "{most}");
}

#[test]
fn damaged_files_are_refused_or_computed() {
    let (mut refused, mut state) = (HashSet::new(), 1u32);
    for whole in [residual(), dense()] {
        for _ in 0..1000 {
            let mut damaged = whole.to_vec();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (state >> 8) as usize % damaged.len();
            damaged[at] ^= 1 << (state >> 5 & 7);
            match compiled::network(&damaged.into(), Instructions::Plain) {
                Ok(network) => {
                    let len = network.input().iter().product();
                    if len < 1 << 14 {
                        network.forward(&vec![0.5; len]);
                    }
                }
                Err(e) => {
                    refused.insert(e.to_string());
                }
            }
        }
    }
    assert!(refused.len() > 20, "{refused:?}");
}

#[test]
fn what_the_kernels_do_not_support_is_named() {
    let mut g = Graph::new();
    let x = g.bytes("input", 1.0 / 255.0, 0);
    let a = g.conv("a", &x, [7, 1, 3, 3], 1.0 / 255.0, 1);
    let a = g.bytes(&a, 0.01, 0);
    g.node("LeakyRelu", &[&a], "output", &[]);
    let error = compiled::network(&g.finish(), Instructions::Plain)
        .err()
        .unwrap();
    let expected = "output (LeakyRelu): this operator is not supported among 8-bit integers";
    assert_eq!(error.to_string(), expected);
}
