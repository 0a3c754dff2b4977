//! `fer data`: checks a data set, draws one, and shows how training varies it; `data_crop` cuts one
//! out of photographs. Also how commands open one.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use fer::augment::Draw;
use fer::data::check::{Keep, check};
use fer::data::votes::{Counts, Votes};
use fer::data::{Catalog, DataError, Dataset, PixelForm, synth};
use fer::eval::corruptions::Selection;
use fer::eval::{Corruption, Severity};
use fer::files;
use fer::host::Host;
use fer::plot::{self, Cell, MAX_CELLS};
use fer::train::Config;
use fer::train::task::pixel_form;

use super::output::not_over;
use super::progress::Progress;
use super::{Status, data_crop};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Count the images and find unreadable, odd-sized, blank and duplicate ones.
    #[command(
        after_help = "Exit code: 0 if nothing was found, 1 if something was, 2 if the data can't \
            be read."
    )]
    Check(CheckArgs),
    /// Cut the faces out of labeled photographs: a data set for `fer train`. Standard output lists
    /// the pictures without a face.
    #[command(
        after_help = "Exit code: 0 if all pictures were read, 1 if some were not (standard output \
            says why), 2 if nothing was written."
    )]
    Crop(data_crop::Args),
    /// Draw a data set of faces, to try things out without a download.
    Synth(SynthArgs),
    /// Show training images as a recipe varies them: a PNG, a row an image. Or what
    /// `fer eval --corruptions` makes of images.
    Preview(PreviewArgs),
}

#[derive(clap::Args)]
pub struct CheckArgs {
    /// Folder or fer2013.csv.
    #[arg(value_name = "PATH")]
    data: PathBuf,

    #[command(flatten)]
    classes: ClassArgs,

    /// table or json.
    #[arg(long, default_value = "table", value_name = "FORMAT", value_parser = ["table", "json"])]
    format: String,

    /// Write a list of the images to leave out of training, for `fer train --exclude`.
    #[arg(long, value_name = "FILE")]
    quarantine: Option<PathBuf>,

    /// Which images stay of those that have copies in training and test both: test, or training,
    /// whose list names the test images instead, for `fer eval --exclude`.
    #[arg(
        long,
        default_value = "test",
        value_name = "PART",
        value_parser = ["test", "training"],
        requires = "quarantine"
    )]
    keep: String,

    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Args)]
pub struct SynthArgs {
    /// A new or empty folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Number of images; eight of ten are for training.
    #[arg(long, default_value_t = 1400, value_name = "N")]
    count: usize,

    /// Another seed draws other faces.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

#[derive(clap::Args)]
pub struct PreviewArgs {
    /// Folder or fer2013.csv.
    #[arg(value_name = "PATH")]
    data: PathBuf,

    #[command(flatten)]
    classes: ClassArgs,

    /// The PNG to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// The recipe whose augmentation is shown.
    #[arg(
        long,
        default_value = "vgg",
        value_name = "NAME",
        conflicts_with = "config"
    )]
    preset: String,

    /// A recipe as a TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Show corrupted images instead: the image and three severities, a row a corruption; all, or
    /// names as `fer eval` takes.
    #[arg(long, value_name = "NAME,NAME", num_args = 0..=1, default_missing_value = "all",
        conflicts_with_all = ["preset", "config", "seed"])]
    corruptions: Option<Selection>,

    /// How many images are shown, one class after the other.
    #[arg(
        long,
        default_value_t = 7,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=50)
    )]
    count: u16,

    /// The seed of the run whose first epochs are shown.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

pub fn run(command: Command, host: &Host) -> Result<Status> {
    match command {
        Command::Crop(args) => data_crop::run(&args, host),
        Command::Check(args) => run_check(&args),
        Command::Synth(args) => {
            with_progress(args.count, "drawing", false, |step| {
                synth::synth(&args.dir, args.count, args.seed, step)
            })?;
            super::say(format_args!(
                "{} faces in {}",
                args.count,
                args.dir.display()
            ));
            Ok(Status::Done)
        }
        Command::Preview(args) => match &args.corruptions {
            None => preview(&args),
            Some(Selection(corruptions)) => preview_corruptions(&args, corruptions),
        },
    }
}

fn run_check(args: &CheckArgs) -> Result<Status> {
    if let Some(path) = &args.quarantine {
        not_over("--quarantine", path, [args.data.as_path()])?;
    }
    let catalog = opened(
        &args.data,
        args.classes.names().as_deref(),
        None,
        args.quiet,
    )?;
    let report = with_progress(catalog.items.len(), "looking", args.quiet, |step| {
        check(&catalog, step)
    });
    let mut out = std::io::stdout().lock();
    match args.format.as_str() {
        "json" => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        _ => write!(out, "{report}")?,
    }
    let keep = if args.keep == "training" {
        Keep::Training
    } else {
        Keep::Test
    };
    if let Some(path) = &args.quarantine {
        files::write(path, report.quarantine_list(keep).as_bytes())
            .with_context(|| format!("can't write {}", path.display()))?;
        if !args.quiet {
            super::say(format_args!(
                "{} images to leave out are in {1}; `fer train --exclude {1}` does it",
                report.quarantine(keep).len(),
                path.display()
            ));
        }
    } else if !args.quiet && !report.quarantine(keep).is_empty() {
        super::say("--quarantine FILE writes the list of images to leave out, for --exclude");
    }
    Ok(if report.is_clean() {
        Status::Done
    } else {
        Status::Failed
    })
}

/// Variants of an image that a row of a preview shows.
const VARIANTS: u32 = 8;

fn preview(args: &PreviewArgs) -> Result<Status> {
    let config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::preset(&args.preset)?,
    };
    if config.augment.is_none() {
        bail!("this recipe does not vary its images: there is nothing to show");
    }
    fits_a_sheet(args.count, 1 + VARIANTS as usize)?;
    let catalog = opened(&args.data, args.classes.names().as_deref(), None, false)?;
    // The training images, whose place among themselves is what the recipe's random numbers depend
    // on.
    let parts = config.data.split.divide(&catalog, args.seed);
    let training = parts.map_or_else(
        |_| (0..catalog.items.len()).collect(),
        |parts| parts.training,
    );
    let chosen = by_turns(&catalog, &training, args.count);
    let items: Vec<usize> = chosen.iter().map(|place| training[*place]).collect();
    let form = pixel_form(&config.input, &catalog, &training);
    let dataset = decoded(&catalog, &items, form, true)?;
    super::say_guessed(&dataset.guessed);
    let (width, height) = (dataset.width, dataset.height);
    let mut cells = Vec::new();
    for (row, place) in chosen.iter().enumerate() {
        let class = catalog.items[items[row]].class();
        cells.push(Cell {
            pixels: dataset.picture(dataset.image(row)),
            caption: class.into(),
            mark: None,
        });
        for epoch in 0..VARIANTS {
            let mut levels = vec![0.0; dataset.image_len()];
            let draw = Draw {
                seed: args.seed,
                epoch,
                index: *place as u64,
            };
            config
                .augment
                .apply(dataset.image(row), width, height, draw, &mut levels);
            let levels: Vec<u8> = levels.iter().map(|level| level.round() as u8).collect();
            cells.push(Cell {
                pixels: dataset.picture(&levels),
                caption: format!("epoch {}", epoch + 1),
                mark: None,
            });
        }
    }
    let name = args
        .config
        .as_deref()
        .and_then(Path::file_name)
        .map_or(args.preset.clone(), |n| n.to_string_lossy().into_owned());
    plot::sheet(
        &args.output,
        &cells,
        VARIANTS as usize + 1,
        2,
        &format!("augmentation of {name}"),
    )?;
    super::say(format_args!(
        "{} images, {VARIANTS} variants each, in {}",
        chosen.len(),
        args.output.display()
    ));
    Ok(Status::Done)
}

fn preview_corruptions(args: &PreviewArgs, corruptions: &[Corruption]) -> Result<Status> {
    fits_a_sheet(args.count, corruptions.len() * (1 + Severity::ALL.len()))?;
    let catalog = opened(&args.data, args.classes.names().as_deref(), None, false)?;
    let all: Vec<usize> = (0..catalog.items.len()).collect();
    let chosen = by_turns(&catalog, &all, args.count);
    let images = chosen.iter().map(|i| {
        let item = &catalog.items[*i];
        Ok((item, item.pixels().with_context(|| item.name.clone())?))
    });
    let images = images.collect::<Result<Vec<_>>>()?;
    let mut cells = Vec::new();
    for corruption in corruptions {
        for (item, pixels) in &images {
            cells.push(Cell {
                pixels: pixels.clone(),
                caption: item.class().into(),
                mark: None,
            });
            for severity in Severity::ALL {
                let corrupted = corruption.apply(severity, pixels, &item.relative);
                let pixels = corrupted
                    .map_err(Error::msg)
                    .with_context(|| item.name.clone())?;
                cells.push(Cell {
                    pixels,
                    caption: format!("{corruption} {severity}"),
                    mark: None,
                });
            }
        }
    }
    let columns = images.len() * (1 + Severity::ALL.len());
    plot::sheet(
        &args.output,
        &cells,
        columns,
        2,
        "corruptions of severity 1 to 3",
    )?;
    super::say(format_args!(
        "{} images, each corrupted, in {}",
        images.len(),
        args.output.display()
    ));
    Ok(Status::Done)
}

/// Refuses more images than a sheet holds with so many pictures of each.
fn fits_a_sheet(count: u16, pictures: usize) -> Result<()> {
    let most = MAX_CELLS / pictures.max(1);
    if usize::from(count) > most {
        bail!(
            "--count {count} with {pictures} pictures an image is more than the {MAX_CELLS} of a \
             sheet; take {most} or fewer"
        );
    }
    Ok(())
}

/// The places in `indices` of the first image of each class, then of the second, …, `count` in all.
fn by_turns(catalog: &Catalog, indices: &[usize], count: u16) -> Vec<usize> {
    let classes = catalog.classes.len();
    let of = |class: usize| {
        let places = indices.iter().enumerate();
        places
            .filter(move |(_, i)| usize::from(catalog.items[**i].label) == class)
            .map(|(place, _)| place)
    };
    (0..usize::from(count))
        .filter_map(|n| of(n % classes).nth(n / classes))
        .collect()
}

/// The classes as a data set takes them: what the user names, in the order of the labels.
#[derive(clap::Args)]
pub struct ClassArgs {
    /// The classes: of folders or labels that are plain numbers, in the order of the numbers; else
    /// those that the folders or labels name, in the order that they shall have.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    classes: Vec<String>,
}

impl ClassArgs {
    /// The names, if there are any.
    pub fn names(&self) -> Option<Vec<String>> {
        named(&self.classes)
    }
}

/// The names that --classes gives, if it gives some.
pub fn named(classes: &[String]) -> Option<Vec<String>> {
    let names = classes.iter().map(|name| name.trim().to_string());
    (!classes.is_empty()).then(|| names.collect())
}

/// A data set without the images that a list names.
pub fn opened(
    path: &Path,
    classes: Option<&[String]>,
    exclude: Option<&Path>,
    quiet: bool,
) -> Result<Catalog> {
    let mut catalog = fer::labeled::open(path, classes)?;
    if !quiet {
        say_opened(&catalog);
    }
    if let Some(list) = exclude {
        let count = catalog.exclude(list)?;
        if !quiet {
            say_left_out(count, list);
        }
    }
    Ok(catalog)
}

/// The images, decoded, with their progress shown.
pub fn decoded(
    catalog: &Catalog,
    indices: &[usize],
    form: PixelForm,
    quiet: bool,
) -> Result<Dataset, DataError> {
    with_progress(indices.len(), "decoding", quiet, |step| {
        Dataset::load_as(catalog, indices, form, step)
    })
}

/// The votes for some images of a data set.
pub fn voted(
    votes: &Votes,
    catalog: &Catalog,
    indices: &[usize],
    quiet: bool,
) -> Result<Vec<Option<Counts>>> {
    let matched = votes.of(catalog, indices)?;
    if !quiet {
        say_votes(
            votes.path(),
            matched.counts.iter().flatten().count(),
            indices.len(),
            matched.ambiguous,
        );
    }
    Ok(matched.counts)
}

/// Says how many of the images have votes.
pub fn say_votes(file: &Path, found: usize, images: usize, ambiguous: usize) {
    let ambiguous = match ambiguous {
        0 => String::new(),
        n => format!("; {n} of the others have a file name that is not unique"),
    };
    super::say(format_args!(
        "{}: votes for {found} of {images} images{ambiguous}",
        file.display()
    ));
}

/// Says what a data set was taken for, and what was passed over.
pub fn say_opened(catalog: &Catalog) {
    catalog.notes.iter().for_each(super::say);
    super::say_passed_over(&catalog.passed_over);
}

/// Says how many images are left out.
pub fn say_left_out(images: usize, list: &Path) {
    super::say(format_args!(
        "{images} images are left out, as {} says",
        list.display()
    ));
}

/// Runs `work`, which calls its argument once an item, on any thread.
pub fn with_progress<T>(
    total: usize,
    what: &'static str,
    quiet: bool,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> T,
) -> T {
    if quiet {
        return work(&|| ());
    }
    let progress = std::sync::Mutex::new(Progress::new(total, what));
    let result = work(&|| {
        if let Ok(mut progress) = progress.lock() {
            progress.step();
        }
    });
    if let Ok(progress) = progress.lock() {
        progress.finish();
    }
    result
}
