//! `fer doctor`: shows what this machine can do.

use std::path::PathBuf;

use anyhow::Result;
use fer::doctor::{Findings, examine};
use fer::runtime::Host;
use std::io::Write;

use super::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// ONNX Runtime's library, a file or its folder [default: searched].
    #[arg(long, value_name = "PATH")]
    ort_lib: Option<PathBuf>,
}

pub fn run(args: &Args, host: &Host) -> Result<Outcome> {
    let findings = examine(args.ort_lib.as_deref(), host);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings)?;
        writeln!(out)?;
    } else {
        print(&findings, &mut out)?;
    }
    Ok(Outcome::Done)
}

fn print(findings: &Findings, out: &mut dyn Write) -> std::io::Result<()> {
    let ort = &findings.onnxruntime;
    writeln!(out, "fer {}, {} cores\n", findings.version, findings.cores)?;
    writeln!(out, "Engines")?;
    writeln!(out, "  burn  compiled in, Burn's flex backend on the CPU")?;
    match (&ort.path, &ort.version, &ort.error) {
        (Some(path), Some(version), _) => writeln!(out, "  ort   ONNX Runtime {version} at {path}")?,
        (_, _, Some(error)) => writeln!(out, "  ort   {error}")?,
        _ => writeln!(out, "  ort   ONNX Runtime was not found; `fer runtime install` gets it")?,
    }
    writeln!(out, "\nONNX Runtime was looked for")?;
    for step in &ort.search {
        let mark = if step.used { "*" } else { " " };
        let what = step.found.as_deref().or(step.reason.as_deref()).unwrap_or("not found");
        writeln!(out, "  {mark} {}: {what}", step.origin)?;
    }
    if ort.version.is_some() {
        writeln!(out, "\nProviders")?;
        for p in ort.providers.iter().filter(|p| p.built_in) {
            match &p.error {
                None => writeln!(out, "  {:<10} starts", p.name)?,
                Some(error) => writeln!(out, "  {:<10} does not start: {error}", p.name)?,
            }
        }
        let absent: Vec<&str> = ort.providers.iter().filter(|p| !p.built_in).map(|p| p.name.as_str()).collect();
        if !absent.is_empty() {
            writeln!(out, "  not in this library: {}", absent.join(" "))?;
        }
    }
    writeln!(out, "\nGPUs")?;
    match findings.gpus.as_slice() {
        [] => writeln!(out, "  none seen")?,
        gpus => gpus.iter().try_for_each(|gpu| writeln!(out, "  {gpu}"))?,
    }
    writeln!(out, "\nBuilt-in models")?;
    for (i, model) in findings.builtin_models.iter().enumerate() {
        let default = if i == 0 { " (default)" } else { "" };
        writeln!(out, "  {}{default}: {}, {}", model.name, model.input, model.labels.join(" "))?;
        if let Some(source) = &model.source {
            writeln!(out, "    {source}")?;
        }
    }
    Ok(())
}
