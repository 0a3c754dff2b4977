//! The folder of a run and the files in it.
//!
//! | file | what |
//! |---|---|
//! | `config.toml` | the resolved configuration |
//! | `validation.txt` | the images that validate, a name a line |
//! | `history.csv` | a line an epoch and split |
//! | `checkpoints/last.ckpt`, `best.ckpt` | what the run goes on from, and its best epoch |
//! | `best.bpk` | the best epoch's weights as a Burn record |
//! | `curves.png`, `confusion.png` | pictures of both |
//! | `metrics.json`, `summary.md` | the best epoch on the validation images |

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, State, record};
use super::config::Config;
use super::error::TrainError;
use crate::data::Split;
use crate::eval::{Evaluation, report};
use crate::plot::{self, EpochPoint};
use fer_core::files;

/// One line of `history.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: u32,
    /// `training` or `validation`.
    pub split: String,
    /// Mean cross-entropy plus the architecture's penalties.
    pub loss: f64,
    /// 0..=1; of the training images with augmentation and dropout.
    pub accuracy: f64,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Seconds the epoch took on this split.
    pub seconds: f64,
    /// Images a second.
    pub images_per_second: f64,
}

/// The folder of one run, held by one process.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held as long as the run lives.
    _lock: File,
}

impl RunFolder {
    /// Makes a new run folder and writes its configuration.
    ///
    /// # Errors
    /// The folder holds something already, or can't be written.
    pub fn create(path: &Path, config: &Config) -> Result<Self, TrainError> {
        let toml = config.to_toml()?;
        let unusable = |source| TrainError::MakeFolder {
            path: path.into(),
            source,
        };
        fs::create_dir_all(path).map_err(unusable)?;
        // A lock or half a file is what a run leaves that could not begin.
        let own = |name: std::ffi::OsString| {
            name == ".lock" || name.to_string_lossy().starts_with(".fer-")
        };
        let mut entries = fs::read_dir(path).map_err(unusable)?;
        if entries.any(|entry| entry.is_ok_and(|e| !own(e.file_name()))) {
            return Err(TrainError::NotEmpty { path: path.into() });
        }
        let folder = Self::hold(path)?;
        folder.write("config.toml", toml.as_bytes())?;
        Ok(folder)
    }

    /// Takes a run folder up again, with its configuration.
    ///
    /// # Errors
    /// There is no run in it, or another process holds it.
    pub fn open(path: &Path) -> Result<(Self, Config), TrainError> {
        let config = read_config(path)?;
        Ok((Self::hold(path)?, config))
    }

    fn hold(path: &Path) -> Result<Self, TrainError> {
        let file = path.join(".lock");
        let lock = File::create(&file).map_err(|e| TrainError::write(&file, e))?;
        match lock.try_lock() {
            Ok(()) => {
                let checkpoints = path.join("checkpoints");
                fs::create_dir_all(&checkpoints).map_err(|e| TrainError::write(&checkpoints, e))?;
                [path, &checkpoints].into_iter().for_each(files::sweep);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(TrainError::Folder(format!(
                    "another fer train is at work in {}; wait for it or stop it",
                    path.display()
                )));
            }
            // Some network file systems have no locks; a run there is in the user's care.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(Self {
            path: path.into(),
            _lock: lock,
        })
    }

    /// Writes `config.toml` anew, when the run's data is in another place than before.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_config(&self, config: &Config) -> Result<(), TrainError> {
        self.write("config.toml", config.to_toml()?.as_bytes())
    }

    /// Writes `validation.txt`: the images that validate, as `--split list:FILE` takes them.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_validation(&self, names: &[String]) -> Result<(), TrainError> {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        self.write("validation.txt", lines.as_bytes())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the run can go on from, the furthest first: its last checkpoint, then its best.
    pub fn checkpoints(&self) -> [PathBuf; 2] {
        ["last.ckpt", "best.ckpt"].map(|name| self.path.join("checkpoints").join(name))
    }

    /// Writes `history.csv` and `curves.png`.
    ///
    /// # Errors
    /// They can't be written.
    pub fn write_history(&self, state: &State) -> Result<(), TrainError> {
        let path = self.path.join("history.csv");
        let mut csv = csv::Writer::from_writer(Vec::new());
        // Writing to memory fails on nothing that a record can hold.
        csv.write_record([
            "epoch",
            "split",
            "loss",
            "accuracy",
            "lr",
            "seconds",
            "images_per_second",
        ])
        .map_err(|e| TrainError::write(&path, io::Error::other(e)))?;
        for r in &state.history {
            let row = [
                r.epoch.to_string(),
                r.split.clone(),
                format!("{:.6}", r.loss),
                format!("{:.6}", r.accuracy),
                format!("{:e}", r.learning_rate),
                format!("{:.1}", r.seconds),
                format!("{:.1}", r.images_per_second),
            ];
            csv.write_record(row)
                .map_err(|e| TrainError::write(&path, io::Error::other(e)))?;
        }
        let bytes = csv
            .into_inner()
            .map_err(|e| TrainError::write(&path, io::Error::other(e.to_string())))?;
        self.write("history.csv", &bytes)?;
        let path = self.path.join("curves.png");
        let title = self.path.file_name().unwrap_or_default().to_string_lossy();
        plot::curves(
            &path,
            &points(&state.history),
            state.best.map(|b| b.epoch),
            &title,
        )
        .map_err(|e| TrainError::Picture(e.to_string()))
    }

    /// Writes a checkpoint as the last one, and if it is the `best` so far, as that too.
    ///
    /// # Errors
    /// It can't be written; the one before still stands.
    pub fn write_checkpoint(&self, checkpoint: &Checkpoint, best: bool) -> Result<(), TrainError> {
        let paths = ["best.ckpt", "last.ckpt"].map(|name| self.path.join("checkpoints").join(name));
        if best {
            let path = self.path.join("best.bpk");
            let bytes = record(checkpoint.evaluated())
                .map_err(|e| TrainError::write(&path, io::Error::other(e)))?;
            self.write("best.bpk", &bytes)?;
        }
        // The best before the last: a run killed between them writes the same best again.
        let paths: Vec<&Path> = paths
            .iter()
            .skip(usize::from(!best))
            .map(PathBuf::as_path)
            .collect();
        Ok(checkpoint.write(&paths)?)
    }

    /// Writes what is to be said of the best epoch: `metrics.json`, `confusion.png` and
    /// `summary.md`.
    ///
    /// # Errors
    /// They can't be written.
    pub fn write_results(
        &self,
        config: &Config,
        state: &State,
        evaluation: &Evaluation,
    ) -> Result<(), TrainError> {
        #[derive(Serialize)]
        struct Metrics<'a> {
            architecture: String,
            epochs: u32,
            best: Option<super::checkpoint::BestEpoch>,
            data: &'a super::checkpoint::DataFacts,
            validation: &'a Evaluation,
        }
        let metrics = Metrics {
            architecture: config.architecture.to_string(),
            epochs: state.epoch,
            best: state.best,
            data: &state.data,
            validation: evaluation,
        };
        let path = self.path.join("metrics.json");
        let json =
            serde_json::to_vec_pretty(&metrics).map_err(|e| TrainError::write(&path, e.into()))?;
        self.write("metrics.json", &json)?;
        let title = format!(
            "validation images, epoch {}",
            state.best.map_or(0, |b| b.epoch)
        );
        plot::confusion_of(&self.path.join("confusion.png"), evaluation, &title)
            .map_err(|e| TrainError::Picture(e.to_string()))?;
        self.write("summary.md", summary(config, state, evaluation).as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path.join(name);
        files::write(&path, bytes).map_err(|e| TrainError::write(&path, e))
    }
}

/// The configuration of the run in a folder.
///
/// # Errors
/// There is none, or it can't be read.
pub fn read_config(path: &Path) -> Result<Config, TrainError> {
    let file = path.join("config.toml");
    if !file.is_file() {
        return Err(TrainError::Folder(format!(
            "{} is not a run folder: there is no {}",
            path.display(),
            file.display()
        )));
    }
    Ok(Config::read(&file)?)
}

/// How a run's data is divided. A list that the run was given may be gone: it has its own in its
/// folder.
///
/// `run`: the run folder, or a checkpoint in it.
pub fn split(config: &Config, run: &Path) -> Split {
    let folder = if run.is_dir() {
        Some(run)
    } else {
        run.parent().and_then(Path::parent)
    };
    match (
        &config.data.split,
        folder.map(|folder| folder.join("validation.txt")),
    ) {
        (Split::List(_), Some(own)) if own.is_file() => Split::List(own),
        (split, _) => split.clone(),
    }
}

/// The checkpoint that a run folder is known by: its best, or before there is one, its last.
///
/// # Errors
/// It is not a run folder, or nothing was saved in it yet.
pub fn chosen(path: &Path) -> Result<PathBuf, TrainError> {
    if !path.join("config.toml").is_file() {
        return Err(TrainError::Folder(format!(
            "{0} is not a run folder: there is no {0}/config.toml",
            path.display()
        )));
    }
    let files = ["best.ckpt", "last.ckpt"].map(|name| path.join("checkpoints").join(name));
    files
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| TrainError::NothingSaved { path: path.into() })
}

fn points(history: &[EpochRecord]) -> Vec<EpochPoint> {
    let of = |split: &str| {
        history
            .iter()
            .filter(move |r| r.split == split)
            .collect::<Vec<_>>()
    };
    of("training")
        .iter()
        .zip(of("validation"))
        .map(|(t, v)| EpochPoint {
            epoch: t.epoch,
            train_loss: t.loss,
            train_accuracy: t.accuracy,
            validation_loss: v.loss,
            validation_accuracy: v.accuracy,
            learning_rate: t.learning_rate,
        })
        .collect()
}

fn summary(config: &Config, state: &State, evaluation: &Evaluation) -> String {
    let data = &state.data;
    let best = state.best.map_or(0, |b| b.epoch);
    let by = match config.best {
        super::config::Best::Accuracy => "accuracy",
        super::config::Best::Loss => "loss",
    };
    let votes = data.votes_sha256.as_ref().map_or(String::new(), |hash| {
        let labels = if config.loss.teachers.is_empty() {
            1.0
        } else {
            1.0 - config.loss.teachers_share
        };
        let share = 100.0 * labels * config.loss.votes_share;
        format!(
            " Of their targets {share:.0} % are people's votes, where there are some (SHA-256 \
            {hash})."
        )
    });
    format!(
        "# {architecture}: {epochs} epochs\n\n\
         {training} training images of {path} (split {split}, SHA-256 {hash}).{votes} The best \
         epoch, {best}, was chosen by the \
         {by} on the {validation} validation images, which the figures below are of: they are that \
         much too good.\n\n\
         ![Loss and accuracy](curves.png)\n\n{report}\n![Confusion matrix](confusion.png)\n",
        architecture = config.architecture,
        epochs = state.epoch,
        training = data.training,
        validation = data.validation,
        path = data.path,
        split = data.split,
        hash = data.sha256,
        report = report::markdown(evaluation, None),
    )
}
