//! `fer eval`: how good a model is on labelled images.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fer::data::votes::Counts;
use fer::data::{Catalog, Part, Split, Votes};
use fer::eval::corruptions::Selection;
use fer::eval::{
    Agreement, Evaluated, Evaluation, FindFace, Request, Robustness, Tta, report, robustness,
};
use fer::host::Host;
use fer::images::Pixels;
use fer::plot::{self, Cell, Mark};
use fer::train::Config;
use fer::train::checkpoint::{self, State};
use fer::train::run::{chosen, read_config, split};
use fer::trained::is_trained;

use super::Status;
use super::data::{ClassArgs, opened, voted};
use super::faces::{self, Choice, SearchArgs};
use super::model_args::{ModelArgs, announce};
use super::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// Folder with train/<class>/ and test/<class>/, folder with <class>/, or fer2013.csv
    /// [default: a run's own data].
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,

    #[command(flatten)]
    classes: ClassArgs,

    #[command(flatten)]
    model: ModelArgs,

    /// How the data is divided: keras, official, fold:K/N or list:FILE
    /// [default: a run's own split, else official].
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,

    /// Which part: training, validation, test or all
    /// [default: validation; all, where the data has no parts].
    #[arg(long, value_name = "PART")]
    part: Option<Part>,

    /// The seed of the folds [default: a run's own, else 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Leave out the images that this list names.
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,

    /// Compare with people's votes too: FER+'s fer2013new.csv beside fer2013.csv, or a file with
    /// its columns and the images' file names in a column 'name'.
    #[arg(long, value_name = "FILE")]
    votes: Option<PathBuf>,

    /// Search pictures for faces, and classify the largest of each: always, never, or auto: all
    /// but ready-made crops (up to 128x128 pixels, or filled by one face), if the model reads faces.
    /// Pictures without one are not counted [default: never].
    #[arg(
        long,
        value_name = "auto|always|never",
        default_value = "never",
        hide_default_value = true
    )]
    faces: Choice,

    #[command(flatten)]
    search: SearchArgs,

    /// Views of an image whose mean prediction counts: none, flip or tencrop.
    #[arg(long, default_value_t, value_name = "NAME")]
    tta: Tta,

    /// Measure also on corrupted images, each at three severities: all, or some of noise, blur,
    /// brightness, contrast, gamma, jpeg, pixelation, crop, shift, rotation, equalization.
    #[arg(long, value_name = "NAME,NAME", num_args = 0..=1, default_missing_value = "all")]
    corruptions: Option<Selection>,

    /// Exit with 1 if the accuracy is below this, 0 to 1.
    #[arg(long, value_name = "X", value_parser = share)]
    min_accuracy: Option<f64>,

    /// text, json or markdown.
    #[arg(
        long,
        default_value = "text",
        value_name = "FORMAT",
        value_parser = ["text", "json", "markdown"]
    )]
    format: String,

    /// Draw the confusion matrix into this PNG.
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,

    /// Draw how far confidences can be believed into this PNG.
    #[arg(long, value_name = "FILE")]
    reliability: Option<PathBuf>,

    /// Show the most confident mistakes in this PNG.
    #[arg(long, value_name = "FILE")]
    montage: Option<PathBuf>,

    /// Draw the accuracy under corruptions into this PNG.
    #[arg(long, value_name = "FILE", requires = "corruptions")]
    corruptions_plot: Option<PathBuf>,

    /// Views a batch.
    #[arg(
        long,
        default_value_t = 64,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    batch_size: u16,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| format!("'{text}' is not a number"))?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{text} is not between 0 and 1"))
    }
}

pub fn run(args: &Args, host: &Host) -> Result<Status> {
    let trained = run_of(args.model.model.as_deref())?;
    let (catalog, indices) = images(args, trained.as_ref())?;
    let votes = votes(args, &catalog, &indices)?;
    let corruptions = args
        .corruptions
        .as_ref()
        .map_or(&[][..], |selection| &selection.0);
    let mut request = Request {
        catalog: &catalog,
        indices: &indices,
        face: None,
        corruptions,
        tta: args.tta,
        batch_size: usize::from(args.batch_size),
        votes: votes.as_ref(),
    };
    let passes = request.passes();
    let session = args.model.open(passes * args.tta.count(), host)?;
    if !args.quiet {
        announce(session.description());
    }
    let spec = session.spec();
    let stage = args
        .search
        .stage(args.faces, Some(1), None, spec, &args.model, host)?;
    if stage.is_some() && !args.quiet {
        faces::announce(spec);
    }
    let largest = stage
        .as_ref()
        .map(|stage| |pixels: &Pixels| stage.largest(pixels));
    request.face = largest.as_ref().map(|find| find as &FindFace<'_>);
    let mut progress = (!args.quiet).then(|| Progress::new(passes, "classifying"));
    let evaluated = request.evaluate(&session, &mut || {
        progress.iter_mut().for_each(Progress::step)
    });
    progress.iter().for_each(Progress::finish);
    let Evaluated {
        evaluation,
        agreement,
        robustness,
        unreadable,
        faceless,
        uncorrupted,
        guessed,
    } = evaluated?;
    if !args.quiet {
        super::say_guessed(&guessed);
    }
    say_unreadable(&unreadable, &uncorrupted);
    if let (Some(first), false) = (faceless.first(), args.quiet) {
        super::say(format_args!(
            "no face was found in {} pictures, which are not counted, the first {first}",
            faceless.len()
        ));
    }
    let whole = unreadable.is_empty() && uncorrupted.is_empty();
    print(
        &args.format,
        &evaluation,
        agreement.as_ref(),
        robustness.as_ref(),
    )?;
    let title = format!(
        "{} on {} images",
        session.description().model,
        evaluation.images
    );
    pictures(args, &catalog, &evaluation, &title)?;
    if let Some((path, robustness)) = args.corruptions_plot.as_ref().zip(robustness) {
        plot::corruptions(path, &robustness, &title)?;
    }
    let missed = args
        .min_accuracy
        .filter(|least| evaluation.accuracy < *least);
    if let Some(least) = missed {
        super::say(format_args!(
            "the accuracy, {:.4}, is below the {least} asked for",
            evaluation.accuracy
        ));
    }
    Ok(if missed.is_some() || !whole {
        Status::Failed
    } else {
        Status::Done
    })
}

/// Says which images could not be read, and which could not be corrupted.
fn say_unreadable(unreadable: &[(String, String)], uncorrupted: &[(String, String)]) {
    if let Some((name, reason)) = unreadable.first() {
        let count = unreadable.len();
        super::say(format_args!(
            "{count} images could not be read and are not counted, the first {name}: {reason}"
        ));
    }
    if let Some((name, reason)) = uncorrupted.first() {
        let count = uncorrupted.len();
        super::say(format_args!(
            "{count} corrupted images are not counted, the first of {name}: {reason}"
        ));
    }
}

/// Prints the report.
fn print(
    format: &str,
    evaluation: &Evaluation,
    votes: Option<&Agreement>,
    robustness: Option<&Robustness>,
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        "json" => writeln!(out, "{}", report::json(evaluation, votes, robustness)?)?,
        "markdown" => {
            write!(out, "{}", report::markdown(evaluation, votes))?;
            robustness.map_or(Ok(()), |r| write!(out, "\n{}", robustness::markdown(r)))?;
        }
        _ => {
            write!(out, "{}", report::text(evaluation, votes))?;
            robustness.map_or(Ok(()), |r| write!(out, "\n{}", robustness::text(r)))?;
        }
    }
    Ok(out.flush()?)
}

/// The run that a model's name means, if it means one.
fn run_of(model: Option<&str>) -> Result<Option<(Config, State)>> {
    let Some(path) = model.map(Path::new).filter(|path| is_trained(path)) else {
        return Ok(None);
    };
    let file = if path.is_dir() {
        chosen(path)?
    } else {
        path.to_path_buf()
    };
    let (mut config, state) = checkpoint::head(&file)?;
    if path.is_dir() {
        // Where the run's data is now, if it was moved since.
        config.data.path = read_config(path)?.data.path;
    }
    Ok(Some((config, state)))
}

/// The data set, and the images of it that are asked for.
///
/// A run's own split, seed and list of images to leave out count unless --split is given: another
/// division of its data would count training images.
fn images(args: &Args, run: Option<&(Config, State)>) -> Result<(Catalog, Vec<usize>)> {
    let path = args
        .data
        .as_ref()
        .or(run.and_then(|(config, _)| config.data.path.as_ref()));
    let path = path.context("name the images with --data: a folder by class, or fer2013.csv")?;
    let own = run.filter(|_| args.split.is_none());
    let exclude = args
        .exclude
        .as_ref()
        .or(own.and_then(|(config, _)| config.data.exclude.as_ref()));
    let classes = args.classes.names().or_else(|| {
        let (config, _) = run.filter(|_| args.data.is_none())?;
        config.data.named_classes().map(<[String]>::to_vec)
    });
    let exclude = exclude.map(PathBuf::as_path);
    let catalog = opened(path, classes.as_deref(), exclude, args.quiet)?;
    let split = args
        .split
        .clone()
        .or(own.map(|(config, _)| split_of(config, args)))
        .unwrap_or_default();
    let seed = args
        .seed
        .or(own.map(|(config, _)| config.seed))
        .unwrap_or(0);
    // Only folds and lists divide images of which nothing says what they are for.
    let whole = catalog.items.iter().all(|item| item.usage.is_none())
        && !matches!(split, Split::Fold { .. } | Split::List(_));
    let part = args
        .part
        .unwrap_or(if whole { Part::All } else { Part::Validation });
    let indices = split.select(part, &catalog, seed)?;
    if !args.quiet {
        let which = match part {
            Part::All => "all of them".into(),
            part => format!("the {part} part of split {split}"),
        };
        super::say(format_args!(
            "{} images of {}: {which}",
            indices.len(),
            path.display()
        ));
        if let (Some((_, state)), true, true) = (own, args.data.is_some(), part != Part::All) {
            let parts = split.divide(&catalog, seed)?;
            let used: Vec<usize> = parts.training.into_iter().chain(parts.validation).collect();
            if catalog.hash(&used)? != state.data.sha256 {
                super::say("they are not the images that the run was trained and validated on");
            }
        }
    }
    Ok((catalog, indices))
}

/// The votes by item, if --votes names a file.
fn votes(
    args: &Args,
    catalog: &Catalog,
    indices: &[usize],
) -> Result<Option<HashMap<usize, Counts>>> {
    let Some(path) = &args.votes else {
        return Ok(None);
    };
    let counts = voted(&Votes::read(path)?, catalog, indices, args.quiet)?;
    Ok(Some(
        indices
            .iter()
            .zip(counts)
            .filter_map(|(item, counts)| Some((*item, counts?)))
            .collect(),
    ))
}

/// How the model's run divides its data.
fn split_of(config: &Config, args: &Args) -> Split {
    split(
        config,
        Path::new(args.model.model.as_deref().unwrap_or_default()),
    )
}

fn pictures(args: &Args, catalog: &Catalog, evaluation: &Evaluation, title: &str) -> Result<()> {
    if let Some(path) = &args.confusion {
        plot::confusion_of(path, evaluation, title)?;
    }
    if let Some(path) = &args.reliability {
        plot::reliability(
            path,
            &evaluation.calibration,
            evaluation.calibration_error,
            title,
        )?;
    }
    if let Some(path) = &args.montage {
        let by_name: HashMap<&str, usize> = catalog
            .items
            .iter()
            .enumerate()
            .map(|(i, item)| (item.name.as_str(), i))
            .collect();
        let mut cells = Vec::new();
        for mistake in &evaluation.worst {
            let Some(index) = by_name.get(mistake.name.as_str()) else {
                continue;
            };
            let Ok(pixels) = catalog.items[*index].pixels() else {
                continue;
            };
            let caption = format!(
                "{} {:.0} %\nis {}",
                evaluation.classes[mistake.predicted].label,
                mistake.confidence * 100.0,
                evaluation.classes[mistake.label].label
            );
            cells.push(Cell {
                pixels,
                caption,
                mark: Some(Mark::Bad),
            });
        }
        if cells.is_empty() {
            super::say("there are no mistakes to show: no montage was written");
            return Ok(());
        }
        plot::sheet(path, &cells, 6, 2, title)?;
    }
    Ok(())
}
