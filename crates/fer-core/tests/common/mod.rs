//! What the integration tests of all crates share: the repository's folder, tables, and small ONNX
//! files made on the spot.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::Path;

use fer_core::onnx::proto::{
    AttributeProto, AttributeType, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

/// The repository, which has the test files of all crates.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&Path| folder.join("Cargo.lock").is_file();
    package.ancestors().find(is_root).unwrap()
}

/// The rows of a table test that went wrong; fails if there are any.
#[track_caller]
pub fn all_right(wrong: Vec<String>) {
    assert!(
        wrong.is_empty(),
        "{} rows are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A dimension of a made-up model.
#[derive(Clone, Copy)]
pub enum Dim {
    N(i64),
    Open,
}

/// A made-up ONNX model.
pub struct ModelBuilder {
    pub proto: ModelProto,
}

impl ModelBuilder {
    pub fn new() -> Self {
        let mut proto = ModelProto {
            ir_version: 8,
            producer_name: "test".into(),
            ..Default::default()
        };
        proto.opset_import.push(Default::default());
        proto.opset_import[0].version = 17;
        proto.graph.mut_or_insert_default().name = "test".into();
        Self { proto }
    }

    pub fn input(mut self, name: &str, dims: &[Dim]) -> Self {
        self.proto
            .graph
            .mut_or_insert_default()
            .input
            .push(info(name, dims, 1));
        self
    }

    pub fn input_of_type(mut self, name: &str, dims: &[Dim], elem_type: i32) -> Self {
        self.proto
            .graph
            .mut_or_insert_default()
            .input
            .push(info(name, dims, elem_type));
        self
    }

    pub fn output(mut self, name: &str, dims: &[Dim]) -> Self {
        self.proto
            .graph
            .mut_or_insert_default()
            .output
            .push(info(name, dims, 1));
        self
    }

    pub fn weights(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.proto
            .graph
            .mut_or_insert_default()
            .initializer
            .push(TensorProto {
                name: name.into(),
                dims: dims.to_vec(),
                data_type: 1,
                raw_data: raw.into(),
                ..Default::default()
            });
        self
    }

    pub fn node(mut self, op: &str, inputs: &[&str], output: &str, ints: &[(&str, i64)]) -> Self {
        let attribute = |(name, i): &(&str, i64)| AttributeProto {
            name: (*name).into(),
            i: *i,
            type_: AttributeType::INT.into(),
            ..Default::default()
        };
        self.proto
            .graph
            .mut_or_insert_default()
            .node
            .push(NodeProto {
                op_type: op.into(),
                name: format!("{op}_{output}"),
                input: inputs.iter().map(|s| s.to_string()).collect(),
                output: vec![output.into()],
                attribute: ints.iter().map(attribute).collect(),
                ..Default::default()
            });
        self
    }

    pub fn meta(mut self, key: &str, value: &str) -> Self {
        self.proto.metadata_props.push(Default::default());
        let last = self.proto.metadata_props.last_mut().unwrap();
        (last.key, last.value) = (key.into(), value.into());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.proto.write_to_bytes().unwrap()
    }

    /// Writes the model into a folder and returns its path.
    pub fn write(&self, folder: &Path, name: &str) -> String {
        let path = folder.join(name);
        std::fs::write(&path, self.bytes()).unwrap();
        path.display().to_string()
    }
}

fn info(name: &str, dims: &[Dim], elem_type: i32) -> ValueInfoProto {
    let mut info = ValueInfoProto {
        name: name.into(),
        ..Default::default()
    };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = elem_type;
    let shape = tensor.shape.mut_or_insert_default();
    for dim in dims {
        shape.dim.push(Default::default());
        let last = shape.dim.last_mut().unwrap();
        match dim {
            Dim::N(n) => last.set_dim_value(*n),
            Dim::Open => last.set_dim_param("N".into()),
        }
    }
    info
}

/// A linear classifier over 2×2 images with `classes` classes: Flatten → MatMul (→ Softmax). Class
/// `c`'s logit is the sum over the pixels `p` (in the model's layout) of `x[p] × weight(p, c)`.
pub fn linear(
    dims: &[Dim],
    pixels: i64,
    classes: i64,
    softmax: bool,
    weight: impl Fn(i64, i64) -> f32,
) -> ModelBuilder {
    let weights: Vec<f32> = (0..pixels * classes)
        .map(|i| weight(i / classes, i % classes))
        .collect();
    let model = ModelBuilder::new()
        .input("input", dims)
        .output("output", &[dims[0], Dim::N(classes)])
        .weights("w", &[pixels, classes], &weights)
        .node("Flatten", &["input"], "flat", &[("axis", 1)]);
    if softmax {
        model.node("MatMul", &["flat", "w"], "logits", &[]).node(
            "Softmax",
            &["logits"],
            "output",
            &[("axis", 1)],
        )
    } else {
        model.node("MatMul", &["flat", "w"], "output", &[])
    }
}
