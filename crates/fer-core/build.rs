//! Generates the types of ONNX's protobuf messages from `proto/onnx.proto`.

use protobuf_codegen::{Codegen, Customize};

fn main() {
    println!("cargo::rerun-if-changed=proto/onnx.proto");
    Codegen::new()
        .pure()
        .includes(["proto"])
        .input("proto/onnx.proto")
        .cargo_out_dir("proto")
        // Weights are slices of the file's bytes, not copies.
        .customize(Customize::default().tokio_bytes(true))
        .run_from_script();
}
