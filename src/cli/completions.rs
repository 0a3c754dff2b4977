//! `fer completions`: prints what a shell needs to complete the command line.

use std::io::Write;

use anyhow::Result;
use clap::Command;
use clap_complete::Shell;

use super::Status;

/// Where each shell looks for the script.
pub const WHERE: &str = "\
bash:        fer completions bash > ~/.local/share/bash-completion/completions/fer
zsh:         fer completions zsh > ~/.zfunc/_fer, a folder that $fpath names
fish:        fer completions fish > ~/.config/fish/completions/fer.fish
PowerShell:  fer completions powershell | Out-String | Invoke-Expression";

#[derive(clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &Args, mut program: Command) -> Result<Status> {
    let name = program.get_name().to_owned();
    // To memory first: the generator panics if stdout is closed early.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Status::Done)
}
