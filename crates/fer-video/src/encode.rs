//! Frames → a video file with the sound of its source.
//!
//! ffmpeg encodes the frames, with their times, into a file beside the output. When the last frame
//! is in, that is copied into the output together with the source's sound. The output gets its
//! name when it is complete, so that also what was interrupted plays.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::thread::JoinHandle;

use fer_core::files::{self, Temporary};

use crate::ffmpeg::{lines, output, reason, spawn};
use crate::nut::Writer;
use crate::{Ffmpeg, VideoError, VideoSource};

/// The encoders of H.264 that are looked for, in this order, with their options. Frames in their
/// order of display (no B-frames) keep their times in every container.
const ENCODERS: [(&str, &[&str]); 5] = [
    (
        "libx264",
        &["-preset", "veryfast", "-crf", "23", "-bf", "0"],
    ),
    ("h264_videotoolbox", &["-q:v", "60", "-bf", "0"]),
    ("h264_mf", &["-bf", "0"]),
    ("libopenh264", &["-b:v", "6M"]),
    ("mpeg4", &["-q:v", "4", "-bf", "0"]),
];

/// The kinds of sound that MP4 and QuickTime hold as they are, and those that only one of them
/// does.
const IN_BOTH: [&str; 5] = ["aac", "mp3", "ac3", "eac3", "alac"];
const IN_MP4: [&str; 1] = ["opus"];
const IN_MOV: [&str; 8] = [
    "pcm_s16le",
    "pcm_s16be",
    "pcm_s24le",
    "pcm_s24be",
    "pcm_s32le",
    "pcm_s32be",
    "pcm_f32le",
    "pcm_f32be",
];

/// How long the address of the sound may be silent, in microseconds.
const PATIENCE: &str = "15000000";

/// The sound of a source. The times of the frames are those of the sound.
#[derive(Debug, Clone)]
pub struct Sound {
    /// The file or address.
    pub source: VideoSource,
    /// Its codec.
    pub codec: String,
}

/// A video that is being written.
pub struct Encoder {
    ffmpeg: Ffmpeg,
    path: PathBuf,
    sound: Option<Sound>,
    /// The encoded frames, and the output.
    pictures: Temporary,
    output: Option<Temporary>,
    child: Child,
    said: Option<JoinHandle<String>>,
    writer: Option<Writer<BufWriter<ChildStdin>>>,
    /// The encoder's name and options.
    codec: (&'static str, &'static [&'static str]),
    frames: u64,
    first: f64,
    last: f64,
}

/// Whether a path's ending names a format that can be written.
///
/// # Errors
/// It does not.
pub fn check_ending(path: &Path) -> Result<(), VideoError> {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("mp4" | "m4v" | "mov" | "mkv") => Ok(()),
        _ => Err(VideoError::Ending { path: path.into() }),
    }
}

impl Encoder {
    /// Starts ffmpeg on frames of `size`, width and height in pixels.
    ///
    /// # Errors
    /// The path's ending names no format, ffmpeg has no encoder, or the file can't be written.
    pub fn start(
        ffmpeg: &Ffmpeg,
        path: &Path,
        size: [usize; 2],
        sound: Option<Sound>,
    ) -> Result<Self, VideoError> {
        check_ending(path)?;
        let mut codec = None;
        for candidate in ENCODERS {
            if codec.is_none() && ffmpeg.has_encoder(candidate.0)? {
                codec = Some(candidate);
            }
        }
        let codec = codec.ok_or_else(|| VideoError::NoEncoder {
            encoders: ENCODERS.map(|(name, _)| name).join(", "),
        })?;
        let failed = |e: io::Error| VideoError::Write {
            path: path.into(),
            reason: e.to_string(),
        };
        let pictures = files::temporary(path).map_err(failed)?;
        let output = files::temporary(path).map_err(failed)?;
        let mut command = ffmpeg.command();
        command.args(["-y", "-f", "nut", "-i", "pipe:0"]);
        // H.264 in its usual form has even sides.
        let filter = "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv";
        command.args(["-vf", filter, "-pix_fmt", "yuv420p"]);
        command.args([
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
            "-color_trc",
            "bt709",
        ]);
        command.args(["-c:v", codec.0]).args(codec.1);
        command.args(ffmpeg.keep_times());
        command.args(["-enc_time_base", "-1", "-f", "nut"]);
        command.arg(named(pictures.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = spawn(&mut command)?;
        let said = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let mut last = String::new();
                lines(stderr, |line| last = line);
                last
            })
        });
        let mut encoder = Self {
            ffmpeg: ffmpeg.clone(),
            path: path.into(),
            sound,
            pictures,
            output: Some(output),
            child,
            said,
            writer: None,
            codec,
            frames: 0,
            first: 0.0,
            last: 0.0,
        };
        let writer = encoder.child.stdin.take().map(|stdin| {
            let stdin = BufWriter::with_capacity(1 << 16, stdin);
            Writer::new(stdin, size)
        });
        match writer {
            Some(Ok(writer)) => encoder.writer = Some(writer),
            Some(Err(e)) => return Err(encoder.failed(&e)),
            None => {}
        }
        Ok(encoder)
    }

    /// The name of the encoder.
    pub fn codec(&self) -> &'static str {
        self.codec.0
    }

    /// Adds a frame at `time` in seconds, RGB. Times grow.
    ///
    /// # Errors
    /// The frame has another size than the first, or ffmpeg ended.
    pub fn frame(&mut self, time: f64, data: &[u8]) -> Result<(), VideoError> {
        if self.frames == 0 {
            self.first = time;
        }
        // Two frames of the same time would be one.
        let time = match self.frames {
            0 => time,
            _ => time.max(self.last + 1e-3),
        };
        let written = match &mut self.writer {
            Some(writer) => writer.frame(time - self.first, data),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|e| self.failed(&e))?;
        self.frames += 1;
        self.last = time;
        Ok(())
    }

    /// Completes the file. What there was to say about it, if anything. Without a frame, there is
    /// no file.
    ///
    /// # Errors
    /// ffmpeg failed, or the file can't be written.
    pub fn finish(mut self) -> Result<Option<String>, VideoError> {
        if self.frames == 0 {
            return Ok(Some(
                "no video was written, because no frame was read".into(),
            ));
        }
        if let Some(writer) = self.writer.take() {
            let flushed = writer.into_inner().into_inner();
            flushed.map_err(|e| self.failed(e.error()))?;
        }
        let ended = self.child.wait();
        if !ended.is_ok_and(|status| status.success()) {
            let broken = io::Error::other("the encoder ended early");
            return Err(self.failed(&broken));
        }
        let note = match self.join(self.sound.as_ref()) {
            // The pictures are not lost with the sound.
            Err(VideoError::Write { reason, .. }) if self.sound.is_some() => {
                self.join(None)?;
                Some(format!("the video has no sound: {reason}"))
            }
            joined => joined?,
        };
        if let Some(output) = self.output.take() {
            output.rename(&self.path).map_err(|e| VideoError::Write {
                path: self.path.clone(),
                reason: e.to_string(),
            })?;
        }
        Ok(note)
    }

    /// Copies the pictures and the sound into the output.
    fn join(&self, sound: Option<&Sound>) -> Result<Option<String>, VideoError> {
        let mut command = self.ffmpeg.command();
        command.args(["-y", "-f", "nut", "-i"]);
        command.arg(named(self.pictures.path()));
        let ending = self.path.extension().unwrap_or_default().to_string_lossy();
        let ending = ending.to_ascii_lowercase();
        // The last frame stands as long as one on average.
        let mean = match self.frames {
            0 | 1 => 1.0 / 30.0,
            frames => (self.last - self.first) / (frames - 1) as f64,
        };
        let mut note = None;
        if let Some(sound) = sound {
            if self.first > 0.0 {
                command.args(["-ss", &self.first.to_string()]);
            }
            command.args(["-t", &(self.last - self.first + mean).to_string()]);
            if matches!(sound.source, VideoSource::Url(_)) {
                command.args(["-rw_timeout", PATIENCE]);
            }
            command.args(sound.source.opened(&self.ffmpeg)?);
            command.args(["-map", "0:v:0", "-map", "1:a:0"]);
            let is_kept = match &*ending {
                "mkv" => true,
                "mov" => IN_BOTH
                    .iter()
                    .chain(&IN_MOV)
                    .any(|codec| *codec == sound.codec),
                _ => IN_BOTH
                    .iter()
                    .chain(&IN_MP4)
                    .any(|codec| *codec == sound.codec),
            };
            command.args(["-c:a", if is_kept { "copy" } else { "aac" }]);
            // Nothing from before the first frame.
            command.args(["-copypriorss:a", "0"]);
            if !is_kept {
                note = Some(format!(
                    "the sound is encoded anew, as .{ending} can't hold {}",
                    sound.codec
                ));
            }
        }
        command.args(["-c:v", "copy"]);
        let format = match &*ending {
            "mkv" => "matroska",
            "mov" => "mov",
            _ => "mp4",
        };
        if format != "matroska" {
            // Without a length of its own, the last frame would have none.
            command.args(["-bsf:v", &format!("setts=duration={mean:.6}/TB")]);
            command.args(["-movflags", "+faststart"]);
        }
        let output_path = self.output.as_ref().map_or(&*self.path, Temporary::path);
        command.args(["-f", format]).arg(named(output_path));
        let (_, said, ended_well) = output(&mut command, &self.ffmpeg.ffmpeg, None)?;
        if ended_well {
            return Ok(note);
        }
        let reason = reason(&said);
        Err(VideoError::Write {
            path: self.path.clone(),
            reason: match sound {
                Some(sound) => sound.source.without_password(&reason),
                None => reason,
            },
        })
    }

    /// Why ffmpeg does not take more.
    fn failed(&mut self, error: &io::Error) -> VideoError {
        self.writer = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.said.take().map(JoinHandle::join);
        let said = said.and_then(Result::ok).unwrap_or_default();
        VideoError::Write {
            path: self.path.clone(),
            reason: match said.is_empty() {
                true => error.to_string(),
                false => said,
            },
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.writer = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file as ffmpeg takes it.
fn named(path: &Path) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from("file:");
    name.push(path);
    name
}
