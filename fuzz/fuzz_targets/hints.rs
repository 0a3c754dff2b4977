#![no_main]
//! What other tools' files beside a model say of it is understood, or an error.
//!
//! The bytes are `config.json`, `preprocessor_config.json`, `class_indices.json` and overrides, one
//! a line, with zeros between them.

use std::sync::LazyLock;

use fer_core::onnx::{Header, read_header};
use fer_core::spec::{Hints, ModelSpec, parse_override};

static HEADER: LazyLock<Header> = LazyLock::new(|| {
    let model: &[u8] = include_bytes!("../../tests/golden/onnx/logits.onnx");
    read_header(&model.into(), "m").expect("a model")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|b| *b == 0);
    for name in [
        "config.json",
        "preprocessor_config.json",
        "class_indices.json",
    ] {
        fer_fuzz::file(name, parts.next().unwrap_or_default());
    }
    let hints = Hints::beside(&fer_fuzz::folder().join("m.onnx"));
    let overrides = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let overrides = overrides.lines().flat_map(parse_override).collect();
    let _ = ModelSpec::resolve_with(&HEADER, &overrides, &hints, "m");
});
