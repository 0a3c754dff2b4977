//! Videos that are written: as many frames as went in, at their times, with the sound.

use fer_core::images::Pixels;
use fer_video::{Encoder, ReadOptions, Sound, VideoError, VideoSource, probe};

use crate::clips::{ffmpeg, frames, make, mean};

fn picture(level: u8) -> Pixels {
    Pixels {
        width: 65,
        height: 49,
        channels: 3,
        data: vec![level; 65 * 49 * 3],
    }
}

#[test]
fn as_many_frames_come_out_as_went_in_at_their_times() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for name in ["a.mp4", "a.mov", "a.mkv", "a.M4V"] {
        for count in [1, 2, 37] {
            let path = folder.path().join(name);
            let mut encoder = Encoder::start(&ffmpeg, &path, [65, 49], None).unwrap();
            // Of a variable rate.
            let times: Vec<f64> = (0..count)
                .map(|n| f64::from(n * (n + 20)) / 400.0)
                .collect();
            for (i, time) in times.iter().enumerate() {
                encoder.frame(*time, &picture((i * 6) as u8).data).unwrap();
            }
            assert_eq!(encoder.finish().unwrap(), None);
            let found = frames(&ffmpeg, &path, ReadOptions::default());
            if found.len() != times.len() {
                wrong.push(format!("{name}: {} of {count} frames", found.len()));
            }
            for (i, (frame, time)) in found.iter().zip(&times).enumerate() {
                let level = mean(frame, 0..60, 0..40)[0];
                if (frame.time - time).abs() > 0.002 || (level - i as f64 * 6.0).abs() > 4.0 {
                    wrong.push(format!("{name}: {i} at {}, level {level}", frame.time));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nothing else is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn the_sound_is_kept_and_cut_to_the_frames() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (codec, ending, note) in [
        ("aac", "mp4", false),
        ("pcm_s16le", "mkv", false),
        ("pcm_s16le", "mp4", true),
        ("libopus", "mp4", false),
        ("libopus", "mov", true),
        ("flac", "mkv", false),
        ("flac", "mp4", true),
        ("flac", "mov", true),
    ] {
        make(
            &ffmpeg,
            folder.path(),
            &format!(
                "-f lavfi -i testsrc2=s=64x48:r=20:d=3 -f lavfi -i sine=d=3 -c:a {codec} in.mkv"
            ),
        );
        let source = VideoSource::File(folder.path().join("in.mkv"));
        let sound = probe(&ffmpeg, &source).unwrap().unwrap().sound.unwrap();
        let codec = codec.trim_start_matches("lib");
        assert_eq!(sound, codec);
        let path = folder.path().join(format!("out.{ending}"));
        let sound = Some(Sound {
            source,
            codec: sound,
        });
        let mut encoder = Encoder::start(&ffmpeg, &path, [65, 49], sound).unwrap();
        for frame in 20..40 {
            encoder
                .frame(f64::from(frame) / 20.0, &picture(99).data)
                .unwrap();
        }
        let said = encoder.finish().unwrap();
        assert_eq!(said.is_some(), note, "{codec} {ending}: {said:?}");
        let written = probe(&ffmpeg, &VideoSource::File(path.clone()))
            .unwrap()
            .unwrap();
        let expected = if note { "aac" } else { codec };
        assert_eq!(written.sound.as_deref(), Some(expected), "{ending}");
        let duration = written.duration.unwrap();
        assert!(
            (0.95..1.15).contains(&duration),
            "{codec} {ending}: {duration} s"
        );
        assert_eq!(
            frames(&ffmpeg, &path, ReadOptions::default()).len(),
            20,
            "{codec} {ending}"
        );
    }
}

#[test]
fn sound_that_is_gone_takes_no_picture_with_it() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.mp4");
    let sound = Some(Sound {
        source: VideoSource::File(folder.path().join("gone.mp4")),
        codec: "aac".into(),
    });
    let mut encoder = Encoder::start(&ffmpeg, &path, [65, 49], sound).unwrap();
    for frame in 0..5 {
        encoder
            .frame(f64::from(frame) / 20.0, &picture(99).data)
            .unwrap();
    }
    let said = encoder.finish().unwrap().unwrap();
    assert!(said.contains("No such file"), "{said}");
    assert_eq!(frames(&ffmpeg, &path, ReadOptions::default()).len(), 5);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_can_t_be_written_is_said() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str| Encoder::start(&ffmpeg, &folder.path().join(name), [64, 64], None);
    assert!(matches!(
        start("a.gif").err(),
        Some(VideoError::Ending { .. })
    ));
    assert!(matches!(
        start("none/a.mp4").err(),
        Some(VideoError::Write { .. })
    ));
    let mut encoder = start("a.mp4").unwrap();
    assert!(encoder.frame(0.0, &[1, 2, 3]).is_err());
    drop(encoder);
    assert!(start("a.mp4").unwrap().finish().unwrap().is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
