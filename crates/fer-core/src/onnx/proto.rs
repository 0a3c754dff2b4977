//! ONNX's protobuf messages, generated from `proto/onnx.proto` by the build script.

#![allow(clippy::all, clippy::pedantic, missing_docs)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));

pub use self::onnx::attribute_proto::AttributeType;
pub use self::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
pub use protobuf::Message;
