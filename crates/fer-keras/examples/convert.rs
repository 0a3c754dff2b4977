//! Converts a Keras model to an ONNX file: `cargo run -p fer-keras --example convert -- model.keras
//! model.onnx [OUTPUT [WIDTHxHEIGHT]]`.

use std::error::Error;

use fer_keras::{ConvertOptions, convert};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, target, more @ ..] = &args[..] else {
        return Err("usage: convert MODEL FILE [OUTPUT [WIDTHxHEIGHT]]".into());
    };
    let size = more.get(1).and_then(|size| size.split_once('x'));
    let size = size.map(|(w, h)| Ok::<_, std::num::ParseIntError>([w.parse()?, h.parse()?]));
    let options = ConvertOptions {
        output: more.first().filter(|name| !name.is_empty()).cloned(),
        size: size.transpose()?,
        ..ConvertOptions::default()
    };
    let converted = convert(model.as_ref(), None, &options)?;
    std::fs::write(target, &converted.onnx)?;
    for (operator, count) in &converted.operators {
        println!("{count} {operator}");
    }
    Ok(())
}
