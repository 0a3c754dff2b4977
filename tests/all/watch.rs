//! `fer watch` and `fer infer` on videos: clips are made of the example photographs by ffmpeg.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fer::video::{Ffmpeg, Probe, VideoSource, probe};
use serde_json::Value;

use crate::common::{Run, fer, ffmpeg, path, run};

/// Runs ffmpeg on these arguments, separated by spaces.
#[track_caller]
fn make(ffmpeg: &Ffmpeg, args: &str) {
    let mut command = Command::new(&ffmpeg.ffmpeg);
    command.args(["-nostdin", "-y", "-loglevel", "error"]);
    let done = command.args(args.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args}: {said}");
}

/// A clip of 25 frames a second of the two photographs, which move towards each other and apart,
/// with sound.
fn two_faces(ffmpeg: &Ffmpeg, folder: &Path) -> PathBuf {
    let file = folder.join("two.mp4");
    let (a, b) = (
        path("examples/photos/astronaut.jpg"),
        path("examples/photos/grace_hopper.jpg"),
    );
    make(
        ffmpeg,
        &format!(
            "-loop 1 -r 25 -i {a} -loop 1 -r 25 -i {b} -f lavfi -i sine -filter_complex \
             color=gray:s=640x360:r=25[bg];[0:v]scale=240:-1[a];[1:v]scale=240:-1[b];\
             [bg][a]overlay=x=20+40*t:y=40[c];[c][b]overlay=x=380-20*t:y=20[v] \
             -map [v] -map 2:a -t 2 -pix_fmt yuv420p -c:a aac {}",
            file.display()
        ),
    );
    file
}

fn records(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// The frames in which each track is.
fn tracks(records: &[Value]) -> BTreeMap<u64, usize> {
    let mut tracks = BTreeMap::new();
    for face in records
        .iter()
        .filter_map(|r| r["faces"].as_array())
        .flatten()
    {
        *tracks.entry(face["track"].as_u64().unwrap()).or_default() += 1;
    }
    tracks
}

fn probed(ffmpeg: &Ffmpeg, file: &Path) -> Probe {
    probe(ffmpeg, &VideoSource::File(file.into()))
        .unwrap()
        .unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_clip_becomes_records_a_video_a_timeline_and_a_summary() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clip = text(&two_faces(&ffmpeg, folder.path()));
    let at = |name: &str| folder.path().join(name);
    let done = run(&[
        "watch",
        &clip,
        "--annotate",
        &text(&at("out.mp4")),
        "--timeline",
        &text(&at("t.png")),
        "--summary",
        &text(&at("s.json")),
    ])
    .expect(0);
    let all = records(&done.stdout);
    assert_eq!(all.len(), 50);
    for (i, record) in all.iter().enumerate() {
        assert_eq!(record["frame"], i);
        assert!((record["time"].as_f64().unwrap() - i as f64 / 25.0).abs() < 1e-4);
        assert_eq!(
            (&record["width"], &record["height"]),
            (&640.into(), &360.into())
        );
        assert_eq!(record["path"], clip);
    }
    let main: Vec<usize> = tracks(&all).into_values().filter(|n| *n > 5).collect();
    assert_eq!(main, [50, 50], "{:?}", tracks(&all));
    // The astronaut smiles.
    let happy = |r: &&Value| {
        r["faces"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["label"] == "happy")
    };
    assert!(all.iter().filter(happy).count() >= 45);

    let written = probed(&ffmpeg, &at("out.mp4"));
    assert_eq!(
        (written.frames, written.sound.as_deref()),
        (Some(50), Some("aac"))
    );
    assert!(
        (1.9..2.2).contains(&written.duration.unwrap()),
        "{written:?}"
    );
    assert!(image::open(at("t.png")).unwrap().width() > 1000);
    let summary: Value = serde_json::from_slice(&std::fs::read(at("s.json")).unwrap()).unwrap();
    assert_eq!(summary["frames"], 50);
    assert!(
        (summary["tracks"][0]["seconds"].as_f64().unwrap() - 2.0).abs() < 0.1,
        "{summary}"
    );
    assert!(done.stderr.contains("50 frames in "), "{}", done.stderr);
}

#[test]
fn infer_takes_a_video_and_every_format_has_frames_and_tracks() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clip = text(&two_faces(&ffmpeg, folder.path()));
    let watch = |args: &[&str]| {
        run(&[&["watch", &clip, "-q", "--duration", "0.2"], args].concat()).expect(0)
    };
    let csv = watch(&["--format", "csv"]).stdout;
    let header = "path,frame,time,face,track,x,y,w,h,score,label,confidence,angry";
    assert!(csv.starts_with(header), "{csv}");
    assert_eq!(csv.lines().count(), 11, "{csv}");
    let second = csv.lines().nth(3).unwrap();
    assert!(second.starts_with(&format!("{clip},1,0.04,0,")), "{second}");

    let table = run(&["infer", "-q", &clip]).expect(0).stdout;
    assert!(table.contains(" at 1.960 s"), "{table}");
    let jsonl = run(&["infer", "-q", &clip, "--format", "jsonl"])
        .expect(0)
        .stdout;
    assert_eq!(records(&jsonl).len(), 50);
    // The same, from standard input, where the index must come first.
    let web = folder.path().join("web.mkv");
    make(&ffmpeg, &format!("-i {clip} -c copy {}", web.display()));
    let input = std::fs::File::open(&web).unwrap();
    let piped = fer()
        .args(["watch", "-", "-q"])
        .stdin(input)
        .output()
        .unwrap();
    let piped = Run::of(piped).expect(0);
    assert_eq!(records(&piped.stdout).len(), 50);

    let error = run(&["infer", &clip, "--batch-size", "4"]).expect(2);
    let expected = "--batch-size is for pictures";
    assert!(error.error().contains(expected), "{}", error.error());

    // Among pictures it is one that can't be read.
    let mixed = run(&["infer", "--format", "jsonl", &clip, "examples/photos"]).expect(1);
    let records = records(&mixed.stdout);
    let errors: Vec<_> = records.iter().map(|r| r["error"].as_str()).collect();
    assert!(errors[0].is_some_and(|e| e.contains("a video (MP4)")));
    assert_eq!(errors[1..], [None, None]);
}

#[test]
fn between_detections_faces_move_along_their_tracks() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zoom.mp4");
    let photo = path("examples/photos/astronaut.jpg");
    make(
        &ffmpeg,
        &format!(
            "-i {photo} -vf scale=1024:-1,zoompan=z=1+0.01*in:x=0.44*iw*(1-1/zoom):\
             y=0.1*ih*(1-1/zoom):d=50:s=512x512:fps=25 -frames:v 50 -pix_fmt yuv420p {}",
            file.display()
        ),
    );
    let every = |k: &str| {
        let done = run(&["watch", &text(&file), "-q", "--detect-every", k]).expect(0);
        records(&done.stdout)
    };
    let (each, fifth) = (every("1"), every("5"));
    assert_eq!(tracks(&each), BTreeMap::from([(1, 50)]));
    assert_eq!(tracks(&fifth), BTreeMap::from([(1, 50)]));
    let center = |record: &Value| {
        let bounds = &record["faces"][0]["box"];
        let number = |key: &str| bounds[key].as_f64().unwrap();
        [
            number("x") + number("w") / 2.0,
            number("y") + number("h") / 2.0,
            number("w"),
        ]
    };
    for (a, b) in each.iter().zip(&fifth) {
        let (a, b) = (center(a), center(b));
        let off = (a[0] - b[0]).hypot(a[1] - b[1]);
        assert!(off < 0.15 * a[2], "{off} of {}", a[2]);
    }
}

/// A run that goes on.
struct Running(Child);

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = fer();
        command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn interrupt(&self) {
        self.signal("-INT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_live_source_and_leaves_a_video_that_plays() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clip = two_faces(&ffmpeg, folder.path());
    let out = folder.path().join("live.mp4");
    let source = format!("lavfi:movie={}:loop=0,setpts=N/25/TB", clip.display());
    let mut running = Running::start(&[
        "watch",
        &source,
        "--annotate",
        &text(&out),
        "--detect-every",
        "3",
    ]);
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut all = Vec::new();
    let mut line = String::new();
    // Each record is seen while the run goes on.
    while all.len() < 20 && stdout.read_line(&mut line).unwrap() > 0 {
        all.extend(records(&line));
        line.clear();
    }
    running.interrupt();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    all.extend(records(&rest));
    let mut said = String::new();
    running
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0), "{said}");
    assert_eq!(
        probed(&ffmpeg, &out).frames,
        Some(all.len() as u64),
        "{said}"
    );
    // No frame is lost that is not counted.
    let mut next = 0;
    for record in &all {
        let (frame, skipped) = (
            record["frame"].as_u64().unwrap(),
            record["skipped"].as_u64().unwrap(),
        );
        assert_eq!(frame, next + skipped, "{record}");
        next = frame + 1;
    }
    assert!(said.contains("latency"), "{said}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// What can't be read, or not be written whole, takes nothing from the results of before.
#[cfg(unix)]
#[test]
fn results_of_before_stay_where_nothing_is_read_or_the_disk_is_full() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let clip = file("a.mp4");
    make(
        &ffmpeg,
        &format!("-f lavfi -i testsrc2=s=64x64:r=25:d=3 {clip}"),
    );
    let outputs = [file("a.jsonl"), file("s.json"), file("t.csv")];
    for path in &outputs {
        std::fs::write(path, "before").unwrap();
    }
    let [records, summary, timeline] = &outputs;
    let more = [
        "-q",
        "-o",
        records,
        "--summary",
        summary,
        "--timeline",
        timeline,
    ];
    for source in [
        &["/dev/video99"][..],
        &[&clip, "--start", "5"],
        &[&file("none.mp4")],
    ] {
        let run = run(&[&["watch"], source, &more].concat()).expect(2);
        let kept = outputs
            .iter()
            .all(|path| std::fs::read(path).unwrap() == b"before");
        assert!(kept, "{source:?}: {run:?}");
    }
    let late = run(&["watch", "-q", &clip, "--start", "5"]).expect(2);
    assert!(late.error().contains("no frames from 5 s on"), "{late:?}");
    // A process may write files of so many blocks of 512 or 1024 bytes.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 4; exec \"$0\" watch -q {clip} -o {records} --faces always"
    );
    let fer = crate::common::fer();
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited]).arg(fer.get_program());
    let output = shell.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(std::fs::read(records).unwrap(), b"before");
}

/// A terminal that is closed leaves no temporary file.
#[cfg(unix)]
#[test]
fn a_hangup_leaves_no_temporary_file_and_is_not_heard_under_nohup() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let clip = file("a.mp4");
    make(
        &ffmpeg,
        &format!("-f lavfi -i testsrc2=s=640x480:r=25:d=60 {clip}"),
    );
    let records = file("a.json");
    let mut running = Running::start(&["watch", "-q", &clip, "-o", &records]);
    let seen = || std::fs::read_dir(folder.path()).unwrap().count() > 1;
    let begun = std::time::Instant::now();
    while !seen() && begun.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(seen());
    running.signal("-HUP");
    running.signal("-HUP");
    running.0.wait().unwrap();
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    left.retain(|name| name != "a.json");
    assert_eq!(left, ["a.mp4"]);

    let mut ignoring = Command::new("sh");
    ignoring.args([
        "-c",
        "trap '' HUP; exec \"$0\" watch -q \"$1\" --duration 2 -o \"$2\"",
    ]);
    ignoring.arg(crate::common::fer().get_program());
    let mut running = Running(ignoring.args([&clip, &records]).spawn().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal("-HUP");
    assert!(running.0.wait().unwrap().success());
}

/// A file behind an address is read whole.
#[test]
fn a_file_of_the_web_is_read_from_its_first_frame() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("a.mp4");
    make(
        &ffmpeg,
        &format!("-f lavfi -i testsrc2=s=64x64:r=10:d=2 {}", clip.display()),
    );
    let bytes = std::fs::read(clip).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/a.mp4", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4000];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).to_ascii_lowercase();
            let start = request.split("range: bytes=").nth(1);
            let start = start.and_then(|rest| rest.split('-').next()?.parse().ok());
            let start: usize = start.unwrap_or(0).min(bytes.len());
            let (len, last) = (bytes.len(), bytes.len().saturating_sub(1));
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\nAccept-Ranges: bytes\r\n\
                 Content-Range: bytes {start}-{last}/{len}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                len - start
            );
            let _ = stream.write_all(&[head.as_bytes(), &bytes[start..]].concat());
        }
    });
    let read = run(&["watch", "-q", "--format", "jsonl", &address]).expect(0);
    assert_eq!(read.stdout.lines().count(), 20, "{read:?}");
    assert!(
        read.stdout.contains("\"frame\":0,\"time\":0.0,"),
        "{read:?}"
    );
}

/// A second Ctrl-C ends fer at once, and with it what waits for an address that says nothing.
#[cfg(unix)]
#[test]
fn a_second_ctrl_c_leaves_no_ffmpeg() {
    if ffmpeg().is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let mut running = Running::start(&["watch", &address]);
    let (mut stream, _) = listener.accept().unwrap();
    running.interrupt();
    // Two signals at once would be one.
    let mut said = BufReader::new(running.0.stderr.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    running.interrupt();
    // SIGINT's own end.
    let ended = std::os::unix::process::ExitStatusExt::signal(&running.0.wait().unwrap());
    assert_eq!(ended, Some(2));
    let patience = std::time::Duration::from_secs(4);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut request = Vec::new();
    let ended = stream.read_to_end(&mut request);
    assert!(ended.is_ok(), "{ended:?}");
}

#[test]
fn a_live_stream_is_not_read_again_for_its_sound() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("a.ts");
    make(
        &ffmpeg,
        &format!(
            "-f lavfi -i testsrc2=s=64x64:r=25:d=2 -f lavfi -i sine=d=2 -c:a aac {}",
            clip.display()
        ),
    );
    let bytes = std::fs::read(clip).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    // Without a length, so that it could be endless.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 2000]);
            let head: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n";
            let _ = stream.write_all(&[head, &bytes[..]].concat());
        }
    });
    let out = folder.path().join("out.mp4");
    let done = run(&["watch", &address, "--annotate", &text(&out)]);
    // ffmpeg may call the end early, which is a record with an error.
    assert!(done.code < 2, "{}", done.stderr);
    assert!(
        records(&done.stdout)[0]["skipped"].is_u64(),
        "{}",
        done.stdout
    );
    let written = probed(&ffmpeg, &out);
    assert!(written.frames.is_some(), "{written:?}");
    assert_eq!(written.sound, None);
}

#[cfg(unix)]
#[test]
fn a_video_that_can_t_be_written_is_said_with_the_reason_and_the_rest_is_written() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clip = text(&two_faces(&ffmpeg, folder.path()));
    let at = |name: &str| folder.path().join(name);
    let (programs, video, timeline) = (at("programs"), at("out.mp4"), at("t.csv"));
    std::fs::create_dir(&programs).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *'-i pipe:0'*) echo 'the disk is full' >&2; exit 1;; esac\n\
         exec '{}' \"$@\"\n",
        ffmpeg.ffmpeg.display()
    );
    // Written by another process, so that no file of this one is open for writing as it is run.
    let write = r#"printf '%s' "$1" > "$2" && chmod 755 "$2""#;
    let written = Command::new("/bin/sh")
        .args(["-c", write, "sh", &script])
        .arg(programs.join("ffmpeg"))
        .status();
    assert!(written.unwrap().success());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    let done = fer()
        .args(["watch", &clip, "--annotate", &text(&video)])
        .args(["--timeline", &text(&timeline)])
        .env("PATH", std::env::join_paths(path).unwrap())
        .output();
    let done = Run::of(done.unwrap()).expect(2);
    assert!(done.error().contains("the disk is full"), "{}", done.stderr);
    assert!(timeline.is_file() && !video.exists());
}

#[cfg(unix)]
#[test]
fn the_preview_is_seen_at_its_address_alone() {
    let Some(_) = ffmpeg() else { return };
    let args = [
        "watch",
        "lavfi:testsrc2=s=320x240:r=10",
        "--show",
        "-o",
        "-",
    ];
    let mut running = Running::start(&args);
    // The records must have a reader.
    let mut stdout = running.0.stdout.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut lines = stderr.lines();
    let address =
        lines.find_map(|line| Some(line.unwrap().split_once("preview: http://")?.1.to_owned()));
    let address = address.unwrap();
    std::thread::spawn(move || lines.count());
    let (host, token) = address.split_once('/').unwrap();
    assert!(host.starts_with("127.0.0.1:"), "{host}");
    let get = |path: &str, bytes: u64| {
        let mut stream = TcpStream::connect(host).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.take(bytes).read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(get(&format!("/{token}"), 1 << 20).contains("<canvas"));
    assert!(get("/", 1 << 20).starts_with("HTTP/1.1 404"));
    assert!(get("/pictures", 1 << 20).starts_with("HTTP/1.1 404"));
    let pictures = get(&format!("/{token}pictures"), 2000);
    assert!(pictures.contains("image/jpeg"), "{pictures}");
    running.interrupt();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_frame_without_a_face_is_a_record_without_faces() {
    let Some(_) = ffmpeg() else { return };
    let source = "lavfi:color=gray:s=320x240:r=10:d=1";
    let done = run(&["watch", source, "-q", "--format", "csv"]).expect(0);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(
        lines[0].starts_with("path,frame,time,skipped,face,track,x,"),
        "{}",
        lines[0]
    );
    assert!(lines.len() > 2);
    // The graph has colons, and no commas.
    assert!(
        lines[1].starts_with(&format!("{source},0,0,0,,,,,")),
        "{}",
        lines[1]
    );
    let done = run(&["watch", source, "-q"]).expect(0);
    assert_eq!(records(&done.stdout)[0]["faces"], Value::Array(vec![]));
}

#[test]
fn what_can_t_be_watched_is_said_with_what_to_do() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    make(
        &ffmpeg,
        &format!("-f lavfi -i sine=d=0.2 {}", at("sound.wav")),
    );
    make(
        &ffmpeg,
        &format!("-f lavfi -i testsrc2=s=64x64:d=0.2 {}", at("a.mp4")),
    );
    std::fs::write(at("text.mp4"), "no video").unwrap();
    let (clip, sound, noise) = (at("a.mp4"), at("sound.wav"), at("text.mp4"));
    let gif = at("a.gif");
    let rows: [(&[&str], &str); 11] = [
        (&[&sound], "has no video; it has: audio (pcm_s16le)"),
        (&[&noise], "can't read "),
        (&["none.mp4"], "No such file"),
        (&["97"], "; `fer doctor` lists the cameras"),
        (
            &[&clip, "--annotate", &gif],
            "the name of a video ends in .mp4, .m4v, .mov or .mkv",
        ),
        (
            &[&clip, "--annotate", &clip],
            "is the source; name another file",
        ),
        (
            &[&clip, "--timeline", &gif],
            "the name ends in .png or .csv",
        ),
        (
            &[&clip, "--summary", "none/s.json"],
            "can't write none/s.json (--summary)",
        ),
        (
            &[&clip, "--timeline", "x.csv", "--summary", "./x.csv"],
            "is --timeline; name another file",
        ),
        (&["lavfi:testsrc2", "--start", "3"], "--start is for files"),
        (
            &[&clip, "--faces", "never"],
            "in videos, faces are followed",
        ),
    ];
    let mut wrong = Vec::new();
    for (args, expected) in rows {
        let done = run(&[&["watch"], args].concat());
        if done.code != 2 || !done.error().contains(expected) {
            wrong.push(format!("{args:?}: {} {}", done.code, done.error()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // A machine without ffmpeg.
    let mut command = fer();
    command.args(["watch", &clip]).env("PATH", folder.path());
    let done = Run::of(command.output().unwrap()).expect(2);
    assert!(
        done.error().contains("ffmpeg was not found on PATH"),
        "{}",
        done.error()
    );
    assert!(
        done.error().contains("apt-get install ffmpeg"),
        "{}",
        done.error()
    );
    let mut command = fer();
    command.arg("doctor").env("PATH", folder.path());
    let done = Run::of(command.output().unwrap()).expect(0);
    assert!(
        done.stdout.contains("apt-get install ffmpeg"),
        "{}",
        done.stdout
    );
    let done = run(&["doctor"]).expect(0);
    assert!(
        done.stdout
            .contains(&format!("ffmpeg {} at ", ffmpeg.version)),
        "{}",
        done.stdout
    );
}
