//! The images of a run: read, divided, decoded, and with the votes that are learned.

use std::path::Path;

use fer_core::spec::EMOTIONS;
use fer_train::data::votes::{Counts, Votes};
use fer_train::data::{Catalog, Dataset, Split};
use fer_train::train::Config;
use fer_train::train::checkpoint::DataFacts;
use fer_train::train::config::ClassWeights;
use fer_train::train::task::{Task, pixel_form};

use super::{Notice, Setting, TrainingError};

/// The images of a run.
pub struct Images {
    /// Those that are learned from.
    pub training: Dataset,
    /// Those that the epochs are compared on.
    pub validation: Dataset,
    /// The names by which lists know the validation images.
    pub names: Vec<String>,
    /// What is learned from votes of each training image; empty without votes.
    pub votes: Vec<Option<[f32; EMOTIONS.len()]>>,
    /// What checkpoints record of the data.
    pub facts: DataFacts,
}

pub(super) fn load(
    config: &Config,
    split: &Split,
    setting: &mut Setting<'_>,
) -> Result<Images, TrainingError> {
    let path = config.data.path.as_deref().ok_or(TrainingError::NoData)?;
    let catalog = opened(path, config, setting)?;
    let parts = split.divide(&catalog, config.seed)?;
    let file = config.loss.votes.as_deref().map(Votes::read).transpose()?;
    let counts = match &file {
        Some(file) => matched(file, &catalog, &parts.training, setting)?,
        None => Vec::new(),
    };
    if matches!(config.loss.class_weights, ClassWeights::Listed(_)) && catalog.classes != EMOTIONS {
        return Err(TrainingError::WeightsOfEmotions { data: path.into() });
    }
    let form = pixel_form(&config.input, &catalog, &parts.training);
    let training = (setting.decode)(&catalog, &parts.training, form)?;
    let validation = (setting.decode)(&catalog, &parts.validation, form)?;
    for images in [&training, &validation] {
        if images.guessed.count > 0 {
            (setting.notice)(Notice::Guessed(&images.guessed));
        }
    }
    let task = Task::of(&catalog, &training, form).map_err(TrainingError::Task)?;
    if training.image_shape() != validation.image_shape() {
        let described = |images: &Dataset| {
            let name = images.names.first().map_or("", String::as_str);
            format!("{}x{} pixels ({name})", images.width, images.height)
        };
        return Err(TrainingError::Sizes {
            data: path.into(),
            training: described(&training),
            validation: described(&validation),
        });
    }
    let used = parts.training.iter().chain(&parts.validation);
    let used: Vec<usize> = used.copied().collect();
    let facts = DataFacts {
        path: path.display().to_string(),
        split: config.data.split.title(),
        training: training.len(),
        validation: validation.len(),
        sha256: catalog.hash(&used)?,
        task,
        votes_sha256: file.map(|file| file.sha256().into()),
    };
    let names = parts.validation.iter();
    let names = names.map(|i| catalog.items[*i].relative.clone()).collect();
    Ok(Images {
        training,
        validation,
        names,
        votes: targets(config, counts, setting)?,
        facts,
    })
}

/// A data set without the images that a list names.
fn opened(
    path: &Path,
    config: &Config,
    setting: &mut Setting<'_>,
) -> Result<Catalog, TrainingError> {
    let mut catalog = crate::labeled::open(path, config.data.named_classes())?;
    (setting.notice)(Notice::Opened(&catalog));
    if let Some(list) = &config.data.exclude {
        let images = catalog.exclude(list)?;
        (setting.notice)(Notice::LeftOut { images, list });
    }
    Ok(catalog)
}

/// The votes for some images of a data set.
fn matched(
    votes: &Votes,
    catalog: &Catalog,
    indices: &[usize],
    setting: &mut Setting<'_>,
) -> Result<Vec<Option<Counts>>, TrainingError> {
    let matched = votes.of(catalog, indices)?;
    (setting.notice)(Notice::Votes {
        file: votes.path(),
        found: matched.counts.iter().flatten().count(),
        images: indices.len(),
        ambiguous: matched.ambiguous,
    });
    Ok(matched.counts)
}

/// What is learned from votes.
fn targets(
    config: &Config,
    counts: Vec<Option<Counts>>,
    setting: &mut Setting<'_>,
) -> Result<Vec<Option<[f32; EMOTIONS.len()]>>, TrainingError> {
    let target = |counts: Counts| {
        let shares = counts.soft_label()?;
        Some(shares.map(|share| share as f32))
    };
    let targets: Vec<_> = counts.into_iter().map(|c| c.and_then(target)).collect();
    let images = targets.iter().flatten().count();
    if let (Some(file), 0) = (&config.loss.votes, images) {
        return Err(TrainingError::NoTargets { file: file.clone() });
    }
    if !targets.is_empty() {
        let share = config.loss.votes_share;
        (setting.notice)(Notice::VotesShare { share, images });
    }
    Ok(targets)
}
