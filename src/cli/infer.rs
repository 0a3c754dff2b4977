//! `fer infer`: classifies images and writes one record per image.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use fer::host::Host;
use fer::images::sources::{self, Source, Sources};
use fer::images::{Decoded, Pixels};
use fer::names::Tally;
use fer::report::{Content, Format, Record, Report, Shape};
use fer::session::Session;
use fer::stream::{BatchSize, Item, ItemError, Reduce, Stream, StreamError, StreamOptions};

use super::Status;
use super::faces::{FaceArgs, Found};
use super::items;
use super::model_args::{ModelArgs, announce};
use super::output::{Output, RecordFormat, not_over, record_format_of};
use super::partial::{self, Begun, Done, Partial};
#[cfg(feature = "train")]
use super::pictures::PictureArgs;
use super::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// Images, folders, patterns ('faces/*.png'), @list.txt (one path per line), - for one image on
    /// standard input, or one video (see `fer watch`). Of fer2013.csv and files like it the images
    /// are read; in a build with shards, those in .parquet, .tar and .tar.gz files too.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    faces: FaceArgs,

    #[cfg(feature = "train")]
    #[command(flatten)]
    pictures: PictureArgs,

    /// table, json, jsonl, csv or, in a build with shards, parquet [default: by the extension of
    /// --output (.txt for a table), else table].
    #[arg(long, value_name = "FORMAT")]
    format: Option<RecordFormat>,

    /// Write the records to this file, or with - to standard output. A file is written whole or not
    /// at all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Go on behind the records that an interrupted run left in FILE.part (jsonl, csv, parquet). A
    /// FILE that is complete stays as it is.
    #[arg(long)]
    resume: bool,

    /// Images per batch, or auto: it grows from 64 while that is faster [default: auto on Burn's
    /// GPUs and with --provider cuda, else 64].
    #[arg(long, value_name = "N|auto")]
    batch_size: Option<BatchSize>,

    /// Print only errors on stderr.
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    if args.paths.iter().filter(|p| *p == "-").count() > 1 {
        bail!("standard input is one image: use - only once");
    }
    #[cfg(feature = "video")]
    let args = match video(args)? {
        Asked::Pictures(args) => *args,
        Asked::Video(args) => return super::watch::run(*args, host),
    };
    let sources = list_with_shards(&args.paths, args.quiet)?;
    let path = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let format = args.format.map_or_else(|| record_format_of(path), Ok)?;
    if let Some(path) = path {
        let files = sources.iter().filter_map(|source| match source {
            Source::File(path) => Some(path.as_path()),
            _ => None,
        });
        let lists = args
            .paths
            .iter()
            .filter_map(|path| path.to_str()?.strip_prefix('@'));
        not_over("--output", path, files.chain(lists.map(Path::new)))?;
    }
    let Some(output) = Destination::open(path, format, &args)? else {
        return Ok(Status::Done);
    };
    let total = items::count(&sources);
    let session = args.model.open(total.unwrap_or(usize::MAX), host)?;
    if !args.quiet {
        announce(session.description());
    }
    let labels = session.spec().labels.clone();
    let faces = args.faces.stage(session.spec(), &args.model, host)?;
    let shape = match faces {
        Some(_) => Shape::Faces,
        None => Shape::Whole,
    };

    if faces.is_some() && !args.quiet {
        super::faces::announce(session.spec());
    }
    #[cfg(feature = "train")]
    let mut pictures = {
        let frame = faces.as_ref().map(|faces| faces.crop.frame);
        args.pictures.open(frame, &sources, &labels)?
    };

    let facts = || facts(&session, format, &args);
    let mut items = items::pictures(&sources);
    let (mut report, done) = output.start(&facts, &labels, shape, &mut items)?;
    if done.pictures > 0 && !args.quiet {
        super::say(format_args!(
            "going on behind the records of {} images",
            done.pictures
        ));
    }
    // Records on the terminal are progress enough, and a bar would break them up.
    let records_are_seen =
        matches!(output, Destination::Stdout(_)) && std::io::stdout().is_terminal();
    let mut progress = (!args.quiet && !records_are_seen)
        .then(|| Progress::going_on(total, done.pictures, "classifying"));
    let mut seen = 0usize;
    let mut failed = done.failed;
    let mut found = Found::default();
    let mut guessed = Tally::default();
    let options = StreamOptions {
        batch_size: args
            .batch_size
            .unwrap_or_else(|| args.model.on.batch_size()),
        workers: args.model.on.threads.map_or_else(fer::cores, usize::from),
        max_wait: None,
    };
    let mut write = |item: &Watched<'_>, outcome: Result<Content, ItemError>| {
        let path = item.source.name();
        if let Some(bits) = item.guessed_bits.get() {
            guessed.add(|| format!("{path} ({bits} bits)"));
        }
        let outcome = outcome.map_err(|e| e.to_string());
        seen += 1;
        failed += usize::from(!outcome.as_ref().is_ok_and(Content::is_whole));
        if let Ok(content) = &outcome {
            found.count(content);
        }
        #[cfg(feature = "train")]
        if let (Ok(content), Some(pictures)) = (&outcome, &mut pictures) {
            pictures.add(&item.source, content)?;
        }
        let moment = None;
        report.record(&Record {
            path,
            moment,
            outcome,
        })?;
        progress.iter_mut().for_each(Progress::step);
        Ok(())
    };
    let items = items.map(Watched::new);
    let result = match &faces {
        None => Stream::whole(&session, options).run(items, &mut |seen| {
            let (item, prediction) = seen.into_parts();
            write(&item, prediction.map(Content::Whole))
        }),
        Some(faces) => {
            let stream = Stream {
                session: &session,
                locate: faces,
                reduce: Reduce::Each,
                options,
            };
            stream.run(items, &mut |seen| {
                write(&seen.item, seen.outcome.map(super::faces::content))
            })
        }
    };
    progress.iter().for_each(Progress::finish);
    match result {
        Ok(()) => report.finish()?,
        Err(StreamError::Sink(e)) => return Err(e).context("can't write the results"),
        Err(StreamError::Session(e)) => {
            // Earlier records on standard output stay, and those that can be gone on with.
            report.finish()?;
            if let Destination::Partial(partial) = &output
                && let Some(advice) = partial.advice()
            {
                super::say(advice);
            }
            return Err(e.into());
        }
    }
    drop(report);
    #[cfg(feature = "train")]
    if let Some(pictures) = pictures {
        pictures
            .finish()
            .context("can't write the pictures of faces")?;
    }
    if let (Some(faces), false) = (&faces, args.quiet) {
        found.say(faces, seen);
    }
    // The process ends soon: freeing a session allocation by allocation would waste time.
    std::mem::forget(session);
    output.keep(&labels, shape)?;
    if !args.quiet {
        super::say_guessed(&guessed);
    }
    if failed == 0 {
        return Ok(Status::Done);
    }
    if !args.quiet {
        super::say(format_args!(
            "{failed} of {} images failed; their records say why",
            done.pictures + seen
        ));
    }
    Ok(Status::Failed)
}

/// Where the records go.
enum Destination {
    Stdout(Format),
    /// A file that comes whole or not at all, a pipe or a device.
    Direct(Output, Format),
    /// A file that can be gone on with.
    Partial(Partial),
}

impl Destination {
    /// Opens it, so that an unwritable path is reported before the work. `None` for a file that is
    /// complete already.
    fn open(path: Option<&Path>, format: RecordFormat, args: &Args) -> Result<Option<Self>> {
        let resumable = path.filter(|path| partial::is_resumable(path, format));
        if args.resume && resumable.is_none() {
            bail!(
                "--resume goes on with a file: name one with --output, of jsonl, csv or, in a \
                 build with shards, parquet"
            );
        }
        #[cfg(feature = "train")]
        if let (true, Some(option)) = (args.resume, args.pictures.given()) {
            bail!("--resume goes on with records; {option} needs all pictures, so leave it out");
        }
        if let Some(path) = resumable {
            return Ok(match Partial::begin(path, format, args.resume)? {
                Begun::Partial(partial) => Some(Self::Partial(partial)),
                Begun::Complete(path) => {
                    if !args.quiet {
                        super::say(format_args!(
                            "{} is complete; leave --resume out to write it anew",
                            path.display()
                        ));
                    }
                    None
                }
            });
        }
        match (path, format) {
            (path, RecordFormat::Text(format)) => Ok(Some(match path {
                None => Self::Stdout(format),
                Some(path) => Self::Direct(Output::open(path)?, format),
            })),
            #[cfg(feature = "shards")]
            (_, RecordFormat::Parquet) => {
                bail!("Parquet is written to a file; name one with --output")
            }
        }
    }

    /// Begins the report; of one that is gone on with, the pictures that are done are taken from
    /// `pictures`.
    fn start<'a>(
        &self,
        facts: &dyn Fn() -> serde_json::Value,
        labels: &'a [String],
        shape: Shape,
        pictures: &mut items::Pictures<'_>,
    ) -> Result<(Box<dyn Report + 'a>, Done)> {
        let (out, format): (Box<dyn Write>, _) = match self {
            Self::Partial(partial) => {
                let mut names = pictures.map(|source| source.name());
                return partial.start(&facts(), labels, shape, &mut names);
            }
            Self::Direct(output, format) => (Box::new(BufWriter::new(output.file()?)), *format),
            // Flushed line by line, so a reader sees each record as soon as it is ready.
            Self::Stdout(format) => (Box::new(std::io::stdout().lock()), *format),
        };
        let mut report = format.report(labels, shape, out);
        report.begin()?;
        Ok((report, Done::default()))
    }

    /// Gives a file its name.
    fn keep(self, labels: &[String], shape: Shape) -> Result<()> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::Direct(output, _) => output.keep(),
            Self::Partial(partial) => partial.keep(labels, shape),
        }
    }
}

/// What the records are made with, by what a user calls it. Records of other facts do not go
/// together.
fn facts(session: &Session, format: RecordFormat, args: &Args) -> serde_json::Value {
    let model = session.description();
    // That a file is the same one as before.
    let file = Path::new(&model.model).metadata().ok();
    let modified = file.as_ref().and_then(|m| m.modified().ok());
    let modified = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    serde_json::json!({
        "fer": env!("CARGO_PKG_VERSION"),
        "format": format!("{format:?}"),
        "model": model.model,
        "model file": file.map(|m| m.len()),
        "date of the model file": modified.map(|at| at.as_secs_f64()),
        "engine": format!("{} {}", model.engine, model.provider),
        "classes": session.spec().labels,
        "specification": format!("{:?}", session.spec()),
        "search for faces": format!("{:?}", args.faces),
    })
}

/// What the arguments name.
#[cfg(feature = "video")]
enum Asked {
    Pictures(Box<Args>),
    Video(Box<super::watch::Args>),
}

/// Whether the only argument is a video, which is watched with every frame. Among pictures, a video
/// is not a picture, and its record says so.
#[cfg(feature = "video")]
fn video(args: Args) -> Result<Asked> {
    use fer::video::VideoSource;

    let source = match &args.paths[..] {
        [source] if VideoSource::is_video(source) => source,
        _ => return Ok(Asked::Pictures(Box::new(args))),
    };
    #[cfg(feature = "train")]
    if let Some(option) = args.pictures.given() {
        bail!(
            "{option} is for pictures; `fer watch {} --annotate FILE` annotates a video",
            source.to_string_lossy()
        );
    }
    if args.batch_size.is_some() {
        bail!("--batch-size is for pictures; frames are classified as they come");
    }
    if args.resume {
        bail!("--resume is for pictures; a video is followed from its beginning");
    }
    let format = match args.format {
        None => None,
        Some(RecordFormat::Text(format)) => Some(format),
        #[cfg(feature = "shards")]
        Some(RecordFormat::Parquet) => bail!("Parquet is for pictures; use jsonl or csv"),
    };
    Ok(Asked::Video(Box::new(super::watch::Args {
        source: source.clone(),
        model: args.model,
        faces: args.faces,
        video: super::watch::VideoArgs::default(),
        format,
        usual_format: Format::Table,
        output: args.output,
        quiet: args.quiet,
    })))
}

/// An image that is classified, and what was guessed as it was read.
struct Watched<'a> {
    source: Cow<'a, Source>,
    /// How many bits it seems to have.
    guessed_bits: OnceLock<u8>,
}

impl<'a> Watched<'a> {
    fn new(source: Cow<'a, Source>) -> Self {
        Self {
            source,
            guessed_bits: OnceLock::new(),
        }
    }
}

impl Item for Watched<'_> {
    fn load(&self) -> Result<Pixels, ItemError> {
        let Decoded {
            pixels,
            guessed_bits,
        } = self.source.decoded()?;
        guessed_bits.map(|bits| self.guessed_bits.set(bits));
        Ok(pixels)
    }

    fn bytes(&self) -> usize {
        self.source.bytes()
    }
}

/// The images that the arguments name; an error if they name none. Says which files of folders are
/// passed over.
pub fn list(paths: &[OsString], quiet: bool) -> Result<Vec<Source>> {
    listed(sources::list(paths), quiet)
}

/// The same, with the shards of folders where they are read.
pub fn list_with_shards(paths: &[OsString], quiet: bool) -> Result<Vec<Source>> {
    let sources = match cfg!(feature = "shards") {
        true => sources::list_with_shards(paths),
        false => sources::list(paths),
    };
    listed(sources, quiet)
}

fn listed(sources: Sources, quiet: bool) -> Result<Vec<Source>> {
    let Sources {
        list, passed_over, ..
    } = sources;
    let first = list.iter().find_map(|s| match s {
        Source::Unusable { path, reason } => Some(format!("{path}: {reason}")),
        _ => None,
    });
    let readable = list.iter().any(|s| !matches!(s, Source::Unusable { .. }));
    match (readable, first) {
        (true, _) => {
            if !quiet {
                super::say_passed_over(&passed_over);
            }
            Ok(list)
        }
        (false, Some(reason)) => bail!("no image to read: {reason}"),
        (false, None) => bail!("no image to read"),
    }
}
