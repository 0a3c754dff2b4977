//! Installs one package with pip: download, compare the hash, unpack the needed files.

use std::fs;
use std::path::Path;

use super::error::{InstallError, at};
use super::install::Event;
use super::pins::Platform;
use super::pip::Pip;
use super::wheel::{self, LIMITS, Unpacked};

/// Downloads one package's wheel, compares its hash, and unpacks what `name_of` names into `goal`.
///
/// `what` is the package, its version and the platform; `expected` is the SHA-256 and whether it is
/// built in.
pub(super) fn fetch(
    pip: &Pip<'_>,
    (package, version, platform): (&str, &str, Platform),
    (expected, pinned): (&str, bool),
    scratch: &Path,
    goal: &Path,
    name_of: &dyn Fn(&str) -> Option<String>,
    progress: &mut dyn FnMut(Event),
) -> Result<Unpacked, InstallError> {
    progress(Event::Downloading {
        package: package.to_owned(),
        version: version.to_owned(),
    });
    let dest = scratch.join(format!("wheel-{package}"));
    fs::create_dir(&dest).map_err(at("make the folder", &dest))?;
    let wheel = pip.download(package, version, platform, &dest)?;
    let file = wheel
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let actual = wheel::sha256_of(&wheel).map_err(at("read", &wheel))?;
    if actual != expected {
        return Err(InstallError::WrongHash {
            file,
            expected: expected.to_owned(),
            actual,
            pinned,
        });
    }
    progress(Event::Verified {
        sha256: actual,
        pinned,
    });
    let done = wheel::unpack(&wheel, goal, LIMITS, name_of)
        .map_err(|source| InstallError::Wheel { file, source })?;
    progress(Event::Unpacked {
        files: done.files,
        bytes: done.bytes,
    });
    fs::remove_dir_all(&dest).map_err(at("clear", &dest))?;
    Ok(done)
}

/// The file name for a member of the ONNX Runtime wheel: the library, its providers, and the
/// license files.
pub(super) fn onnxruntime_member(path: &str) -> Option<String> {
    if let Some(paper) = wheel::name_in(path, "onnxruntime") {
        return ["LICENSE", "ThirdPartyNotices.txt"]
            .contains(&paper)
            .then(|| paper.to_owned());
    }
    if wheel::is_info(path, "METADATA") {
        return Some("METADATA".to_owned());
    }
    let name = wheel::name_in(path, "onnxruntime/capi")?;
    let is_shared = name.ends_with(".so") || name.contains(".so.") || name.ends_with(".dylib");
    let is_library = name.ends_with(".dll") || (is_shared && name.starts_with("libonnxruntime"));
    is_library.then(|| name.to_owned())
}
