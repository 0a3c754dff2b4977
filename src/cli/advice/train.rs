//! Advice about training: its data, its run folder, its checkpoints and its course.

use fer::data::DataError;
use fer::export::{ExportFileError, NoValidation};
use fer::train::TrainError;
use fer::train::checkpoint::CheckpointError;

/// What to do about an image that training can't use.
const LEAVE_OUT: &str =
    "leave it out with --exclude (`fer data check --quarantine` makes the list)";

/// What to do where the disk or a device stopped a run.
const RESUME: &str = "then go on with --resume";

pub(super) fn training(error: &TrainError) -> Option<String> {
    Some(match error {
        TrainError::MakeFolder { .. } => "name another with --out".into(),
        TrainError::NotEmpty { path } => format!(
            "go on with the run in it by --resume {}, or name another folder with --out",
            path.display()
        ),
        TrainError::NothingSaved { path } => {
            format!("go on with `fer train --resume {}`", path.display())
        }
        TrainError::Write { .. } => format!("make room or permission, {RESUME}"),
        TrainError::Diverged { .. } | TrainError::DivergedEvaluation { .. } => {
            "begin anew with a lower learning rate (--lr), a lower optimizer.sam if it is on, or \
             optimizer.clip_norm. What was saved before that is kept"
                .into()
        }
        TrainError::Device(_) => "go on with --resume".into(),
        TrainError::Checkpoint(error) => return checkpoint(error),
        TrainError::Folder(_)
        | TrainError::Config(_)
        | TrainError::Teacher(_)
        | TrainError::Evaluation(_)
        | TrainError::Picture(_) => return None,
    })
}

pub(super) fn checkpoint(error: &CheckpointError) -> Option<String> {
    match error {
        CheckpointError::Write { .. } => Some(format!("make room or permission, {RESUME}")),
        _ => None,
    }
}

pub(super) fn data(error: &DataError) -> Option<String> {
    match error {
        DataError::Image { .. } => Some(LEAVE_OUT.into()),
        DataError::OddSize {
            like,
            usual: [width, height],
            ..
        } => Some(format!(
            "{LEAVE_OUT}, or have all of them resized with --size ({like} is {width}x{height})"
        )),
        _ => None,
    }
}

pub(super) fn export(error: &ExportFileError) -> Option<String> {
    match error {
        ExportFileError::NoEpoch { .. } => Some("train on with `fer train --resume` first".into()),
        ExportFileError::Run(error) => training(error),
        ExportFileError::Checkpoint(error) => checkpoint(error),
        ExportFileError::Load(error) => super::load(error),
        ExportFileError::Export(_) | ExportFileError::Write { .. } => None,
    }
}

pub(super) fn validation(error: &NoValidation) -> Option<String> {
    match error {
        NoValidation::Data(error) => data(error),
        NoValidation::NoPath | NoValidation::Changed { .. } => None,
    }
}
