//! Shared by the tests of this module: fake hosts, script interpreters, hand-made wheels.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fer_core::host::{Host, Os};

/// A Linux x86_64 host with these variables and nothing else.
pub(super) fn host_with(vars: &[(&str, &str)]) -> Host {
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

/// A file with this content; its folders are made.
pub(super) fn put(file: &Path, content: &[u8]) -> PathBuf {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
    file.to_owned()
}

/// A shell script that can be run as a program. It finds the system's tools with any `PATH`.
///
/// It is written by another process: if this one held the file open for writing while another
/// test's thread starts a child, that child would inherit it and running the script would fail with
/// "text file busy".
#[cfg(unix)]
pub(super) fn script(folder: &Path, name: &str, body: &str) -> PathBuf {
    let file = folder.join(name);
    let done = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            r#"printf '#!/bin/sh\nPATH=/usr/bin:/bin\n%s\n' "$1" > "$2" && chmod 755 "$2""#,
            "sh",
            body,
        ])
        .arg(&file)
        .status()
        .unwrap();
    assert!(done.success());
    file
}

/// A zip file of stored members.
pub(super) fn zip_file(file: &Path, members: &[(&str, &[u8])]) -> PathBuf {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(fs::File::create(file).unwrap());
    for (name, content) in members {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
    file.to_owned()
}

/// The lines of a RECORD file for these members, with correct hashes and sizes.
pub(super) fn record_of(members: &[(&str, &[u8])]) -> String {
    use sha2::{Digest, Sha256};
    let line = |(name, content): &(&str, &[u8])| {
        let hash = super::wheel::base64_url(Sha256::digest(content).as_slice());
        format!("{name},sha256={hash},{}\n", content.len())
    };
    members.iter().map(line).collect::<String>() + "x-1.dist-info/RECORD,,\n"
}

/// A wheel of these members with a correct RECORD.
pub(super) fn wheel(file: &Path, members: &[(&str, &[u8])]) -> PathBuf {
    let record = record_of(members);
    let mut all = members.to_vec();
    all.push(("x-1.dist-info/RECORD", record.as_bytes()));
    zip_file(file, &all)
}

/// A machine with a data folder and a `python3` whose pip is a script that delivers wheels: for a
/// package `p` the file `wheel-p` in its folder, else the file `wheel`.
///
/// Small files in its folder `say` change what the script does, see [`FakeMachine::set`].
#[cfg(unix)]
pub(super) struct FakeMachine {
    pub folder: tempfile::TempDir,
    pub host: Host,
    /// The wheel for packages without their own wheel; the test writes it.
    pub wheel: PathBuf,
}

#[cfg(unix)]
impl FakeMachine {
    /// The machine, still without its wheel.
    pub fn new() -> FakeMachine {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("bin")).unwrap();
        fs::create_dir(at("say")).unwrap();
        let data = at("data");
        let (path, home) = (
            at("bin").display().to_string(),
            folder.path().display().to_string(),
        );
        script(&at("bin"), "python3", PYTHON);
        let vars = [
            ("PATH", path.as_str()),
            ("HOME", &home),
            ("FER_DATA_DIR", data.to_str().unwrap()),
        ];
        let host = host_with(&vars);
        FakeMachine {
            host,
            wheel: at("wheel"),
            folder,
        }
    }

    /// Changes the script: `fail` is pip's error, `no-pip` removes pip, `version` is pip's version
    /// line, `hash` is the index's hash, `name` is the wheel's file name.
    pub fn set(&self, what: &str, value: &str) {
        put(&self.folder.path().join("say").join(what), value.as_bytes());
    }

    /// The folder that libraries are installed to.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("data/onnxruntime")
    }

    /// The names in a folder of the store, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.store().join(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The calls of the script, one per line.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[cfg(unix)]
const PYTHON: &str = r#"
echo "$*" >> "$HOME/calls"
said() { cat "$HOME/say/$1" 2>/dev/null || echo "$2"; }
if [ -f "$HOME/say/no-pip" ]; then echo "python3: No module named pip" >&2; exit 1; fi
if [ "$*" = "-m pip --version" ]; then said version "pip 23.2.1 from x (python 3.11)"; exit 0; fi
if [ -f "$HOME/say/fail" ]; then said fail >&2; exit 1; fi
dest=; report=; packages=
while [ $# -gt 0 ]; do
    case "$1" in
        --dest) dest=$2; shift ;;
        --report) report=$2; shift ;;
        -m | --target | --python-version | --implementation | --abi | --platform) shift ;;
        -* | download | install) ;;
        *) packages="$packages ${1%%[=~]*}" ;;
    esac
    shift
done
wheel_of() { if [ -f "$HOME/wheel-$1" ]; then echo "$HOME/wheel-$1"; else echo "$HOME/wheel"; fi; }
items=
for package in $packages; do
    wheel=$(wheel_of $package)
    if [ -n "$report" ]; then
        hash=$(said hash "$({ sha256sum "$wheel" || shasum -a 256 "$wheel"; } 2>/dev/null | cut -c1-64)")
        [ -n "$hash" ] || hash=$(printf '%064d' 0)
        archive="{\"hashes\":{\"sha256\":\"$hash\"}}"
        item="{\"metadata\":{\"name\":\"$package\",\"version\":\"1.2.3\"},\"download_info\":{\"archive_info\":$archive}}"
        items="$items${items:+,}$item"
    fi
    if [ -n "$dest" ] && [ -f "$wheel" ]; then
        cp "$wheel" "$dest/$(said name $package-1.2.3-cp312-cp312-manylinux_2_28_x86_64.whl)"
    fi
done
[ -n "$report" ] && echo "{\"install\":[$items]}" > "$report"
exit 0
"#;
