//! Clips for tests, made by ffmpeg, and the machine's ffmpeg itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fer_core::host::Host;
use fer_video::{Event, Ffmpeg, Frame, Frames, ReadOptions, VideoError, VideoSource};
use tempfile::TempDir;

/// ffmpeg, or `None` and a word about it.
pub fn ffmpeg() -> Option<Ffmpeg> {
    match Ffmpeg::find(&Host::from_env()) {
        Ok(ffmpeg) => Some(ffmpeg),
        Err(e) => {
            let required = std::env::var("FER_REQUIRE")
                .is_ok_and(|list| list.split(',').any(|w| w.trim() == "ffmpeg"));
            assert!(!required, "FER_REQUIRE asks for ffmpeg, and {e}");
            eprintln!("SKIPPED: needs ffmpeg; {e}");
            None
        }
    }
}

/// Runs ffmpeg on these arguments, separated by spaces, in a folder.
#[track_caller]
pub fn make(ffmpeg: &Ffmpeg, folder: &Path, args: &str) {
    let done = Command::new(&ffmpeg.ffmpeg)
        .args(["-nostdin", "-y", "-loglevel", "error"])
        .args(args.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args}: {said}");
}

/// A clip of a test picture.
#[track_caller]
pub fn clip(ffmpeg: &Ffmpeg, folder: &Path, name: &str, how: &str) -> PathBuf {
    make(ffmpeg, folder, &format!("-f lavfi -i {how} {name}"));
    folder.join(name)
}

/// ffmpeg, a folder, and a clip of a test picture in it; `None` without ffmpeg.
#[track_caller]
pub fn made(name: &str, how: &str) -> Option<(Ffmpeg, TempDir, PathBuf)> {
    let ffmpeg = ffmpeg()?;
    let folder = tempfile::tempdir().unwrap();
    let path = clip(&ffmpeg, folder.path(), name, how);
    Some((ffmpeg, folder, path))
}

/// All events of a source.
pub fn read(
    ffmpeg: &Ffmpeg,
    source: &VideoSource,
    options: ReadOptions,
) -> (Vec<Event>, Result<(), VideoError>) {
    let frames = Frames::start(ffmpeg, source, options, Arc::default());
    let events = frames.events().collect();
    (events, frames.finish())
}

/// The frames of a file, all of which must be whole.
#[track_caller]
pub fn frames(ffmpeg: &Ffmpeg, path: &Path, options: ReadOptions) -> Vec<Frame> {
    let (events, end) = read(ffmpeg, &VideoSource::File(path.into()), options);
    end.unwrap();
    let frame = |event| match event {
        Event::Frame(frame) => frame,
        other => panic!("{}: {other:?}", path.display()),
    };
    events.into_iter().map(frame).collect()
}

/// The mean of the pixels of a part of a frame.
pub fn mean(frame: &Frame, x: std::ops::Range<usize>, y: std::ops::Range<usize>) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for row in y.clone() {
        for column in x.clone() {
            let pixel = &frame.pixels.data[(row * frame.pixels.width + column) * 3..][..3];
            sums.iter_mut()
                .zip(pixel)
                .for_each(|(s, v)| *s += f64::from(*v));
        }
    }
    sums.map(|sum| sum / (x.len() * y.len()) as f64)
}
