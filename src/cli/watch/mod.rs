//! `fer watch`: follows faces in a video, a stream or a camera, and writes a record a frame.

mod args;
mod meter;
mod outputs;
mod pictures;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fer::faces::{Face, Smoother};
use fer::host::Host;
use fer::prediction::Prediction;
use fer::report::{Content, Format, FoundFace, Picture, Record, Shape};
use fer::stream::{
    BatchSize, ItemError, Observation, Reduce, Seen, Stream, StreamError, StreamOptions,
};
use fer::video::{Ffmpeg, Frames, Probe, VideoSource, probe};
use fer::watch::{Follow, Pace};

pub use self::args::{Args, VideoArgs};
use self::meter::Meter;
use self::outputs::Outputs;
use super::model_args::announce;
use super::output::{Output, format_of};
use super::{Status, signals};

/// The most faces of a batch. A batch runs as soon as no other frame waits.
const BATCH: usize = 8;

/// As many images as a video may have, for an engine that starts faster for a few.
const MANY: usize = usize::MAX;

/// What is smoothed over by default for live sources, in seconds.
const SMOOTH_LIVE: f64 = 0.5;

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let says = "ending, with what is written so far; once more to end at once";
    let stop = signals::stop_flag((!args.quiet).then_some(says));
    let source = VideoSource::of(&args.source);
    let video = &args.video;
    let ffmpeg = Ffmpeg::find(host)?;
    let probed = probe(&ffmpeg, &source)?;
    // An address may be that of a file.
    let live = source.is_live() && probed.as_ref().is_none_or(|p| p.duration.is_none());
    let options = video.read_options(live)?;
    let path = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let format = match (args.format, path) {
        (Some(format), _) => format,
        (None, Some(path)) => format_of(Some(path))?,
        (None, None) => args.usual_format,
    };
    video.check_paths(&source, path)?;
    let output = path.map(Output::open).transpose()?;

    let session = args.model.open(MANY, host)?;
    if !args.quiet {
        announce(session.description());
        super::faces::announce(session.spec());
    }
    let labels = session.spec().labels.clone();
    let faces = args
        .faces
        .stage_for_video(session.spec(), &args.model, host)?;
    let out: Box<dyn Write> = match &output {
        Some(output) => Box::new(BufWriter::new(output.file()?)),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut report = format.report(&labels, Shape::Frames { live }, out);
    report.begin()?;
    report_at_once(&mut *report, format)?;

    let name = source.name();
    // What a live source sounded like can't be read again.
    let sound = probed.as_ref().filter(|_| !live);
    let sound = sound.and_then(|p| p.sound.clone());
    let mut outputs = Outputs::open(video, &ffmpeg, &source, sound, &labels)?;
    let total = expected(probed.as_ref(), &options);
    let mut meter = Meter::new(total, live, args.quiet, output.is_none());
    let smooth = video.smooth.unwrap_or(if live { SMOOTH_LIVE } else { 0.0 });
    let mut smoother = Smoother::new(smooth);

    let follow = Follow::new(&faces, video.detect_every);
    let stream = Stream {
        session: &session,
        locate: &follow,
        reduce: Reduce::Each,
        options: StreamOptions {
            batch_size: BatchSize::Fixed(BATCH),
            // Frames come one after the other; detection has threads of its own.
            workers: 1,
            max_wait: Some(Duration::ZERO),
        },
    };
    let frames = Frames::start(&ffmpeg, &source, options, Arc::clone(&stop));
    let pace = Pace::default();
    let mut recorded = true;
    let result = stream.run(pace.items(&frames, live, &stop), &mut |seen| {
        let Observation { mut item, outcome } = seen;
        item.done();
        let content = outcome.map(|seen| content(seen, item.moment.time, &mut smoother));
        let record = Record {
            path: name.clone(),
            moment: Some(item.moment),
            outcome: content.map(Content::Faces).map_err(|e| e.to_string()),
        };
        let record_written = report.record(&record);
        recorded &= record_written.is_ok();
        let written = record_written.and_then(|()| {
            meter.count(&item, &record);
            outputs.add(&item, &record, &meter)
        });
        if written.is_err() {
            // The source must end, so that the stream can.
            stop.store(true, Ordering::Relaxed);
        }
        written
    });
    let interrupted = result.is_ok() && stop.load(Ordering::Relaxed);
    let read = frames.finish();
    meter.finish();
    let finished = report.finish();
    drop(report);
    std::mem::forget(session);
    let read = match read {
        // Earlier results stay.
        Err(e) if meter.frames() == 0 && result.is_ok() => return Err(e.into()),
        read => read,
    };
    // Whatever happened, what is written so far is completed, but for records that are cut off.
    let written = outputs.finish(&name);
    if let Some(output) = output.filter(|_| recorded && finished.is_ok()) {
        output.keep()?;
    }
    match result {
        Ok(()) => {}
        Err(StreamError::Sink(e)) => {
            // If it is the video that can't be written, this says why.
            written?;
            return Err(e).context("can't write the results");
        }
        Err(e) => return Err(e.into()),
    }
    finished?;
    let notes = written?;
    if !args.quiet {
        notes.iter().for_each(super::say);
        meter.say();
    }
    if let Err(e) = read {
        super::say(super::advice::with(&e));
        return Ok(Status::Failed);
    }
    if meter.failed() > 0 || (interrupted && !live) {
        return Ok(Status::Failed);
    }
    Ok(Status::Done)
}

/// The number of frames that will be read, if it is known.
fn expected(probed: Option<&Probe>, options: &fer::video::ReadOptions) -> Option<u64> {
    let all = probed?.frames_in(options.start, options.duration)?;
    let by_number = all.div_ceil(options.every);
    let most = options.fps.and_then(|fps| {
        let rate = probed?.rate?;
        Some((all as f64 * (fps / rate).min(1.0)).ceil() as u64)
    });
    Some(most.map_or(by_number, |most| most.min(by_number)))
}

/// A header is seen before the first frame.
fn report_at_once(report: &mut dyn fer::report::Report, format: Format) -> Result<()> {
    if format == Format::Csv {
        report.finish()?;
    }
    Ok(())
}

/// What was seen in a frame, as a record has it.
fn content(seen: Seen<(u64, Face)>, time: f64, smoother: &mut Smoother) -> Picture {
    let face = |((track, f), outcome): ((u64, Face), Result<Prediction, ItemError>)| {
        let smoothed = outcome.and_then(|prediction| {
            let smooth = smoother.smooth(track, time, &prediction.probabilities);
            Ok(Prediction::new(&smooth)?)
        });
        FoundFace {
            track: Some(track),
            bounds: [f.x, f.y, f.w, f.h],
            score: Some(f.score),
            landmarks: Some(f.landmarks),
            outcome: smoothed.map_err(|e| e.to_string()),
        }
    };
    Picture {
        width: seen.width,
        height: seen.height,
        faces: seen.predictions.into_iter().map(face).collect(),
    }
}

/// Fails if two outputs have the same name, or one has the source's.
fn check_distinct(source: &VideoSource, paths: &[(&'static str, &Path)]) -> Result<()> {
    let real = |path: &Path| {
        let real = path.canonicalize().or_else(|_| std::path::absolute(path));
        real.unwrap_or_else(|_| path.to_path_buf())
    };
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    if let VideoSource::File(path) = source {
        seen.push(("the source", real(path)));
    }
    for (option, path) in paths {
        let path = real(path);
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == path) {
            bail!("{option} {} is {other}; name another file", path.display());
        }
        seen.push((option, path));
    }
    Ok(())
}
