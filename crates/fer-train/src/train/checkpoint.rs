//! Everything that a run needs to go on, in one file that appears whole: weights, their average,
//! the optimizer's state, how far the run is, and its configuration.
//!
//! The file is a zip archive of Burn records (`.bpk`), `state.json` and `config.toml`; the
//! archive's checksums tell a damaged one.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::config::Config;
use super::run::EpochRecord;
use super::schedule::Plateau;
use super::step::frozen;
use super::task::Task;
use crate::model::Network;
use fer_core::files;
use fer_core::panics;
use fer_core::spec::ModelSpec;

/// No configuration is larger, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// No state is larger, in bytes: the history of 100,000 epochs.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// No other part is larger, in bytes: the optimizer's state of a network with a hundred times the
/// notebook's parameters.
const MAX_PART_BYTES: u64 = 4 << 30;

/// A checkpoint that can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system says no.
    #[error("can't write the checkpoint {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file system says no.
    #[error("can't read the checkpoint {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is damaged or of another program.
    #[error("{path} is not a whole checkpoint of this version of fer ({problem})")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whole epochs done.
    pub epoch: u32,
    /// Steps done in the epoch after those.
    pub step: u32,
    /// Steps done in all.
    pub total_steps: u64,
    /// The loss of each image, summed over the steps of the epoch.
    pub loss_sum: f64,
    /// Images predicted rightly in them.
    pub correct: u64,
    /// Images seen in them.
    pub seen: u64,
    /// Seconds spent in them.
    pub seconds: f64,
    /// The course of the learning rate, where it depends on the results.
    pub plateau: Plateau,
    /// The best epoch so far, counted from 1.
    pub best: Option<BestEpoch>,
    /// A line an epoch and split.
    pub history: Vec<EpochRecord>,
    /// The images that the run is on.
    pub data: DataFacts,
    /// What Burn computed on.
    pub device: String,
    /// Tensors of the optimizer's state, so that a part that is missing is noticed.
    pub optimizer_tensors: usize,
}

/// The best epoch of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// From 1.
    pub epoch: u32,
    /// On the validation images, 0..=1.
    pub accuracy: f64,
    /// On the validation images.
    pub loss: f64,
}

/// The images of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// The folder or file, as the user named it.
    pub path: String,
    /// How it was divided.
    pub split: String,
    /// Number of training images.
    pub training: usize,
    /// Number of validation images.
    pub validation: usize,
    /// SHA-256 of the training and validation images with their classes.
    pub sha256: String,
    /// Its classes, and the form that its images were brought to.
    #[serde(default, skip_serializing_if = "Task::is_fer2013")]
    pub task: Task,
    /// SHA-256 of the file of votes, if the run learns from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes_sha256: Option<String>,
}

/// A run at one moment.
pub struct Checkpoint {
    /// The configuration.
    pub config: Config,
    /// How far it is.
    pub state: State,
    /// The weights, on a device without autodiff.
    pub network: Network,
    /// Their moving average, if the run keeps one.
    pub average: Option<Network>,
    /// The optimizer.
    pub optimizer: ModuleOptimizer,
}

impl Checkpoint {
    /// The weights that are evaluated and exported: the average if there is one.
    pub fn evaluated(&self) -> &Network {
        self.average.as_ref().unwrap_or(&self.network)
    }

    /// Writes the checkpoint to each of `paths`, whole or not at all.
    ///
    /// # Errors
    /// A file can't be written; what stood there before still stands.
    pub fn write(&self, paths: &[&Path]) -> Result<(), CheckpointError> {
        let first = paths.first().copied().unwrap_or(Path::new(""));
        let bytes = self.bytes().map_err(|source| CheckpointError::Write {
            path: first.into(),
            source: std::io::Error::other(source),
        })?;
        for path in paths {
            files::write(path, &bytes).map_err(|source| CheckpointError::Write {
                path: path.to_path_buf(),
                source,
            })?;
        }
        Ok(())
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(true);
        let mut part = |name: &str, bytes: &[u8]| -> Result<(), String> {
            zip.start_file(name, options).map_err(|e| e.to_string())?;
            zip.write_all(bytes).map_err(|e| e.to_string())
        };
        let optimizer = self.optimizer.to_record();
        let state = State {
            optimizer_tensors: optimizer.len(),
            ..self.state.clone()
        };
        part(
            "config.toml",
            self.config.to_toml().map_err(|e| e.to_string())?.as_bytes(),
        )?;
        part(
            "state.json",
            &serde_json::to_vec_pretty(&state).map_err(|e| e.to_string())?,
        )?;
        part("network.bpk", &record(&self.network)?)?;
        if let Some(average) = &self.average {
            part("average.bpk", &record(average)?)?;
        }
        part(
            "optimizer.bpk",
            &optimizer.into_bytes().map_err(|e| e.to_string())?,
        )?;
        Ok(zip.finish().map_err(|e| e.to_string())?.into_inner())
    }

    /// Reads a checkpoint; its tensors come to `device`, which is one without autodiff, but for the
    /// optimizer's: Burn reads them onto its default device (the variable `BURN_DEVICE` names one),
    /// from where the first step takes them.
    ///
    /// # Errors
    /// The file can't be read, is damaged, or does not fit its own configuration.
    pub fn read(path: &Path, device: &Device) -> Result<Self, CheckpointError> {
        let mut parts = Parts::open(path)?;
        let mut read = || -> Result<Self, String> {
            let (config, state) = parts.head()?;
            let network = parts.network("network.bpk", &config, &state, device)?;
            let average = (config.ema > 0.0)
                .then(|| parts.network("average.bpk", &config, &state, device))
                .transpose()?;
            let bytes = Bytes::from_bytes_vec(parts.bytes("optimizer.bpk", MAX_PART_BYTES)?);
            let optimizer = super::optimizer::build(&config.optimizer, &network);
            // Burn takes a record without parameters' ids for its own mistake.
            let optimizer = panics::caught(|| optimizer.from_bytes(bytes))
                .map_err(|_| "optimizer.bpk is not an optimizer's state".to_string())?
                .map_err(|e| format!("optimizer.bpk: {e}"))?;
            // It leaves out what it can't restore, and would begin anew there.
            let restored = optimizer.to_record().len();
            if restored != state.optimizer_tensors {
                return Err(format!(
                    "of {} tensors of the optimizer {restored} are there",
                    state.optimizer_tensors
                ));
            }
            Ok(Self {
                config,
                state,
                network,
                average,
                optimizer,
            })
        };
        read().map_err(|problem| CheckpointError::Damaged {
            path: path.into(),
            problem,
        })
    }
}

/// What a checkpoint holds of the trained network: the weights that are evaluated, and where they
/// come from.
pub struct Trained {
    /// The configuration of the run.
    pub config: Config,
    /// How far it was.
    pub state: State,
    /// The network, or the average if the run keeps one; on a device without autodiff.
    pub network: Network,
}

impl Trained {
    /// Reads a checkpoint's network onto `device`, which is one without autodiff.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read(path: &Path, device: &Device) -> Result<Self, CheckpointError> {
        let mut parts = Parts::open(path)?;
        let mut read = || -> Result<Self, String> {
            let (config, state) = parts.head()?;
            let name = if config.ema > 0.0 {
                "average.bpk"
            } else {
                "network.bpk"
            };
            let network = parts.network(name, &config, &state, device)?;
            Ok(Self {
                config,
                state,
                network,
            })
        };
        read().map_err(|problem| CheckpointError::Damaged {
            path: path.into(),
            problem,
        })
    }

    /// What the network expects and gives, which are logits, and how faces are cut out for it.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            crop: self.config.input.crop,
            ..self.state.data.task.spec()
        }
    }

    /// Gives another network of the same architecture these weights; its dropout stays its own.
    ///
    /// # Errors
    /// It is of another architecture.
    pub fn transfer(&self, network: Network) -> Result<Network, String> {
        network
            .try_load_record(frozen(&self.network).into_record())
            .map_err(|e| e.to_string())
    }

    /// How far the run was, for people: `epoch 3` or `epoch 3 and 17 steps`.
    pub fn progress(&self) -> String {
        match self.state.step {
            0 => format!("epoch {}", self.state.epoch),
            steps => format!("epoch {} and {steps} steps", self.state.epoch),
        }
    }
}

/// The configuration and the state of a checkpoint, without its tensors.
///
/// # Errors
/// As [`Checkpoint::read`].
pub fn head(path: &Path) -> Result<(Config, State), CheckpointError> {
    let head = Parts::open(path)?.head();
    head.map_err(|problem| CheckpointError::Damaged {
        path: path.into(),
        problem,
    })
}

/// The parts of a checkpoint file. They are stored as they are, so that none is larger than the
/// file.
struct Parts(ZipArchive<File>);

impl Parts {
    fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(|source| CheckpointError::Read {
            path: path.into(),
            source,
        })?;
        let zip = ZipArchive::new(file);
        zip.map(Self).map_err(|e| CheckpointError::Damaged {
            path: path.into(),
            problem: e.to_string(),
        })
    }

    fn bytes(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, String> {
        let file = self.0.by_name(name).map_err(|e| format!("{name}: {e}"))?;
        if file.compression() != CompressionMethod::Stored || file.size() > limit {
            return Err(format!("{name} is compressed or over {limit} bytes"));
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("{name}: {e}"))?;
        Ok(bytes)
    }

    fn head(&mut self) -> Result<(Config, State), String> {
        let config = String::from_utf8(self.bytes("config.toml", MAX_CONFIG_BYTES)?)
            .map_err(|e| e.to_string())?;
        let config = Config::parse(&config, "its configuration").map_err(|e| e.to_string())?;
        let state: State = serde_json::from_slice(&self.bytes("state.json", MAX_STATE_BYTES)?)
            .map_err(|e| e.to_string())?;
        let whole = state.history.len() == 2 * state.epoch as usize
            && state.epoch <= config.epochs
            && (state.step == 0) == (state.seen == 0)
            && (state.epoch == 0) == state.best.is_none();
        state.data.task.check()?;
        if whole {
            Ok((config, state))
        } else {
            Err("its state contradicts itself".into())
        }
    }

    fn network(
        &mut self,
        name: &str,
        config: &Config,
        state: &State,
        device: &Device,
    ) -> Result<Network, String> {
        let network =
            config
                .architecture
                .init(state.data.task.shape(), config.dropout, config.seed, device);
        let record =
            ModuleRecord::from_bytes(Bytes::from_bytes_vec(self.bytes(name, MAX_PART_BYTES)?));
        record
            .and_then(|record| network.try_load_record(record))
            .map_err(|e| format!("{name}: {e}"))
    }
}

/// The weights as a Burn record.
///
/// # Errors
/// Burn can't write it.
pub fn record(network: &Network) -> Result<Bytes, String> {
    frozen(network)
        .into_record()
        .into_bytes()
        .map_err(|e| e.to_string())
}
