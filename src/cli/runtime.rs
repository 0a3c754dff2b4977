//! `fer runtime`: installs ONNX Runtime's library.

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;
use fer::host::Host;
use fer::runtime::{Event, Request, install};

use super::{Status, advice, say};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download ONNX Runtime with this machine's pip and put it where fer finds it.
    Install(Install),
}

#[derive(clap::Args)]
struct Install {
    /// The build for NVIDIA GPUs (CUDA, TensorRT).
    #[arg(long)]
    cuda: bool,

    /// Install the CUDA and cuDNN libraries too, for systems without them (some 1.3 GB).
    #[arg(long, requires = "cuda")]
    with_cuda_libs: bool,

    /// The version [default: the one whose hash is built into fer].
    #[arg(long, value_name = "V")]
    version: Option<String>,

    /// Install it again even if it is installed.
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let Command::Install(Install {
        cuda,
        with_cuda_libs,
        version,
        force,
    }) = args.command;
    let installed = install(
        &Request {
            cuda,
            version,
            force,
            with_cuda_libs,
        },
        host,
        &mut report,
    )?;
    installed.cuda.iter().map(advice::cuda_needs).for_each(say);
    writeln!(std::io::stdout(), "{}", installed.library.display())?;
    Ok(Status::Done)
}

fn report(event: Event) {
    match event {
        Event::Asking { packages } => say(format_args!("asking pip for the files of {packages}")),
        Event::Downloading { package, version } => {
            say(format_args!("downloading {package} {version}"))
        }
        Event::Verified {
            sha256,
            pinned: true,
        } => say(format_args!(
            "its SHA-256 is the one built into fer: {sha256}"
        )),
        Event::Verified {
            sha256,
            pinned: false,
        } => say(format_args!("its SHA-256 is the package index's: {sha256}")),
        Event::Unpacked { files, bytes } => {
            say(format_args!("unpacked {files} files, {} MiB", bytes >> 20))
        }
        Event::Damaged { folder, reason } => say(format_args!(
            "{} is damaged: {reason}; installing it again",
            folder.display()
        )),
        Event::AlreadyInstalled { folder } => {
            say(format_args!("already installed in {}", folder.display()))
        }
        Event::Activated { path } => say(format_args!("fer now uses {}", path.display())),
    }
}
