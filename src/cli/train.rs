//! `fer train`: trains a network and leaves a run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fer::data::{Dataset, Split, shortened};
use fer::device::Choices;
use fer::host::Host;
use fer::images::address;
use fer::model::Architecture;
use fer::spec::FaceCrop;
use fer::train::checkpoint::Checkpoint;
use fer::train::config::Size;
use fer::train::{Compute, Config, Precision, RunFolder, StopReason, TrainingData, trainer};
use fer::training::{self, Images, Notice, Prepared, Setting};

use super::data::{decoded, named, say_left_out, say_opened, say_votes};
use super::epochs::Epochs;
use super::faces::parse_crop;
use super::model_args::parse_devices;
use super::{Status, advice, signals};

#[derive(clap::Args)]
pub struct Args {
    /// Folder with train/<class>/ and test/<class>/, folder with <class>/, or fer2013.csv.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,

    /// The classes: of folders or labels that are plain numbers, in the order of the numbers; else
    /// those that the folders or labels name, in the order that they shall have.
    #[arg(
        long,
        value_name = "A,B,…",
        value_delimiter = ',',
        conflicts_with = "resume"
    )]
    classes: Vec<String>,

    /// A recipe: vgg (1.9 M parameters, 80 epochs, hours on a CPU), notebook (Keras's, 100 epochs)
    /// or tiny (a minute, for drawn faces) [default: vgg].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "resume"])]
    preset: Option<String>,

    /// A recipe as a TOML file, as each run writes one.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,

    /// How the data is divided: official (by Usage or train/ and test/), keras (as its
    /// validation_split=0.2 on folders), fold:K/N, or list:FILE, whose images validate
    /// [default: the recipe's].
    #[arg(long, value_name = "SPLIT", conflicts_with = "resume")]
    split: Option<Split>,

    /// Leave out the images that this list names (`fer data check --quarantine` writes one).
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    exclude: Option<PathBuf>,

    /// The network: vgg, repvgg (which trains longer and is exported as vgg), notebook or tiny.
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    architecture: Option<Architecture>,

    /// The size that images are resized to: N or WIDTHxHEIGHT, 8 to 512 pixels
    /// [default: the recipe's, else the size that all images have].
    #[arg(long, value_name = "SIZE", conflicts_with = "resume")]
    size: Option<Size>,

    /// 1 for gray, 3 for RGB [default: the recipe's, else 1 for the seven emotions and where all
    /// images are gray].
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    channels: Option<usize>,

    /// How the images were cut out of pictures, if they are faces, as square,scale=1.04,upright=15
    /// (of the detector's box; `fer data crop` says it): the model carries it
    /// [default: the recipe's].
    #[arg(long, value_name = "CROP", value_parser = parse_crop, conflicts_with = "resume")]
    crop: Option<FaceCrop>,

    /// How often to go through the training images.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    epochs: Option<u32>,

    /// Images a step.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    batch_size: Option<usize>,

    /// The highest learning rate.
    #[arg(
        long,
        value_name = "X",
        conflicts_with = "resume",
        allow_hyphen_values = true
    )]
    lr: Option<f64>,

    /// Where all random numbers come from.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<u64>,

    /// Start from the weights of a model of the same architecture (repvgg: also of a vgg's ONNX
    /// file): an ONNX file (a converted Keras model, or one that fer exported), a run folder or a
    /// checkpoint.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    init: Option<PathBuf>,

    /// Learn from what this model takes each image for, beside its label: a run folder, a
    /// checkpoint, an ONNX file, or a built-in model's name (repeatable: they take turns, batch by
    /// batch).
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    teacher: Vec<String>,

    /// Learn from people's votes instead of the labels, where an image has some: FER+'s
    /// fer2013new.csv beside fer2013.csv, or a file with its columns and the images' file names in
    /// a column 'name'.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    votes: Option<PathBuf>,

    /// The votes' share of the target, 0 to 1; the label has the rest
    /// [default: the recipe's, else 1].
    #[arg(
        long,
        value_name = "X",
        conflicts_with = "resume",
        allow_hyphen_values = true
    )]
    votes_share: Option<f64>,

    /// Where Burn computes: flex (the CPU), wgpu or vulkan (any GPU), cuda (NVIDIA's), each where
    /// fer was built with it; cuda:1 is the second one, and cuda:0,1 divides each batch between
    /// two.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = parse_devices)]
    device: Choices,

    /// What a step computes in: f32, tf32 (CUDA), bf16 or f16, where the device has it; weights,
    /// normalisations and evaluations are f32 [default: f32; on CUDA tf32].
    #[arg(long, value_name = "TYPE")]
    precision: Option<Precision>,

    /// Compute threads [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    /// The run's folder, new or empty [default: runs/NAME, or the next free runs/NAME-2, …].
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,

    /// Go on with the run in this folder; --data tells where its data is now.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: &Args, host: &Host) -> Result<Status> {
    fer::kernels::threads::start(args.threads.map(usize::from));
    let (compute, on) = compute(args)?;
    let quiet = args.quiet;
    let mut setting = Setting {
        device: &compute.device,
        device_name: &on,
        host,
        notice: &mut |notice| say_notice(&notice, quiet),
        decode: &|catalog, indices, form| decoded(catalog, indices, form, quiet),
    };
    let (folder, prepared) = match &args.resume {
        Some(path) => {
            let (folder, config, prepared) = training::resume(path, data(args), &mut setting)?;
            folder.write_config(&config)?;
            (folder, prepared)
        }
        None => {
            let config = configuration(args)?;
            let prepared = training::prepare(&config, &mut setting)?;
            let path = args.out.clone();
            let path = path.unwrap_or_else(|| free_folder(args, &config));
            (RunFolder::create(&path, &config)?, prepared)
        }
    };
    let Prepared {
        checkpoint,
        images:
            Images {
                training,
                validation,
                names,
                votes,
                ..
            },
        teachers,
    } = prepared;
    folder.write_validation(&names)?;
    let says = "finishing this step, then saving; once more to stop at once";
    let stop = signals::stop_flag(Some(says));

    let shown = folder.path().display().to_string();
    if !args.quiet {
        announce(&checkpoint, &training, &validation, &on, &shown);
    }
    let steps = training.len().div_ceil(checkpoint.config.batch_size) as u64;
    let mut observer = Epochs::new(
        args.quiet,
        steps * u64::from(checkpoint.config.epochs),
        &checkpoint,
    );
    let material = TrainingData {
        training: &training,
        validation: &validation,
        teachers,
        votes,
    };
    let ended = trainer::train(
        checkpoint,
        material,
        &folder,
        &compute,
        &mut observer,
        &stop,
    );
    observer.finish();
    match ended? {
        StopReason::Interrupted => {
            super::say(format_args!(
                "stopped and saved; go on with `fer train --resume {shown}`"
            ));
            return Ok(Status::Failed);
        }
        StopReason::Stopped if !args.quiet => {
            super::say("early stopping: no better epoch for a while")
        }
        StopReason::Stopped | StopReason::Finished => {}
    }
    if !args.quiet {
        super::say(format_args!(
            "{shown}/summary.md has the results; `fer export --onnx --run {shown}` writes the model"
        ));
    }
    Ok(Status::Done)
}

/// What is computed on, and its name in messages and checkpoints.
fn compute(args: &Args) -> Result<(Compute, String)> {
    let opened = args.device.open()?;
    let (first, others) = opened.split_first().context("--device names no device")?;
    let precision = Precision::on(args.precision, first)?;
    for other in others {
        Precision::on(args.precision, other)?;
    }
    let names: Vec<&str> = opened.iter().map(|o| o.name.as_str()).collect();
    let mut name = names.join(" and ");
    if precision != Precision::F32 {
        name += &format!(", in {precision}");
    }
    let others = others.iter().map(|o| o.device.clone()).collect();
    Ok((
        Compute {
            device: first.device.clone(),
            others,
            precision,
        },
        name,
    ))
}

/// The recipe with what the command line says on top.
fn configuration(args: &Args) -> Result<Config> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::preset(args.preset.as_deref().unwrap_or("vgg"))?,
    };
    if let Some(split) = &args.split {
        config.data.split = split.clone();
    }
    if let Some(path) = &args.exclude {
        config.data.exclude = Some(path.clone());
    }
    if let Some(path) = &args.init {
        config.init = Some(path.clone());
    }
    if !args.teacher.is_empty() {
        config.loss.teachers.clone_from(&args.teacher);
    }
    if let Some(path) = &args.votes {
        config.loss.votes = Some(path.clone());
    }
    config.loss.votes_share = args.votes_share.unwrap_or(config.loss.votes_share);
    if config.loss.votes.is_none() && (args.votes_share.is_some() || config.loss.votes_share != 1.0)
    {
        bail!(
            "--votes-share or loss.votes_share says how much votes count; name their file with \
             --votes"
        );
    }
    config.data.path = data(args).or(config.data.path);
    config.data.classes = named(&args.classes).unwrap_or(config.data.classes);
    // A run may be resumed from another folder than this.
    let paths = [
        &mut config.data.path,
        &mut config.data.exclude,
        &mut config.init,
        &mut config.loss.votes,
    ];
    for path in paths.into_iter().flatten() {
        *path = absolute(path);
    }
    if let Split::List(path) = &mut config.data.split {
        *path = absolute(path);
    }
    for teacher in config
        .loss
        .teachers
        .iter_mut()
        .filter(|name| Path::new(name).exists())
    {
        *teacher = absolute(Path::new(teacher)).display().to_string();
    }
    config.architecture = args.architecture.unwrap_or(config.architecture);
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.batch_size = args.batch_size.unwrap_or(config.batch_size);
    config.optimizer.learning_rate = args.lr.unwrap_or(config.optimizer.learning_rate);
    config.seed = args.seed.unwrap_or(config.seed);
    config.input.size = args.size.or(config.input.size);
    config.input.channels = args.channels.or(config.input.channels);
    config.input.crop = args.crop.or(config.input.crop);
    config.validate().context("the options make no run")?;
    Ok(config)
}

/// The data that the command line names.
fn data(args: &Args) -> Option<PathBuf> {
    args.data.as_deref().map(absolute)
}

/// The path from the root. An address stays as it is, to be named as such.
fn absolute(path: &Path) -> PathBuf {
    match path.to_str().and_then(address) {
        Some(_) if !path.exists() => path.into(),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.into()),
    }
}

/// Says what happened before the first step.
fn say_notice(notice: &Notice<'_>, quiet: bool) {
    match notice {
        // What makes the run another one is said in any case.
        Notice::OtherDevice { began, now } => super::say(format_args!(
            "the run began on {began}: on {now} its end will not be the same"
        )),
        Notice::EarlierCheckpoint {
            last,
            damage,
            used,
            epoch,
        } => super::say(format_args!(
            "{}; going on from {}, of epoch {epoch}: the epochs after it are trained again",
            damage.map_or_else(
                || format!("{} is missing", last.display()),
                ToString::to_string
            ),
            used.display()
        )),
        Notice::WeightsNotCompared { file, reason } => super::say(format_args!(
            "{}: weights taken over, not compared ({})",
            file.display(),
            advice::with(*reason)
        )),
        _ if quiet => {}
        Notice::Opened(catalog) => say_opened(catalog),
        Notice::Guessed(images) => super::say_guessed(images),
        Notice::LeftOut { images, list } => say_left_out(*images, list),
        Notice::Votes {
            file,
            found,
            images,
            ambiguous,
        } => say_votes(file, *found, *images, *ambiguous),
        Notice::VotesShare { share, images } => super::say(format_args!(
            "votes have a share of {share} in the targets of {images} images; the others have \
             their label"
        )),
        Notice::WeightsEqual { file, difference } => super::say(format_args!(
            "{}: weights taken over, predictions equal to {difference:.0e}",
            file.display()
        )),
    }
}

/// `runs/NAME`, or the first of `runs/NAME-2`, … that is not there yet.
fn free_folder(args: &Args, config: &Config) -> PathBuf {
    let stem = args
        .config
        .as_deref()
        .and_then(Path::file_stem)
        .and_then(|s| s.to_str());
    let own = config.architecture.to_string();
    // A run's own config.toml says nothing by its name.
    let name = args
        .preset
        .as_deref()
        .or(stem.filter(|s| *s != "config"))
        .unwrap_or(&own);
    let candidates = (1..).map(|n| {
        Path::new("runs").join(if n == 1 {
            name.into()
        } else {
            format!("{name}-{n}")
        })
    });
    candidates
        .into_iter()
        .find(|p| !p.exists())
        .unwrap_or_else(|| "runs".into())
}

fn announce(
    run: &Checkpoint,
    training: &Dataset,
    validation: &Dataset,
    device: &str,
    folder: &str,
) {
    let (config, state) = (&run.config, &run.state);
    let parameters = burn::module::Module::num_params(&run.network);
    let task = &state.data.task;
    if !task.is_fer2013() {
        super::say(format_args!(
            "{} classes ({}), {} images of {}x{} pixels",
            task.classes.len(),
            shortened(&task.classes),
            if task.channels == 1 { "gray" } else { "RGB" },
            task.width,
            task.height
        ));
    }
    super::say(format_args!(
        "{} ({parameters} parameters, {:.1} MMAC), {} training and {} validation images, {} epochs \
         of {} on {device}",
        config.architecture,
        run.network.macs() as f64 / 1e6,
        training.len(),
        validation.len(),
        config.epochs,
        config.batch_size,
    ));
    if !config.loss.teachers.is_empty() {
        super::say(format_args!(
            "it learns from {} too",
            config.loss.teachers.join(", ")
        ));
    }
    let warmup = config.schedule.warmup;
    if warmup > f64::from(config.epochs) {
        super::say(format_args!(
            "the warm-up of {warmup} epochs is longer than the run: the learning rate only rises"
        ));
    }
    match (state.epoch, state.step) {
        (0, 0) => super::say(format_args!("the run is in {folder}")),
        (epoch, _) if epoch >= config.epochs => super::say(format_args!(
            "{folder} is finished; to train on, start a run from it with --init {folder}"
        )),
        (epoch, step) => super::say(format_args!(
            "{folder} goes on after epoch {epoch}, step {step}"
        )),
    }
}
