//! NVIDIA's libraries for the CUDA build: what the package requires, and downloading them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{InstallError, at};
use super::fetch::fetch;
use super::install::Event;
use fer_core::host::is_version;

use super::pins::Platform;
use super::pip::Pip;
use super::search::Found;
use super::wheel::{self, Unpacked};

/// The folder for these libraries, beside the ONNX Runtime library.
pub(super) const FOLDER: &str = "nvidia";

/// The folder of the CUDA and cuDNN libraries that were installed beside a library, if they were.
/// The system's loader does not search it, so they must be opened before the CUDA provider.
pub fn cuda_library_folder(found: &Found) -> Option<PathBuf> {
    found
        .path
        .parent()
        .map(|folder| folder.join(FOLDER))
        .filter(|folder| folder.is_dir())
}

/// A package of NVIDIA that the wheel's METADATA requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    name: String,
    versions: String,
}

impl Requirement {
    /// Its major version.
    fn major(&self) -> Option<&str> {
        let digits = self
            .versions
            .trim_start_matches(|c: char| !c.is_ascii_digit());
        digits
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .filter(|major| is_version(major))
    }
}

/// The packages under the extras `cuda` and `cudnn` of a wheel's METADATA.
pub(super) fn requirements(metadata: &str) -> Vec<Requirement> {
    let parse = |line: &str| {
        let (what, condition) = line.strip_prefix("Requires-Dist:")?.split_once(';')?;
        let extra = condition
            .split_once("extra")?
            .1
            .trim_matches([' ', '=', '"', '\'']);
        let what: String = what
            .chars()
            .filter(|c| !c.is_whitespace() && !"()".contains(*c))
            .collect();
        let end = what
            .find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c))
            .unwrap_or(what.len());
        let (name, versions) = what.split_at(end);
        let is_plain = versions
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"~=<>!.,*".contains(&byte));
        let is_ours = ["cuda", "cudnn"].contains(&extra) && name.starts_with("nvidia-") && is_plain;
        is_ours.then(|| Requirement {
            name: name.to_owned(),
            versions: versions.to_owned(),
        })
    };
    // The headers end at the first empty line. Free text follows.
    metadata
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .filter_map(parse)
        .collect()
}

/// What the CUDA build needs besides the library itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaNeeds {
    /// The driver; CUDA and cuDNN were installed beside the library.
    Driver {
        /// CUDA's major version.
        cuda: String,
        /// cuDNN's major version.
        cudnn: String,
    },
    /// The driver, CUDA and cuDNN.
    All {
        /// CUDA's major version.
        cuda: String,
        /// cuDNN's major version.
        cudnn: String,
        /// The packages that CUDA and cuDNN can be installed from, with their versions.
        packages: Vec<String>,
    },
    /// The driver, CUDA and cuDNN of unknown versions.
    Unknown,
}

impl CudaNeeds {
    /// Reads the requirements from a wheel's METADATA.
    pub(super) fn of(metadata: &str, has_libraries: bool) -> Self {
        let requirements = requirements(metadata);
        let major = |part: &str| {
            requirements
                .iter()
                .find(|r| r.name.contains(part))
                .and_then(Requirement::major)
                .map(str::to_owned)
        };
        match (major("cuda-runtime"), major("cudnn")) {
            (Some(cuda), Some(cudnn)) if has_libraries => Self::Driver { cuda, cudnn },
            (Some(cuda), Some(cudnn)) => Self::All {
                cuda,
                cudnn,
                packages: requirements
                    .iter()
                    .map(|r| format!("{}{}", r.name, r.versions))
                    .collect(),
            },
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for CudaNeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver { cuda, cudnn } => write!(
                f,
                "CUDA {cuda} and cuDNN {cudnn} are installed with it; besides them it needs \
                 NVIDIA's driver for CUDA {cuda}"
            ),
            Self::All { cuda, cudnn, .. } => write!(
                f,
                "this build also needs NVIDIA's driver for CUDA {cuda}, and CUDA {cuda} and cuDNN \
                 {cudnn} on the loader's path"
            ),
            Self::Unknown => f.write_str(
                "this build also needs NVIDIA's driver, CUDA and cuDNN; its package does not say \
                 which",
            ),
        }
    }
}

/// Downloads NVIDIA's packages and everything they need, and unpacks their libraries into
/// `goal/nvidia`.
pub(super) fn install(
    pip: &Pip<'_>,
    metadata: &str,
    platform: Platform,
    scratch: &Path,
    goal: &Path,
    progress: &mut dyn FnMut(Event),
) -> Result<Unpacked, InstallError> {
    let requirements: Vec<String> = requirements(metadata)
        .into_iter()
        .map(|requirement| requirement.name + &requirement.versions)
        .collect();
    if requirements.is_empty() {
        return Err(InstallError::OddAnswer {
            wanted: "the CUDA libraries".to_owned(),
            reason: "this version's package does not name them".to_owned(),
        });
    }
    let folder = goal.join(FOLDER);
    std::fs::create_dir(&folder).map_err(at("make the folder", &folder))?;
    let mut sum = Unpacked::default();
    progress(Event::Asking {
        packages: requirements.join(" "),
    });
    for listed in pip.list(&requirements, true, platform, scratch)? {
        let (name, version) = (listed.name.as_str(), listed.version.as_str());
        let done = fetch(
            pip,
            (name, version, platform),
            (&listed.sha256, false),
            scratch,
            &folder,
            &|path| file_name_of(path, name),
            progress,
        )?;
        sum = Unpacked {
            files: sum.files + done.files,
            bytes: sum.bytes + done.bytes,
        };
    }
    Ok(sum)
}

/// The file name for a member of one of NVIDIA's wheels; `None` if it is not needed.
fn file_name_of(path: &str, package: &str) -> Option<String> {
    if ["licenses/License.txt", "License.txt"]
        .iter()
        .any(|name| wheel::is_info(path, name))
    {
        return Some(format!("LICENSE-{package}.txt"));
    }
    let (folder, name) = path.strip_prefix("nvidia/")?.rsplit_once('/')?;
    let is_stub = folder.split('/').any(|part| part == "stubs");
    let is_library = name.ends_with(".so")
        || name.contains(".so.")
        || name.to_ascii_lowercase().ends_with(".dll");
    (is_library && !is_stub).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Origin;

    const METADATA: &str = "\
Metadata-Version: 2.4
Name: onnxruntime-gpu
Requires-Dist: numpy>=1.21.6
Requires-Dist: sympy; extra == \"symbolic\"
Provides-Extra: cuda
Requires-Dist: nvidia-cuda-nvrtc~=13.0; extra == \"cuda\"
Requires-Dist: nvidia-cuda-runtime ~= 13.0 ; extra == 'cuda'
Requires-Dist: evil --index-url=x; extra == \"cuda\"
Requires-Dist: nvidia-evil @ file:/x; extra == \"cuda\"
Provides-Extra: cudnn
Requires-Dist: nvidia-cudnn-cu13 (~=9.0); extra == \"cudnn\"

Requires-Dist: nvidia-text~=1.0; extra == \"cuda\"
";

    #[test]
    fn extras_of_the_metadata() {
        let names: Vec<String> = requirements(METADATA)
            .into_iter()
            .map(|r| r.name + &r.versions)
            .collect();
        assert_eq!(
            names,
            [
                "nvidia-cuda-nvrtc~=13.0",
                "nvidia-cuda-runtime~=13.0",
                "nvidia-cudnn-cu13~=9.0"
            ]
        );
        let note = CudaNeeds::of(METADATA, false).to_string();
        assert!(
            note.contains("driver for CUDA 13, and CUDA 13 and cuDNN 9 on the loader's path"),
            "{note}"
        );
        let with = CudaNeeds::of(METADATA, true).to_string();
        assert!(
            with.starts_with("CUDA 13 and cuDNN 9 are installed with it"),
            "{with}"
        );
        assert_eq!(CudaNeeds::of("", false), CudaNeeds::Unknown);
        assert!(
            CudaNeeds::Unknown
                .to_string()
                .contains("does not say which")
        );
    }

    #[test]
    fn members_that_are_unpacked() {
        let rows = [
            ("nvidia/cu13/lib/libcublas.so.13", Some("libcublas.so.13")),
            ("nvidia/cudnn/lib/libcudnn.so.9", Some("libcudnn.so.9")),
            (
                "nvidia/cu13/bin/x86_64/cublas64_13.dll",
                Some("cublas64_13.dll"),
            ),
            (
                "nvidia_cublas-13.1.dist-info/licenses/License.txt",
                Some("LICENSE-nvidia-cublas.txt"),
            ),
            ("nvidia_cublas-13.1.dist-info/RECORD", None),
            ("nvidia/cu13/lib/stubs/libcublas.so", None),
            ("nvidia/cu13/include/cublas.h", None),
            ("nvidia/cu13/lib/x64/cublas.lib", None),
            ("other/libcublas.so.13", None),
        ];
        let name_of = |path| file_name_of(path, "nvidia-cublas");
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(path, name)| name_of(path).as_deref() != *name)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn folder_beside_the_library() {
        let folder = tempfile::tempdir().unwrap();
        let found = Found {
            path: folder.path().join("libonnxruntime.so.1"),
            origin: Origin::DataFolder,
        };
        assert_eq!(cuda_library_folder(&found), None);
        std::fs::create_dir(folder.path().join(FOLDER)).unwrap();
        assert_eq!(
            cuda_library_folder(&found),
            Some(folder.path().join(FOLDER))
        );
    }
}
