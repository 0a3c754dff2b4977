//! `fer export`: a trained network as an ONNX file, checked before it is kept, or a model as a
//! repository for Triton.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fer::calibration::MIN_IMAGES;
use fer::export::{self, Exported, Source};
use fer::host::Host;
use fer::spec::FaceCrop;
use fer::{ModelRef, triton};

use super::faces::parse_crop;
use super::{Status, advice};

#[derive(clap::Args)]
pub struct Args {
    /// The format, and the file to write [default: model.onnx in the folder of --run].
    #[arg(long, value_name = "FILE", num_args = 0..=1, required_unless_present = "triton")]
    onnx: Option<Option<PathBuf>>,

    /// The run folder, whose best epoch is exported; what is written was compared with it, through
    /// ONNX Runtime where that is found.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present_any = ["checkpoint", "triton"],
        conflicts_with = "checkpoint"
    )]
    run: Option<PathBuf>,

    /// A checkpoint instead.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// How the faces in its images were cut out of pictures, as square,scale=1.04,upright=15
    /// [default: the run's].
    #[arg(long, value_name = "CROP", value_parser = parse_crop, conflicts_with = "triton")]
    crop: Option<FaceCrop>,

    /// Write a model repository for NVIDIA's Triton Inference Server into this folder: the model of
    /// --model, with dynamic batching, and the face detector.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["onnx", "run", "checkpoint"])]
    triton: Option<PathBuf>,

    /// The model for --triton: an ONNX file or a built-in model [default: the first built-in one].
    #[arg(short, long, value_name = "FILE", requires = "triton")]
    model: Option<String>,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    if let Some(folder) = &args.triton {
        return repository(folder, args.model.as_deref(), args.quiet);
    }
    let source = match (args.run, args.checkpoint) {
        (Some(folder), _) => Source::Run(folder),
        (None, Some(file)) => Source::Checkpoint(file),
        (None, None) => bail!("say what to export with --run or --checkpoint"),
    };
    let target = match (args.onnx.flatten(), &source) {
        (Some(target), _) => target,
        (None, Source::Run(folder)) => folder.join("model.onnx"),
        (None, Source::Checkpoint(_)) => bail!("name the file to write: --onnx FILE"),
    };
    // A link stays a link: the file that it leads to is written.
    let file = target.canonicalize().unwrap_or_else(|_| target.clone());
    if target.is_dir() {
        bail!("--onnx {} is a folder; name a file", target.display());
    }
    let exported = export::export_file(&source, &file, args.crop, host)?;
    if !args.quiet {
        report(&exported, &target);
    }
    Ok(Status::Done)
}

/// Writes a repository for Triton.
fn repository(folder: &Path, model: Option<&str>, quiet: bool) -> Result<Status> {
    let model = model.map_or_else(ModelRef::default_model, ModelRef::find)?;
    let [classifier, detector] = triton::write(&model, folder)?;
    if !quiet {
        super::say(format_args!(
            "{}: {classifier} and {detector}; `tritonserver --model-repository {}` serves them",
            folder.display(),
            folder.display()
        ));
    }
    Ok(Status::Done)
}

/// What was fitted and compared, and what was written.
fn report(exported: &Exported, target: &Path) {
    match (&exported.validation, exported.calibration) {
        (Err(reason), _) => super::say(format_args!(
            "no validation image was compared and no calibration fitted: {}",
            advice::with(reason)
        )),
        (Ok(images), Some(found)) => super::say(format_args!(
            "{found}, fitted on {images} validation images"
        )),
        (Ok(images), None) => super::say(format_args!(
            "no calibration: it takes {MIN_IMAGES} validation images, some of them predicted \
             wrong; there are {images}"
        )),
    }
    if let Some(reason) = &exported.not_run {
        super::say(format_args!(
            "{}; the file was checked by reading it back",
            advice::with(reason)
        ));
    }
    let checked = &exported.checked;
    super::say(format_args!(
        "{} ({:.1} MB): {} of {}, equal on {} images to {:.1e} ({})",
        target.display(),
        exported.bytes as f64 / 1e6,
        exported.progress,
        exported.source.display(),
        checked.images,
        checked.difference,
        checked.by
    ));
}
