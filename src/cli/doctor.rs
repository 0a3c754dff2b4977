//! `fer doctor`: shows what this machine can run.

use std::path::PathBuf;

use anyhow::Result;
use fer::device::{self, Backend, DeviceSpec, Listed};
use fer::doctor::{Findings, Library, examine};
use fer::host::Host;
#[cfg(feature = "ort")]
use fer::runtime::Origin;
use std::io::Write;
use std::process::{Command, Stdio};

use super::Status;
#[cfg(any(feature = "ort", feature = "video"))]
use super::advice;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// ONNX Runtime's library, a file or its folder [default: searched].
    #[arg(long, value_name = "PATH")]
    ort_lib: Option<PathBuf>,

    /// Try this device of Burn's and print its properties as JSON.
    #[arg(long, hide = true)]
    device: Option<DeviceSpec>,
}

pub fn run(args: &Args, host: &Host) -> Result<Status> {
    let mut out = std::io::stdout().lock();
    if let Some(device) = args.device {
        writeln!(out, "{}", serde_json::to_string(&device::examine(device))?)?;
        return Ok(Status::Done);
    }
    let findings = examine(args.ort_lib.as_deref(), host, &try_device);
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings)?;
        writeln!(out)?;
    } else {
        print(&findings, &mut out)?;
    }
    Ok(Status::Done)
}

/// Tries a device in a separate process, because its driver may crash.
fn try_device(device: DeviceSpec) -> Listed {
    let failed = |error: String| Listed {
        device: device.to_string(),
        error: Some(error),
        ..Listed::default()
    };
    let program = std::env::current_exe();
    let output = program.and_then(|program| {
        let mut command = Command::new(program);
        command
            .args(["doctor", "--device", &device.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
    });
    match output {
        Ok(output) => serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            failed(format!(
                "its driver crashed ({}); a newer driver may work",
                output.status
            ))
        }),
        Err(e) => failed(format!("it can't be tried: {e}")),
    }
}

/// Name, kind, interface, memory, driver, and whether it starts.
fn described(device: &Listed) -> String {
    let memory = device.memory.map(fer::doctor::size);
    let state = device
        .error
        .as_ref()
        .map_or("starts".into(), |error| format!("does not start: {error}"));
    let parts = [
        &device.name,
        &device.kind,
        &device.interface,
        &memory,
        &device.driver,
        &Some(state),
    ];
    parts
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

/// ONNX Runtime: where it is, where it was looked for, and its providers.
#[cfg(feature = "ort")]
fn print_onnx_runtime(ort: &Library, out: &mut dyn Write) -> std::io::Result<()> {
    match (&ort.path, &ort.version, &ort.error) {
        (Some(path), Some(version), _) => {
            writeln!(out, "  ort   ONNX Runtime {version} at {path}")?
        }
        (Some(_), _, Some(error)) => writeln!(out, "  ort   {error}; {}", advice::ANOTHER_LIBRARY)?,
        (None, _, Some(error)) => writeln!(out, "  ort   {error}")?,
        _ => writeln!(
            out,
            "  ort   ONNX Runtime was not found; `fer runtime install` installs it"
        )?,
    }
    writeln!(out, "\nSearched for ONNX Runtime")?;
    for step in &ort.search {
        let mark = if step.used { "*" } else { " " };
        let what = step
            .found
            .as_deref()
            .or(step.reason.as_deref())
            .unwrap_or("not found");
        // A given path is named by its option.
        let origin = if step.origin == Origin::Option.to_string() {
            "--ort-lib"
        } else {
            &step.origin
        };
        writeln!(out, "  {mark} {origin}: {what}")?;
    }
    if ort.version.is_some() {
        writeln!(out, "\nProviders")?;
        for p in ort.providers.iter().filter(|p| p.built_in) {
            match &p.error {
                None => writeln!(out, "  {:<10} starts", p.name)?,
                Some(error) => {
                    let next = p.missing.map(advice::missing);
                    let next = next.map_or(String::new(), |next| format!("; {next}"));
                    writeln!(out, "  {:<10} does not start: {error}{next}", p.name)?
                }
            }
        }
        let absent: Vec<&str> = ort
            .providers
            .iter()
            .filter(|p| !p.built_in)
            .map(|p| p.name.as_str())
            .collect();
        if !absent.is_empty() {
            writeln!(out, "  not in this library: {}", absent.join(" "))?;
        }
    }
    Ok(())
}

/// Why there is no ONNX Runtime.
#[cfg(not(feature = "ort"))]
fn print_onnx_runtime(ort: &Library, out: &mut dyn Write) -> std::io::Result<()> {
    let error = ort.error.as_deref().unwrap_or_default();
    writeln!(out, "  ort   {error}")
}

fn print(findings: &Findings, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "fer {}, {} cores\n", findings.version, findings.cores)?;
    writeln!(out, "Engines")?;
    writeln!(
        out,
        "  burn  compiled in, on the CPU or another of Burn's devices (below)"
    )?;
    print_onnx_runtime(&findings.onnxruntime, out)?;
    writeln!(out, "\nGPUs")?;
    match findings.gpus.as_slice() {
        [] => writeln!(out, "  none seen")?,
        gpus => gpus.iter().try_for_each(|gpu| writeln!(out, "  {gpu}"))?,
    }
    writeln!(out, "\nBurn's devices")?;
    writeln!(out, "  {:<9} the CPU", "flex")?;
    for device in &findings.burn_devices {
        writeln!(out, "  {:<9} {}", device.device, described(device))?;
    }
    for backend in Backend::ALL
        .into_iter()
        .filter(|b| !b.is_built_in() && *b != Backend::Ndarray)
    {
        writeln!(
            out,
            "  {:<9} not in this build (`cargo build --release --features {}`)",
            backend.to_string(),
            backend.feature()
        )?;
    }
    writeln!(out, "\nBuilt-in models")?;
    for (i, model) in findings.builtin_models.iter().enumerate() {
        let default = if i == 0 { " (default)" } else { "" };
        writeln!(
            out,
            "  {}{default}: {}, {}",
            model.name,
            model.input,
            model.labels.join(" ")
        )?;
        if let Some(source) = &model.source {
            writeln!(out, "    {source}")?;
        }
        if let Some(instructions) = &model.int8 {
            writeln!(out, "    computed with 8-bit integers, by {instructions}")?;
        }
        if !model.generic.is_empty() {
            let generic = model.generic.join(", ");
            writeln!(
                out,
                "    computed by Burn, because the kernels do not support it: {generic}"
            )?;
        }
    }
    #[cfg(feature = "video")]
    print_video(&findings.video, out)?;
    Ok(())
}

/// ffmpeg and the cameras.
#[cfg(feature = "video")]
fn print_video(video: &fer::doctor::Video, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\nVideo")?;
    match (&video.ffmpeg, &video.version, &video.error) {
        (Some(path), Some(version), _) => writeln!(out, "  ffmpeg {version} at {path}")?,
        (_, _, error) => {
            let error = error.as_deref().unwrap_or_default();
            return writeln!(out, "  {error}; {}", advice::INSTALL_FFMPEG);
        }
    }
    match video.cameras.as_slice() {
        [] => writeln!(out, "  no camera seen"),
        cameras => cameras
            .iter()
            .try_for_each(|(number, name)| writeln!(out, "  camera {number}: {name}")),
    }
}
