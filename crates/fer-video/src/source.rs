//! Where frames come from: a file, standard input, a camera, an address, a drawn test picture.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use fer_core::host::Os;
use fer_core::names;

use crate::{Ffmpeg, VideoError};

/// The endings of files that are taken for videos.
pub const ENDINGS: [&str; 18] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "mts", "m2ts", "wmv", "flv",
    "3gp", "ogv", "y4m", "mjpeg", "nut",
];

/// The kinds of addresses that ffmpeg reads.
const SCHEMES: [&str; 11] = [
    "rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "udp", "rtp", "tcp", "mms",
];

/// Those that are videos by their kind alone.
const STREAMS: [&str; 7] = ["rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "rtp"];

/// What an address may lead to. Files are not among it: a playlist could name any.
const NETWORK: &str =
    "http,https,tcp,tls,udp,rtp,srtp,crypto,httpproxy,rtmp,rtmps,rtmpt,rtsp,srt,mmsh,mmst";

/// A source of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoSource {
    /// A file, or a named pipe.
    File(PathBuf),
    /// Standard input, which is read whole.
    Stdin,
    /// A camera: its number, its device, or on Windows its name.
    Camera(String),
    /// An address.
    Url(String),
    /// A picture that ffmpeg draws (a graph of its filters), for trying things without a camera.
    Drawn(String),
}

impl VideoSource {
    /// The source that an argument names. A number is a camera, unless a file has that name.
    pub fn of(argument: &OsStr) -> Self {
        let path = || Self::File(argument.into());
        let Some(text) = argument.to_str() else {
            return path();
        };
        if text == "-" {
            return Self::Stdin;
        }
        if let Some(graph) = text.strip_prefix("lavfi:") {
            return Self::Drawn(graph.into());
        }
        if let Some(name) = text.strip_prefix("camera:") {
            return Self::Camera(name.into());
        }
        let number = text.strip_prefix("/dev/video").unwrap_or(text);
        let is_number =
            (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        if is_number && !Path::new(text).is_file() {
            return Self::Camera(number.into());
        }
        match scheme(text) {
            // ffmpeg knows none in capitals.
            Some(scheme) => Self::Url(format!("{scheme}{}", &text[scheme.len()..])),
            None => path(),
        }
    }

    /// Whether an argument of a command that takes pictures names a video.
    pub fn is_video(argument: &OsStr) -> bool {
        let path = Path::new(argument);
        let ending = path.extension().and_then(OsStr::to_str);
        let named =
            ending.is_some_and(|e| ENDINGS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        let scheme = scheme(argument.to_str().unwrap_or_default());
        (named && (path.is_file() || scheme.is_some()))
            || scheme.is_some_and(|scheme| STREAMS.contains(&scheme))
    }

    /// The name in records: as given, an address without its password.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => names::of(path),
            Self::Stdin => "-".into(),
            Self::Camera(name) => name.clone(),
            Self::Url(url) => self.without_password(url),
            Self::Drawn(graph) => format!("lavfi:{graph}"),
        }
    }

    /// A text, in which the address may stand, without its password.
    pub(crate) fn without_password(&self, text: &str) -> String {
        match self {
            Self::Url(url) => match password(url) {
                Some(password) => text.replace(&format!(":{password}@"), ":***@"),
                None => text.into(),
            },
            _ => text.into(),
        }
    }

    /// Whether the newest frame counts, as nothing can be read again. An address may turn out to
    /// be a file ([`crate::probe`]).
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Camera(_) | Self::Url(_) | Self::Drawn(_))
    }

    /// Whether it can be opened twice: once to look, once to read.
    pub(crate) fn can_be_probed(&self) -> bool {
        match self {
            Self::File(path) => path.is_file(),
            _ => self.is_http(),
        }
    }

    /// Whether it is an address of the web, which may be that of a file.
    pub(crate) fn is_http(&self) -> bool {
        matches!(self, Self::Url(url) if matches!(scheme(url), Some("http" | "https")))
    }

    /// ffmpeg's arguments to read this input: all of it, or if it is live without delay.
    pub(crate) fn input(&self, live: bool, ffmpeg: &Ffmpeg) -> Result<Vec<OsString>, VideoError> {
        let mut all = match self {
            Self::Url(_) if !live => Vec::new(),
            Self::Camera(_) => arguments(&["-fflags", "nobuffer"]),
            // Little is enough to see what it is; by default five seconds are waited for.
            Self::Url(_) => arguments(&[
                "-analyzeduration 500000 -probesize 32768 -fflags nobuffer -flags low_delay",
            ]),
            Self::Drawn(_) => arguments(&["-re"]),
            Self::File(_) | Self::Stdin => Vec::new(),
        };
        all.extend(self.opened(ffmpeg)?);
        Ok(all)
    }

    /// ffmpeg's and ffprobe's arguments to open this input.
    pub(crate) fn opened(&self, ffmpeg: &Ffmpeg) -> Result<Vec<OsString>, VideoError> {
        let (mut all, name) = match self {
            Self::File(path) => {
                let mut file = OsString::from("file:");
                file.push(path);
                (arguments(&["-protocol_whitelist file,pipe"]), file)
            }
            Self::Stdin => (arguments(&["-protocol_whitelist pipe"]), "pipe:0".into()),
            Self::Camera(name) => {
                let (format, input) = camera(name, ffmpeg)?;
                (arguments(&["-f", format]), input.into())
            }
            Self::Url(url) => {
                let mut all = arguments(&["-protocol_whitelist", NETWORK]);
                if url.starts_with("rtsp") {
                    all.extend(arguments(&["-rtsp_transport tcp"]));
                }
                (all, url.into())
            }
            Self::Drawn(graph) => (arguments(&["-f lavfi"]), graph.into()),
        };
        all.extend(["-i".into(), name]);
        Ok(all)
    }
}

/// Arguments, of which some have several words.
fn arguments(words: &[&str]) -> Vec<OsString> {
    words
        .iter()
        .flat_map(|w| w.split(' '))
        .map(OsString::from)
        .collect()
}

/// The format and the name of a camera as ffmpeg takes them.
fn camera(name: &str, ffmpeg: &Ffmpeg) -> Result<(&'static str, String), VideoError> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit());
    Ok(match ffmpeg.os() {
        Os::Linux if is_number => ("v4l2", format!("/dev/video{name}")),
        Os::Linux => ("v4l2", name.to_owned()),
        Os::MacOs => ("avfoundation", name.to_owned()),
        Os::Windows => {
            let cameras = ffmpeg.cameras();
            let named = cameras.iter().find(|(number, _)| number == name);
            match named {
                Some((_, full)) => ("dshow", format!("video={full}")),
                None if is_number => {
                    let reason = format!("there are {} cameras", cameras.len());
                    let name = format!("camera {name}");
                    return Err(VideoError::Unreadable { name, reason });
                }
                None => ("dshow", format!("video={name}")),
            }
        }
    })
}

/// Of an address that ffmpeg reads, its kind in small letters.
fn scheme(text: &str) -> Option<&'static str> {
    let (scheme, _) = text.split_once("://")?;
    let mut known = SCHEMES.into_iter();
    known.find(|known| scheme.eq_ignore_ascii_case(known))
}

/// The password in an address.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    Some(user.split_once(':')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_sources() {
        let rows = [
            ("clip.mp4", VideoSource::File("clip.mp4".into())),
            ("-", VideoSource::Stdin),
            ("0", VideoSource::Camera("0".into())),
            ("/dev/video3", VideoSource::Camera("3".into())),
            ("camera:HD Cam", VideoSource::Camera("HD Cam".into())),
            ("123", VideoSource::File("123".into())),
            ("rtsp://h/1", VideoSource::Url("rtsp://h/1".into())),
            ("HTTP://h/A.mp4", VideoSource::Url("http://h/A.mp4".into())),
            (
                "file:///etc/passwd",
                VideoSource::File("file:///etc/passwd".into()),
            ),
            ("concat:a|b", VideoSource::File("concat:a|b".into())),
            ("lavfi:testsrc", VideoSource::Drawn("testsrc".into())),
        ];
        let wrong: Vec<_> = rows
            .into_iter()
            .map(|(text, expected)| (text, VideoSource::of(text.as_ref()), expected))
            .filter(|(_, found, expected)| found != expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn capitals_in_the_kind_of_an_address_change_nothing() {
        for (text, is_video, is_http) in [
            ("HTTP://h/a", false, true),
            ("https://h/a", false, true),
            ("Https://h/a.mp4", true, true),
            ("RTSP://h/1", true, false),
            ("rtsp://h/1", true, false),
            ("HTTPS:/h/a.mp4", false, false),
        ] {
            let source = VideoSource::of(text.as_ref());
            assert_eq!(VideoSource::is_video(text.as_ref()), is_video, "{text}");
            assert_eq!(source.is_http(), is_http, "{text}");
            assert_eq!(source.can_be_probed(), is_http, "{text}");
        }
    }

    #[test]
    fn passwords_are_not_in_names() {
        let rows = [
            ("rtsp://u:p@h:554/1?a=b@c", "rtsp://u:***@h:554/1?a=b@c"),
            ("rtsp://u@h/1", "rtsp://u@h/1"),
            ("http://h/a:b@c", "http://h/a:b@c"),
            ("rtsp://u:p:q@r@h", "rtsp://u:***@h"),
        ];
        for (url, expected) in rows {
            assert_eq!(VideoSource::Url(url.into()).name(), expected);
        }
    }
}
