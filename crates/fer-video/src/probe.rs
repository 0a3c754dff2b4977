//! What a file is, before it is read: ffprobe's answer.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::ffmpeg::{output, reason};
use crate::{Ffmpeg, VideoError, VideoSource};

/// What is known about a source before its first frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    /// How long it is, in seconds.
    pub duration: Option<f64>,
    /// Frames a second, on average.
    pub rate: Option<f64>,
    /// The number of frames, as the file states it.
    pub frames: Option<u64>,
    /// The codec of the first stream of sound.
    pub sound: Option<String>,
}

impl Probe {
    /// The number of frames in a part of the file, if it can be told; an estimate.
    pub fn frames_in(&self, start: f64, duration: Option<f64>) -> Option<u64> {
        if let (Some(frames), true, None) = (self.frames, start == 0.0, duration) {
            return Some(frames);
        }
        let left = (self.duration? - start).max(0.0);
        Some((duration.unwrap_or(left).min(left) * self.rate?).round() as u64)
    }
}

/// How long looking at a file may take, and at an address, which may stall.
const FILE: Duration = Duration::from_secs(120);
const ADDRESS: Duration = Duration::from_secs(8);

/// What ffprobe says.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    codec_type: String,
    codec_name: Option<String>,
    #[serde(default)]
    codec_tag_string: String,
    width: Option<u64>,
    height: Option<u64>,
    avg_frame_rate: Option<String>,
    nb_frames: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    disposition: Disposition,
}

#[derive(Deserialize, Default)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
}

#[derive(Deserialize, Default)]
struct Format {
    duration: Option<String>,
}

/// Looks at a source; `None` if it can be opened only once, as a camera or a pipe.
///
/// # Errors
/// It can't be read, or has no video that can.
pub fn probe(ffmpeg: &Ffmpeg, source: &VideoSource) -> Result<Option<Probe>, VideoError> {
    let name = source.name();
    if let VideoSource::File(path) = source {
        let unreadable = |reason: String| VideoError::Unreadable {
            name: name.clone(),
            reason,
        };
        let metadata = path.metadata().map_err(|e| unreadable(e.to_string()))?;
        if metadata.is_dir() {
            return Err(unreadable("it is a folder; name a file in it".into()));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(unreadable("the file is empty".into()));
        }
    }
    if !source.can_be_probed() {
        return Ok(None);
    }
    let mut command = ffmpeg.probe_command();
    command.args(["-print_format", "json", "-show_streams", "-show_format"]);
    command.args(source.opened(ffmpeg)?);
    let is_file = matches!(source, VideoSource::File(_));
    let limit = if is_file { FILE } else { ADDRESS };
    let began = Instant::now();
    let (printed, said, ended_well) = output(&mut command, &ffmpeg.ffprobe, Some(limit))?;
    if !is_file && !ended_well && began.elapsed() > limit {
        // A file answers sooner.
        return Ok(None);
    }
    let answer = serde_json::from_str(&printed).ok().filter(|_| ended_well);
    match answer {
        Some(answer) => checked(answer, &name).map(Some),
        None => Err(VideoError::Unreadable {
            name,
            reason: source.without_password(&reason(&said)),
        }),
    }
}

fn checked(answer: Answer, name: &str) -> Result<Probe, VideoError> {
    let named = |stream: &Stream| match &stream.codec_name {
        Some(codec) if codec != "unknown" => format!("{} ({codec})", stream.codec_type),
        _ => format!("{} ({})", stream.codec_type, stream.codec_tag_string),
    };
    let is_video = |s: &&Stream| s.codec_type == "video" && s.disposition.attached_pic == 0;
    let Some(video) = answer.streams.iter().find(is_video) else {
        let found: Vec<String> = answer.streams.iter().map(named).collect();
        return Err(VideoError::NoVideo {
            name: name.into(),
            found: match found.is_empty() {
                true => "nothing".into(),
                false => found.join(", "),
            },
        });
    };
    if video
        .codec_name
        .as_deref()
        .is_none_or(|codec| codec == "unknown")
    {
        return Err(VideoError::Codec {
            name: name.into(),
            codec: video.codec_tag_string.clone(),
        });
    }
    if let (Some(width), Some(height)) = (video.width, video.height) {
        let pixels = width.saturating_mul(height);
        if pixels > fer_core::images::MAX_PIXELS {
            let name = name.into();
            return Err(VideoError::TooLarge {
                name,
                width,
                height,
            });
        }
    }
    let sound = answer.streams.iter().find(|s| s.codec_type == "audio");
    let positive = |text: &Option<String>| {
        let number = text.as_deref().and_then(|t| t.parse::<f64>().ok());
        number.filter(|n| n.is_finite() && *n > 0.0)
    };
    Ok(Probe {
        duration: positive(&answer.format.duration).or_else(|| positive(&video.duration)),
        rate: video.avg_frame_rate.as_deref().and_then(ratio),
        frames: video
            .nb_frames
            .as_deref()
            .and_then(|n| n.parse().ok())
            .filter(|n| *n > 0),
        sound: sound.map(|s| s.codec_name.clone().unwrap_or_default()),
    })
}

/// `30000/1001`.
fn ratio(text: &str) -> Option<f64> {
    let (num, den) = text.split_once('/')?;
    let ratio = num.parse::<f64>().ok()? / den.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Probe, String> {
        checked(serde_json::from_str(json).unwrap(), "x").map_err(|e| e.to_string())
    }

    #[test]
    fn answers_become_probes_or_reasons() {
        let whole = r#"{"streams": [
            {"codec_type": "video", "codec_name": "mjpeg", "disposition": {"attached_pic": 1}},
            {"codec_type": "video", "codec_name": "h264", "width": 1280, "height": 720,
             "avg_frame_rate": "30000/1001", "nb_frames": "300", "duration": "10.0"},
            {"codec_type": "audio", "codec_name": "aac"}], "format": {"duration": "10.5"}}"#;
        let probe = of(whole).unwrap();
        assert_eq!((probe.duration, probe.frames), (Some(10.5), Some(300)));
        assert_eq!(probe.sound.as_deref(), Some("aac"));
        assert_eq!(probe.frames_in(0.0, None), Some(300));
        assert_eq!(probe.frames_in(5.5, None), Some(150));
        assert_eq!(probe.frames_in(5.5, Some(2.0)), Some(60));
        let rows = [
            (r#"{"streams": []}"#, "has no video; it has: nothing"),
            (
                r#"{"streams": [{"codec_type": "audio", "codec_name": "mp3"},
                    {"codec_type": "video", "codec_name": "png",
                     "disposition": {"attached_pic": 1}}]}"#,
                "has no video; it has: audio (mp3), video (png)",
            ),
            (
                r#"{"streams": [{"codec_type": "video", "codec_tag_string": "ABCD"}]}"#,
                "can't decode its video (ABCD)",
            ),
            (
                r#"{"streams": [{"codec_type": "video", "codec_name": "h264", "width": 20000,
                    "height": 20000}]}"#,
                "over the limit of 100 megapixels",
            ),
        ];
        for (json, expected) in rows {
            let error = of(json).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
