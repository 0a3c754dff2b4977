//! The devices that Burn can compute on ([`list`]), and their properties ([`examine`]), for
//! display.

use std::process::{Command, Stdio};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Backend, DeviceSpec, identity};
use fer_core::panics;

/// A device's properties, as far as the machine states them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name, as [`DeviceSpec`] parses it.
    pub device: String,
    /// The hardware's name.
    pub name: Option<String>,
    /// Discrete GPU, integrated GPU, virtual GPU, or CPU for a software implementation.
    pub kind: Option<String>,
    /// The interface to it: Vulkan, Metal, DirectX 12, CUDA, …
    pub interface: Option<String>,
    /// The driver and its version.
    pub driver: Option<String>,
    /// Its own memory in bytes.
    pub memory: Option<u64>,
    /// Why it does not work, if so.
    pub error: Option<String>,
}

/// The GPUs that this build can compute on, including those that do not start. None is opened.
pub fn list() -> Vec<DeviceSpec> {
    let built_in = [Backend::Wgpu, Backend::Vulkan, Backend::Cuda]
        .into_iter()
        .filter(|b| b.is_built_in());
    built_in
        .flat_map(|backend| {
            // A backend that fails to count its devices lists none. If it is requested by name, it
            // reports the reason.
            let found = panics::caught(|| backend.devices()).map_or(0, |devices| devices.len());
            (0..found).map(move |index| DeviceSpec { backend, index })
        })
        .collect()
}

/// Examines a device. It is tried, and a driver may crash the whole process.
pub fn examine(choice: DeviceSpec) -> Listed {
    let found = panics::caught(|| choice.backend.devices()).unwrap_or_default();
    let device = found.get(choice.index);
    let mut listed = device
        .and_then(|device| panics::caught(|| described(device)).ok())
        .unwrap_or_default();
    listed.device = choice.to_string();
    let opened = match choice.open() {
        Ok(opened) => opened.device,
        Err(error) => {
            return Listed {
                error: Some(error.to_string()),
                ..listed
            };
        }
    };
    let Some((name, address)) = panics::caught(|| identity(&opened)).ok().flatten() else {
        return listed;
    };
    listed.name = listed.name.or(Some(name));
    let cards = cards();
    let card = address.and_then(|address| cards.into_iter().find(|card| card.address == address));
    listed.memory = card.as_ref().and_then(|card| card.memory);
    listed.driver = listed
        .driver
        .filter(|d| !d.is_empty())
        .or(card.and_then(|card| card.driver));
    listed
}

/// What wgpu reports about an adapter.
#[cfg(feature = "wgpu")]
fn described(device: &Device) -> Listed {
    use burn::backend::{CubeDevice, DispatchDevice, WgpuDevice, WgpuDeviceKind};
    use burn::tensor::DeviceKind;

    let (kind, interface) = match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(WgpuDevice { kind, backend })) => (kind, *backend),
        _ => return of_cuda(),
    };
    let kind = match kind {
        WgpuDeviceKind::DiscreteGpu(n) => DeviceKind::DiscreteGpu(*n),
        WgpuDeviceKind::IntegratedGpu(n) => DeviceKind::IntegratedGpu(*n),
        WgpuDeviceKind::VirtualGpu(n) => DeviceKind::VirtualGpu(*n),
        WgpuDeviceKind::Cpu => DeviceKind::Cpu,
        _ => return Listed::default(),
    };
    let name = match kind {
        DeviceKind::DiscreteGpu(_) => "discrete GPU",
        DeviceKind::IntegratedGpu(_) => "integrated GPU",
        DeviceKind::VirtualGpu(_) => "virtual GPU",
        _ => "CPU, software implementation of a GPU",
    };
    let listed = Listed {
        kind: Some(name.into()),
        ..Listed::default()
    };
    match Device::wgpu_options()
        .device_kind(kind)
        .graphics_api(interface)
        .init_with_setup()
    {
        Ok((_, setup)) => {
            let info = setup.adapter.get_info();
            let driver = format!("{} {}", info.driver, info.driver_info);
            let interface = Some(format!("{:?}", info.backend));
            Listed {
                name: Some(info.name),
                interface,
                driver: Some(driver.trim().into()),
                ..listed
            }
        }
        // It was opened before. Whether it works is checked elsewhere.
        Err(_) => listed,
    }
}

#[cfg(not(feature = "wgpu"))]
fn described(_: &Device) -> Listed {
    of_cuda()
}

fn of_cuda() -> Listed {
    Listed {
        kind: Some("GPU".into()),
        interface: Some("CUDA".into()),
        ..Listed::default()
    }
}

/// A graphics card, as the system lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its place on the PCI bus, as `0000:65:00.0`.
    pub address: String,
    /// Its maker and name.
    pub name: String,
    /// Its own memory in bytes.
    pub memory: Option<u64>,
    /// The driver and its version.
    pub driver: Option<String>,
}

/// The cards that NVIDIA's driver and, on Linux, the kernel list.
pub fn cards() -> Vec<Card> {
    let mut cards = nvidia();
    for entry in std::fs::read_dir("/sys/class/drm")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let read = |file: &str| {
            std::fs::read_to_string(entry.path().join("device").join(file)).unwrap_or_default()
        };
        let vendor = match read("vendor").trim() {
            "0x10de" => "NVIDIA",
            "0x1002" => "AMD",
            "0x8086" => "Intel",
            _ => continue,
        };
        let link = |file: &str| std::fs::read_link(entry.path().join("device").join(file)).ok();
        let last = |path: std::path::PathBuf| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let address = std::fs::read_link(entry.path().join("device"))
            .ok()
            .and_then(last)
            .unwrap_or_default();
        let is_card = name
            .strip_prefix("card")
            .is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
        if is_card && !cards.iter().any(|card| card.address == address) {
            let memory = read("mem_info_vram_total").trim().parse().ok();
            let driver = link("driver").and_then(last);
            cards.push(Card {
                address,
                name: format!("{vendor} {name}"),
                memory,
                driver,
            });
        }
    }
    cards.sort_by(|a, b| a.address.cmp(&b.address));
    cards
}

fn nvidia() -> Vec<Card> {
    let query = [
        "--query-gpu=pci.bus_id,name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
    ];
    let answer = Command::new("nvidia-smi")
        .args(query)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match answer {
        Ok(answer) if answer.status.success() => parse(&String::from_utf8_lossy(&answer.stdout)),
        _ => Vec::new(),
    }
}

/// `00000000:65:00.0, NVIDIA H100 PCIe, 81559, 550.54.15`: the memory in MiB.
fn parse(text: &str) -> Vec<Card> {
    let card = |line: &str| {
        let mut fields = line.split(',').map(str::trim);
        let address = fields.next()?.to_ascii_lowercase();
        // Eight digits of the domain. The kernel and CUDA write four of them.
        let address = address
            .strip_prefix("0000")
            .filter(|rest| rest.matches(':').count() == 2)
            .map_or_else(|| address.clone(), String::from);
        let name = fields.next()?.to_string();
        let memory = fields
            .next()?
            .parse::<u64>()
            .ok()
            .and_then(|mib| mib.checked_mul(1 << 20));
        let driver = fields.next().map(|version| format!("NVIDIA {version}"));
        Some(Card {
            address,
            name,
            memory,
            driver,
        })
    };
    text.lines().filter_map(card).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nvidias_tool_prints() {
        let text = "00000000:65:00.0, NVIDIA H100 PCIe, 81559, 550.54.15\n00000000:CA:00.0, Tesla \
            T4, [N/A], 470.1\nno\n";
        let card = |address: &str, name: &str, memory, driver: &str| Card {
            address: address.into(),
            name: name.into(),
            memory,
            driver: Some(driver.into()),
        };
        let expected = [
            card(
                "0000:65:00.0",
                "NVIDIA H100 PCIe",
                Some(81_559 << 20),
                "NVIDIA 550.54.15",
            ),
            card("0000:ca:00.0", "Tesla T4", None, "NVIDIA 470.1"),
        ];
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn what_is_not_there_says_why() {
        let far = DeviceSpec {
            backend: Backend::Cuda,
            index: 99,
        };
        let listed = examine(far);
        assert_eq!(
            (listed.device.as_str(), listed.error.is_some()),
            ("cuda:99", true),
            "{listed:?}"
        );
    }
}
