//! A classifier's answers to labelled images: decoded a block at a time, in all cores, and run in batches.

use rayon::prelude::*;

use super::{Answer, Tta, mean};
use crate::data::{Catalog, Item};
use crate::engine::{Classifier, EngineError};
use crate::preprocess::Preprocessor;

/// What came of the images.
#[derive(Debug, Default)]
pub struct Answers {
    /// One for each image that could be read, in order.
    pub answers: Vec<Answer>,
    /// Which items of the catalog these are.
    pub items: Vec<usize>,
    /// Name and reason of those that could not.
    pub unreadable: Vec<(String, String)>,
}

/// Classifies the chosen items of a catalog in batches of about `batch_size` views; `done` is called for each item.
///
/// # Errors
/// The engine failed.
pub fn answer(
    catalog: &Catalog,
    indices: &[usize],
    classifier: &mut dyn Classifier,
    tta: Tta,
    batch_size: usize,
    done: &mut dyn FnMut(),
) -> Result<Answers, EngineError> {
    let preprocessor = Preprocessor::new(classifier.spec());
    let classes = classifier.spec().labels.len();
    let mut answers = Answers::default();
    for block in indices.chunks((batch_size / tta.count()).max(1)) {
        let views: Vec<Result<Vec<f32>, String>> = block
            .par_iter()
            .map(|index| {
                let pixels = catalog.items[*index].pixels().map_err(|e| e.to_string())?;
                Ok(tta.views(&pixels).into_iter().flat_map(|view| preprocessor.tensor(view)).collect())
            })
            .collect();
        let input: Vec<f32> = views.iter().flatten().flatten().copied().collect();
        let output = if input.is_empty() { Vec::new() } else { classifier.classify(&input)? };
        let mut rows = output.chunks_exact(classes * tta.count());
        for (index, view) in block.iter().zip(&views) {
            let Item { name, label, .. } = &catalog.items[*index];
            match (view, view.is_ok().then(|| rows.next()).flatten()) {
                (Ok(_), Some(rows)) => {
                    let probabilities = mean(rows, classes);
                    answers.answers.push(Answer { name: name.clone(), label: usize::from(*label), probabilities });
                    answers.items.push(*index);
                }
                (Err(reason), _) => answers.unreadable.push((name.clone(), reason.clone())),
                // `classify` answers for every image or fails.
                (Ok(_), None) => {}
            }
            done();
        }
    }
    Ok(answers)
}
