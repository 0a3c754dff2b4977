//! `fer data crop`: a data set of faces from photographs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use fer::faces::{Crop, CutOptions, Detector, FRAME, FaceCrop, Photographs};
use fer::host::Host;
use fer::train::config::Size;

use super::Status;
use super::data::with_progress;
use super::faces::{SearchArgs, parse_crop};
use super::model_args::{EngineArgs, EngineChoice};

#[derive(clap::Args)]
pub struct Args {
    /// The folder of photographs, with a folder for each class; other levels, as train/ and test/,
    /// stay.
    #[arg(value_name = "PHOTOS")]
    photos: PathBuf,

    /// The data set's folder, new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Cut out all faces of a picture, not only the largest: all get its class.
    #[arg(long)]
    all: bool,

    /// The crops' size: N or WIDTHxHEIGHT, 8 to 512 pixels [default: 48, as FER-2013's].
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "48",
        hide_default_value = true
    )]
    size: Size,

    /// The crops' frame about the detector's box [default: FER-2013's,
    /// square,scale=1.04,upright=15].
    #[arg(long, value_name = "CROP", value_parser = parse_crop)]
    crop: Option<FaceCrop>,

    #[command(flatten)]
    search: SearchArgs,

    /// What runs the detector: auto is the compiled-in one, ort ONNX Runtime.
    #[arg(long, default_value_t, value_name = "auto|ort|burn")]
    engine: EngineChoice,

    #[command(flatten)]
    on: EngineArgs,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: &Args, host: &Host) -> Result<Status> {
    let crop = Crop {
        frame: args.crop.unwrap_or(FRAME),
        size: args.size.sides(),
    };
    let options = CutOptions {
        search: args.search.options()?,
        crop,
        all: args.all,
        workers: args.on.threads.map_or_else(fer::cores, usize::from),
    };
    let loading = args.on.options(args.engine)?;
    let which = args.search.detector();
    let detector = Detector::load(&which, &loading.backend, loading.threads, host)?;
    let (photos, out) = (Photographs::of(&args.photos)?, &args.out);
    let cut = with_progress(photos.count(), "searching", args.quiet, |step| {
        photos.cut_into(out, &detector, &options, step)
    })?;
    let mut list = std::io::stdout().lock();
    for name in &cut.faceless {
        writeln!(list, "{name}: no face")?;
    }
    for (name, reason) in &cut.unread {
        writeln!(list, "{name}: {reason}")?;
    }
    list.flush()?;
    if !args.quiet {
        let d = detector.description();
        super::say_passed_over(&cut.passed_over);
        super::say(format_args!(
            "{} faces of {} pictures in {}, found by {} on {} {}; {} pictures without a face, {} \
             not read",
            cut.faces,
            cut.pictures,
            out.display(),
            d.model,
            d.engine,
            d.provider,
            cut.faceless.len(),
            cut.unread.len()
        ));
        super::say(format_args!(
            "`fer train --data {} --crop {}` trains on them",
            out.display(),
            crop.frame
        ));
    }
    Ok(match cut.unread.is_empty() {
        true => Status::Done,
        false => Status::Failed,
    })
}
