#![no_main]
//! A model file of any bytes gives a header that can be resolved or refused, or an error.

use fer::onnx::OnnxModel;
use fer::spec::ModelSpec;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = OnnxModel::parse(bytes.to_vec().into(), "m") {
        let _ = ModelSpec::resolve(&model.header, &Default::default(), "m");
    }
});
