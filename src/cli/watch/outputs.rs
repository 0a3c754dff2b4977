//! What `fer watch` writes besides the records: the annotated video, the timeline, the summary, and
//! the preview.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use fer::report::{Content, Picture, Record};
use fer::video::draw::{Labeled, color_of};
use fer::video::{Ffmpeg, Preview, Sound, Timeline, VideoSource, chart};
use fer::watch::FrameItem;

use super::args::VideoArgs;
use super::meter::Meter;
use super::pictures::Pictures;
use crate::cli::say;

pub struct Outputs {
    labels: Vec<String>,
    pictures: Option<Pictures>,
    timeline: Option<Timeline>,
    timeline_path: Option<PathBuf>,
    summary_path: Option<PathBuf>,
    /// Kept until the browser has read it.
    _redirect: Option<tempfile::NamedTempFile>,
}

impl Outputs {
    pub fn open(
        args: &VideoArgs,
        ffmpeg: &Ffmpeg,
        source: &VideoSource,
        sound: Option<String>,
        labels: &[String],
    ) -> Result<Self> {
        let mut redirect = None;
        let preview = match args.show {
            false => None,
            true => {
                let preview = Preview::start(&source.name(), labels);
                let preview = preview.context("can't open the preview (--show)")?;
                say(format_args!("preview: {}", preview.address()));
                redirect = open_browser(preview.address());
                Some(preview)
            }
        };
        let annotate = args.annotate.clone().map(|path| {
            let sound = sound.map(|codec| Sound {
                source: source.clone(),
                codec,
            });
            (path, ffmpeg.clone(), sound)
        });
        let wanted = args.timeline.is_some() || args.summary.is_some();
        Ok(Self {
            labels: labels.to_vec(),
            pictures: (annotate.is_some() || preview.is_some())
                .then(|| Pictures::start(annotate, preview)),
            timeline: wanted.then(|| Timeline::new(labels)),
            timeline_path: args.timeline.clone(),
            summary_path: args.summary.clone(),
            _redirect: redirect,
        })
    }

    /// Adds a frame whose record was written.
    pub fn add(&mut self, item: &FrameItem, record: &Record, meter: &Meter) -> io::Result<()> {
        if !item.is_frame() {
            return Ok(());
        }
        let time = item.moment.time;
        let empty = Picture {
            width: 0,
            height: 0,
            faces: Vec::new(),
        };
        // A frame that could not be searched has no boxes.
        let picture = match &record.outcome {
            Ok(Content::Faces(picture)) => picture,
            _ => &empty,
        };
        if let Some(timeline) = &mut self.timeline {
            let faces = picture.faces.iter().filter_map(|face| {
                let prediction = face.outcome.as_ref().ok()?;
                Some((face.track?, &prediction.probabilities[..]))
            });
            timeline.add(time, faces);
        }
        let (Some(pictures), Some(pixels)) = (&mut self.pictures, item.take()) else {
            return Ok(());
        };
        let labeled: Vec<Labeled> = picture
            .faces
            .iter()
            .map(|face| labeled(face, &self.labels))
            .collect();
        let moment = picture.faces.iter().filter_map(|face| {
            let prediction = face.outcome.as_ref().ok()?;
            Some((face.track?, prediction.class, prediction.confidence()))
        });
        pictures.add(time, pixels, labeled, moment.collect(), || meter.status())
    }

    /// Completes the files; what there is to say about them.
    pub fn finish(self, source: &str) -> Result<Vec<String>> {
        // If it failed, the others are still written.
        let note = self.pictures.map_or(Ok(None), Pictures::finish);
        if let Some(timeline) = &self.timeline {
            if let Some(path) = &self.timeline_path {
                let is_csv = path
                    .extension()
                    .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
                let bytes = match is_csv {
                    true => {
                        let mut bytes = Vec::new();
                        timeline.csv(&mut bytes).map(|()| bytes)
                    }
                    false => chart(timeline, &title(source)),
                };
                write(path, bytes)?;
            }
            if let Some(path) = &self.summary_path {
                let mut text = serde_json::to_string_pretty(&timeline.summary(source))?;
                text.push('\n');
                write(path, Ok(text.into_bytes()))?;
            }
        }
        Ok(note?.into_iter().collect())
    }
}

fn write(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<()> {
    let written = bytes.and_then(|bytes| fer::files::write(path, &bytes));
    written.with_context(|| format!("can't write {}", path.display()))
}

/// The last part of a path, which is what people know.
fn title(source: &str) -> String {
    let path = Path::new(source);
    match source.contains("://") {
        true => source.to_owned(),
        false => path
            .file_name()
            .map_or(source.into(), |name| name.to_string_lossy().into_owned()),
    }
}

fn labeled(face: &fer::report::FoundFace, labels: &[String]) -> Labeled {
    let id = face.track.map_or(String::new(), |id| format!("#{id} "));
    match &face.outcome {
        Ok(prediction) => {
            let label = &labels[prediction.class];
            Labeled {
                bounds: face.bounds,
                label: format!("{id}{label} {:.0} %", 100.0 * prediction.confidence()),
                color: color_of(label, prediction.class),
            }
        }
        Err(_) => Labeled {
            bounds: face.bounds,
            label: format!("{id}error"),
            color: [255, 255, 255],
        },
    }
}

/// Opens the preview in the browser, if there seems to be one. Its address does not stand in the
/// arguments of a process, which other users can see, but in a file that only this user can read.
fn open_browser(address: &str) -> Option<tempfile::NamedTempFile> {
    let is_there = cfg!(any(target_os = "macos", windows))
        || std::env::var_os("DISPLAY").is_some()
        || std::env::var_os("WAYLAND_DISPLAY").is_some();
    if !is_there {
        return None;
    }
    let page = format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={address}\">");
    let file = tempfile::Builder::new()
        .prefix("fer-")
        .suffix(".html")
        .tempfile()
        .ok()?;
    std::fs::write(file.path(), page).ok()?;
    let mut command = match () {
        () if cfg!(target_os = "macos") => Command::new("open"),
        () if cfg!(windows) => Command::new("explorer"),
        () => Command::new("xdg-open"),
    };
    let command = command
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().ok()?;
    // It is not waited for, but its end is taken note of.
    std::thread::spawn(move || child.wait());
    Some(file)
}
