//! An output of `fer infer` that an interrupted run leaves behind, and a later one goes on with
//! ([`Partial`]).
//!
//! The records of `OUT` are written into the folder `OUT.part`, and moved to `OUT` when all are
//! there:
//!
//! | in the folder | |
//! |---|---|
//! | `run.json` | what the records are made with; locked while a run writes |
//! | `records` | the records so far, of JSON lines and CSV |
//! | `00000000.parquet`, … | the records so far, of Parquet |
//!
//! Pictures have a fixed order, so a run goes on behind the records that are there: it counts them,
//! cuts off what is not whole, and checks that they are those of the first pictures.

mod scan;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use fer::report::{Format, Report, Shape};
use serde_json::Value;

use self::scan::Scan;
use super::output::{RecordFormat, target};

/// The folder of this run's records, for the signal that ends it.
static OPEN: Mutex<Option<PathBuf>> = Mutex::new(None);

/// An output that is written in its folder.
pub struct Partial {
    /// `OUT.part`.
    folder: PathBuf,
    /// `OUT`.
    target: PathBuf,
    format: RecordFormat,
    /// Holds `run.json` and its lock.
    run: File,
    /// Whether the folder held records of an interrupted run.
    resumed: bool,
}

/// How an output begins.
pub enum Begun {
    /// It is written, from the first picture or from a later one on.
    Partial(Partial),
    /// It is complete already.
    Complete(PathBuf),
}

/// What an output holds of an interrupted run.
#[derive(Default)]
pub struct Done {
    /// The pictures whose records are whole.
    pub pictures: usize,
    /// How many of these failed.
    pub failed: usize,
}

/// Whether an output is one that can be gone on with: of such a format, and a file.
pub fn is_resumable(path: &Path, format: RecordFormat) -> bool {
    let is_file = path.metadata().map_or(true, |m| m.is_file());
    is_file && !matches!(format, RecordFormat::Text(Format::Table | Format::Json))
}

impl Partial {
    /// Begins an output, or with `resume` goes on with it, so that what can't be written is
    /// reported before the work.
    pub fn begin(path: &Path, format: RecordFormat, resume: bool) -> Result<Begun> {
        let target = target(path)?;
        let mut name = target.clone().into_os_string();
        name.push(".part");
        let folder = PathBuf::from(name);
        let unwritable = || format!("can't write {} (--output)", path.display());
        if resume && target.is_file() && !folder.exists() {
            return Ok(Begun::Complete(target));
        }
        match fs::create_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.with_context(unwritable)?,
        }
        let run = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("run.json"))
            .with_context(unwritable)?;
        // Some network file systems have no locks; a run there is in the user's care.
        if let Err(TryLockError::WouldBlock) = run.try_lock() {
            bail!(
                "another fer infer writes {}; wait for it, or name another --output",
                path.display()
            );
        }
        let resumed = has_records(&folder);
        if resumed && !resume {
            bail!(
                "{} holds the records of an interrupted run: go on behind them with --resume, or \
                 remove the folder to begin anew",
                folder.display()
            );
        }
        let open = OPEN.lock();
        if let Ok(mut open) = open {
            *open = std::path::absolute(&folder).ok();
        }
        Ok(Begun::Partial(Self {
            folder,
            target,
            format,
            run,
            resumed,
        }))
    }

    /// Begins the records of a model with these classes, or goes on with those that are there and
    /// were made with the same `facts`. `names` are the pictures, in their order; those that are
    /// done are taken from it.
    pub fn start<'a>(
        &self,
        facts: &Value,
        labels: &'a [String],
        shape: Shape,
        names: &mut dyn Iterator<Item = String>,
    ) -> Result<(Box<dyn Report + 'a>, Done)> {
        let scan = Scan {
            folder: &self.folder,
            format: self.format,
            labels,
            shape,
        };
        let mut done = Done::default();
        if self.resumed {
            self.check(facts)?;
            done = scan.cut(names).with_context(|| {
                format!("can't go on with the records in {}", self.folder.display())
            })?;
        } else {
            let mut run = &self.run;
            run.set_len(0)
                .and_then(|()| run.seek(SeekFrom::Start(0)))
                .and_then(|_| run.write_all(format!("{facts:#}\n").as_bytes()))
                .with_context(|| format!("can't write into {}", self.folder.display()))?;
        }
        let report = match self.format {
            #[cfg(feature = "shards")]
            RecordFormat::Parquet => {
                let parts = scan.parts();
                Box::new(fer::shards::records::Parts::new(
                    &self.folder,
                    labels,
                    shape,
                    parts,
                )) as Box<dyn Report>
            }
            RecordFormat::Text(format) => {
                let file = self.records()?;
                let begun = file.metadata().is_ok_and(|m| m.len() > 0);
                let mut report = format.report(labels, shape, Box::new(BufWriter::new(file)));
                if !begun {
                    report.begin().context("can't write the results")?;
                }
                report
            }
        };
        Ok((report, done))
    }

    /// Fails unless the records that are there were made with the same.
    fn check(&self, facts: &Value) -> Result<()> {
        let mut text = String::new();
        let mut run = &self.run;
        let read = run
            .seek(SeekFrom::Start(0))
            .and_then(|_| run.take(1 << 20).read_to_string(&mut text));
        let before: Option<Value> = read.ok().and_then(|_| serde_json::from_str(&text).ok());
        let Some(before) = before else {
            bail!(
                "nothing says what the records in {} were made with (run.json is damaged); remove \
                 the folder to begin anew",
                self.folder.display()
            );
        };
        let now = facts.as_object().into_iter().flatten();
        for (key, value) in now {
            if before.get(key) != Some(value) {
                let before = before.get(key).unwrap_or(&Value::Null);
                bail!(
                    "the records in {} were made with another {key}: {before}, now {value}; go on \
                     with the same, or remove the folder to begin anew",
                    self.folder.display()
                );
            }
        }
        Ok(())
    }

    /// The file of the records, at its end.
    fn records(&self) -> Result<File> {
        let path = self.folder.join(scan::RECORDS);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("can't write {}", path.display()))?;
        self.same_permissions(&file)?;
        Ok(file)
    }

    /// Gives a file the permissions of the one that it replaces.
    fn same_permissions(&self, file: &File) -> Result<()> {
        if let Ok(existing) = self.target.metadata() {
            file.set_permissions(existing.permissions())
                .context("can't set the output's permissions")?;
        }
        Ok(())
    }

    /// Gives the output its name, once the report is finished, and removes the folder.
    pub fn keep(self, labels: &[String], shape: Shape) -> Result<()> {
        let unwritable = || format!("can't write {}", self.target.display());
        match self.format {
            #[cfg(feature = "shards")]
            RecordFormat::Parquet => {
                let file = fer::files::temporary(&self.target).with_context(unwritable)?;
                self.same_permissions(file.as_file())?;
                fer::shards::records::join(&self.folder, labels, shape, file.as_file())
                    .and_then(|()| file.rename(&self.target))
                    .with_context(unwritable)?;
            }
            // Not forced to the disk: the predictions can be computed again, and a short run should
            // be fast.
            RecordFormat::Text(_) => {
                let _ = (labels, shape);
                let records = self.folder.join(scan::RECORDS);
                fs::rename(records, &self.target).with_context(unwritable)?;
            }
        }
        fs::remove_dir_all(&self.folder).with_context(|| {
            format!(
                "{} is complete, but its folder {} can't be removed",
                self.target.display(),
                self.folder.display()
            )
        })
    }

    /// What to do after a failure: the folder that holds the records.
    pub fn advice(&self) -> Option<String> {
        has_records(&self.folder).then(|| kept(&self.folder))
    }
}

/// A folder without records is of no use.
impl Drop for Partial {
    fn drop(&mut self) {
        if let Ok(mut open) = OPEN.lock() {
            *open = None;
        }
        if self.folder.is_dir() && !has_records(&self.folder) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether there are records in an output's folder.
fn has_records(folder: &Path) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter(|file| file.file_name() != "run.json")
        .any(|file| file.metadata().is_ok_and(|m| m.len() > 0))
}

fn kept(folder: &Path) -> String {
    format!(
        "{} keeps the records so far; the same command with --resume goes on behind them",
        folder.display()
    )
}

/// Says where the records of a run are that a signal ends, or removes the folder of one that has
/// none.
pub fn interrupted() {
    // The signal may have come while it was changed.
    let open = OPEN.try_lock().ok().and_then(|mut open| open.take());
    if let Some(folder) = open {
        match has_records(&folder) {
            true => super::say(kept(&folder)),
            false => drop(fs::remove_dir_all(&folder)),
        }
    }
}
