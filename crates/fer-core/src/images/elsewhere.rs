//! Arguments that name pictures which are in no file: addresses and cameras. Each gets what to do
//! to make files of them.

use std::path::Path;

/// Why an argument that names no file can't be read, and what to do, if it is an address or a
/// camera.
pub(super) fn named(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    address(text).or_else(|| camera(path))
}

/// What to do with an address (a URL), which is given where a file is wanted: words that follow its
/// name.
pub fn address(text: &str) -> Option<String> {
    if text
        .get(..5)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("data:"))
    {
        return Some("is a data URL, not a file; decode its Base64 into a file".into());
    }
    // A path in its normal form, as a list or another program writes it, has one slash.
    let (scheme, rest) = text.split_once(":/")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if scheme.len() < 2 || !scheme.chars().all(is_name) {
        return None;
    }
    let rest = rest.trim_start_matches('/');
    let scheme = scheme.to_ascii_lowercase();
    Some(match scheme.as_str() {
        "file" => format!("is a URL, not a path; name the file itself, /{rest}"),
        "rtsp" | "rtsps" | "rtmp" | "rtmps" | "rtp" | "srt" | "udp" | "mms" => format!(
            "is a video stream, not a file; write some of its frames with `ffmpeg -i \
             {scheme}://{rest} -vf fps=1 -frames:v 60 frame%02d.png` and use those"
        ),
        "http" | "https" | "ftp" => {
            format!("is a URL, not a file; download it first, as with `curl -LO '{text}'`")
        }
        _ => "is a URL, not a file; copy what it names into a file first".into(),
    })
}

/// What to do with a camera: a number, as OpenCV takes one, or its device.
pub(super) fn camera(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let number = text.strip_prefix("/dev/video").unwrap_or(text);
    if number.is_empty() || number.len() > 2 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let input = if cfg!(target_os = "macos") {
        format!("-f avfoundation -i {number}")
    } else if cfg!(windows) {
        "-f dshow -i video=NAME".into()
    } else {
        format!("-f v4l2 -i /dev/video{number}")
    };
    Some(format!(
        "is not a file; if it is a camera, write some of its frames with `ffmpeg {input} \
         -frames:v 30 frame%02d.png` and use those"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_cameras_are_recognized() {
        let rows = [
            (
                "https://x.y/a.jpg?b=c",
                Some("`curl -LO 'https://x.y/a.jpg?b=c'`"),
            ),
            ("HTTP://x.y/*", Some("is a URL")),
            ("https:/x.y/a.jpg", Some("is a URL")),
            ("s3://bucket/a.jpg", Some("copy what it names into a file")),
            (
                "file:///tmp/a.jpg",
                Some("name the file itself, /tmp/a.jpg"),
            ),
            ("rtsp://camera/1", Some("`ffmpeg -i rtsp://camera/1 ")),
            // ffmpeg knows none in capitals.
            ("RTSP://camera/1", Some("`ffmpeg -i rtsp://camera/1 ")),
            ("DATA:image/png;base64,AA==", Some("data URL")),
            ("data:image/png;base64,AA==", Some("data URL")),
            ("0", Some("if it is a camera")),
            ("12", Some("if it is a camera")),
            ("/dev/video3", Some("if it is a camera")),
            ("123", None),
            ("0.png", None),
            ("/dev/video", None),
            ("/dev/zero", None),
            ("C:/photos/a.jpg", None),
            ("my photos:/a.jpg", None),
            ("photos/a.jpg", None),
            ("", None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(text, word)| (text, named(Path::new(text)), word))
            .filter(|(_, found, word)| match (found, word) {
                (Some(found), Some(word)) => !found.contains(word),
                (found, word) => found.is_some() != word.is_some(),
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
