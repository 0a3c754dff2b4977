//! The machine's Python: which interpreter, and where its `onnxruntime` package is.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fer_core::host::{Host, Os};

/// Prints the folder of the package without importing it. The current folder is removed from the
/// search path first, so a folder named `onnxruntime` is not mistaken for the package.
const QUESTION: &str = "\
import sys
sys.path[:] = [p for p in sys.path if p]
import importlib.util, os
spec = importlib.util.find_spec('onnxruntime')
places = list(spec.submodule_search_locations or []) if spec else []
sys.stdout.buffer.write(b'\\nfer:' + os.fsencode(places[0] if places else '') + b'\\n')
";

/// Why there is no Python to run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPython {
    /// `FER_PYTHON` names something else.
    #[error("FER_PYTHON names {}, which is not a program", path.display())]
    NotAProgram {
        /// The path.
        path: PathBuf,
    },
    /// `PATH` has none.
    #[error("none of {} is on PATH", names.join(", "))]
    NotOnPath {
        /// The names that were searched.
        names: Vec<&'static str>,
    },
}

/// The interpreters to try, in order: only `FER_PYTHON` if it is set, else those on `PATH`.
///
/// # Errors
/// There is no interpreter.
pub fn interpreters(host: &Host) -> Result<Vec<PathBuf>, NoPython> {
    if let Some(named) = host.var("FER_PYTHON") {
        let path = Path::new(named);
        let is_bare_name = path.components().count() == 1 && !path.is_file();
        let file = if is_bare_name {
            named.to_str().and_then(|name| host.program(name))
        } else {
            Some(path.into())
        };
        return match file {
            Some(file) if !file.is_dir() && file.symlink_metadata().is_ok() => {
                Ok(vec![std::path::absolute(&file).unwrap_or(file)])
            }
            _ => Err(NoPython::NotAProgram { path: path.into() }),
        };
    }
    let names: &[&'static str] = if host.os == Os::Windows {
        &["python3", "python", "py"]
    } else {
        &["python3", "python"]
    };
    let mut found: Vec<PathBuf> = Vec::new();
    for program in names.iter().filter_map(|name| host.program(name)) {
        let real = |file: &Path| file.canonicalize().unwrap_or_else(|_| file.to_owned());
        if !found.iter().any(|other| real(other) == real(&program)) {
            found.push(program);
        }
    }
    if found.is_empty() {
        Err(NoPython::NotOnPath {
            names: names.to_vec(),
        })
    } else {
        Ok(found)
    }
}

/// A command that runs an interpreter with the host's environment and no input, and without the
/// current folder on the search path (from Python 3.11 on).
pub(super) fn command(python: &Path, host: &Host) -> Command {
    let mut command = Command::new(python);
    command
        .env_clear()
        .envs(&host.vars)
        .env("PYTHONSAFEPATH", "1")
        .stdin(Stdio::null());
    command
}

/// Finds an interpreter's `onnxruntime` package. `Ok(None)` if it has no such package. `Err` with
/// one line if it did not respond within `limit`; it is then stopped.
pub(super) fn onnxruntime_package(
    python: &Path,
    host: &Host,
    limit: Duration,
) -> Result<Option<PathBuf>, String> {
    let name = python.display();
    let mut child = command(python, host)
        .arg("-c")
        .arg(QUESTION)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    let started = Instant::now();

    // A thread reads, so neither a full pipe nor a grandchild that keeps the pipe open can block
    // here.
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            // Truncated output has no marker line and counts as none.
            let _ = stdout.by_ref().take(64 * 1024).read_to_end(&mut answer);
            let _ = sender.send(answer);
        });
    }
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if started.elapsed() < limit => std::thread::sleep(Duration::from_millis(4)),
            Ok(None) => {
                break Err(format!(
                    "{name} gave no answer in {:.1} s",
                    limit.as_secs_f32()
                ));
            }
            Err(error) => break Err(format!("{name} cannot be waited for: {error}")),
        }
    };
    let status = match status {
        Ok(status) => status,
        Err(reason) => {
            // It may have ended by itself. Either way it is waited for.
            let _ = child.kill();
            let _ = child.wait();
            return Err(reason);
        }
    };
    let answer = receiver
        .recv_timeout(
            limit
                .saturating_sub(started.elapsed())
                .max(Duration::from_millis(100)),
        )
        .map_err(|_| format!("{name} kept its output open after it ended"))?;
    if !status.success() {
        return Err(format!("{name} failed with {status}"));
    }
    let folder = answer
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"fer:"))
        .ok_or_else(|| format!("{name} gave no answer that fer understands"))?;
    let folder = folder.strip_suffix(b"\r").unwrap_or(folder);
    if folder.is_empty() {
        return Ok(None);
    }
    path_from_bytes(folder)
        .map(Some)
        .ok_or_else(|| format!("{name} named a folder that is not valid text"))
}

#[cfg(unix)]
fn path_from_bytes(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path_from_bytes(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes)
        .ok()
        .map(OsStr::new)
        .map(PathBuf::from)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::runtime::testing::{host_with, script};

    fn answer_of(body: &str) -> Result<Option<PathBuf>, String> {
        let folder = tempfile::tempdir().unwrap();
        let python = script(folder.path(), "python3", body);
        onnxruntime_package(&python, &host_with(&[]), Duration::from_secs(5))
    }

    #[test]
    fn answers_are_understood() {
        assert_eq!(
            answer_of("printf '\\nfer:/a b/c\\n'"),
            Ok(Some(PathBuf::from("/a b/c")))
        );
        assert_eq!(
            answer_of("printf 'noise\\nfer:/a\\r\\nmore'"),
            Ok(Some(PathBuf::from("/a")))
        );
        assert_eq!(answer_of("printf '\\nfer:\\n'"), Ok(None));
        assert!(
            answer_of("echo hello")
                .unwrap_err()
                .ends_with("gave no answer that fer understands")
        );
        assert!(
            answer_of("exit 3")
                .unwrap_err()
                .ends_with("failed with exit status: 3")
        );
        assert!(answer_of("head -c 300000 /dev/zero").is_err());
    }

    #[test]
    fn a_hanging_interpreter_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let host = host_with(&[]);
        let rows = [
            ("exec sleep 30", 300, "gave no answer in 0.3 s"),
            ("sleep 30", 300, "gave no answer in 0.3 s"),
            ("sleep 30 & exit 0", 1500, "kept its output open"),
        ];
        for (row, (body, limit, expected)) in rows.iter().enumerate() {
            let python = script(folder.path(), &format!("python{row}"), body);
            let started = Instant::now();
            let reason =
                onnxruntime_package(&python, &host, Duration::from_millis(*limit)).unwrap_err();
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{body}: {:?}",
                started.elapsed()
            );
            assert!(reason.contains(expected), "{body}: {reason}");
        }
    }

    #[test]
    fn named_interpreter_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(
            interpreters(&host_with(&[("PATH", path)]))
                .unwrap_err()
                .to_string(),
            "none of python3, python is on PATH"
        );
        let python3 = script(folder.path(), "python3", "");
        std::os::unix::fs::symlink(&python3, folder.path().join("python")).unwrap();
        let other = script(folder.path(), "other", "");
        assert_eq!(
            interpreters(&host_with(&[("PATH", path)])).unwrap(),
            [python3]
        );
        let by_path = host_with(&[("PATH", path), ("FER_PYTHON", other.to_str().unwrap())]);
        assert_eq!(
            interpreters(&by_path).unwrap(),
            std::slice::from_ref(&other)
        );
        let by_name = host_with(&[("PATH", path), ("FER_PYTHON", "other")]);
        assert_eq!(interpreters(&by_name).unwrap(), [other]);
        for wrong in ["absent", "/no/such/python", path] {
            let host = host_with(&[("PATH", path), ("FER_PYTHON", wrong)]);
            assert!(
                interpreters(&host)
                    .unwrap_err()
                    .to_string()
                    .starts_with("FER_PYTHON names "),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_folder_of_that_name_in_the_current_folder_is_not_the_package() {
        let host = Host::from_env();
        let Ok(pythons) = interpreters(&host) else {
            eprintln!("skipped: no Python on this machine");
            return;
        };
        // Tests run in the package's root, which has no folder `onnxruntime`. A copy of the script
        // that runs elsewhere does.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("onnxruntime")).unwrap();
        std::fs::write(folder.path().join("onnxruntime/__init__.py"), "").unwrap();
        let output = command(&pythons[0], &host)
            .current_dir(folder.path())
            .args(["-c", QUESTION])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("fer:") && !text.contains(folder.path().to_str().unwrap()),
            "{text}"
        );
    }
}
