//! `fer infer`: classifies images and writes one record per image.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use fer::files::{self, Temporary};
use fer::host::Host;
use fer::images::sources::{self, Source, Sources};
use fer::images::{Decoded, Pixels};
use fer::names::Tally;
use fer::report::{Content, Format, Record, Shape};
use fer::stream::{BatchSize, Item, ItemError, Reduce, Stream, StreamError, StreamOptions};

use super::Status;
use super::faces::{FaceArgs, Found};
use super::model_args::{ModelArgs, announce};
#[cfg(feature = "train")]
use super::pictures::PictureArgs;
use super::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// Images, folders, patterns ('faces/*.png'), @list.txt (one path per line), - for one image on
    /// standard input, or one video (see `fer watch`).
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    faces: FaceArgs,

    #[cfg(feature = "train")]
    #[command(flatten)]
    pictures: PictureArgs,

    /// table, json, jsonl or csv [default: by the extension of --output (.txt for a table), else
    /// table].
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Write the records to this file, or with - to standard output. A file is written whole or not
    /// at all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

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
    let sources = list(&args.paths, args.quiet)?;
    let path = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let format = args.format.map_or_else(|| format_of(path), Ok)?;
    let output = path.map(Output::open).transpose()?;
    let session = args.model.open(sources.len(), host)?;
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

    let out: Box<dyn Write> = match &output {
        Some(output) => Box::new(BufWriter::new(output.file()?)),
        // Flushed line by line, so a reader sees each record as soon as it is ready.
        None => Box::new(std::io::stdout().lock()),
    };
    let mut report = format.report(&labels, shape, out);
    report.begin()?;
    // Records on the terminal are progress enough, and a bar would break them up.
    let records_are_seen = output.is_none() && std::io::stdout().is_terminal();
    let mut progress =
        (!args.quiet && !records_are_seen).then(|| Progress::new(sources.len(), "classifying"));
    let mut failed = 0usize;
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
        failed += usize::from(!outcome.as_ref().is_ok_and(Content::is_whole));
        if let Ok(content) = &outcome {
            found.count(content);
        }
        #[cfg(feature = "train")]
        if let (Ok(content), Some(pictures)) = (&outcome, &mut pictures) {
            pictures.add(item.source, content)?;
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
    let items = sources.iter().map(Watched::new);
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
            // Earlier records on standard output stay. A file is written whole or not at all.
            report.finish()?;
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
        found.say(faces, sources.len());
    }
    // The process ends soon: freeing a session allocation by allocation would waste time.
    std::mem::forget(session);
    if let Some(output) = output {
        output.keep()?;
    }
    if !args.quiet {
        super::say_guessed(&guessed);
    }
    if failed == 0 {
        return Ok(Status::Done);
    }
    if !args.quiet {
        super::say(format_args!(
            "{failed} of {} images failed; their records say why",
            sources.len()
        ));
    }
    Ok(Status::Failed)
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
    Ok(Asked::Video(Box::new(super::watch::Args {
        source: source.clone(),
        model: args.model,
        faces: args.faces,
        video: super::watch::VideoArgs::default(),
        format: args.format,
        usual_format: Format::Table,
        output: args.output,
        quiet: args.quiet,
    })))
}

/// An image that is classified, and what was guessed as it was read.
struct Watched<'a> {
    source: &'a Source,
    /// How many bits it seems to have.
    guessed_bits: OnceLock<u8>,
}

impl<'a> Watched<'a> {
    fn new(source: &'a Source) -> Self {
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
}

/// The images that the arguments name; an error if they name none. Says which files of folders are
/// passed over.
pub fn list(paths: &[OsString], quiet: bool) -> Result<Vec<Source>> {
    let Sources { list, passed_over } = sources::list(paths);
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

/// The format that the output's extension names: a table without one, an error if it names none.
pub(super) fn format_of(output: Option<&Path>) -> Result<Format> {
    let Some((path, ending)) = output.and_then(|path| Some((path, path.extension()?))) else {
        return Ok(Format::Table);
    };
    match ending.to_string_lossy().to_ascii_lowercase().as_str() {
        "txt" | "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        "jsonl" | "ndjson" => Ok(Format::Jsonl),
        "csv" => Ok(Format::Csv),
        other => bail!(
            "--output {}: .{other} names no format; use .txt, .json, .jsonl or .csv, or --format",
            path.display()
        ),
    }
}

/// The output of --output.
pub(super) enum Output {
    /// A file that gets its name only when it is complete.
    Whole { file: Temporary, path: PathBuf },
    /// A pipe or device, which is written directly.
    Stream(File),
}

impl Output {
    /// Opens it, so that an unwritable path is reported before the work.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let is_folder = path.is_dir()
            || path
                .as_os_str()
                .to_string_lossy()
                .ends_with(std::path::is_separator);
        if is_folder {
            bail!("--output {} is a folder; name a file", path.display());
        }
        // A link stays a link: its target is written.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let existing = path.metadata().ok();
        if existing.as_ref().is_some_and(|m| !m.is_file()) {
            let file = File::options().write(true).open(&path);
            return Ok(Self::Stream(file.with_context(|| {
                format!("can't write {} (--output)", path.display())
            })?));
        }
        let file = files::temporary(&path)
            .with_context(|| format!("can't write {} (--output)", path.display()))?;
        if let Some(existing) = existing {
            file.as_file()
                .set_permissions(existing.permissions())
                .context("can't set the output's permissions")?;
        }
        Ok(Self::Whole { file, path })
    }

    pub(super) fn file(&self) -> Result<File> {
        let file = match self {
            Self::Whole { file, .. } => file.as_file(),
            Self::Stream(file) => file,
        };
        file.try_clone().context("can't open the output twice")
    }

    /// Renames the file to its final name.
    pub(super) fn keep(self) -> Result<()> {
        if let Self::Whole { file, path } = self {
            // Not forced to the disk, unlike in `files::keep`: the predictions can be computed
            // again, and a short run should be fast.
            let kept = file.rename(&path);
            kept.with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}
