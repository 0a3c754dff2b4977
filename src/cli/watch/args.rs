//! The options of `fer watch`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use fer::report::Format;
use fer::video::{ReadOptions, VideoSource, check_ending};

use crate::cli::faces::FaceArgs;
use crate::cli::model_args::ModelArgs;

#[derive(clap::Args)]
pub struct Args {
    /// A video file, a camera (0, /dev/video0, camera:NAME), an address (rtsp://…, http://…), - for
    /// standard input, or lavfi:GRAPH for a picture that ffmpeg draws.
    #[arg(value_name = "SOURCE")]
    pub source: OsString,

    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub faces: FaceArgs,

    #[command(flatten)]
    pub video: VideoArgs,

    /// jsonl, csv, table or json [default: by the extension of --output, else jsonl].
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// Without --format and --output.
    #[arg(skip = Format::Jsonl)]
    pub usual_format: Format,

    /// Write the records to this file, or with - to standard output. A file gets its name when it
    /// is complete.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Print only errors on stderr.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(clap::Args)]
pub struct VideoArgs {
    /// Take only every N-th frame.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub every: u64,

    /// Take at most X frames a second.
    #[arg(long, value_name = "X")]
    pub fps: Option<f64>,

    /// Begin at this second of a file.
    #[arg(long, value_name = "SECONDS")]
    pub start: Option<f64>,

    /// Stop after this many seconds of the source.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,

    /// Run the detector on every K-th frame only; in between, faces move along their tracks.
    #[arg(
        long,
        value_name = "K",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=1000)
    )]
    pub detect_every: u64,

    /// Average the probabilities of a track over this time, 0 for not at all [default: 0.5 for live
    /// sources, 0 for files].
    #[arg(long, value_name = "SECONDS")]
    pub smooth: Option<f64>,

    /// Write the frames with boxes and labels as a video, with a file's sound (.mp4, .m4v, .mov,
    /// .mkv).
    #[arg(long, value_name = "FILE")]
    pub annotate: Option<PathBuf>,

    /// Draw the emotions of each track over time (.png), or write them as a table (.csv).
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,

    /// Write shares and durations of the emotions of each track, as JSON.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,

    /// Show the annotated frames in the browser, at an address of this machine that only you know.
    #[arg(long)]
    pub show: bool,

    /// Try a lost camera or stream again for this long; 0 for not at all.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub reconnect: f64,
}

impl Default for VideoArgs {
    fn default() -> Self {
        Self {
            every: 1,
            fps: None,
            start: None,
            duration: None,
            detect_every: 1,
            smooth: None,
            annotate: None,
            timeline: None,
            summary: None,
            show: false,
            reconnect: 60.0,
        }
    }
}

impl VideoArgs {
    /// How the source is read.
    pub fn read_options(&self, live: bool) -> Result<ReadOptions> {
        if live && self.start.is_some() {
            bail!("--start is for files; a live source has no beginning");
        }
        let positive = |option: &str, value: Option<f64>, zero: bool| -> Result<()> {
            match value {
                Some(v) if !(v.is_finite() && v <= 1e9 && (v > 0.0 || zero && v == 0.0)) => {
                    let wanted = if zero { "from 0 on" } else { "above 0" };
                    let shown = if v.abs() < 1e9 {
                        v.to_string()
                    } else {
                        format!("{v:e}")
                    };
                    bail!("{option} {shown} is not a number {wanted}, up to 1e9")
                }
                _ => Ok(()),
            }
        };
        positive("--fps", self.fps, false)?;
        positive("--duration", self.duration, false)?;
        positive("--start", self.start, true)?;
        positive("--smooth", self.smooth, true)?;
        positive("--reconnect", Some(self.reconnect), true)?;
        Ok(ReadOptions {
            start: self.start.unwrap_or(0.0),
            duration: self.duration,
            every: self.every,
            fps: self.fps,
            live,
            reconnect: Duration::from_secs_f64(self.reconnect),
            ..ReadOptions::default()
        })
    }

    /// Whether the outputs can be written, before the work.
    pub fn check_paths(&self, source: &VideoSource, output: Option<&Path>) -> Result<()> {
        if let Some(path) = &self.annotate {
            check_ending(path)?;
        }
        if let Some(path) = &self.timeline {
            let ending = path
                .extension()
                .map(|e| e.to_string_lossy().to_ascii_lowercase());
            if !matches!(ending.as_deref(), Some("png" | "csv")) {
                bail!(
                    "--timeline {}: the name ends in .png or .csv",
                    path.display()
                );
            }
        }
        let options = [
            ("--annotate", self.annotate.as_deref()),
            ("--timeline", self.timeline.as_deref()),
            ("--summary", self.summary.as_deref()),
            ("--output", output),
        ];
        let given: Vec<(&'static str, &Path)> = options
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?)))
            .collect();
        super::check_distinct(source, &given)?;
        for (option, path) in given {
            // The folder is there and can be written, which a temporary file shows.
            if option != "--output" {
                let tried = fer::files::temporary(path);
                tried.map_err(|e| {
                    anyhow::anyhow!("can't write {} ({option}): {e}", path.display())
                })?;
            }
        }
        Ok(())
    }
}
