//! The wheels for each platform, and the SHA-256 of those that are installed by default.
//!
//! Wheels are requested for Python 3.12, whatever Python the machine has. The library inside is the
//! same, so there is one hash per platform. To change to a new version, download the wheel of each
//! platform with the tags below and replace its row.

use super::store::Flavor;
use fer_core::host::{Host, Os};

/// A platform that ONNX Runtime wheels are published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Linux with glibc on x86-64.
    LinuxX64,
    /// Linux with glibc on 64-bit Arm.
    LinuxArm64,
    /// macOS on Apple silicon.
    MacArm64,
    /// macOS on x86-64.
    MacX64,
    /// Windows on x86-64.
    WindowsX64,
    /// Windows on 64-bit Arm.
    WindowsArm64,
}

impl Platform {
    /// All platforms.
    pub const ALL: [Platform; 6] = [
        Platform::LinuxX64,
        Platform::LinuxArm64,
        Platform::MacArm64,
        Platform::MacX64,
        Platform::WindowsX64,
        Platform::WindowsArm64,
    ];

    /// The platform of a machine; `None` when no wheels are published for it.
    pub fn of(host: &Host) -> Option<Platform> {
        match (host.os, host.arch.as_str()) {
            (Os::Linux, "x86_64") => Some(Platform::LinuxX64),
            (Os::Linux, "aarch64") => Some(Platform::LinuxArm64),
            (Os::MacOs, "aarch64") => Some(Platform::MacArm64),
            (Os::MacOs, "x86_64") => Some(Platform::MacX64),
            (Os::Windows, "x86_64") => Some(Platform::WindowsX64),
            (Os::Windows, "aarch64") => Some(Platform::WindowsArm64),
            _ => None,
        }
    }

    /// The platform tags for pip, best first. They also cover the wheels of older versions: pip
    /// adds the tags of older macOS releases itself, but not those of older glibc releases.
    pub const fn tags(self) -> &'static [&'static str] {
        match self {
            Platform::LinuxX64 => &[
                "manylinux_2_28_x86_64",
                "manylinux_2_27_x86_64",
                "manylinux_2_17_x86_64",
                "manylinux2014_x86_64",
            ],
            Platform::LinuxArm64 => &[
                "manylinux_2_28_aarch64",
                "manylinux_2_27_aarch64",
                "manylinux_2_17_aarch64",
                "manylinux2014_aarch64",
                // The one tag of the CUDA wheels for Arm.
                "manylinux_2_34_aarch64",
            ],
            Platform::MacArm64 => &["macosx_14_0_arm64"],
            Platform::MacX64 => &["macosx_14_0_x86_64"],
            Platform::WindowsX64 => &["win_amd64"],
            Platform::WindowsArm64 => &["win_arm64"],
        }
    }

    /// Whether a wheel's file name fits this platform. pip falls back to the machine's own tags if
    /// it does not understand a given one, so its output is checked.
    pub(super) fn fits(self, wheel: &str) -> bool {
        let Some(tags) = wheel
            .strip_suffix(".whl")
            .and_then(|stem| stem.rsplit('-').next())
        else {
            return false;
        };
        let (system, processors): (&str, &[&str]) = match self {
            Platform::LinuxX64 => ("manylinux", &["_x86_64"]),
            Platform::LinuxArm64 => ("manylinux", &["_aarch64"]),
            Platform::MacArm64 => ("macosx", &["_arm64", "_universal2"]),
            Platform::MacX64 => ("macosx", &["_x86_64", "_universal2"]),
            Platform::WindowsX64 => ("win", &["_amd64"]),
            Platform::WindowsArm64 => ("win", &["_arm64"]),
        };
        tags.split('.')
            .any(|tag| tag.starts_with(system) && processors.iter().any(|end| tag.ends_with(end)))
    }
}

struct Pin {
    flavor: Flavor,
    platform: Platform,
    version: &'static str,
    sha256: &'static str,
}

const fn pin(
    flavor: Flavor,
    platform: Platform,
    version: &'static str,
    sha256: &'static str,
) -> Pin {
    Pin {
        flavor,
        platform,
        version,
        sha256,
    }
}

const CPU: &str = "1.32.0";
/// The last version that was published for macOS on x86-64.
const CPU_MAC_X64: &str = "1.23.2";
const CUDA: &str = "1.31.1";

const PINS: [Pin; 9] = [
    pin(
        Flavor::Cpu,
        Platform::LinuxX64,
        CPU,
        "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
    ),
    pin(
        Flavor::Cpu,
        Platform::LinuxArm64,
        CPU,
        "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
    ),
    pin(
        Flavor::Cpu,
        Platform::MacArm64,
        CPU,
        "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
    ),
    pin(
        Flavor::Cpu,
        Platform::MacX64,
        CPU_MAC_X64,
        "218295a8acae83905f6f1aed8cacb8e3eb3bd7513a13fe4ba3b2664a19fc4a6b",
    ),
    pin(
        Flavor::Cpu,
        Platform::WindowsX64,
        CPU,
        "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40",
    ),
    pin(
        Flavor::Cpu,
        Platform::WindowsArm64,
        CPU,
        "64d394c69d561af3efd4d4f49dcac8f11d0ce135a20701c16d53b74056cd4cf8",
    ),
    pin(
        Flavor::Cuda,
        Platform::LinuxX64,
        CUDA,
        "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7",
    ),
    pin(
        Flavor::Cuda,
        Platform::LinuxArm64,
        CUDA,
        "a0f1725c5a6d1ef82d63498b5ebc25e2c90c9560e91dc76db9be4a49162d4d33",
    ),
    pin(
        Flavor::Cuda,
        Platform::WindowsX64,
        CUDA,
        "2bb1e9373baba88f6415257f5b6a589d23e23c16004f7d89adf4344eada5749e",
    ),
];

/// The default version; `None` if the platform has no such build.
pub fn default_version(flavor: Flavor, platform: Platform) -> Option<&'static str> {
    PINS.iter()
        .find(|pin| (pin.flavor, pin.platform) == (flavor, platform))
        .map(|pin| pin.version)
}

/// The SHA-256 of a version's wheel in lower-case hex, if fer knows it.
pub fn pinned(flavor: Flavor, platform: Platform, version: &str) -> Option<&'static str> {
    let wanted = (flavor, platform, version);
    PINS.iter()
        .find(|pin| (pin.flavor, pin.platform, pin.version) == wanted)
        .map(|pin| pin.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_well_formed_and_the_defaults_are_pinned() {
        for pin in &PINS {
            let row = format!("{} {:?}", pin.flavor, pin.platform);
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            assert!(
                pin.sha256.len() == 64 && pin.sha256.bytes().all(is_hex),
                "{row}"
            );
            assert_eq!(
                default_version(pin.flavor, pin.platform),
                Some(pin.version),
                "{row}: two versions"
            );
            assert_eq!(
                pinned(pin.flavor, pin.platform, pin.version),
                Some(pin.sha256),
                "{row}"
            );
        }
        assert!(
            Platform::ALL
                .iter()
                .all(|platform| default_version(Flavor::Cpu, *platform).is_some())
        );
        assert_eq!(default_version(Flavor::Cuda, Platform::MacArm64), None);
        assert_eq!(pinned(Flavor::Cpu, Platform::LinuxX64, "1.30.0"), None);
    }

    #[test]
    fn real_wheel_names_fit_their_platform_alone() {
        let rows = [
            (
                "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl",
                vec![Platform::LinuxX64],
            ),
            (
                "onnxruntime-1.19.2-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
                vec![Platform::LinuxX64],
            ),
            (
                "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_aarch64.whl",
                vec![Platform::LinuxArm64],
            ),
            (
                "onnxruntime_gpu-1.31.1-cp312-cp312-manylinux_2_34_aarch64.whl",
                vec![Platform::LinuxArm64],
            ),
            (
                "onnxruntime-1.32.0-cp312-cp312-macosx_14_0_arm64.whl",
                vec![Platform::MacArm64],
            ),
            (
                "onnxruntime-1.20.0-cp312-cp312-macosx_13_0_universal2.whl",
                vec![Platform::MacArm64, Platform::MacX64],
            ),
            (
                "onnxruntime-1.23.2-cp312-cp312-macosx_13_0_x86_64.whl",
                vec![Platform::MacX64],
            ),
            (
                "onnxruntime-1.32.0-cp312-cp312-win_amd64.whl",
                vec![Platform::WindowsX64],
            ),
            (
                "onnxruntime-1.32.0-cp312-cp312-win_arm64.whl",
                vec![Platform::WindowsArm64],
            ),
            (
                "nvidia_cublas-13.10.0.20-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl",
                vec![Platform::LinuxX64],
            ),
            ("onnxruntime-1.32.0.tar.gz", vec![]),
        ];
        let fitting = |name| {
            Platform::ALL
                .into_iter()
                .filter(|p: &Platform| p.fits(name))
                .collect::<Vec<_>>()
        };
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(name, expected)| fitting(name) != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
