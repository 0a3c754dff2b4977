//! Advice about training: its data, its run folder, its checkpoints and its course.

use fer::data::DataError;
use fer::eval::EvaluateError;
use fer::export::{ExportFileError, NoValidation};
use fer::train::TrainError;
use fer::train::checkpoint::CheckpointError;
use fer::training::TrainingError;

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
        CheckpointError::Damaged { .. } => {
            Some("name another one; if another version of fer wrote it, use that version".into())
        }
        CheckpointError::Read { .. } => None,
    }
}

pub(super) fn data(error: &DataError) -> Option<String> {
    match error {
        DataError::Image { .. } => Some(LEAVE_OUT.into()),
        DataError::Numbers { numbers, .. } => {
            let example = match (numbers.len(), numbers.first().map(String::as_str)) {
                (7, Some("0")) => {
                    ", as in --classes angry,disgust,fear,happy,sad,surprise,neutral if it is \
                     fer2013.csv's"
                }
                (7, Some("1")) => {
                    ", as in --classes surprise,fear,disgust,happy,sad,angry,neutral if it is \
                     RAF-DB's"
                }
                _ => " A,B,…",
            };
            Some(format!(
                "name the classes in the order of the numbers with --classes{example}"
            ))
        }
        DataError::Label { numbers, .. } => {
            let example = match (numbers.start(), numbers.end()) {
                (0, 7) => {
                    " angry,disgust,fear,happy,sad,surprise,neutral,contempt (if it is \
                     ckextended.csv)"
                }
                _ => " A,B,…",
            };
            Some(format!(
                "repair the line, or say what {} to {} mean, in this order, with \
                 --classes{example}",
                numbers.start(),
                numbers.end()
            ))
        }
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

pub(super) fn run(error: &TrainingError) -> Option<String> {
    Some(match error {
        TrainingError::NoData => "name the images with --data: a folder with train/<class>/ and \
                                  test/<class>/, or fer2013.csv"
            .into(),
        TrainingError::Task(_) => "--size and --channels choose others".into(),
        TrainingError::Sizes { .. } => "have all of them resized with --size".into(),
        TrainingError::NoTargets { .. } => "name another file with --votes, or none".into(),
        TrainingError::Differs { .. } => {
            "choose the architecture that it was made from with --architecture".into()
        }
        TrainingError::Architecture { found, .. } => format!(
            "train with --architecture {found}, or start from what `fer export` writes of it, if \
             that is a network of this run's architecture"
        ),
        TrainingError::RecipeChanged => {
            "to train by another recipe, start a run with --config".into()
        }
        TrainingError::OtherData { .. } => "name that with --data".into(),
        TrainingError::DataMoved { .. } => "name their place with --data".into(),
        TrainingError::Data(error) => return data(error),
        TrainingError::Run(error) => return training(error),
        TrainingError::Checkpoint(error) => return checkpoint(error),
        TrainingError::Load(error) => return super::load(error),
        TrainingError::WeightsOfEmotions { .. }
        | TrainingError::Weights(_)
        | TrainingError::Check(_)
        | TrainingError::Mismatch { .. }
        | TrainingError::Transfer { .. }
        | TrainingError::OtherVotes { .. }
        | TrainingError::Teacher(_) => return None,
    })
}

pub(super) fn evaluation(error: &EvaluateError) -> Option<String> {
    match error {
        EvaluateError::Classes { .. } => Some(
            "name the model's by the data's words, in the order of its outputs, with --meta \
             labels='[\"…\"]'"
                .into(),
        ),
        EvaluateError::Votes { .. } => Some("leave --votes out".into()),
        EvaluateError::NoFace { .. } => Some("for ready-made crops leave --faces out".into()),
        EvaluateError::Stream(_) | EvaluateError::Eval(_) => None,
    }
}
