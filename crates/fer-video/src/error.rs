//! What can go wrong between fer and ffmpeg.

use std::path::PathBuf;

use crate::nut::NutError;

/// A video that can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// A program is not on `PATH`.
    #[error("the program {program} was not found on PATH; videos are read and written by ffmpeg")]
    NoFfmpeg {
        /// ffmpeg or ffprobe.
        program: &'static str,
    },
    /// A program can't be started.
    #[error("can't start {}: {source}", program.display())]
    Start {
        /// Its file.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// ffmpeg can't read the source.
    #[error("can't read {name}: {reason}")]
    Unreadable {
        /// The source.
        name: String,
        /// What ffmpeg said.
        reason: String,
    },
    /// The source has no video.
    #[error("{name} has no video; it has: {found}")]
    NoVideo {
        /// The source.
        name: String,
        /// The kinds of its streams.
        found: String,
    },
    /// This ffmpeg has no decoder for the video.
    #[error("{name}: this ffmpeg can't decode its video ({codec})")]
    Codec {
        /// The source.
        name: String,
        /// The codec, as ffprobe names it.
        codec: String,
    },
    /// The pictures are too large.
    #[error(
        "{name}: pictures of {width}x{height} are over the limit of {} megapixels; make them \
        smaller",
        fer_core::images::MAX_PIXELS / 1_000_000
    )]
    TooLarge {
        /// The source.
        name: String,
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// The source ended before its first frame.
    #[error("{name} has no frames{}{}", from(*start), because(reason))]
    NoFrames {
        /// The source.
        name: String,
        /// Where reading began, in seconds.
        start: f64,
        /// What ffmpeg said, if anything.
        reason: String,
    },
    /// A live source went away and did not come back.
    #[error(
        "{name} was lost and did not come back within {seconds} s{}",
        because(reason)
    )]
    Lost {
        /// The source.
        name: String,
        /// How long it was tried.
        seconds: f64,
        /// What ffmpeg said, if anything.
        reason: String,
    },
    /// ffmpeg's output makes no sense.
    #[error("{name}: {source}")]
    Output {
        /// The source.
        name: String,
        /// What is wrong with it.
        source: NutError,
    },
    /// The ending of a video that is to be written names no format.
    #[error("{}: the name of a video ends in .mp4, .m4v, .mov or .mkv", path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// This ffmpeg has no encoder for H.264.
    #[error("this ffmpeg has none of the encoders {encoders}")]
    NoEncoder {
        /// Those that were looked for.
        encoders: String,
    },
    /// A video can't be written.
    #[error("can't write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What ffmpeg or the system said.
        reason: String,
    },
}

fn from(start: f64) -> String {
    match start > 0.0 {
        true => format!(" from {start} s on"),
        false => String::new(),
    }
}

fn because(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    }
}
