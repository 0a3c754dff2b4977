//! The machine that fer runs on: operating system, environment, own executable, system folders.
//!
//! [`Host::from_env`] is the only place that reads the process environment. Everything else takes a
//! [`Host`], so a test can describe another machine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An operating system that ONNX Runtime supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Os {
    /// Linux, and any other Unix that is not macOS.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Os {
    /// All operating systems that fer knows.
    pub const ALL: [Os; 3] = [Os::Linux, Os::MacOs, Os::Windows];

    /// The operating system that this program was built for.
    pub const fn current() -> Os {
        if cfg!(windows) {
            Os::Windows
        } else if cfg!(target_os = "macos") {
            Os::MacOs
        } else {
            Os::Linux
        }
    }

    /// The library's name without a version.
    pub const fn library_file_name(self) -> &'static str {
        match self {
            Os::Linux => "libonnxruntime.so",
            Os::MacOs => "libonnxruntime.dylib",
            Os::Windows => "onnxruntime.dll",
        }
    }

    /// Whether a file name is the name of the ONNX Runtime library, with or without a version.
    pub fn is_library_name(self, name: &str) -> bool {
        let version = match self {
            Os::Windows => return name.eq_ignore_ascii_case(self.library_file_name()),
            _ if name == self.library_file_name() => return true,
            Os::Linux => name.strip_prefix("libonnxruntime.so."),
            Os::MacOs => name
                .strip_prefix("libonnxruntime.")
                .and_then(|rest| rest.strip_suffix(".dylib")),
        };
        version.is_some_and(is_version)
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Os::Linux => "Linux",
            Os::MacOs => "macOS",
            Os::Windows => "Windows",
        })
    }
}

/// Whether a text consists of numbers joined by single dots: `1`, `1.32.0`.
pub fn is_version(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What fer needs to know about a machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// The operating system.
    pub os: Os,
    /// The processor, named as in `std::env::consts::ARCH`.
    pub arch: String,
    /// The environment variables. Child processes get exactly these.
    pub vars: BTreeMap<OsString, OsString>,
    /// The running program's own file.
    pub executable: Option<PathBuf>,
    /// System library folders, searched last.
    pub system_folders: Vec<PathBuf>,
    /// How long Python may take to print where its `onnxruntime` package is.
    pub python_time_limit: Duration,
}

impl Host {
    /// The machine and the environment that this program runs in.
    pub fn from_env() -> Host {
        let os = Os::current();
        // On Windows a canonical path has the form `\\?\C:\…`, which some loaders refuse. Links to
        // programs are rare there, so the path is kept.
        let executable = std::env::current_exe().ok().map(|file| {
            if cfg!(windows) {
                file
            } else {
                file.canonicalize().unwrap_or(file)
            }
        });
        Host {
            os,
            arch: std::env::consts::ARCH.to_owned(),
            vars: std::env::vars_os().collect(),
            executable,
            system_folders: system_folders(os, std::env::consts::ARCH),
            python_time_limit: Duration::from_secs(5),
        }
    }

    /// An environment variable; an empty one counts as not set.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        let value = match self.os {
            Os::Windows => {
                let is_it = |key: &OsStr| {
                    key.to_str()
                        .is_some_and(|key| key.eq_ignore_ascii_case(name))
                };
                self.vars
                    .iter()
                    .find(|(key, _)| is_it(key))
                    .map(|(_, value)| value)
            }
            _ => self.vars.get(OsStr::new(name)),
        };
        value
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The folder for fer's data: `FER_DATA_DIR`, else the operating system's place for a user's
    /// data. `None` if the variables that name that place are missing.
    pub fn data_folder(&self) -> Option<PathBuf> {
        if let Some(folder) = self.var("FER_DATA_DIR") {
            // A relative path is relative to the current folder. If that is unknown, the path stays
            // relative.
            return Some(std::path::absolute(folder).unwrap_or_else(|_| PathBuf::from(folder)));
        }
        let below = |name: &str, rest: &str| self.var(name).map(|base| Path::new(base).join(rest));
        match self.os {
            // The XDG specification says that a relative path in the variable is ignored.
            Os::Linux => below("XDG_DATA_HOME", "fer")
                .filter(|folder| folder.is_absolute())
                .or_else(|| below("HOME", ".local/share/fer")),
            Os::MacOs => below("HOME", "Library/Application Support/fer"),
            Os::Windows => below("LOCALAPPDATA", "fer"),
        }
    }

    /// The absolute folders in a list variable such as `PATH`, in order. Relative ones are left
    /// out: a library or a program must not be loaded from the current folder by accident.
    pub fn folders_in(&self, name: &str) -> Vec<PathBuf> {
        let list = self.var(name).unwrap_or_default();
        std::env::split_paths(list)
            .filter(|folder| folder.is_absolute())
            .collect()
    }

    /// A program on `PATH`.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let name = if self.os == Os::Windows {
            format!("{name}.exe")
        } else {
            name.to_owned()
        };
        // On Windows the store's Python is a kind of link that can't be followed, but can be
        // started.
        let is_there = |file: &PathBuf| match self.os {
            Os::Windows => file.symlink_metadata().is_ok_and(|meta| !meta.is_dir()),
            _ => file.is_file(),
        };
        self.folders_in("PATH")
            .into_iter()
            .map(|folder| folder.join(&name))
            .find(is_there)
    }
}

/// The folders that the system's loader or a package manager uses for libraries, most specific
/// first.
fn system_folders(os: Os, arch: &str) -> Vec<PathBuf> {
    let folders = match os {
        Os::Linux => vec![
            "/usr/local/lib".to_owned(),
            "/usr/local/lib64".to_owned(),
            format!("/usr/lib/{arch}-linux-gnu"),
            "/usr/lib64".to_owned(),
            "/usr/lib".to_owned(),
            "/opt/onnxruntime/lib".to_owned(),
        ],
        Os::MacOs => ["/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib"]
            .map(str::to_owned)
            .to_vec(),
        Os::Windows => Vec::new(),
    };
    folders.into_iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Linux x86_64 host with these variables and nothing else.
    fn host_with(vars: &[(&str, &str)]) -> Host {
        Host {
            os: Os::Linux,
            arch: "x86_64".to_owned(),
            vars: vars
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            executable: None,
            system_folders: Vec::new(),
            python_time_limit: Duration::from_secs(5),
        }
    }

    #[cfg(unix)]
    #[test]
    fn data_folder_on_every_system() {
        type Vars = &'static [(&'static str, &'static str)];
        let rows: [(Os, Vars, Option<&str>); 10] = [
            (
                Os::Linux,
                &[("FER_DATA_DIR", "/d"), ("HOME", "/h")],
                Some("/d"),
            ),
            (
                Os::Windows,
                &[("FER_DATA_DIR", "/d"), ("LOCALAPPDATA", "/l")],
                Some("/d"),
            ),
            (
                Os::Linux,
                &[("XDG_DATA_HOME", "/x"), ("HOME", "/h")],
                Some("/x/fer"),
            ),
            (
                Os::Linux,
                &[("XDG_DATA_HOME", "x"), ("HOME", "/h")],
                Some("/h/.local/share/fer"),
            ),
            (
                Os::Linux,
                &[("XDG_DATA_HOME", ""), ("HOME", "/h")],
                Some("/h/.local/share/fer"),
            ),
            (Os::Linux, &[("FER_DATA_DIR", "")], None),
            (
                Os::MacOs,
                &[("HOME", "/h")],
                Some("/h/Library/Application Support/fer"),
            ),
            (Os::MacOs, &[("XDG_DATA_HOME", "/x")], None),
            (Os::Windows, &[("LocalAppData", "/l")], Some("/l/fer")),
            (Os::Windows, &[("HOME", "/h")], None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(os, vars, expected)| {
                let host = Host {
                    os: *os,
                    ..host_with(vars)
                };
                host.data_folder() != expected.map(PathBuf::from)
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[cfg(unix)]
    #[test]
    fn relative_folders_of_a_list_are_left_out() {
        let host = host_with(&[("PATH", ":/a:b:./c::/d")]);
        assert_eq!(
            host.folders_in("PATH"),
            [PathBuf::from("/a"), PathBuf::from("/d")]
        );
    }

    #[test]
    fn this_machine_has_an_executable_and_an_environment() {
        let host = Host::from_env();
        assert!(host.executable.is_some_and(|file| file.is_absolute()));
        assert!(!host.vars.is_empty());
    }
}
