//! `fer parity`: compares engines with Keras's recorded predictions, two targets with each other,
//! or a target with Keras.

mod target;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use fer::ModelRef;
use fer::files::TemporaryFolder;
use fer::host::Host;
use fer::ort::Provider;
use fer::parity::keras::KerasModel;
use fer::parity::layers::LayerDifference;
use fer::parity::{self, Comparison, ROUNDING, Tolerance, golden};
use fer::runtime::NotFound;
use fer::session::Session;
use serde_json::json;

use self::target::Target;
use super::items;
use super::model_args::{EngineChoice, announce};
use super::progress::Progress;
use super::{Status, advice};

/// Without --reference or --keras, every available engine runs the notebook model, and is compared
/// with Keras's predictions that are recorded in this program.
#[derive(clap::Args)]
pub struct Args {
    /// The reference: MODEL[@ENGINE[:PROVIDER[:DEVICE]]], e.g. notebook@burn, notebook@burn:wgpu or
    /// model.onnx@ort:cuda:0.
    #[arg(
        long,
        value_name = "TARGET",
        requires = "candidate",
        conflicts_with = "keras"
    )]
    reference: Option<String>,

    /// The candidate, in the same form [with --keras: the conversion by `fer convert`, through ONNX
    /// Runtime].
    #[arg(long, value_name = "TARGET")]
    candidate: Option<String>,

    /// Images to compare on: a folder, pattern or file, also of many images as for `fer infer`
    /// (repeatable; with --keras, the same as PATH).
    #[arg(long, value_name = "DIR")]
    data: Vec<OsString>,

    /// A Keras model; Keras itself runs it on the images. Needs Python (FER_PYTHON, else python3).
    #[arg(long, value_name = "FILE.keras|FILE.h5")]
    keras: Option<PathBuf>,

    /// With --keras, also compare layer by layer, on up to 8 of the images; the candidate must be a
    /// file of `fer convert`.
    #[arg(long, requires = "keras")]
    layers: bool,

    /// Images to compare on.
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,

    /// Largest absolute difference of a probability, on top of --rtol.
    #[arg(long, default_value_t = 1e-5, value_name = "X", value_parser = parse_tolerance)]
    atol: f64,

    /// Largest difference relative to the reference's probability.
    #[arg(long, default_value_t = 1e-4, value_name = "X", value_parser = parse_tolerance)]
    rtol: f64,

    /// Compute threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    /// ONNX Runtime's library, a file or its folder [default: searched].
    #[arg(long, value_name = "PATH")]
    ort_lib: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|x: &f64| x.is_finite() && *x >= 0.0)
        .ok_or_else(|| format!("'{text}' is not a number of 0 or more"))
}

/// A comparison with the names of its sides.
struct Check {
    reference: String,
    candidate: String,
    comparison: Comparison,
    /// With --layers: the difference of each layer, in the order of computation.
    layers: Option<Vec<LayerDifference>>,
    /// With --keras.
    keras: Option<OfKeras>,
}

/// What there is to say about a comparison with Keras itself.
struct OfKeras {
    logits: bool,
    conflict: Option<&'static str>,
    float32_error: Option<Result<f64, String>>,
    /// How both sides turned pixels into values.
    input: String,
}

impl Check {
    fn holds(&self) -> bool {
        self.comparison.holds() && self.keras.as_ref().is_none_or(|k| k.conflict.is_none())
    }
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let inputs: Vec<OsString> = args.data.iter().chain(&args.paths).cloned().collect();
    if inputs.iter().any(|i| i == "-") {
        bail!("both sides read the images, and standard input can be read only once: name files");
    }
    let tolerance = Tolerance {
        absolute: args.atol,
        relative: args.rtol,
    };
    let checks = match (&args.keras, &args.reference) {
        (Some(keras), _) => vec![against_keras(&args, keras, &inputs, tolerance, host)?],
        (None, Some(reference)) => vec![pair(&args, reference, &inputs, tolerance, host)?],
        (None, None) if inputs.is_empty() => against_golden(&args, tolerance, host)?,
        (None, None) => {
            bail!("images need models to compare: use --reference and --candidate, or --keras")
        }
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        let sides = |c: &Check| {
            json!({
                "reference": c.reference,
                "candidate": c.candidate,
                "holds": c.holds(),
                "result": c.comparison,
                "layers": c.layers,
                "keras": c.keras.as_ref().map(|k| json!({
                    "compared": if k.logits { "logits" } else { "outputs" },
                    "conflict": k.conflict,
                    "float32_error": k.float32_error.as_ref().and_then(|e| e.as_ref().ok()),
                })),
            })
        };
        writeln!(
            out,
            "{}",
            serde_json::to_string_pretty(&checks.iter().map(sides).collect::<Vec<_>>())?
        )?;
    } else {
        checks.iter().try_for_each(|check| print(check, &mut out))?;
    }
    Ok(if checks.iter().all(Check::holds) {
        Status::Done
    } else {
        Status::Failed
    })
}

/// Compares every available engine with Keras's recorded predictions.
fn against_golden(args: &Args, tolerance: Tolerance, host: &Host) -> Result<Vec<Check>> {
    let mut targets = Vec::new();
    match &args.candidate {
        Some(candidate) => targets.push(Target::parse(candidate, args)?),
        None => {
            let target = |engine, provider| Target::new(golden::MODEL, engine, provider, args);
            targets.push(target(EngineChoice::Burn, Provider::Cpu)?);
            for provider in present_providers(args, host)? {
                targets.push(target(EngineChoice::Ort, provider)?);
            }
        }
    }
    let mut checks = Vec::new();
    for target in targets {
        let session = match target.open(host) {
            Ok(session) => session,
            // A provider that is built into the library but can't start here is not available.
            Err(e) if args.candidate.is_none() && !target.on_cpu() => {
                super::say(format_args!("not checked: {}", super::one_line(&e)));
                continue;
            }
            Err(e) => return Err(e),
        };
        let comparison =
            parity::with_recorded(&session, tolerance).with_context(|| target.name.clone())?;
        let reference = "Keras's recorded predictions".to_string();
        checks.push(Check {
            reference,
            candidate: target.name,
            comparison,
            layers: None,
            keras: None,
        });
    }
    Ok(checks)
}

/// The providers of ONNX Runtime's library; none, with a message, if it is not installed.
fn present_providers(args: &Args, host: &Host) -> Result<impl Iterator<Item = Provider>> {
    let present = match fer::runtime::locate(args.ort_lib.as_deref(), host) {
        Ok(found) => {
            fer::ort::library::open(&found)?;
            true
        }
        Err(e) if matches!(e, NotFound::WrongPath { .. }) => return Err(e.into()),
        Err(e) => {
            super::say(format_args!("not checked: {}", advice::with(&e)));
            false
        }
    };
    Ok(Provider::all().filter(move |p| present && p.is_built_in()))
}

fn pair(
    args: &Args,
    reference: &str,
    inputs: &[OsString],
    tolerance: Tolerance,
    host: &Host,
) -> Result<Check> {
    let candidate = args
        .candidate
        .as_deref()
        .context("--reference needs --candidate")?;
    let (reference, candidate) = (
        Target::parse(reference, args)?,
        Target::parse(candidate, args)?,
    );
    let first = load(&reference, host)?;
    let second = load(&candidate, host)?;
    let sources = if inputs.is_empty() {
        super::say("no images given: comparing on 64 generated images");
        Vec::new()
    } else {
        super::infer::list_with_shards(inputs, false)?
    };
    let total = items::count(&sources).map(|count| 2 * count);
    let mut progress = Progress::going_on(total, 0, "comparing");
    let done = &mut || progress.step();
    let pictures = || items::pictures(&sources);
    let comparison = parity::between(&first, &second, pictures, tolerance, done);
    progress.finish();
    let comparison =
        comparison.with_context(|| format!("{} and {}", reference.name, candidate.name))?;
    Ok(Check {
        reference: reference.name,
        candidate: candidate.name,
        comparison,
        layers: None,
        keras: None,
    })
}

fn against_keras(
    args: &Args,
    model: &Path,
    inputs: &[OsString],
    tolerance: Tolerance,
    host: &Host,
) -> Result<Check> {
    if inputs.is_empty() {
        bail!(
            "--keras needs images to compare on: `fer parity --keras {} FOLDER`",
            model.display()
        );
    }
    if !model.is_file() {
        bail!("the Keras model {} does not exist", model.display());
    }
    let sources = super::infer::list(inputs, false)?;
    if let Some(file) = items::several(&sources) {
        bail!(
            "{}: Keras reads image files; unpack it, or compare two models on it with --reference \
             and --candidate",
            file.display()
        );
    }
    // The folder of a conversion is deleted at the end.
    let (candidate, _folder) = match &args.candidate {
        Some(target) => (Target::parse(target, args)?, None),
        None => {
            let folder = TemporaryFolder::new(&std::env::temp_dir(), "fer-")
                .context("can't make a temporary folder")?;
            let file = folder.path().join("converted.onnx");
            converted(model, &file, host)?;
            let options = Target::options(EngineChoice::Ort, Provider::Cpu, None, args)?;
            (
                Target {
                    name: format!("{} as `fer convert` converts it", model.display()),
                    model: file.display().to_string(),
                    options,
                },
                Some(folder),
            )
        }
    };
    let classifier = candidate.load(host)?;
    let spec = classifier.spec().clone();
    let keras = KerasModel {
        path: std::path::absolute(model)?,
        python: python(host)?,
        input: spec.input.clone(),
        values: spec.output.values(spec.labels.len()),
    };
    let mut progress = Progress::new(sources.len(), "comparing");
    let done = &mut || {
        progress.step();
    };
    super::say(format_args!("running Keras on {} images", sources.len()));
    let found = parity::with_keras(classifier, &keras, &sources, tolerance, done);
    progress.finish();
    let found = found.with_context(|| candidate.name.clone())?;
    let layers = match args.layers {
        true => {
            let chosen = super::layers::images(
                found.images,
                &found.reference,
                &found.candidate,
                &found.comparison,
            );
            let of_keras = keras.layers(&chosen)?;
            Some(super::layers::compare(
                &ModelRef::find(&candidate.model)?,
                args.ort_lib.as_deref(),
                &spec,
                &chosen,
                &of_keras,
                host,
            )?)
        }
        false => None,
    };
    Ok(Check {
        reference: format!("Keras on {}", model.display()),
        candidate: candidate.name,
        comparison: found.comparison,
        layers,
        keras: Some(OfKeras {
            logits: found.logits,
            conflict: found.conflict,
            float32_error: found.float32_error,
            input: format!(
                "{}, resize {}",
                spec.input.values_in_words(),
                spec.input.resize
            ),
        }),
    })
}

/// Converts a Keras model into `file` as `fer convert` does.
fn converted(model: &Path, file: &Path, host: &Host) -> Result<()> {
    let options = fer::convert::ConvertOptions::default();
    let (converted, _) = fer::convert::convert_file(model, None, &options, file, host).context(
        "it can't be converted without options; use `fer convert`, and name its file with \
            --candidate",
    )?;
    let notes = converted.notes.iter().map(advice::conversion_note);
    notes.for_each(super::say);
    Ok(())
}

/// The Python that runs Keras: FER_PYTHON, else the machine's.
fn python(host: &Host) -> Result<PathBuf> {
    let first = fer::runtime::interpreters(host).map(|found| found.into_iter().next());
    first
        .map_err(|e| anyhow!("Keras needs Python, and {e}"))?
        .context("Keras needs Python, which was not found")
}

fn load(target: &Target, host: &Host) -> Result<Session> {
    let session = target.open(host).with_context(|| target.name.clone())?;
    announce(session.description());
    Ok(session)
}

fn print(check: &Check, out: &mut dyn Write) -> std::io::Result<()> {
    let c = &check.comparison;
    writeln!(out, "{} against {}", check.candidate, check.reference)?;
    writeln!(
        out,
        "  images        {}, labels equal on {}",
        c.images, c.equal_labels
    )?;
    if c.unequal_reads > 0 {
        writeln!(
            out,
            "  unread        {} that only one side could read",
            c.unequal_reads
        )?;
    }
    if c.unanswered > 0 {
        writeln!(out, "  no output     {} on both sides", c.unanswered)?;
    }
    writeln!(
        out,
        "  difference    max {:.2e}, mean {:.2e}",
        c.max_difference, c.mean_difference
    )?;
    writeln!(
        out,
        "  divergence    {:.2e} nats (Kullback–Leibler, mean)",
        c.kl_divergence
    )?;
    if let Some(w) = &c.worst {
        let labels = if w.reference == w.candidate {
            w.reference.clone()
        } else {
            format!("{} → {}", w.reference, w.candidate)
        };
        writeln!(
            out,
            "  worst image   {} ({labels}, {:.2e})",
            w.path, w.difference
        )?;
    }
    if let Some(layers) = &check.layers {
        super::layers::print(layers, out)?;
    }
    if let Some(keras) = &check.keras {
        print_keras(keras, out)?;
    }
    let (a, r) = (c.tolerance.absolute, c.tolerance.relative);
    if check.holds() {
        writeln!(
            out,
            "  HOLDS         every value within {a:.1e} + {r:.0e} × reference, every label equal"
        )?;
    } else {
        writeln!(
            out,
            "  DOES NOT HOLD {} values off by more than {a:.1e} + {r:.0e} × reference",
            c.outside_tolerance
        )?;
    }
    Ok(())
}

/// What a comparison with Keras rests on, and what it does not show.
fn print_keras(keras: &OfKeras, out: &mut dyn Write) -> std::io::Result<()> {
    if keras.logits {
        writeln!(out, "  compared      logits, which Keras's model returns")?;
    }
    match &keras.float32_error {
        Some(Ok(error)) => writeln!(
            out,
            "  rounding      Keras's float32 is off by {error:.1e} from its float64; {ROUNDING} \
             times that is allowed"
        )?,
        Some(Err(reason)) => writeln!(out, "  rounding      not measured: {reason}")?,
        None => {}
    }
    if let Some(conflict) = keras.conflict {
        writeln!(out, "  conflict      {conflict}")?;
    }
    writeln!(
        out,
        "  not shown     that the training had this input ({}) and these class names: Keras got \
         the same input",
        keras.input
    )
}
