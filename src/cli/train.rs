//! `fer train`: trains a network and leaves a run folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::Device;
use fer::data::votes::{Counts, Votes};
use fer::data::{Dataset, Split, shortened};
use fer::device::Choices;
use fer::host::Host;
use fer::model::{Architecture, Network};
use fer::spec::{EMOTIONS, ModelSpec};
use fer::train::checkpoint::{Checkpoint, DataFacts, Trained};
use fer::train::config::{ClassWeights, Size};
use fer::train::distill::Teachers;
use fer::train::run::{chosen, split};
use fer::train::task::{Task, pixel_form};
use fer::train::{Compute, Config, Precision, RunFolder, StopReason, TrainingData, trainer};
use fer::trained::is_trained;
use fer::{LoadOptions, ModelRef};

use super::data::{decoded, opened, voted};
use super::epochs::Epochs;
use super::model_args::parse_devices;
use super::{Status, advice};

#[derive(clap::Args)]
pub struct Args {
    /// Folder with train/<class>/ and test/<class>/, folder with <class>/, or fer2013.csv.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,

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
    let device = &compute.device;
    let (folder, config, mut resumed) = match &args.resume {
        Some(path) => {
            let (folder, config) = RunFolder::open(path)?;
            let config = with_data(config, args);
            let checkpoint = folder
                .resume_point()
                .map(|file| Checkpoint::read(&file, device))
                .transpose()?;
            (Some(folder), config, checkpoint)
        }
        None => (None, configuration(args)?, None),
    };
    if let Some(checkpoint) = &mut resumed {
        checkpoint.config.data.path.clone_from(&config.data.path);
        if checkpoint.config != config {
            bail!(
                "the run's config.toml was changed since it began; to train by another recipe, \
                 start a run with --config"
            );
        }
        if checkpoint.state.device != on {
            super::say(format_args!(
                "the run began on {}: on {on} its end will not be the same",
                checkpoint.state.device
            ));
        }
    }
    let split = match &args.resume {
        Some(path) => split(&config, path),
        None => config.data.split.clone(),
    };
    let Images {
        training,
        validation,
        names,
        votes,
        facts,
    } = images(&config, &split, args.quiet)?;
    if let Some(checkpoint) = resumed
        .as_ref()
        .filter(|c| c.state.data.sha256 != facts.sha256)
    {
        bail!(
            "{} is not the data that this run began with ({} training images, SHA-256 {}…); name \
             that with --data",
            facts.path,
            checkpoint.state.data.training,
            &checkpoint.state.data.sha256[..12.min(checkpoint.state.data.sha256.len())],
        );
    }
    if resumed
        .as_ref()
        .is_some_and(|c| c.state.data.votes_sha256 != facts.votes_sha256)
    {
        bail!(
            "{} has other votes than when this run began; bring back the file as it was",
            config
                .loss
                .votes
                .as_deref()
                .unwrap_or(Path::new(""))
                .display()
        );
    }
    let checkpoint = match resumed {
        Some(checkpoint) => checkpoint,
        None => {
            let network = start(&config, &facts.task, device, host, args.quiet)?;
            trainer::fresh(config.clone(), network, facts, on.clone())
        }
    };
    let load = |name: &String| super::model_args::load(name, &LoadOptions::default(), host);
    let teachers = config.loss.teachers.iter().map(load);
    let spec = checkpoint.state.data.task.spec();
    let share = config.loss.teachers_share;
    let teachers = Teachers::new(teachers.collect::<Result<_>>()?, share, &spec)?;
    let folder = match folder {
        Some(folder) => {
            folder.write_config(&config)?;
            folder
        }
        None => RunFolder::create(
            &args
                .out
                .clone()
                .unwrap_or_else(|| free_folder(args, &config)),
            &config,
        )?,
    };
    folder.write_validation(&names)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            // Asked twice: the last checkpoint has to do.
            std::process::exit(1);
        }
        super::say("finishing this step, then saving; once more to stop at once");
    })
    .context("can't listen for Ctrl-C")?;

    let shown = folder.path().display().to_string();
    if !args.quiet {
        announce(&checkpoint, &training, &validation, &on, &shown);
    }
    let steps = training.len().div_ceil(config.batch_size) as u64;
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
    config = with_data(config, args);
    // A run may be resumed from another folder than this.
    let paths = [
        &mut config.data.path,
        &mut config.data.exclude,
        &mut config.init,
        &mut config.loss.votes,
    ];
    for path in paths.into_iter().flatten() {
        *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
    }
    if let Split::List(path) = &mut config.data.split {
        *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
    }
    for teacher in config
        .loss
        .teachers
        .iter_mut()
        .filter(|name| Path::new(name).exists())
    {
        *teacher = std::path::absolute(&*teacher)
            .map_or(teacher.clone(), |path| path.display().to_string());
    }
    config.architecture = args.architecture.unwrap_or(config.architecture);
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.batch_size = args.batch_size.unwrap_or(config.batch_size);
    config.optimizer.learning_rate = args.lr.unwrap_or(config.optimizer.learning_rate);
    config.seed = args.seed.unwrap_or(config.seed);
    config.input.size = args.size.or(config.input.size);
    config.input.channels = args.channels.or(config.input.channels);
    config.validate().context("the options make no run")?;
    Ok(config)
}

/// The configuration with the data that the command line names, if it names any.
fn with_data(mut config: Config, args: &Args) -> Config {
    if let Some(path) = &args.data {
        config.data.path = Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    }
    config
}

/// The images of a run, decoded.
struct Images {
    training: Dataset,
    validation: Dataset,
    /// The names by which lists know the validation images.
    names: Vec<String>,
    /// What is learnt from votes of each training image; empty without --votes.
    votes: Vec<Option<[f32; EMOTIONS.len()]>>,
    facts: DataFacts,
}

fn images(config: &Config, split: &Split, quiet: bool) -> Result<Images> {
    let Some(path) = &config.data.path else {
        bail!(
            "name the images with --data: a folder with train/<class>/ and test/<class>/, or \
             fer2013.csv"
        );
    };
    let catalog = opened(path, config.data.exclude.as_deref(), quiet)?;
    let parts = split.divide(&catalog, config.seed)?;
    let file = config.loss.votes.as_deref().map(Votes::read).transpose()?;
    let counts = file
        .as_ref()
        .map(|file| voted(file, &catalog, &parts.training, quiet))
        .transpose()?;
    if matches!(config.loss.class_weights, ClassWeights::Listed(_)) && catalog.classes != EMOTIONS {
        bail!(
            "loss.class_weights lists factors of the seven emotions, and the classes of {} are \
             others: it can be 'none' or \
             'balanced'",
            path.display()
        );
    }
    let form = pixel_form(&config.input, &catalog, &parts.training);
    let training = decoded(&catalog, &parts.training, form, quiet)?;
    let validation = decoded(&catalog, &parts.validation, form, quiet)?;
    let task = Task::of(&catalog, &training, form)
        .map_err(|e| anyhow!("{e}; --size and --channels choose others"))?;
    if training.image_shape() != validation.image_shape() {
        bail!(
            "the training images of {} have {}x{} pixels ({}), the validation images {}x{} ({}): \
             have all of them resized with --size",
            path.display(),
            training.width,
            training.height,
            training.names[0],
            validation.width,
            validation.height,
            validation.names[0],
        );
    }
    let used: Vec<usize> = parts
        .training
        .iter()
        .chain(&parts.validation)
        .copied()
        .collect();
    let facts = DataFacts {
        path: path.display().to_string(),
        split: config.data.split.title(),
        training: training.len(),
        validation: validation.len(),
        sha256: catalog.hash(&used)?,
        task,
        votes_sha256: file.map(|file| file.sha256().into()),
    };
    let target = |counts: Counts| {
        counts
            .soft_label()
            .map(|shares| shares.map(|share| share as f32))
    };
    let votes: Vec<_> = counts
        .unwrap_or_default()
        .into_iter()
        .map(|counts| counts.and_then(target))
        .collect();
    let count = votes.iter().flatten().count();
    if let (Some(file), 0) = (&config.loss.votes, count) {
        bail!(
            "{} gives no training image a target: a class counts from two votes on; name another \
             file with --votes, or none",
            file.display()
        );
    }
    if !votes.is_empty() && !quiet {
        let share = config.loss.votes_share;
        super::say(format_args!(
            "votes have a share of {share} in the targets of {count} images; the others have their \
             label"
        ));
    }
    let names = parts
        .validation
        .iter()
        .map(|i| catalog.items[*i].relative.clone())
        .collect();
    Ok(Images {
        training,
        validation,
        names,
        votes,
        facts,
    })
}

/// The network that the run begins with.
fn start(
    config: &Config,
    task: &Task,
    device: &Device,
    host: &Host,
    quiet: bool,
) -> Result<Network> {
    let network = config
        .architecture
        .init(task.shape(), config.dropout, config.seed, device);
    let Some(file) = &config.init else {
        return Ok(network);
    };
    if is_trained(file) {
        return trained(config, &task.spec(), file, network, device);
    }
    let network = fer::model::load_onnx(network, &task.spec(), file)?;
    let options = LoadOptions {
        uncalibrated: true,
        ..Default::default()
    };
    match fer::open(&ModelRef::Onnx(file.clone()), &options, host) {
        Ok(engine) => {
            let difference = fer::export::difference(&network, &engine, device)?;
            if difference > fer::export::TOLERANCE {
                bail!(
                    "{} predicts otherwise than {} with its weights, by {difference:e}: choose the \
                     architecture that it was \
                     made from",
                    file.display(),
                    config.architecture
                );
            }
            if !quiet {
                super::say(format_args!(
                    "{}: weights taken over, predictions equal to {difference:.0e}",
                    file.display()
                ));
            }
        }
        Err(e) => super::say(format_args!(
            "{}: weights taken over, not compared ({})",
            file.display(),
            advice::with(&e)
        )),
    }
    Ok(network)
}

/// The weights of another run.
fn trained(
    config: &Config,
    spec: &ModelSpec,
    path: &Path,
    network: Network,
    device: &Device,
) -> Result<Network> {
    let file = if path.is_dir() {
        chosen(path)?
    } else {
        path.to_path_buf()
    };
    let other = Trained::read(&file, device)?;
    if other.config.architecture != config.architecture {
        bail!(
            "{} is of architecture {other}, this run of {}: train with --architecture {other}, or \
             start from what `fer export` \
             writes of it, if that is a network of this run's architecture",
            file.display(),
            config.architecture,
            other = other.config.architecture,
        );
    }
    let own = other.state.data.task.spec();
    own.accepts(spec)
        .map_err(|mismatch| anyhow!("{} does not fit the data: {mismatch}", file.display()))?;
    other.transfer(network).map_err(anyhow::Error::msg)
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
