//! One run of ffmpeg that decodes a source to raw frames.

use std::io::BufReader;
use std::process::{ChildStdout, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::ffmpeg::{Reason, Running, lines, spawn};
use crate::nut::{NutError, Reader};
use crate::{Ffmpeg, ReadOptions, VideoError, VideoSource};

/// A running ffmpeg.
pub(crate) struct Decoder {
    frames: Option<Reader<BufReader<ChildStdout>>>,
    stdout: Option<ChildStdout>,
    child: Running,
    said: Arc<Mutex<Said>>,
    listener: Option<JoinHandle<()>>,
}

/// What ffmpeg said on standard error.
#[derive(Default)]
struct Said {
    /// The first line since the last frame, and the number of lines.
    since: Option<(String, usize)>,
    reason: Reason,
}

/// A step of decoding.
pub(crate) enum Step {
    /// A frame at a time in seconds; its pixels are in the buffer.
    Frame(f64),
    /// A picture of another size than the first.
    OtherSize,
    /// Nothing more comes.
    End,
}

impl Decoder {
    /// Starts to decode, to frames of `size` (width and height) or of the source's own.
    ///
    /// # Errors
    /// ffmpeg can't be started.
    pub(crate) fn start(
        ffmpeg: &Ffmpeg,
        source: &VideoSource,
        options: &ReadOptions,
        size: Option<[usize; 2]>,
    ) -> Result<Self, VideoError> {
        let mut command = ffmpeg.command();
        if options.start > 0.0 {
            command.args(["-ss", &options.start.to_string()]);
        }
        if let Some(duration) = options.duration {
            command.args(["-t", &duration.to_string()]);
        }
        command.args(source.input(options.live, ffmpeg)?);
        // The first video that is not a cover picture.
        command.args(["-map", "0:V:0"]);
        command.args(ffmpeg.keep_times());
        if let Some([width, height]) = size {
            command.args(["-s", &format!("{width}x{height}")]);
        }
        command.args([
            "-enc_time_base",
            "-1",
            "-c:v",
            "rawvideo",
            // With more, each thread keeps a frame back.
            "-threads",
            "1",
            "-pix_fmt",
            "rgb24",
        ]);
        command.args(["-flush_packets", "1", "-f", "nut", "pipe:1"]);
        command.stdin(match source {
            VideoSource::Stdin => Stdio::inherit(),
            _ => Stdio::null(),
        });
        command.stdout(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let stdout = child.stdout.take();
        let said = Arc::new(Mutex::new(Said::default()));
        let listener = child.stderr.take().map(|stderr| {
            let (said, source) = (said.clone(), source.clone());
            std::thread::spawn(move || {
                lines(stderr, |line| {
                    let line = source.without_password(&line);
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    said.since.get_or_insert_with(|| (line.clone(), 0)).1 += 1;
                    said.reason.add(&line);
                });
            })
        });
        Ok(Self {
            frames: None,
            stdout,
            child: Running::new(child),
            said,
            listener,
        })
    }

    /// The process.
    pub(crate) fn running(&self) -> Running {
        self.child.clone()
    }

    /// Decodes the next frame into `data`, in RGB.
    ///
    /// # Errors
    /// ffmpeg's output is not what it should be.
    pub(crate) fn step(&mut self, data: &mut Vec<u8>) -> Result<Step, NutError> {
        // What ends early was ended by ffmpeg, which has said why.
        let ended = |e: NutError| match e {
            NutError::Io(_) => Ok(Step::End),
            e => Err(e),
        };
        let reader = match (&mut self.frames, self.stdout.take()) {
            (Some(reader), _) => reader,
            (None, None) => return Ok(Step::End),
            (frames, Some(stdout)) => {
                match Reader::new(BufReader::with_capacity(1 << 16, stdout)) {
                    Ok(reader) => frames.insert(reader),
                    Err(e) => return ended(e),
                }
            }
        };
        match reader.next(data) {
            Ok(Some(_)) if data.len() != reader.frame_bytes() => Ok(Step::OtherSize),
            Ok(Some(time)) => Ok(Step::Frame(time)),
            Ok(None) => Ok(Step::End),
            Err(e) => ended(e),
        }
    }

    /// Width and height of the frames; 0 before the first.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.frames.as_ref().map_or([0, 0], Reader::size)
    }

    /// What ffmpeg said since this was last asked, in a line.
    pub(crate) fn said(&self) -> Option<String> {
        let (first, count) = self.lock().since.take()?;
        Some(match count {
            0 | 1 => first,
            n => format!("{first} (and {} more messages)", n - 1),
        })
    }

    /// Waits for the end of the process: whether it ended well, and its last message.
    pub(crate) fn finish(&mut self) -> (bool, String) {
        // Without a reader, ffmpeg does not wait.
        (self.frames, self.stdout) = (None, None);
        let status = self.child.wait(None);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        (
            status.is_ok_and(|s| s.success()),
            self.lock().reason.0.clone(),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.child.kill();
        self.finish();
    }
}
