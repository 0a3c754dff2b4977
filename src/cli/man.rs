//! `fer man`: writes the man pages that a package installs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use fer::files;

use super::Status;

#[derive(clap::Args)]
pub struct Args {
    /// The folder for the pages; it is created if it does not exist.
    dir: PathBuf,

    /// The date that the pages name.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
    date: String,
}

/// Writes one page for the program and one for each visible command, such as `fer-data-check.1`.
pub fn run(args: &Args, program: Command) -> Result<Status> {
    let folder = &args.dir;
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    // Without `fer help COMMAND`, which would repeat the page of each command.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let version = program.get_version().unwrap_or_default();
    let source = format!("{} {version}", program.get_name());
    write(&program, &source, &args.date, folder)?;
    Ok(Status::Done)
}

/// Writes the page of a command, then those of its commands.
fn write(command: &Command, source: &str, date: &str, folder: &Path) -> Result<()> {
    let page = Man::new(command.clone()).date(date).source(source);
    let page = page.manual("User Commands");
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    files::write(&path, &text).with_context(|| format!("can't write {}", path.display()))?;
    command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .try_for_each(|c| write(c, source, date, folder))
}

/// Accepts `2026-01-31`. Does not check the calendar.
fn date(text: &str) -> Result<String, &'static str> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    match shape.as_str() {
        "0000-00-00" => Ok(text.to_owned()),
        _ => Err("a date is written as 2026-01-31"),
    }
}
