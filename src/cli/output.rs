//! Where records go: the formats by their names and by an output's ending ([`RecordFormat`]), and a
//! file that gets its name when it is complete ([`Output`]).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use fer::files::{self, Temporary};
use fer::report::Format;

/// The format of the records of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// One that is written record by record.
    Text(Format),
    /// A Parquet file.
    #[cfg(feature = "shards")]
    Parquet,
}

impl FromStr for RecordFormat {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "parquet" => parquet(),
            _ => s.parse().map(Self::Text),
        }
    }
}

#[cfg(feature = "shards")]
fn parquet() -> Result<RecordFormat, String> {
    Ok(RecordFormat::Parquet)
}

#[cfg(not(feature = "shards"))]
fn parquet() -> Result<RecordFormat, String> {
    Err(
        "Parquet is written by fer built with `cargo build --release --features shards`, and by \
         its packages"
            .into(),
    )
}

/// The format that the output's extension names: a table without one, an error if it names none.
pub fn record_format_of(output: Option<&Path>) -> Result<RecordFormat> {
    let ending = output.and_then(Path::extension);
    match (output, ending) {
        (Some(path), Some(ending)) if ending.eq_ignore_ascii_case("parquet") => {
            let format = parquet().map_err(anyhow::Error::msg);
            format.with_context(|| format!("--output {}", path.display()))
        }
        _ => format_of(output).map(RecordFormat::Text),
    }
}

/// The same, of the formats that are written record by record.
pub fn format_of(output: Option<&Path>) -> Result<Format> {
    let Some((path, ending)) = output.and_then(|path| Some((path, path.extension()?))) else {
        return Ok(Format::Table);
    };
    match ending.to_string_lossy().to_ascii_lowercase().as_str() {
        "txt" | "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        "jsonl" | "ndjson" => Ok(Format::Jsonl),
        "csv" => Ok(Format::Csv),
        other => bail!(
            "--output {}: .{other} names no format; use .txt, .json, .jsonl or .csv, or --format",
            path.display()
        ),
    }
}

/// The file that an output's path means, which is not a folder. A link stays a link: its target is
/// written.
pub fn target(path: &Path) -> Result<PathBuf> {
    let is_folder = path.is_dir()
        || path
            .as_os_str()
            .to_string_lossy()
            .ends_with(std::path::is_separator);
    if is_folder {
        bail!("--output {} is a folder; name a file", path.display());
    }
    Ok(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))
}

/// Refuses to write an output over what it is made from. `option` names the output.
pub fn not_over<'a>(
    option: &str,
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    // A new file is no input, of which there may be millions.
    let Ok(file) = output.canonicalize() else {
        return Ok(());
    };
    let is_file = |input: &Path| {
        let may_be = input.file_name() == file.file_name() || input.is_symlink();
        may_be && input.canonicalize().is_ok_and(|input| input == file)
    };
    if inputs.into_iter().any(is_file) {
        bail!(
            "{option} {} is an input of this command; name another file",
            output.display()
        );
    }
    Ok(())
}

/// The output of --output.
pub enum Output {
    /// A file that gets its name only when it is complete.
    Whole { file: Temporary, path: PathBuf },
    /// A pipe or device, which is written directly.
    Stream(File),
}

impl Output {
    /// Opens it, so that an unwritable path is reported before the work.
    pub fn open(path: &Path) -> Result<Self> {
        let path = target(path)?;
        let unwritable = || format!("can't write {} (--output)", path.display());
        let existing = path.metadata().ok();
        if existing.as_ref().is_some_and(|m| !m.is_file()) {
            let file = File::options().write(true).open(&path);
            return Ok(Self::Stream(file.with_context(unwritable)?));
        }
        let file = files::temporary(&path).with_context(unwritable)?;
        if let Some(existing) = existing {
            file.as_file()
                .set_permissions(existing.permissions())
                .context("can't set the output's permissions")?;
        }
        Ok(Self::Whole { file, path })
    }

    pub fn file(&self) -> Result<File> {
        let file = match self {
            Self::Whole { file, .. } => file.as_file(),
            Self::Stream(file) => file,
        };
        file.try_clone().context("can't open the output twice")
    }

    /// Renames the file to its final name.
    pub fn keep(self) -> Result<()> {
        if let Self::Whole { file, path } = self {
            // Not forced to the disk, unlike in `files::keep`: the predictions can be computed
            // again, and a short run should be fast.
            let kept = file.rename(&path);
            kept.with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}
