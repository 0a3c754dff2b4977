//! Downloads wheels with the machine's pip. pip's own configuration decides where they come from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::error::InstallError;
use super::pins::Platform;
use super::pip_answer::{Listed, failure_of, last_word, parse_report, version_of};
use super::python;
use fer_core::host::Host;

/// A pip that works.
#[derive(Debug)]
pub(super) struct Pip<'a> {
    python: PathBuf,
    version: (u32, u32),
    host: &'a Host,
}

impl<'a> Pip<'a> {
    /// The first interpreter whose pip responds.
    pub fn find(host: &'a Host) -> Result<Self, InstallError> {
        let pythons = python::interpreters(host)?;
        let mut reasons = Vec::new();
        for python in pythons {
            let output = python::command(&python, host)
                .args(["-m", "pip", "--version"])
                .output();
            match output {
                Ok(output) if output.status.success() => {
                    match version_of(&String::from_utf8_lossy(&output.stdout)) {
                        Some(version) => {
                            return Ok(Pip {
                                python,
                                version,
                                host,
                            });
                        }
                        None => reasons.push(format!(
                            "{} does not report pip's version",
                            python.display()
                        )),
                    }
                }
                Ok(output) => reasons.push(last_word(&String::from_utf8_lossy(&output.stderr))),
                Err(error) => {
                    reasons.push(format!("{} cannot be started ({error})", python.display()))
                }
            }
        }
        Err(InstallError::NoPip {
            reason: reasons.join(", and "),
        })
    }

    /// Downloads one wheel into a new folder `dest` and returns its file.
    pub fn download(
        &self,
        package: &str,
        version: &str,
        platform: Platform,
        dest: &Path,
    ) -> Result<PathBuf, InstallError> {
        self.needs((20, 3), "fetching a package for a given platform")?;
        let wanted = format!("{package}=={version}");
        let mut args = words(&["download", "--no-deps", "--dest"]);
        args.push(dest.into());
        self.run(args, platform, std::slice::from_ref(&wanted))?;
        let odd = |reason: String| InstallError::OddAnswer {
            wanted: wanted.clone(),
            reason,
        };
        let entries = std::fs::read_dir(dest).map_err(|error| odd(error.to_string()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        match (files.pop(), files.len()) {
            (Some(file), 0) if platform.fits(&file_name(&file)) => Ok(file),
            (Some(file), 0) => Err(odd(format!("{} is for another platform", file_name(&file)))),
            (Some(_), more) => Err(odd(format!("{} files instead of one", more + 1))),
            (None, _) => Err(odd("no file".to_owned())),
        }
    }

    /// What pip would install for these requirements, without installing it. `scratch` is a folder
    /// for its output.
    pub fn list(
        &self,
        requirements: &[String],
        with_dependencies: bool,
        platform: Platform,
        scratch: &Path,
    ) -> Result<Vec<Listed>, InstallError> {
        self.needs((22, 2), "asking the package index for hashes")?;
        let answer = scratch.join("report.json");
        // pip compares the wheel's required Python with the one that runs pip, whatever
        // --python-version says.
        let mut args = words(&[
            "install",
            "--dry-run",
            "--ignore-installed",
            "--ignore-requires-python",
        ]);
        if !with_dependencies {
            args.push("--no-deps".into());
        }
        args.extend([
            "--target".into(),
            scratch.join("target").into(),
            "--report".into(),
            answer.clone().into(),
        ]);
        self.run(args, platform, requirements)?;
        let odd = |reason: String| InstallError::OddAnswer {
            wanted: requirements.join(" "),
            reason,
        };
        let text = std::fs::read(&answer).map_err(|error| odd(error.to_string()))?;
        parse_report(&text).map_err(odd)
    }

    fn needs(&self, needed: (u32, u32), purpose: &'static str) -> Result<(), InstallError> {
        if self.version >= needed {
            return Ok(());
        }
        let text = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        Err(InstallError::OldPip {
            python: self.python.clone(),
            version: text(self.version),
            purpose,
            needed: text(needed),
        })
    }

    fn run(
        &self,
        mut args: Vec<OsString>,
        platform: Platform,
        requirements: &[String],
    ) -> Result<Output, InstallError> {
        args.extend(words(&[
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--only-binary=:all:",
        ]));
        args.extend(words(&[
            "--python-version",
            "3.12",
            "--implementation",
            "cp",
            "--abi",
            "cp312",
        ]));
        for tag in platform.tags() {
            args.extend(words(&["--platform", tag]));
        }
        args.extend(requirements.iter().map(OsString::from));
        let output = python::command(&self.python, self.host)
            // If the user's settings contain `user = true`, pip refuses --target.
            .env("PIP_USER", "0")
            .args(["-m", "pip"])
            .args(args)
            .output()
            .map_err(|error| InstallError::NoPip {
                reason: format!("{} cannot be started ({error})", self.python.display()),
            })?;
        if output.status.success() {
            return Ok(output);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(InstallError::Pip {
            wanted: requirements.join(" "),
            line: last_word(&errors),
            failure: failure_of(&errors),
        })
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn file_name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
