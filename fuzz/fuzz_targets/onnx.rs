#![no_main]
//! A model file of any bytes gives a header that can be resolved or refused, or an error.

use fer_core::onnx::{OnnxModel, adapt};
use fer_core::spec::ModelSpec;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = OnnxModel::parse(bytes.to_vec().into(), "m") else {
        return;
    };
    let _ = ModelSpec::resolve(&model.header, &Default::default(), "m");
    for output in &model.header.outputs {
        let _ = adapt(&model.bytes, &output.name, "m");
    }
});
