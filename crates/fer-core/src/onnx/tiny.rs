//! The smallest image classifier: one convolution, two classes. It shows whether a provider starts.

use crate::onnx::proto::{Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// An ONNX file: `input [1, 1, 2, 2]` → Conv → `output [1, 2, 1, 1]`, NCHW.
pub fn tiny_classifier() -> Vec<u8> {
    let mut model = ModelProto {
        ir_version: 8,
        producer_name: "fer".into(),
        ..Default::default()
    };
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 17;
    let graph = model.graph.mut_or_insert_default();
    graph.name = "tiny".into();
    graph.input.push(tensor_info("input", &[1, 1, 2, 2]));
    graph.output.push(tensor_info("output", &[1, 2, 1, 1]));
    graph.initializer.push(TensorProto {
        name: "kernel".into(),
        dims: vec![2, 1, 2, 2],
        data_type: super::ELEM_FLOAT,
        float_data: vec![1.0, -1.0, 0.5, 0.25, -1.0, 1.0, -0.5, 0.75],
        ..Default::default()
    });
    graph.node.push(NodeProto {
        op_type: "Conv".into(),
        name: "conv".into(),
        input: vec!["input".into(), "kernel".into()],
        output: vec!["output".into()],
        ..Default::default()
    });
    // Writing to memory fails only above 2 GiB.
    model.write_to_bytes().unwrap_or_default()
}

fn tensor_info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let mut info = ValueInfoProto {
        name: name.into(),
        ..Default::default()
    };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = super::ELEM_FLOAT;
    let shape = tensor.shape.mut_or_insert_default();
    for dim in dims {
        shape.dim.push(Default::default());
        if let Some(last) = shape.dim.last_mut() {
            last.set_dim_value(*dim);
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Layout, ModelSpec, OutputKind};

    #[test]
    fn its_header_is_an_image_classifier() {
        let header = super::super::read_header(&tiny_classifier().into(), "tiny").unwrap();
        let spec = ModelSpec::resolve(&header, &Default::default(), "tiny").unwrap();
        assert_eq!(
            (
                spec.input.layout,
                spec.input.width,
                spec.input.height,
                spec.input.channels
            ),
            (Layout::Nchw, 2, 2, 1)
        );
        assert_eq!(
            (spec.labels.len(), spec.output, spec.fixed_batch),
            (2, OutputKind::Logits, Some(1))
        );
    }
}
