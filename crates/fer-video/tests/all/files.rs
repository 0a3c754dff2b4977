//! Files: every frame, with its own time, upright; and files that are none.

use std::path::Path;

use fer_video::{Event, ReadOptions, VideoError, VideoSource, probe};

use crate::clips::{clip, ffmpeg, frames, made, make, mean, read};

#[test]
fn every_frame_is_read_with_its_time() {
    let Some((ffmpeg, _folder, path)) = made("a.mp4", "testsrc2=s=160x90:r=25:d=2") else {
        return;
    };
    let all = frames(&ffmpeg, &path, ReadOptions::default());
    assert_eq!(all.len(), 50);
    let mut wrong = Vec::new();
    for (i, frame) in all.iter().enumerate() {
        if frame.index != i as u64 || (frame.time - i as f64 / 25.0).abs() > 1e-4 {
            wrong.push(format!("{i}: {} at {}", frame.index, frame.time));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((all[0].pixels.width, all[0].pixels.height), (160, 90));

    let rows = [
        (
            ReadOptions {
                every: 10,
                ..ReadOptions::default()
            },
            vec![0, 10, 20, 30, 40],
        ),
        (
            ReadOptions {
                fps: Some(5.0),
                ..ReadOptions::default()
            },
            (0..50).step_by(5).collect(),
        ),
        (
            ReadOptions {
                start: 1.0,
                duration: Some(0.2),
                ..ReadOptions::default()
            },
            (0..5).collect::<Vec<u64>>(),
        ),
    ];
    for (options, expected) in rows {
        let found = frames(&ffmpeg, &path, options);
        let indices: Vec<u64> = found.iter().map(|f| f.index).collect();
        assert_eq!(indices, expected, "{options:?}");
        let first = found[0].time;
        assert!(
            (first - options.start).abs() < 0.041,
            "{options:?}: {first}"
        );
        // The same picture as in the whole file.
        let same = &all[(first * 25.0).round() as usize];
        assert_eq!(same.pixels, found[0].pixels, "{options:?}");
    }
}

#[test]
fn times_of_a_variable_rate_are_those_of_the_container() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    // Frame n at (n + n²/10) / 25 s.
    let times = "testsrc2=s=64x64:r=25:d=0.8,settb=1/1000,setpts=(N+N*N/10)/25/TB \
                 -fps_mode passthrough -enc_time_base 1/1000";
    for name in ["v.mp4", "v.mkv"] {
        let path = clip(&ffmpeg, folder.path(), name, times);
        let found: Vec<f64> = frames(&ffmpeg, &path, ReadOptions::default())
            .iter()
            .map(|f| f.time)
            .collect();
        let expected: Vec<f64> = (0..20)
            .map(f64::from)
            .map(|n| (n + n * n / 10.0) / 25.0)
            .collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 0.002,
                "{name}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn rotated_videos_are_upright() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let halves = "color=red:s=64x32:d=0.2[a];color=blue:s=64x32:d=0.2[b];[a][b]vstack";
    clip(&ffmpeg, folder.path(), "flat.mp4", halves);
    make(
        &ffmpeg,
        folder.path(),
        "-i flat.mp4 -c copy -metadata:s:v:0 rotate=90 side.mp4",
    );
    let found = frames(
        &ffmpeg,
        &folder.path().join("side.mp4"),
        ReadOptions::default(),
    );
    let frame = &found[0];
    assert_eq!((frame.pixels.width, frame.pixels.height), (64, 64));
    let (left, right) = (mean(frame, 0..24, 20..40), mean(frame, 40..64, 20..40));
    assert!(
        (left[0] - left[2]) * (right[0] - right[2]) < -1e4,
        "{left:?} {right:?}"
    );
}

/// What a source that can't be read is said to be.
fn refusal(path: &Path) -> String {
    let ffmpeg = ffmpeg().unwrap();
    let source = VideoSource::File(path.into());
    match probe(&ffmpeg, &source) {
        Err(e) => e.to_string(),
        Ok(_) => match read(&ffmpeg, &source, ReadOptions::default()) {
            (events, Err(e)) => format!("{e} ({} events)", events.len()),
            (events, Ok(())) => format!("{} events", events.len()),
        },
    }
}

#[test]
fn what_is_no_video_is_refused_with_the_reason() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make(&ffmpeg, folder.path(), "-f lavfi -i sine=d=0.2 sound.wav");
    make(
        &ffmpeg,
        folder.path(),
        "-f lavfi -i testsrc2=s=64x64:d=1 -frames:v 0 none.nut",
    );
    clip(
        &ffmpeg,
        folder.path(),
        "whole.mp4",
        "testsrc2=s=320x240:d=2",
    );
    let whole = std::fs::read(at("whole.mp4")).unwrap();
    // The index of a usual MP4 file is at its end.
    std::fs::write(at("cut.mp4"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(at("empty.mp4"), b"").unwrap();
    std::fs::write(at("text.mp4"), b"not a video\n".repeat(100)).unwrap();
    let rows = [
        ("sound.wav", "has no video; it has: audio (pcm_s16le)"),
        ("cut.mp4", "moov atom not found"),
        ("empty.mp4", "the file is empty"),
        ("text.mp4", "can't read"),
        ("absent.mp4", "No such file"),
        (".", "it is a folder"),
    ];
    let mut wrong = Vec::new();
    for (name, expected) in rows {
        let said = refusal(&at(name));
        if !said.contains(expected) {
            wrong.push(format!("{name}: {said}"));
        }
    }
    // Headers, and nothing behind them.
    let said = refusal(&at("none.nut"));
    if !(said.contains("no frames") || said.contains("no video") || said.contains("can't read")) {
        wrong.push(format!("none.nut: {said}"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_cut_off_file_gives_its_frames_and_says_that_it_ends_early() {
    // The index first, as for the web.
    let how = "testsrc2=s=320x240:r=25:d=4 -movflags +faststart";
    let Some((ffmpeg, _folder, path)) = made("web.mp4", how) else {
        return;
    };
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() * 6 / 10]).unwrap();
    let (events, end) = read(&ffmpeg, &VideoSource::File(path), ReadOptions::default());
    end.unwrap();
    let count = events
        .iter()
        .filter(|e| matches!(e, Event::Frame(_)))
        .count();
    assert!((20..100).contains(&count), "{count} frames");
    let broken = events.iter().find_map(|e| match e {
        Event::Broken { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(broken.is_some(), "nothing is said of {count} frames");
}

#[test]
fn damage_within_a_file_is_reported_and_reading_goes_on() {
    let Some((ffmpeg, _folder, path)) = made("a.ts", "testsrc2=s=320x240:r=25:d=2 -g 10") else {
        return;
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 3000] {
        *byte ^= 0x5A;
    }
    std::fs::write(&path, bytes).unwrap();
    let (events, end) = read(&ffmpeg, &VideoSource::File(path), ReadOptions::default());
    end.unwrap();
    let broken = events
        .iter()
        .position(|e| matches!(e, Event::Broken { .. }));
    let behind = events
        .iter()
        .skip(broken.unwrap())
        .filter(|e| matches!(e, Event::Frame(_)));
    assert!(behind.count() > 5);
}

#[test]
fn a_playlist_opens_no_other_file() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = clip(&ffmpeg, folder.path(), "secret.ts", "testsrc2=s=64x64:d=1");
    let name = secret.display();
    let lists = [
        (
            "a.m3u8",
            format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n\
                 http://127.0.0.1:9/{name}\n#EXT-X-ENDLIST\n"
            ),
        ),
        (
            "b.ffconcat",
            format!("ffconcat version 1.0\nfile '{name}'\n"),
        ),
        (
            "c.mp4",
            "ffconcat version 1.0\nfile 'http://127.0.0.1:9/x.ts'\n".to_string(),
        ),
    ];
    for (list, content) in lists {
        let path = folder.path().join(list);
        std::fs::write(&path, content).unwrap();
        let said = refusal(&path);
        assert!(said.contains("can't read"), "{list}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_to_its_end() {
    let Some((ffmpeg, folder, path)) = made("a.ts", "testsrc2=s=64x64:r=25:d=1") else {
        return;
    };
    let pipe = folder.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let source = VideoSource::File(pipe.clone());
    assert_eq!(probe(&ffmpeg, &source).unwrap(), None);
    let writer = std::thread::spawn(move || std::fs::copy(path, pipe));
    let (events, end) = read(&ffmpeg, &source, ReadOptions::default());
    end.unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(events.len(), 25);
}

#[test]
fn pictures_of_8k_are_read_and_larger_ones_refused() {
    let Some((ffmpeg, folder, path)) =
        made("8k.avi", "color=gray:s=7680x4320:r=5:d=0.6 -c:v mjpeg")
    else {
        return;
    };
    let found = frames(&ffmpeg, &path, ReadOptions::default());
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].pixels.width, 7680);
    let path = clip(
        &ffmpeg,
        folder.path(),
        "16k.avi",
        "color=gray:s=12000x9000:r=5:d=0.2 -c:v mjpeg",
    );
    let source = VideoSource::File(path);
    // Not every source can be looked at before.
    for error in [
        probe(&ffmpeg, &source).unwrap_err(),
        read(&ffmpeg, &source, ReadOptions::default())
            .1
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, VideoError::TooLarge { width: 12000, .. }),
            "{error}"
        );
    }
}
