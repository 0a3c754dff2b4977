//! Live sources: the newest frame, what was passed over, and sources that go away.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fer_video::{Event, Frames, ReadOptions, VideoError, VideoSource, probe};

use crate::clips::{clip, ffmpeg, made, read};

fn live() -> ReadOptions {
    ReadOptions {
        live: true,
        stall: Duration::from_secs(2),
        reconnect: Duration::from_secs(20),
        ..ReadOptions::default()
    }
}

#[test]
fn a_slow_reader_gets_the_newest_frame_and_the_number_of_the_others() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let source = VideoSource::Drawn("testsrc2=s=160x90:r=50:d=1.5".into());
    let frames = Frames::start(&ffmpeg, &source, live(), Arc::default());
    let mut found = Vec::new();
    for event in frames.events() {
        let Event::Frame(frame) = event else {
            panic!("{event:?}")
        };
        found.push((frame.index, frame.skipped));
        std::thread::sleep(Duration::from_millis(70));
    }
    frames.finish().unwrap();
    let mut next = 0;
    for (index, skipped) in &found {
        assert_eq!(*index, next + skipped, "{found:?}");
        next = index + 1;
    }
    assert!(found.iter().any(|(_, skipped)| *skipped > 0), "{found:?}");
    // The last frame is never passed over.
    assert_eq!(next, 75, "{found:?}");
}

#[test]
fn the_flag_ends_a_source_without_an_end() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let source = VideoSource::Drawn("testsrc2=s=64x64:r=25".into());
    let frames = Frames::start(&ffmpeg, &source, live(), stop.clone());
    let mut count = 0;
    for _ in frames.events() {
        count += 1;
        stop.store(count == 5, Ordering::Relaxed);
    }
    assert_eq!(count, 5);
    frames.finish().unwrap();
}

/// A server whose first connection stalls after its bytes, whose second ends after its own.
fn stalling(connections: [Vec<u8>; 2]) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/clip", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut held = Vec::new();
        for (number, bytes) in connections.iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 2000];
            let _ = stream.read(&mut request);
            let head = "HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let _ = stream.write_all(bytes);
            // The first stays open, and silent.
            if number == 0 {
                held.push(stream);
            }
        }
    });
    (address, server)
}

#[test]
fn a_stream_that_stalls_is_connected_again_and_the_gap_is_reported() {
    let Some((ffmpeg, _folder, path)) = made("a.ts", "testsrc2=s=320x240:r=25:d=4") else {
        return;
    };
    let whole = std::fs::read(path).unwrap();
    let (address, server) = stalling([whole[..whole.len() / 2].to_vec(), whole]);
    let (events, end) = read(&ffmpeg, &VideoSource::Url(address), live());
    end.unwrap();
    server.join().unwrap();
    let gap = events
        .iter()
        .position(|e| matches!(e, Event::Gap { .. }))
        .expect("a gap");
    let Event::Gap { seconds, time, .. } = &events[gap] else {
        unreachable!()
    };
    assert!(*seconds > 0.9 && *time > *seconds, "{seconds} s, at {time}");
    let times: Vec<f64> = events
        .iter()
        .filter_map(|e| match e {
            Event::Frame(frame) => Some(frame.time),
            _ => None,
        })
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(events[gap..].iter().any(|e| matches!(e, Event::Frame(_))));
}

#[test]
fn a_stream_that_comes_back_keeps_its_size_and_the_duration_that_was_asked_for() {
    let Some((ffmpeg, folder, path)) = made("a.ts", "testsrc2=s=320x240:r=25:d=2") else {
        return;
    };
    let other = clip(
        &ffmpeg,
        folder.path(),
        "b.ts",
        "testsrc2=s=160x120:r=10:d=20",
    );
    let (address, _) = stalling([path, other].map(|path| std::fs::read(path).unwrap()));
    let options = ReadOptions {
        duration: Some(8.0),
        ..live()
    };
    let (events, end) = read(&ffmpeg, &VideoSource::Url(address), options);
    end.unwrap();
    assert!(events.iter().any(|e| matches!(e, Event::Gap { .. })));
    let mut wrong = Vec::new();
    for event in events {
        if let Event::Frame(frame) = event {
            let size = [frame.pixels.width, frame.pixels.height];
            if size != [320, 240] || frame.time >= 8.0 {
                wrong.push(format!("{size:?} at {}", frame.time));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_source_that_does_not_come_back_is_lost() {
    let Some((ffmpeg, _folder, path)) = made("a.ts", "testsrc2=s=320x240:r=25:d=4") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let bytes = std::fs::read(path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 2000]);
        let head = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n";
        stream.write_all(head).unwrap();
        let _ = stream.write_all(&bytes[..bytes.len() / 2]);
        drop(listener);
        std::thread::sleep(Duration::from_secs(4));
    });
    let options = ReadOptions {
        reconnect: Duration::from_secs(2),
        ..live()
    };
    let began = Instant::now();
    let (events, end) = read(&ffmpeg, &VideoSource::Url(address), options);
    assert!(!events.is_empty());
    assert!(matches!(end, Err(VideoError::Lost { .. })), "{end:?}");
    assert!(began.elapsed() > Duration::from_millis(900));
    server.join().unwrap();

    // Nothing was ever there.
    let options = ReadOptions {
        reconnect: Duration::from_secs(60),
        ..live()
    };
    let (_, end) = read(
        &ffmpeg,
        &VideoSource::Url("http://127.0.0.1:9/".into()),
        options,
    );
    assert!(matches!(end, Err(VideoError::Unreadable { .. })), "{end:?}");
}

/// A program that closes its outputs and goes on, as ffmpeg may while it takes leave of a server.
#[cfg(unix)]
#[test]
fn an_ffmpeg_that_does_not_end_is_ended() {
    let Some(mut ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    ffmpeg.ffmpeg = folder.path().join("ffmpeg");
    // Written by another process, so that no file of this one is open for writing as it is run.
    let script = "#!/bin/sh\nexec >&- 2>&-\nexec sleep 1000\n";
    let written = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            r#"printf "$1" > "$2" && chmod 755 "$2""#,
            "sh",
            script,
        ])
        .arg(&ffmpeg.ffmpeg)
        .status();
    assert!(written.unwrap().success());
    let stop = Arc::new(AtomicBool::new(false));
    let source = VideoSource::Drawn("testsrc2".into());
    let frames = Frames::start(&ffmpeg, &source, live(), stop.clone());
    // Until it is waited for.
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    assert_eq!(frames.wait(), None);
    frames.finish().unwrap();
}

#[test]
fn a_password_is_in_no_message() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    // A playlist whose only part is missing. ffmpeg names the part with its whole address.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2000];
            let _ = stream.read(&mut request);
            let answer = match request.starts_with(b"GET /list.m3u8") {
                true => {
                    "HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n\
                     #EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n"
                }
                false => "HTTP/1.0 404 Not Found\r\n\r\n",
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let source = VideoSource::Url(format!("http://user:secret@{host}/list.m3u8"));
    let refusals = [
        probe(&ffmpeg, &source).map(drop),
        read(&ffmpeg, &source, live()).1,
    ];
    for refusal in refusals {
        let said = refusal.unwrap_err().to_string();
        assert!(
            said.contains("user:***@") && !said.contains("secret"),
            "{said}"
        );
    }
}
