#![no_main]
//! A model file of any bytes is a network of 8-bit integers that can be read, or an error.

use fer_core::onnx::{parse_proto, qdq};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = parse_proto(&bytes.to_vec().into(), "m") {
        let _ = qdq::read(&model);
    }
});
