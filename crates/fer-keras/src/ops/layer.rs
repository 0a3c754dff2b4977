//! Operations that are layers too: pooling and resizing.

use serde_json::{Value as Json, json};

use super::Outputs;
use super::arguments::Arguments;
use super::elementwise::one;
use crate::config::Fields;
use crate::graph::Graph;
use crate::layers;

fn lower(
    graph: &mut Graph,
    args: &Arguments<'_>,
    class: &str,
    config: &Json,
) -> Result<Outputs, String> {
    let none = serde_json::Map::new();
    let layer = layers::parse(class, &Fields::new(config.as_object().unwrap_or(&none), 3))?;
    Ok(one(layer.lower(graph, &[args.tensor()?], &[])?))
}

/// Keras's name of a data format; TensorFlow's are `NHWC` and `NCHW`.
fn data_format(args: &Arguments<'_>) -> Result<&'static str, String> {
    Ok(match args.text("data_format")? {
        Some(format) if format.starts_with("NC") || format == "channels_first" => "channels_first",
        _ => "channels_last",
    })
}

/// Two numbers for height and width, also from those of all four axes.
fn of_image(numbers: Vec<i64>, format: &str) -> Vec<i64> {
    match (&numbers[..], format) {
        ([_, h, w, _], "channels_last") | ([_, _, h, w], _) => vec![*h, *w],
        _ => numbers,
    }
}

pub(super) fn pool(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    let format = data_format(args)?;
    let size = args.integers("pool_size")?.ok_or("it has no pool_size")?;
    let strides = args.integers("strides")?;
    let config = json!({
        "pool_size": of_image(size, format),
        "strides": strides.map(|strides| of_image(strides, format)),
        "padding": args.text("padding")?.map(|padding| padding.to_lowercase()),
        "data_format": format,
    });
    lower(graph, args, args.detail, &config)
}

pub(super) fn resize(graph: &mut Graph, args: &Arguments<'_>) -> Result<Outputs, String> {
    if args.flag("preserve_aspect_ratio")? {
        return Err("its preserve_aspect_ratio can't be converted".into());
    }
    let size = args.integers("size")?.ok_or("it has no constant size")?;
    let [height, width] = size[..] else {
        return Err("its size is not two integers".into());
    };
    let config = json!({
        "height": height,
        "width": width,
        "interpolation": args.text("interpolation")?,
        "antialias": args.flag("antialias")?,
        "crop_to_aspect_ratio": args.flag("crop_to_aspect_ratio")?,
        "pad_to_aspect_ratio": args.flag("pad_to_aspect_ratio")?,
        "fill_mode": args.text("fill_mode")?,
        "fill_value": args.number("fill_value")?,
        "data_format": data_format(args)?,
    });
    lower(graph, args, "Resizing", &config)
}
