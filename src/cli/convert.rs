//! `fer convert`: converts a Keras model to an ONNX file, and runs it before it is kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fer::classifier::Note;
use fer::convert::{self, Checked};
use fer::host::Host;
use fer::spec::{
    ChannelOrder, FaceCrop, KerasMode, Layout, ModelSpec, OutputKind, Resize, parse_factor,
    parse_numbers,
};

use super::faces::parse_crop;
use super::output::not_over;
use super::{Status, advice};

/// The endings of Keras files.
const KERAS: [&str; 3] = ["keras", "h5", "hdf5"];

#[derive(clap::Args)]
pub struct Args {
    /// A .keras or .h5 file, a folder with config.json and model.weights.h5, or an .h5 file with
    /// weights only.
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// The ONNX file to write [default: MODEL's name with .onnx, in the current folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The model's configuration as JSON, for a file with weights only [default: config.json beside
    /// it].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Class names in the order of the outputs [default: those in class_indices.json or config.json
    /// beside MODEL; else, as a guess, angry,disgust,fear,happy,neutral,sad,surprise for seven].
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    labels: Option<Vec<String>>,

    /// The factor that pixels of 0..255 were multiplied by in training [default: 1 if the model
    /// rescales its input; else, as a guess, 1/255].
    #[arg(long, value_name = "X", value_parser = checked(parse_factor))]
    scale: Option<String>,

    /// What was then subtracted, one number or one per channel in the model's order [default: 0].
    #[arg(long, value_name = "M[,M,M]", allow_hyphen_values = true)]
    #[arg(value_parser = checked(parse_numbers))]
    mean: Option<String>,

    /// What the rest was divided by, one number or one per channel in the model's order
    /// [default: 1].
    #[arg(long, value_name = "S[,S,S]", value_parser = checked(parse_numbers))]
    std: Option<String>,

    /// The order of colors in training: rgb, or bgr as OpenCV reads images [default: rgb].
    #[arg(long, value_name = "rgb|bgr", value_parser = checked(str::parse::<ChannelOrder>))]
    channel_order: Option<String>,

    /// All four at once, as preprocess_input of keras.applications does it: tf is x/127.5 − 1,
    /// caffe BGR minus ImageNet's mean, torch x/255 by ImageNet's mean and std.
    #[arg(
        long,
        value_name = "tf|caffe|torch",
        value_parser = checked(str::parse::<KerasMode>),
        conflicts_with_all = ["scale", "mean", "std", "channel_order"]
    )]
    preprocess: Option<String>,

    /// How images of other sizes were resized in training [default: nearest, as in Keras].
    #[arg(long, value_name = "nearest|antialias", value_parser = parse_resize)]
    resize: Option<Resize>,

    /// How faces were cut out of pictures in training, as square,scale=1.04,upright=15 (of the
    /// detector's box), for a model that reads faces [default: not stated].
    #[arg(long, value_name = "CROP", value_parser = parse_crop)]
    crop: Option<FaceCrop>,

    /// The order of the input's dimensions [default: the Keras model's].
    #[arg(long, value_name = "nchw|nhwc", value_parser = parse_layout)]
    layout: Option<Layout>,

    /// The output to convert, by its name in Keras, if the model has several.
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,

    /// The size of images, if the model takes any size: 48x48, or 48 for both.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = parse_size)]
    size: Option<[usize; 2]>,

    /// Print only errors on stderr.
    #[arg(short, long)]
    quiet: bool,
}

fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let number = |text: &str| text.trim().parse().ok().filter(|n| *n > 0);
    let (width, height) = text.split_once(['x', 'X']).unwrap_or((text, text));
    number(width)
        .zip(number(height))
        .map(|(width, height)| [width, height])
        .ok_or_else(|| format!("'{text}' is not a size such as 48x48"))
}

/// Checks an argument and keeps its text, which goes into the metadata.
fn checked<T>(
    parse: impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text| parse(text).map(|_| text.to_string())
}

fn parse_resize(text: &str) -> Result<Resize, String> {
    text.parse()
}

fn parse_layout(text: &str) -> Result<Layout, String> {
    text.parse()
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let options = convert::ConvertOptions {
        labels: args
            .labels
            .map(|labels| labels.iter().map(|l| l.trim().to_string()).collect()),
        pixels: [
            ("scale", args.scale),
            ("mean", args.mean),
            ("std", args.std),
            ("channel_order", args.channel_order),
            ("preprocess", args.preprocess),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_string(), value?)))
        .collect(),
        resize: args.resize,
        crop: args.crop,
        layout: args.layout,
        size: args.size,
        output: args.output_name,
        ..convert::ConvertOptions::default()
    };
    let target = args.output.map_or_else(|| beside(&args.model), Ok)?;
    if target.is_dir() {
        bail!("-o {} is a folder; name a file", target.display());
    }
    if target == Path::new("-") {
        bail!("-o -: a model is not written to standard output; name a file");
    }
    let ending = target.extension().unwrap_or_default();
    if KERAS.iter().any(|keras| ending.eq_ignore_ascii_case(keras)) {
        bail!(
            "-o {} has the ending of a Keras file; name one with .onnx",
            target.display()
        );
    }
    let config = args.config.as_deref();
    not_over(
        "-o",
        &target,
        [args.model.as_path()].into_iter().chain(config),
    )?;
    // A link stays a link: its target is written.
    let file = target.canonicalize().unwrap_or_else(|_| target.clone());
    let (converted, checked) = convert::convert_file(&args.model, config, &options, &file, host)?;
    if !args.quiet {
        report(&args.model, &target, &converted, &checked);
    }
    Ok(Status::Done)
}

/// `model.onnx` in the current folder, for `anywhere/model.keras`.
fn beside(model: &Path) -> Result<PathBuf> {
    let whole = std::path::absolute(model)?;
    let stem = whole.file_stem().with_context(|| {
        format!(
            "{} has no file name; name the output with -o",
            model.display()
        )
    })?;
    Ok(Path::new(stem).with_extension("onnx"))
}

fn report(model: &Path, target: &Path, converted: &convert::Converted, checked: &Checked) {
    converted
        .notes
        .iter()
        .map(advice::conversion_note)
        .for_each(super::say);
    if converted.flushed > 0 {
        let tiny = fer::onnx::flush::TINY;
        super::say(format_args!(
            "{} weights below {tiny:e} set to zero, for speed",
            converted.flushed
        ));
    }
    let operators: Vec<String> = converted
        .operators
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let spec = &converted.spec;
    super::say(format_args!(
        "{} (Keras {}): {}x{}x{} {}, {} classes: {}",
        model.display(),
        converted.keras,
        spec.input.width,
        spec.input.height,
        spec.input.channels,
        spec.input.layout,
        spec.labels.len(),
        spec.labels.join(", ")
    ));
    super::say(format_args!(
        "`fer infer` makes images {} and {}x{} ({}), takes {}, and reports {}",
        if spec.input.channels == 1 {
            "gray"
        } else {
            "RGB"
        },
        spec.input.width,
        spec.input.height,
        spec.input.resize,
        spec.input.values_in_words(),
        reported(spec)
    ));
    if let Some(crop) = spec.crop {
        super::say(format_args!("faces are cut out as {crop}"));
    }
    for note in Note::about(spec) {
        super::say(advice::spec_note(&note));
    }
    match checked {
        Checked::NotRun(reason) => super::say(format_args!(
            "the file was not run, only read back: {}",
            advice::with(reason)
        )),
        Checked::Run { images, by, .. } => {
            super::say(format_args!("ran on {images} images of noise ({by})"));
        }
    }
    super::say(format_args!(
        "{} ({:.1} MB): {} nodes: {}",
        target.display(),
        converted.onnx.len() as f64 / 1e6,
        converted.operators.iter().map(|(_, n)| n).sum::<usize>(),
        operators.join(", ")
    ));
}

/// What `fer infer` makes of a model's outputs.
fn reported(spec: &ModelSpec) -> String {
    let [first, .., second] = &spec.labels[..] else {
        return "the outputs".into();
    };
    match spec.output {
        OutputKind::Probabilities => "the outputs, which are probabilities".into(),
        OutputKind::Logits => "a softmax of the outputs".into(),
        OutputKind::Scores => "the outputs as they are".into(),
        OutputKind::Probability => format!("the output p for {second} and 1 − p for {first}"),
        OutputKind::Logit => {
            format!("a sigmoid p of the output for {second} and 1 − p for {first}")
        }
    }
}
