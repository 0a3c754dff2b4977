//! The request for an installation, and its validation before anything is changed.

use super::error::InstallError;
use super::pins::{Platform, default_version, pinned};
use super::store::Flavor;
use fer_core::host::{Host, is_version};

/// What to install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The build for NVIDIA GPUs instead of the CPU build.
    pub cuda: bool,
    /// The version; without one, the default, whose hash is built into fer.
    pub version: Option<String>,
    /// Install again even if it is already installed.
    pub force: bool,
    /// Also download the CUDA and cuDNN libraries (some 1.3 GB); only with `cuda`.
    pub with_cuda_libs: bool,
}

/// A validated request; nothing has been changed yet.
pub(super) struct Plan {
    pub flavor: Flavor,
    pub platform: Platform,
    pub version: String,
    pub pin: Option<&'static str>,
    pub force: bool,
    pub with_cuda_libs: bool,
}

impl Plan {
    /// Validates a request; changes nothing on the machine.
    pub fn new(request: &Request, host: &Host) -> Result<Plan, InstallError> {
        let (os, arch) = (host.os, host.arch.clone());
        let flavor = if request.cuda {
            Flavor::Cuda
        } else {
            Flavor::Cpu
        };
        if request.with_cuda_libs && !request.cuda {
            return Err(InstallError::CudaLibsWithoutCuda);
        }
        if let Some(version) = request
            .version
            .as_ref()
            .filter(|text| text.len() > 20 || !is_version(text))
        {
            return Err(InstallError::BadVersion {
                version: version.clone(),
            });
        }
        let Some(platform) = Platform::of(host) else {
            return Err(InstallError::NoPlatform { os, arch });
        };
        let Some(default) = default_version(flavor, platform) else {
            return Err(InstallError::NoCudaBuild { os, arch });
        };
        let version = request
            .version
            .as_deref()
            .map_or_else(|| default.to_owned(), in_full);
        let pin = pinned(flavor, platform, &version);
        let (force, with_cuda_libs) = (request.force, request.with_cuda_libs);
        Ok(Plan {
            flavor,
            platform,
            version,
            pin,
            force,
            with_cuda_libs,
        })
    }
}

/// A version in the form of package names: `1.19` and `01.19.0` are `1.19.0`.
fn in_full(version: &str) -> String {
    let digits = |part: &str| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    };
    let mut parts: Vec<String> = version.split('.').map(digits).collect();
    parts.resize(parts.len().max(3), "0".to_owned());
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::host_with;

    fn request(version: &str) -> Request {
        Request {
            version: Some(version.to_owned()),
            ..Request::default()
        }
    }

    #[test]
    fn one_version_has_one_name() {
        let rows = [
            ("1.19", "1.19.0"),
            ("1.32.0", "1.32.0"),
            ("01.020.00", "1.20.0"),
            ("2", "2.0.0"),
            ("1.2.3.4", "1.2.3.4"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(text, full)| in_full(text) != *full)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        // So a short spelling can't bypass the built-in hash.
        assert!(Plan::new(&request("1.32"), &host_with(&[])).is_ok_and(|plan| plan.pin.is_some()));
    }

    #[test]
    fn versions_that_are_accepted_and_refused() {
        let mut wrong = Vec::new();
        for version in ["1", "1.32.0", "1.31.1", "12345678901234567.12"] {
            let plan = Plan::new(&request(version), &host_with(&[]));
            if plan.is_err() {
                wrong.push(version.to_owned());
            }
        }
        let bad = [
            "",
            ".",
            "1.",
            ".1",
            "1..2",
            "1.32.0rc1",
            "../x",
            "1.32.0 --index-url=x",
            "-1",
            "1,2",
            "1.٣",
            "v1.2",
        ];
        for version in bad
            .map(str::to_owned)
            .into_iter()
            .chain(["1.2\n".to_owned(), "123456789012345678.12".to_owned()])
        {
            match Plan::new(&request(&version), &host_with(&[])) {
                Err(InstallError::BadVersion { .. }) => {}
                _ => wrong.push(version),
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
