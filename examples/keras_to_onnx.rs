//! Converts a Keras model to an ONNX file, and prints what it takes and returns.
//!
//! `cargo run --release --example keras_to_onnx -- model.keras model.onnx`

use anyhow::Context;
use fer::convert::{ConvertOptions, convert};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let keras = arguments.next().context("name a Keras file")?;
    let onnx = arguments.next().context("name the ONNX file to write")?;
    let converted = convert(keras.as_ref(), None, &ConvertOptions::default())?;
    std::fs::write(&onnx, &converted.onnx)?;
    let input = &converted.spec.input;
    println!(
        "input: {}x{}x{} {}",
        input.width, input.height, input.channels, input.layout
    );
    println!("classes: {}", converted.spec.labels.join(", "));
    Ok(())
}
