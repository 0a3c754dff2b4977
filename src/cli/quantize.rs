//! `fer quantize`: a model in 8-bit integers, measured before it is written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fer::ModelRef;
use fer::calibration::{Calibration, MIN_IMAGES};
use fer::data::Split;
use fer::host::Host;
use fer::quantize::{
    Images, Method, Prepared, Quantized, Ranges, Refusal, Settings, Stage, flat_folder,
};
use fer::spec::parse_override;

use super::Status;
use super::data::{ClassArgs, opened};
use super::output::not_over;

#[derive(clap::Args)]
pub struct Args {
    /// ONNX file of float32, or name of a built-in model.
    #[arg(value_name = "MODEL")]
    model: String,

    /// The ONNX file to write [default: MODEL's name with .int8.onnx, in the current folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The images: a folder with train/<class>/ and test/<class>/, a folder with <class>/,
    /// fer2013.csv, or a folder of images without classes, for which the model's own answers count.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,

    #[command(flatten)]
    classes: ClassArgs,

    /// How the data is divided: keras, official, fold:K/N or list:FILE. The training part
    /// quantizes, the validation part is only measured on [default: official; fold:1/5, where the
    /// data has no parts].
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,

    /// Leave out the images that this list names.
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,

    /// How many of the training images are used.
    #[arg(
        long,
        default_value_t = 512,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    images: u32,

    /// How the ranges of activations are found: min-max, percentile:P, least-error, or answers:
    /// each layer gets that of which the answers lose least.
    #[arg(
        long,
        default_value = "answers",
        value_name = "METHOD",
        value_parser = parse_ranges
    )]
    ranges: Ranges,

    /// Write nothing if more of the held-out images than this get another label: 3% or 0.03.
    #[arg(long, default_value = "3%", value_name = "SHARE", value_parser = parse_share)]
    max_changed: f64,

    /// Write nothing if the cross-entropy rises by more than this.
    #[arg(long, default_value_t = 0.01, value_name = "NATS", value_parser = parse_rise)]
    max_loss_rise: f64,

    /// Metadata that the model's file lacks or has wrong, as for `fer infer` (repeatable).
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    meta: Vec<(String, String)>,

    /// Compute threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    /// ONNX Runtime's library, a file or its folder [default: searched, see `fer doctor`].
    #[arg(long, value_name = "PATH")]
    ort_lib: Option<PathBuf>,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

fn parse_ranges(text: &str) -> Result<Ranges, String> {
    match text {
        "answers" => Ok(Ranges::ByAnswers),
        _ => text
            .parse::<Method>()
            .map(Ranges::By)
            .map_err(|e| format!("{e}, and answers")),
    }
}

/// A share of 0..=1, as `0.03` or `3%`.
fn parse_share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map(|share| share / unit);
    match share {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("'{text}' is not a share such as 3% or 0.03")),
    }
}

fn parse_rise(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rise) if rise >= 0.0 => Ok(rise),
        _ => Err(format!("'{text}' is not a number of 0 or more")),
    }
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let model = ModelRef::find(&args.model)?;
    let target = args.output.clone().map_or_else(|| beside(&model), Ok)?;
    if target.is_dir() {
        bail!("-o {} is a folder; name a file", target.display());
    }
    if let ModelRef::Onnx(path) = &model {
        not_over("-o", &target, [path.as_path()])?;
    }
    // A link stays a link: its target is written.
    let file = target.canonicalize().unwrap_or_else(|_| target.clone());
    // A path that can't be written is said before the work.
    let writable = fer::files::temporary(&file).map(drop);
    writable.with_context(|| format!("can't write {} (--output)", target.display()))?;
    let settings = Settings {
        ranges: args.ranges,
        max_changed: args.max_changed,
        max_loss_rise: args.max_loss_rise,
        threads: args.threads.map(usize::from),
        library: args.ort_lib.clone(),
    };
    let meta = args.meta.iter().cloned().collect();
    let prepared = Prepared::open(&model, meta, &settings, host)?;
    let images = images(&args, &prepared.spec().labels)?;
    let mut stage = |stage: Stage| {
        if !args.quiet {
            super::say(format_args!("{} …", doing(stage)));
        }
    };
    let quantized = prepared.quantize(&images, &file, &settings, &mut stage)?;
    say_unreadable(&quantized.unreadable);
    if !args.quiet {
        report(&quantized, prepared.spec().calibration);
    }
    Ok(match quantized.refused {
        Some(refusal) => {
            super::say(format_args!("{}; no file was written", why(refusal)));
            Status::Failed
        }
        None => {
            if !args.quiet {
                super::say(format_args!(
                    "{} ({:.1} MB): {} of {} layers in 8 bits",
                    target.display(),
                    quantized.bytes as f64 / 1e6,
                    quantized.layers[1],
                    quantized.layers[0]
                ));
            }
            Status::Done
        }
    })
}

/// `model.int8.onnx` in the current folder, for `anywhere/model.onnx`.
fn beside(model: &ModelRef) -> Result<PathBuf> {
    let stem = match model {
        ModelRef::Builtin(builtin) => builtin.name.to_string(),
        ModelRef::Onnx(path) => {
            let stem = Path::new(path).file_stem();
            let stem = stem.with_context(|| {
                format!(
                    "{} has no file name; name the output with -o",
                    path.display()
                )
            })?;
            stem.to_string_lossy().into_owned()
        }
        ModelRef::Trained(path) => path.display().to_string(),
    };
    Ok(PathBuf::from(format!("{stem}.int8.onnx")))
}

fn images(args: &Args, labels: &[String]) -> Result<Images> {
    let most = args.images as usize;
    let divided = args.split.is_some() || args.exclude.is_some() || args.classes.names().is_some();
    if let Some(list) = flat_folder(&args.data).filter(|_| !divided) {
        let images = Images::unlabeled(&list, most);
        if !args.quiet {
            super::say(format_args!(
                "{} has no folders of classes: the model's own answers are the reference. {} of its \
                 {} images quantize, {} others are measured on",
                args.data.display(),
                images.calibration.len(),
                list.len(),
                images.held_out.len()
            ));
        }
        return Ok(images);
    }
    let classes = args.classes.names();
    let exclude = args.exclude.as_deref();
    let catalog = opened(&args.data, classes.as_deref(), exclude, args.quiet)?;
    let split = args.split.clone().unwrap_or_else(|| {
        let whole = catalog.items.iter().all(|item| item.usage.is_none());
        match whole {
            true => Split::Fold { fold: 1, of: 5 },
            false => Split::Official,
        }
    });
    let images = Images::of_catalog(&catalog, &split, labels, most)?;
    if !args.quiet {
        super::say(format_args!(
            "{} training images of {} quantize, {} validation images are measured on (split {split})",
            images.calibration.len(),
            args.data.display(),
            images.held_out.len()
        ));
        if images.of_other_classes > 0 {
            super::say(format_args!(
                "{} validation images are left out: the model lacks their classes",
                images.of_other_classes
            ));
        }
    }
    Ok(images)
}

fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Activations => "looking at the activations",
        Stage::Weights => "rounding the weights",
        Stage::Ranges => "comparing ranges",
        Stage::Biases => "correcting biases",
        Stage::Layers => "looking for layers to leave in float32",
        Stage::Measuring => "classifying the held-out images with both",
    }
}

fn say_unreadable(unreadable: &[(String, String)]) {
    if let Some((name, reason)) = unreadable.first() {
        super::say(format_args!(
            "{} images could not be used, the first {name}: {reason}",
            unreadable.len()
        ));
    }
}

fn report(found: &Quantized, float: Calibration) {
    if !found.float.is_empty() {
        super::say(format_args!(
            "layers that stay in float32, because they lose most: {}",
            found.float.join(", ")
        ));
    }
    let [kept, lost] = found.on_calibration;
    super::say(format_args!(
        "on the {} training images: {:.2} % of the labels kept, divergence {lost:.4}",
        found.calibrated_on,
        kept * 100.0
    ));
    match (found.fitted, float == Calibration::NONE) {
        (true, _) => super::say(format_args!(
            "{}, fitted again on the held-out images",
            found.calibration
        )),
        (false, true) => {}
        (false, false) => super::say(format_args!(
            "{float} are the float32 model's: fitting takes {MIN_IMAGES} held-out images with \
             labels, some of them predicted wrong"
        )),
    }
    let c = &found.comparison;
    super::say(format_args!(
        "on {} held-out images: {:.2} % of the labels kept ({} changed)",
        c.images,
        c.kept() * 100.0,
        c.changed
    ));
    let figures = [
        (c.float.accuracy, c.float),
        (c.quantized.accuracy, c.quantized),
    ];
    if let [(Some(float), _), (Some(quantized), _)] = figures
        && let Some([change, low, high]) = c.accuracy_change()
        && let Some([lost, won]) = c.only_right
    {
        super::say(format_args!(
            "accuracy {:.2} → {:.2} %: {:+.2} points ({:+.2} to {:+.2}, paired), {lost} right \
             before and {won} after alone",
            float * 100.0,
            quantized * 100.0,
            change * 100.0,
            low * 100.0,
            high * 100.0
        ));
    }
    let of = match c.float.accuracy {
        Some(_) => "",
        None => " with the float32 model's probabilities",
    };
    super::say(format_args!(
        "cross-entropy{of} {:.4} → {:.4} ({:+.4})",
        c.float.loss,
        c.quantized.loss,
        c.loss_rise()
    ));
    if let (Some(float), Some(quantized)) =
        (c.float.calibration_error, c.quantized.calibration_error)
    {
        super::say(format_args!(
            "calibration error {:.2} → {:.2} %",
            float * 100.0,
            quantized * 100.0
        ));
    }
}

fn why(refusal: Refusal) -> String {
    match refusal {
        Refusal::Changed { share, most } => format!(
            "{:.2} % of the labels changed, and --max-changed allows {:.2} %",
            share * 100.0,
            most * 100.0
        ),
        Refusal::Loss { rise, most } => {
            format!("the cross-entropy rises by {rise:.4}, and --max-loss-rise allows {most}")
        }
    }
}
