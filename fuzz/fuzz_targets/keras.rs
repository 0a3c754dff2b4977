#![no_main]
//! A Keras file of any bytes gives an ONNX model that can be read again, or is refused in one line.
//!
//! The first byte says what the rest is: a whole file, or the configuration of weights that are
//! there, which no fuzzer would get past the checksums of a zip.

use std::io::Write;

use fer_keras::{ConvertOptions, convert_bytes};

const WEIGHTS: &[u8] = include_bytes!("../../tests/golden/convert/plain.k3.weights.h5");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let file = if kind % 2 == 0 {
        rest.to_vec()
    } else {
        archive(rest)
    };
    match convert_bytes(file, "m", &ConvertOptions::default()) {
        Ok(converted) => assert!(fer_core::onnx::read_header(&converted.onnx.into(), "m").is_ok()),
        Err(e) => assert!(!e.to_string().contains('\n')),
    }
});

fn archive(config: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let parts = [
        ("config.json", config),
        ("metadata.json", b"{}".as_slice()),
        ("model.weights.h5", WEIGHTS),
    ];
    for (name, part) in parts {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        if zip.start_file(name, options).is_err() || zip.write_all(part).is_err() {
            return Vec::new();
        }
    }
    zip.finish()
        .map(std::io::Cursor::into_inner)
        .unwrap_or_default()
}
