//! `fer export`: a trained network as an ONNX file, checked before it is kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use fer::calibration::MIN_IMAGES;
use fer::data::{Dataset, PixelForm};
use fer::host::Host;
use fer::train::checkpoint::Trained;
use fer::train::run;
use fer::{export, files};

use super::{Status, advice};

#[derive(clap::Args)]
pub struct Args {
    /// The format, and the file to write [default: model.onnx in the folder of --run].
    #[arg(long, value_name = "FILE", num_args = 0..=1, required = true)]
    onnx: Option<Option<PathBuf>>,

    /// The run folder, whose best epoch is exported; what is written was compared with it, through
    /// ONNX Runtime where that is found.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "checkpoint",
        conflicts_with = "checkpoint"
    )]
    run: Option<PathBuf>,

    /// A checkpoint instead.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let (source, folder) = match (&args.run, args.checkpoint) {
        (Some(folder), _) => (run::chosen(folder)?, Some(folder)),
        (None, Some(file)) => (file, None),
        (None, None) => bail!("say what to export with --run or --checkpoint"),
    };
    let target = match (args.onnx.flatten(), folder) {
        (Some(target), _) => target,
        (None, Some(folder)) => folder.join("model.onnx"),
        (None, None) => bail!("name the file to write: --onnx FILE"),
    };
    // A link stays a link: the file that it leads to is written.
    let target = target.canonicalize().unwrap_or(target);
    if target.is_dir() {
        bail!("--onnx {} is a folder; name a file", target.display());
    }
    let device = Device::flex();
    let mut trained = Trained::read(&source, &device)?;
    if let Some(folder) = folder {
        // Where the run's data is now, if it was moved since.
        trained.config.data.path = run::read_config(folder)?.data.path;
    }
    if trained.state.epoch == 0 {
        bail!(
            "{} is of a run with no whole epoch yet: train on with `fer train --resume` first",
            source.display()
        );
    }
    let (validation, missing) = match validation_images(&trained, &source) {
        Ok(images) => (images, None),
        Err(e) => (Dataset::default(), Some(e)),
    };
    let calibration = export::calibrate(&trained.network, &validation, &device);
    let onnx = export::to_onnx(&trained, calibration, &device)?;
    let write = || format!("can't write {}", target.display());
    let file = files::temporary(&target).with_context(write)?;
    file.as_file().write_all(&onnx).with_context(write)?;
    let engine = fer::open_to_check(file.path(), true, host)
        .context("the exported file does not run")?
        .map_err(|reason| advice::with(&reason));
    let checked = export::check(file.path(), &trained, &some(&validation), &device, engine)?;
    files::keep(file, &target).with_context(write)?;
    if !args.quiet {
        if let Some(e) = missing {
            super::say(format_args!(
                "no validation image was compared and no calibration fitted: {}",
                super::one_line(&e)
            ));
        } else {
            let images = validation.labels.len();
            match calibration {
                Some(found) => super::say(format_args!(
                    "{found}, fitted on {images} validation images"
                )),
                None => super::say(format_args!(
                    "no calibration: it takes {MIN_IMAGES} validation images, some of them answered wrong; there are {images}"
                )),
            }
        }
        if let Some(note) = &checked.note {
            super::say(format_args!(
                "{note}; the file was checked by reading it back"
            ));
        }
        super::say(format_args!(
            "{} ({:.1} MB): {} of {}, equal on {} images to {:.1e} ({})",
            target.display(),
            onnx.len() as f64 / 1e6,
            trained.progress(),
            source.display(),
            checked.images,
            checked.difference,
            checked.by
        ));
    }
    Ok(Status::Done)
}

/// Some 64 of the images, `[n, channels, height, width]`.
fn some(images: &Dataset) -> Vec<u8> {
    let every = images.labels.len().div_ceil(64).max(1);
    images
        .pixels
        .chunks_exact(images.image_len().max(1))
        .step_by(every)
        .flatten()
        .copied()
        .collect()
}

/// The validation images of the run that `source` is a checkpoint of.
fn validation_images(trained: &Trained, source: &Path) -> Result<Dataset> {
    let config = &trained.config;
    let path = config
        .data
        .path
        .as_deref()
        .context("the run names no data")?;
    let catalog = super::data::opened(path, config.data.exclude.as_deref(), true)?;
    let parts = run::split(config, source).divide(&catalog, config.seed)?;
    // Others might be among those that it was trained on.
    let used: Vec<usize> = parts
        .training
        .iter()
        .chain(&parts.validation)
        .copied()
        .collect();
    if catalog.hash(&used)? != trained.state.data.sha256 {
        bail!(
            "the images of {} are not those that the run was trained and validated on",
            path.display()
        );
    }
    let task = &trained.state.data.task;
    let form = PixelForm {
        size: Some([task.width, task.height]),
        channels: task.channels,
        resize: task.resize,
    };
    super::data::decoded(&catalog, &parts.validation, form, true)
}
