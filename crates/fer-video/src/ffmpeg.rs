//! The programs ffmpeg and ffprobe of the machine: finding them, starting them, what they say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fer_core::host::{Host, Os};

use crate::VideoError;

/// The most bytes of a line of ffmpeg's messages that are kept, and of an answer of ffprobe.
const MAX_LINE: u64 = 1000;
const MAX_ANSWER: u64 = 8 << 20;

/// How long a program may take to answer about itself.
const ASKED: Duration = Duration::from_secs(20);

/// ffmpeg and ffprobe.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    /// The file of ffmpeg.
    pub ffmpeg: PathBuf,
    /// The file of ffprobe.
    pub ffprobe: PathBuf,
    /// The version, as ffmpeg states it: `5.1.9-0+deb12u1`.
    pub version: String,
    os: Os,
    vars: BTreeMap<OsString, OsString>,
}

impl Ffmpeg {
    /// Finds the programs on `PATH`.
    ///
    /// # Errors
    /// One of them is missing, or does not start.
    pub fn find(host: &Host) -> Result<Self, VideoError> {
        let program = |program: &'static str| {
            host.program(program)
                .ok_or(VideoError::NoFfmpeg { program })
        };
        let mut found = Self {
            ffmpeg: program("ffmpeg")?,
            ffprobe: program("ffprobe")?,
            version: String::new(),
            os: host.os,
            vars: host.vars.clone(),
        };
        let about = found.ask(&found.ffmpeg, &["-version"])?.0;
        let version = about.split_whitespace().nth(2).unwrap_or_default();
        found.version = version.to_owned();
        Ok(found)
    }

    /// The option that keeps the frames' own times: its name changed with version 5.1.
    pub(crate) fn keep_times(&self) -> [&'static str; 2] {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next().and_then(|n| n.parse::<u32>().ok());
        match (number(), number()) {
            (Some(major), minor) if (major, minor.unwrap_or(0)) < (5, 1) => ["-vsync", "0"],
            // Builds of no release are new ones.
            _ => ["-fps_mode", "passthrough"],
        }
    }

    /// The operating system.
    pub(crate) fn os(&self) -> Os {
        self.os
    }

    /// ffmpeg, with no arguments but those that keep it quiet and apart.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.bare(&self.ffmpeg);
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]);
        command
    }

    /// ffprobe, in the same way.
    pub(crate) fn probe_command(&self) -> Command {
        let mut command = self.bare(&self.ffprobe);
        command.args(["-hide_banner", "-loglevel", "error"]);
        command
    }

    fn bare(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.vars);
        // Ctrl-C is for fer, which ends ffmpeg when all frames are through.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, 0x200);
        command
    }

    /// What a program prints on standard output and on standard error.
    pub(crate) fn ask(
        &self,
        program: &Path,
        args: &[&str],
    ) -> Result<(String, String), VideoError> {
        let mut command = self.bare(program);
        command.args(args);
        let (stdout, stderr, _) = output(&mut command, program, Some(ASKED))?;
        Ok((stdout, stderr))
    }

    /// Whether ffmpeg has an encoder.
    pub(crate) fn has_encoder(&self, name: &str) -> Result<bool, VideoError> {
        let list = self.ask(&self.ffmpeg, &["-hide_banner", "-encoders"])?.0;
        let has = |line: &str| line.split_whitespace().nth(1) == Some(name);
        Ok(list.lines().any(has))
    }

    /// The cameras of the machine, as a source names them, each with the system's name for it.
    pub fn cameras(&self) -> Vec<(String, String)> {
        let list = |format: &str, input: &str| {
            let args = [
                "-hide_banner",
                "-f",
                format,
                "-list_devices",
                "true",
                "-i",
                input,
            ];
            self.ask(&self.ffmpeg, &args)
                .map_or(String::new(), |(_, stderr)| stderr)
        };
        match self.os {
            Os::Linux => linux_cameras(Path::new("/sys/class/video4linux")),
            Os::MacOs => listed_by_avfoundation(&list("avfoundation", "")),
            Os::Windows => listed_by_dshow(&list("dshow", "dummy")),
        }
    }
}

/// The programs that may still run.
static RUNNING: Mutex<Vec<Weak<Mutex<Child>>>> = Mutex::new(Vec::new());

/// Ends the programs that this process has started and that may wait for a source, before the
/// process itself ends: they would wait on.
pub fn end_all() {
    let all = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter()
        .filter_map(Weak::upgrade)
        .for_each(|child| Running(child).kill());
}

/// A handle to a program, to end it from another thread.
#[derive(Clone)]
pub(crate) struct Running(Arc<Mutex<Child>>);

impl Running {
    pub(crate) fn new(child: Child) -> Self {
        let child = Arc::new(Mutex::new(child));
        let mut all = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&child));
        Self(child)
    }

    pub(crate) fn kill(&self) {
        let _ = self.lock().kill();
    }

    /// Waits for the end, during which another thread can still kill, and kills after `limit`.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<ExitStatus> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let ended = self.lock().try_wait()?;
            if let Some(status) = ended {
                return Ok(status);
            }
            if limit.is_some_and(|limit| began.elapsed() > limit) {
                self.kill();
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(20));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a program to its end, or until a time limit; its outputs, bounded, and whether it
/// succeeded.
pub(crate) fn output(
    command: &mut Command,
    program: &Path,
    limit: Option<Duration>,
) -> Result<(String, String, bool), VideoError> {
    let failed = |source| VideoError::Start {
        program: program.to_path_buf(),
        source,
    };
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = std::thread::spawn(move || stderr.map_or(String::new(), text));
    let printed = std::thread::spawn(move || stdout.map_or(String::new(), text));
    let status = Running::new(child).wait(limit).map_err(failed)?;
    let text = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    Ok((text(printed), text(said), status.success()))
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = (&mut from).take(MAX_ANSWER).read_to_end(&mut bytes);
    // The program must not wait for a reader.
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Starts a program with its messages on a pipe.
pub(crate) fn spawn(command: &mut Command) -> Result<Child, VideoError> {
    command.stderr(Stdio::piped());
    command.spawn().map_err(|source| VideoError::Start {
        program: command.get_program().into(),
        source,
    })
}

/// Passes each line of a program's messages on, without the address of the part that wrote it, and
/// without what is too long.
pub(crate) fn lines(stderr: ChildStderr, mut each: impl FnMut(String)) {
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut stderr).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = message(String::from_utf8_lossy(&line).trim());
                if !line.is_empty() {
                    each(line);
                }
            }
        }
    }
}

/// `[h264 @ 0x55d5] error` → `h264: error`.
fn message(line: &str) -> String {
    let parts = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    match parts.and_then(|(who, what)| Some((who.split_once(" @ 0x")?.0, what))) {
        Some((who, what)) => format!("{who}: {what}"),
        None => line.to_owned(),
    }
}

/// The reason among the lines that a program wrote: the last one that does not only name the input
/// and say that it is invalid.
pub(crate) fn reason(said: &str) -> String {
    let mut reason = Reason::default();
    said.lines()
        .for_each(|line| reason.add(&message(line.trim())));
    reason.0
}

/// A reason that is looked for line by line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reason(pub(crate) String);

impl Reason {
    pub(crate) fn add(&mut self, line: &str) {
        // What follows from the reason.
        const CONSEQUENCES: [&str; 4] = [
            "Error marking filters as finished",
            "Conversion failed",
            "Cannot determine format of input stream",
            "Last message repeated",
        ];
        if CONSEQUENCES.iter().any(|start| line.starts_with(start)) && !self.0.is_empty() {
            return;
        }
        let inputs = ["file:", "pipe:", "http", "rtsp", "Error opening input"];
        let about_input = inputs.iter().any(|input| line.starts_with(input));
        if about_input && self.0.is_empty() {
            self.0 = line
                .rsplit_once(": ")
                .map_or(line, |(_, what)| what)
                .to_owned();
        } else if !about_input && !line.is_empty() {
            self.0 = line.to_owned();
        }
    }
}

fn linux_cameras(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut cameras: Vec<(u32, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry
                .file_name()
                .to_str()?
                .strip_prefix("video")?
                .parse()
                .ok()?;
            let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            // A camera has more devices, of which only the first has pictures.
            let index = std::fs::read_to_string(entry.path().join("index")).unwrap_or_default();
            (index.trim().is_empty() || index.trim() == "0").then(|| (number, name.trim().into()))
        })
        .collect();
    cameras.sort();
    let named = |(number, name): (u32, String)| (number.to_string(), name);
    cameras.into_iter().map(named).collect()
}

/// `[AVFoundation indev @ 0x7f] [0] FaceTime HD Camera`, until the audio devices.
fn listed_by_avfoundation(said: &str) -> Vec<(String, String)> {
    let video = said
        .lines()
        .take_while(|line| !line.contains("audio devices"));
    let camera = |line: &str| {
        let (_, rest) = line.split_once("] [")?;
        let (number, name) = rest.split_once("] ")?;
        number.parse::<u32>().ok()?;
        Some((number.to_owned(), name.trim().to_owned()))
    };
    video.filter_map(camera).collect()
}

/// `[dshow @ 0000] "Integrated Camera" (video)`.
fn listed_by_dshow(said: &str) -> Vec<(String, String)> {
    let camera = |line: &str| {
        let (name, kind) = line.split_once('"')?.1.split_once('"')?;
        kind.contains("(video)").then(|| name.to_owned())
    };
    let cameras = said.lines().filter_map(camera).enumerate();
    cameras.map(|(i, name)| (i.to_string(), name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_addresses() {
        let rows = [
            (
                "[h264 @ 0x55d5e0] error while decoding",
                "h264: error while decoding",
            ),
            (
                "file:x.mp4: Invalid data found",
                "file:x.mp4: Invalid data found",
            ),
            ("[broken", "[broken"),
            ("[a] b", "[a] b"),
        ];
        for (line, expected) in rows {
            assert_eq!(message(line), expected);
        }
        assert_eq!(reason("a\n[x @ 0x1] b \n\n"), "x: b");
        assert_eq!(reason("file:a: b.mp4: No such file"), "No such file");
        let cut = "[mov,mp4 @ 0x1] moov atom not found\nfile:x.mp4: Invalid data";
        assert_eq!(reason(cut), "mov,mp4: moov atom not found");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn cameras_are_read_from_what_the_systems_list() {
        let mac = "[AVFoundation indev @ 0x7f] AVFoundation video devices:\n\
            [AVFoundation indev @ 0x7f] [0] FaceTime HD Camera\n\
            [AVFoundation indev @ 0x7f] [1] Capture screen 0\n\
            [AVFoundation indev @ 0x7f] AVFoundation audio devices:\n\
            [AVFoundation indev @ 0x7f] [0] Microphone\n: Input/output error";
        let named = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter()
                .map(|(a, b)| ((*a).into(), (*b).into()))
                .collect()
        };
        let expected = named(&[("0", "FaceTime HD Camera"), ("1", "Capture screen 0")]);
        assert_eq!(listed_by_avfoundation(mac), expected);
        let windows = "[dshow @ 01] \"Integrated Camera\" (video)\n\
            [dshow @ 01]   Alternative name \"@device_pnp_1\"\n\
            [dshow @ 01] \"Microphone\" (audio)";
        assert_eq!(
            listed_by_dshow(windows),
            named(&[("0", "Integrated Camera")])
        );
        let folder = tempfile::tempdir().unwrap();
        for (device, index) in [("video10", "0"), ("video2", "0"), ("video3", "1")] {
            let device_folder = folder.path().join(device);
            std::fs::create_dir(&device_folder).unwrap();
            std::fs::write(device_folder.join("name"), format!("Camera {device}\n")).unwrap();
            std::fs::write(device_folder.join("index"), index).unwrap();
        }
        let expected = named(&[("2", "Camera video2"), ("10", "Camera video10")]);
        assert_eq!(linux_cameras(folder.path()), expected);
        assert!(linux_cameras(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn the_option_that_keeps_times_is_that_of_the_version() {
        let rows = [
            ("4.4.2-0ubuntu0.22.04.1", "-vsync"),
            ("5.0", "-vsync"),
            ("5.1.9-0+deb12u1", "-fps_mode"),
            ("7.1", "-fps_mode"),
            ("10", "-fps_mode"),
            ("N-118193-g5f38c82536", "-fps_mode"),
            ("", "-fps_mode"),
        ];
        for (version, expected) in rows {
            let ffmpeg = Ffmpeg {
                ffmpeg: PathBuf::new(),
                ffprobe: PathBuf::new(),
                version: version.into(),
                os: Os::Linux,
                vars: BTreeMap::new(),
            };
            assert_eq!(ffmpeg.keep_times()[0], expected, "{version}");
        }
    }
}
