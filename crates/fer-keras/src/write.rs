//! A finished graph → an ONNX file's bytes: input and output, operator set, metadata, and tiny
//! weights set to zero.

use fer_core::onnx::proto::{Message, ModelProto, StringStringEntryProto, ValueInfoProto};
use serde_json::json;

use super::graph::{Graph, Order};
use super::lower::LayerOutput;
use fer_core::onnx::{ELEM_FLOAT, flush};

/// The operator set.
const OPSET: i64 = 18;

/// The ONNX IR version of that operator set: any runtime that supports the one can read the other.
const IR_VERSION: i64 = 8;

/// The metadata key for the layers' outputs.
pub const LAYERS: &str = "fer.layers";

/// A model with one input and one output, each with a name and dimensions without the batch.
pub(crate) fn model(
    graph: Graph,
    name: &str,
    input: (&str, &[usize]),
    output: (&str, &[usize]),
) -> ModelProto {
    let mut model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "fer".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    model.opset_import.push(Default::default());
    if let Some(opset) = model.opset_import.first_mut() {
        opset.version = OPSET;
    }
    let proto = model.graph.mut_or_insert_default();
    proto.name = name.into();
    proto.input.push(port(input));
    proto.output.push(port(output));
    (proto.node, proto.initializer) = (graph.nodes, graph.weights);
    model
}

/// A model's bytes, with this metadata, and the number of tiny weights that were set to zero.
///
/// # Errors
/// The file would be over protobuf's 2 GiB.
pub(crate) fn bytes(
    model: &mut ModelProto,
    metadata: Vec<(String, String)>,
) -> Result<(Vec<u8>, usize), String> {
    for (key, value) in metadata {
        model.metadata_props.push(StringStringEntryProto {
            key,
            value,
            ..Default::default()
        });
    }
    let flushed = flush::flush_tiny_weights(model);
    let bytes = model
        .write_to_bytes()
        .map_err(|e| format!("the ONNX file can't be written: {e}"))?;
    Ok((bytes, flushed))
}

fn port((name, dims): (&str, &[usize])) -> ValueInfoProto {
    let mut info = ValueInfoProto {
        name: name.into(),
        ..Default::default()
    };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = ELEM_FLOAT;
    let shape = tensor.shape.mut_or_insert_default();
    for dim in std::iter::once(None).chain(dims.iter().map(|d| Some(*d as i64))) {
        shape.dim.push(Default::default());
        if let Some(last) = shape.dim.last_mut() {
            match dim {
                Some(n) => last.set_dim_value(n),
                None => last.set_dim_param("N".into()),
            }
        }
    }
    info
}

/// The metadata of the layers' outputs: `[[layer, tensor, order], …]`. The order is empty for
/// Keras's, `NCHW`, or `512x4` for a vector of 512 channels by 4 pixels that Keras has the other
/// way round.
pub(crate) fn layers(outputs: &[LayerOutput]) -> String {
    let order = |order: Order| match order {
        Order::Keras => String::new(),
        Order::ChannelsFirst => "NCHW".into(),
        Order::FlatChannelsFirst { channels, area } => format!("{channels}x{area}"),
    };
    let rows: Vec<_> = outputs
        .iter()
        .map(|a| json!([a.layer, a.tensor, order(a.order)]))
        .collect();
    json!(rows).to_string()
}
