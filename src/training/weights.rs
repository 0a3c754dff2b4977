//! The weights that a run begins with: fresh, of an ONNX file, or of another run.

use std::path::Path;

use fer_train::model::{Network, load_onnx};
use fer_train::train::Config;
use fer_train::train::checkpoint::Trained;
use fer_train::train::run::chosen;
use fer_train::train::task::Task;
use fer_train::trained::is_trained;

use super::{Notice, Setting, TrainingError};
use crate::{LoadOptions, ModelRef, export};

/// The network that the run begins with.
pub(super) fn begin(
    config: &Config,
    task: &Task,
    setting: &mut Setting<'_>,
) -> Result<Network, TrainingError> {
    let device = setting.device;
    let network = config
        .architecture
        .init(task.shape(), config.dropout, config.seed, device);
    let Some(file) = &config.init else {
        return Ok(network);
    };
    if is_trained(file) {
        return of_run(config, task, file, network, setting);
    }
    let network = load_onnx(network, &task.spec(), file)?;
    let options = LoadOptions {
        uncalibrated: true,
        ..LoadOptions::default()
    };
    match crate::open(&ModelRef::Onnx(file.clone()), &options, setting.host) {
        Ok(engine) => {
            let difference = export::difference(&network, &engine, device)?;
            if difference > export::TOLERANCE {
                return Err(TrainingError::Differs {
                    file: file.clone(),
                    architecture: config.architecture,
                    difference,
                });
            }
            (setting.notice)(Notice::WeightsEqual { file, difference });
        }
        Err(reason) => (setting.notice)(Notice::WeightsNotCompared {
            file,
            reason: &reason,
        }),
    }
    Ok(network)
}

/// The weights of another run.
fn of_run(
    config: &Config,
    task: &Task,
    path: &Path,
    network: Network,
    setting: &Setting<'_>,
) -> Result<Network, TrainingError> {
    let file = if path.is_dir() {
        chosen(path)?
    } else {
        path.to_path_buf()
    };
    let other = Trained::read(&file, setting.device)?;
    if other.config.architecture != config.architecture {
        return Err(TrainingError::Architecture {
            file,
            found: other.config.architecture,
            wanted: config.architecture,
        });
    }
    let own = other.state.data.task.spec();
    if let Err(mismatch) = own.accepts(&task.spec()) {
        return Err(TrainingError::Mismatch { file, mismatch });
    }
    other
        .transfer(network)
        .map_err(|reason| TrainingError::Transfer { file, reason })
}
