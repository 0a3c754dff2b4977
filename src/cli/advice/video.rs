//! Advice about videos.

use fer::video::VideoError;

/// How ffmpeg is installed.
pub const INSTALL: &str =
    "install it with `apt-get install ffmpeg`, `brew install ffmpeg` or `winget install ffmpeg`";

pub fn video(error: &VideoError) -> Option<String> {
    match error {
        VideoError::NoFfmpeg { .. } => Some(INSTALL.into()),
        VideoError::NoEncoder { .. } => Some(format!("get a usual build: {INSTALL}")),
        VideoError::Codec { .. } => Some("`ffmpeg -codecs` lists what it decodes".into()),
        VideoError::Lost { .. } => Some("--reconnect SECONDS tries for longer".into()),
        VideoError::Unreadable { name, .. } if name == "-" => Some(
            "an MP4 video that has its index at the end can't be read from a pipe: name its file, \
             or write it with ffmpeg's `-movflags +faststart`"
                .into(),
        ),
        VideoError::Unreadable { name, .. } if name.len() <= 2 => {
            Some("`fer doctor` lists the cameras".into())
        }
        VideoError::Unreadable { .. }
        | VideoError::Start { .. }
        | VideoError::NoVideo { .. }
        | VideoError::TooLarge { .. }
        | VideoError::NoFrames { .. }
        | VideoError::Output { .. }
        | VideoError::Ending { .. }
        | VideoError::Write { .. } => None,
    }
}
