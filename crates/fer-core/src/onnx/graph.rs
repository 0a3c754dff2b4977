//! What all that writes graphs does.

use std::collections::HashSet;

use super::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};

/// An attribute that is a whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::INT.into(),
        i: value,
        ..Default::default()
    }
}

/// Leaves out the nodes and weights that the tensors `outputs` do not depend on. The nodes are in
/// the order of computation.
pub fn drop_unused(
    nodes: &mut Vec<NodeProto>,
    weights: &mut Vec<TensorProto>,
    outputs: impl IntoIterator<Item = String>,
) {
    let mut used: HashSet<String> = outputs.into_iter().collect();
    let mut kept = Vec::with_capacity(nodes.len());
    for node in std::mem::take(nodes).into_iter().rev() {
        if node.output.iter().any(|o| used.contains(o)) {
            used.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    *nodes = kept;
    weights.retain(|tensor| used.contains(&tensor.name));
}
