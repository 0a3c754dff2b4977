//! From the predictions for an item's views to those of its observation.

use super::ItemError;
use crate::prediction::Prediction;

/// A view's place, and its row of probabilities or why there is none.
pub(super) type Row<P> = (P, Result<Vec<f32>, ItemError>);

/// How the predictions for an item's views are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reduce {
    /// Each view keeps its own prediction.
    #[default]
    Each,
    /// The mean of the probabilities of each group of this many consecutive views. The place is
    /// that of the first one.
    Mean(usize),
}

impl Reduce {
    pub(super) fn apply<P>(self, rows: Vec<Row<P>>) -> Vec<(P, Result<Prediction, ItemError>)> {
        let size = match self {
            Self::Each => 1,
            Self::Mean(size) => size.max(1),
        };
        let mut reduced = Vec::with_capacity(rows.len().div_ceil(size));
        let mut rows = rows.into_iter();
        while let Some((place, first)) = rows.next() {
            let mut group = vec![first];
            group.extend(rows.by_ref().take(size - 1).map(|(_, row)| row));
            let group: Result<Vec<Vec<f32>>, ItemError> = group.into_iter().collect();
            reduced.push((place, group.and_then(|group| prediction(&group))));
        }
        reduced
    }
}

fn prediction(rows: &[Vec<f32>]) -> Result<Prediction, ItemError> {
    Ok(match rows {
        [row] => Prediction::new(row)?,
        rows => Prediction::new(&mean(rows))?,
    })
}

/// The mean of rows of probabilities, summed in double precision. The arithmetic mean of
/// distributions is a distribution. A view with an unsure prediction does not outweigh the others,
/// as it would in a mean of logits.
fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
    let classes = rows.first().map_or(0, Vec::len);
    let mut sums = vec![0f64; classes];
    for row in rows {
        for (sum, p) in sums.iter_mut().zip(row) {
            *sum += f64::from(*p);
        }
    }
    let count = rows.len().max(1) as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::NotFinite;

    fn rows(values: &[Option<[f32; 2]>]) -> Vec<Row<usize>> {
        let row = |value: &Option<[f32; 2]>| value.map(|v| v.to_vec()).ok_or(NotFinite.into());
        values
            .iter()
            .enumerate()
            .map(|(i, v)| (i, row(v)))
            .collect()
    }

    fn reduced(reduce: Reduce, values: &[Option<[f32; 2]>]) -> Vec<(usize, Option<Vec<f32>>)> {
        reduce
            .apply(rows(values))
            .into_iter()
            .map(|(place, p)| (place, p.ok().map(|p| p.probabilities)))
            .collect()
    }

    #[test]
    fn views_are_kept_or_averaged_by_groups() {
        let (a, b, c) = ([0.25, 0.75], [0.75, 0.25], [1.0, 0.0]);
        let one = |place: usize, row: [f32; 2]| (place, Some(row.to_vec()));
        assert_eq!(
            reduced(Reduce::Each, &[Some(a), None, Some(c)]),
            [one(0, a), (1, None), one(2, c)]
        );
        assert_eq!(
            reduced(Reduce::Mean(2), &[Some(a), Some(b), Some(c), Some(c)]),
            [one(0, [0.5, 0.5]), one(2, c)]
        );
        assert_eq!(
            reduced(Reduce::Mean(2), &[Some(a), None, Some(c), Some(c)]),
            [(0, None), one(2, c)],
            "a group with a failed view has no mean"
        );
        assert_eq!(reduced(Reduce::Mean(0), &[Some(a)]), [one(0, a)]);
        assert!(reduced(Reduce::Mean(3), &[]).is_empty());
    }
}
