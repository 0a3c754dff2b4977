//! Finds a layer's weights in both layouts of Keras's HDF5 files.
//!
//! Keras 3 numbers the layers by class and position: `layers/conv2d_1/vars/0`. The legacy layout
//! has a group for each layer of the outermost model, with the weights' names in order. The layers
//! of a nested model share that model's group and are identified by name.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::hdf5::Hdf5;
use super::layers::INT8_KERNEL;
use super::tensor::Tensor;

/// A layer's position in its model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Its group in a Keras 3 file: `layers/sequential/layers/conv2d`.
    pub(crate) group: String,
    /// The names of the models that contain it, outermost first, and its own.
    pub(crate) names: Vec<String>,
}

impl Place {
    /// The position of a layer in the model at this position.
    pub(crate) fn within(&self, group: &str, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.into());
        Self {
            group: format!("{}/layers/{group}", self.group),
            names,
        }
    }
}

/// The weights of a model.
pub(crate) struct Weights {
    file: Hdf5,
    layout: Layout,
}

enum Layout {
    Keras3,
    Legacy { root: &'static str, theano: bool },
}

impl Weights {
    /// The weights of a `model.weights.h5`.
    pub(crate) fn keras_3(file: Hdf5) -> Self {
        Self {
            file,
            layout: Layout::Keras3,
        }
    }

    /// The weights under a group of a legacy file, which names the backend that trained it.
    pub(crate) fn legacy(file: Hdf5, root: &'static str, backend: Option<String>) -> Self {
        Self {
            file,
            layout: Layout::Legacy {
                root,
                theano: backend.as_deref() == Some("theano"),
            },
        }
    }

    /// Whether convolution kernels are stored mirrored, as Theano computes them.
    pub(crate) fn mirrored(&self) -> bool {
        matches!(self.layout, Layout::Legacy { theano: true, .. })
    }

    fn read(&self, name: &str, path: &str) -> Result<Tensor, String> {
        if name == INT8_KERNEL {
            self.file.tensor_of_int8(path)
        } else {
            self.file.tensor(path)
        }
    }

    /// The path of weight number `i` in a Keras 3 file.
    fn path(&self, place: &Place, names: &[&str], i: usize) -> String {
        let group = &place.group;
        let (Some(part), _) = split(names[i]) else {
            return format!("{group}/vars/{i}");
        };
        let number = names[..i]
            .iter()
            .filter(|n| split(n).0 == Some(part))
            .count();
        // By the attribute of the layer, which Keras 2.13 and later write with an underscore.
        let attribute = match part {
            "attention_output" => "output_dense".to_string(),
            part => format!("{part}_dense"),
        };
        let hidden = format!("{group}/_{attribute}");
        let folder = match self.file.has_group(&hidden) {
            true => hidden,
            false => format!("{group}/{attribute}"),
        };
        format!("{folder}/vars/{number}")
    }

    /// The weights of a layer of the outermost model, or of all layers in it if it is a model: for
    /// each of `slots` its weights in Keras's order.
    ///
    /// # Errors
    /// They are missing, their number differs, or one can't be read; with the slot in question.
    pub(crate) fn of(&self, slots: &[Slot]) -> Result<Vec<Vec<Tensor>>, (usize, String)> {
        let mut chosen: Vec<Result<Vec<String>, String>> = match self.layout {
            Layout::Keras3 => slots
                .iter()
                .map(|slot| {
                    let numbers = 0..slot.names.len();
                    Ok(numbers
                        .map(|i| self.path(&slot.place, &slot.names, i))
                        .collect())
                })
                .collect(),
            Layout::Legacy { root, .. } => {
                slots.iter().map(|s| self.legacy_paths(root, s)).collect()
            }
        };
        if let Layout::Legacy { root, .. } = self.layout
            && chosen.iter().any(Result::is_err)
            && let Some(paths) = self.legacy_in_order(root, slots)
        {
            chosen = paths.into_iter().map(Ok).collect();
        }
        let read = |(index, paths): (usize, Result<Vec<String>, String>)| {
            let names = &slots[index].names;
            paths
                .and_then(|paths| {
                    let pairs = names.iter().zip(&paths);
                    pairs.map(|(name, path)| self.read(name, path)).collect()
                })
                .map_err(|problem| (index, problem))
        };
        chosen.into_iter().enumerate().map(read).collect()
    }

    /// The group of a layer of the outermost model in a legacy file, and the names of the weights
    /// in it.
    fn stored(&self, root: &str, place: &Place) -> Result<(String, Vec<String>), String> {
        let outermost = place.names.first().map_or("", String::as_str);
        let group = format!("{root}/{outermost}");
        let stored = self.file.texts(&group, "weight_names").ok_or_else(|| {
            format!("the file has no weights of {outermost}, by the name of the layer")
        })?;
        // The number of batches that a Normalization has seen is not a weight.
        let stored = stored.into_iter().filter(|s| !is_counter(s)).collect();
        Ok((group, stored))
    }

    /// The paths of a layer's weights in a legacy file.
    fn legacy_paths(&self, root: &str, slot: &Slot) -> Result<Vec<String>, String> {
        let Slot { place, names, .. } = slot;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (group, stored) = self.stored(root, place)?;
        // Keras has the weights of quantized layers in another order here.
        let ordered = !names.contains(&INT8_KERNEL);
        let chosen = if place.names.len() == 1 && ordered {
            in_order(&stored, names)
        } else {
            by_name(&stored, place, names)
        };
        Ok(chosen?
            .into_iter()
            .map(|name| format!("{group}/{name}"))
            .collect())
    }

    /// The paths of all weights of a model in a legacy file by their order alone, as Keras reads
    /// them, if as many are stored, of the same names in their layers.
    fn legacy_in_order(&self, root: &str, slots: &[Slot]) -> Option<Vec<Vec<String>>> {
        let (group, stored) = self.stored(root, &slots.first()?.place).ok()?;
        let order = order(slots);
        let distinct: HashSet<&String> = stored.iter().collect();
        let fits = order.len() == distinct.len()
            && order.len() == stored.len()
            && order.iter().zip(&stored).all(|((slot, weight), stored)| {
                let names = &slots[*slot].names;
                is_named(stem(stored).1, split(names[*weight]).1, names.len())
            });
        if !fits {
            return None;
        }
        let mut paths: Vec<Vec<String>> = slots
            .iter()
            .map(|slot| vec![String::new(); slot.names.len()])
            .collect();
        for ((slot, weight), stored) in order.into_iter().zip(&stored) {
            paths[slot][weight] = format!("{group}/{stored}");
        }
        Some(paths)
    }
}

/// A layer that has weights: a part of the outermost model, or of a model in it.
pub(crate) struct Slot {
    pub(crate) place: Place,
    /// The names of its weights, in Keras's order.
    pub(crate) names: Vec<&'static str>,
    /// Whether training changes it, and each of the models that contain it, outermost first.
    pub(crate) trainable: Vec<bool>,
}

/// The weights of a model's layers, as (slot, number), in the order in which Keras lists them in
/// legacy files: those that are trained, then the others. The layers of a model that is not trained
/// stay together.
fn order(slots: &[Slot]) -> Vec<(usize, usize)> {
    let mut trained = Vec::new();
    let mut others = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let is_trained = slot.trainable.iter().all(|flag| *flag);
        for (number, name) in slot.names.iter().enumerate() {
            if is_trained && !STATISTICS.contains(name) {
                trained.push((index, number));
            } else {
                others.push((index, number));
            }
        }
    }
    trained.extend(others);
    trained
}

/// Weights that training does not change by the gradient.
const STATISTICS: [&str; 4] = ["moving_mean", "moving_variance", "mean", "variance"];

/// The layer in a layer that has a weight, and the weight's own name.
fn split(weight: &str) -> (Option<&str>, &str) {
    match weight.split_once('/') {
        Some((part, name)) => (Some(part), name),
        None => (None, weight),
    }
}

/// The layers in a stored weight's name, and its own name.
fn stem(stored: &str) -> (&str, &str) {
    let stem = stored.rsplit_once(':').map_or(stored, |(stem, _)| stem);
    // Some layers of Keras 2 leave their own name out of their weights' names.
    stem.rsplit_once('/').unwrap_or(("", stem))
}

fn is_counter(stored: &str) -> bool {
    stem(stored).1 == "count"
}

/// Whether a weight, one of `number` of its layer, is stored under the name `last`.
fn is_named(last: &str, weight: &str, number: usize) -> bool {
    // The depthwise convolution's kernel has another name in Keras 2. A layer's only weight may
    // have none: `variable`, `variable_1` and so on.
    last == weight
        || (weight == "kernel" && last == "depthwise_kernel")
        || (weight == INT8_KERNEL && last == "kernel")
        || (weight == "gamma" && number == 1 && is_unnamed(last))
}

fn is_unnamed(last: &str) -> bool {
    let number = last.to_ascii_lowercase();
    let number = number.strip_prefix("variable");
    number.is_some_and(|n| n.is_empty() || n.starts_with('_'))
}

/// All weights of a group, which belong to one layer.
fn in_order<'a>(stored: &'a [String], names: &[&str]) -> Result<Vec<&'a str>, String> {
    if stored.len() != names.len() {
        return Err(format!(
            "the file has {} weights of it ({}), its configuration needs {} ({})",
            stored.len(),
            stored.join(", "),
            names.len(),
            names.join(", ")
        ));
    }
    Ok(stored.iter().map(String::as_str).collect())
}

/// The weights of a group whose names end in the layer's and the weight's name. If layers of
/// several models share a name, those with the most of the models' names in their own, and the
/// fewest others.
fn by_name<'a>(
    stored: &'a [String],
    place: &Place,
    names: &[&str],
) -> Result<Vec<&'a str>, String> {
    let shared = |stored: &str, weight: &str| {
        let (layers, last) = stem(stored);
        let (part, weight) = split(weight);
        let own = place.names.last()?;
        let own = &part.map_or_else(|| own.clone(), |part| format!("{own}/{part}"));
        let same = is_named(last, weight, names.len());
        if !same || !(layers.is_empty() || layers == own || layers.ends_with(&format!("/{own}"))) {
            return None;
        }
        let models = &place.names[..place.names.len() - 1];
        let known = models
            .iter()
            .filter(|model| layers.split('/').any(|part| part == **model))
            .count();
        Some((known, Reverse(layers.split('/').count())))
    };
    let find = |weight: &str| {
        let found: Vec<(_, &str)> = stored
            .iter()
            .filter_map(|s| Some((shared(s, weight)?, s.as_str())))
            .collect();
        let most = found.iter().map(|(fit, _)| *fit).max();
        let best: Vec<&str> = found
            .iter()
            .filter(|(fit, _)| Some(*fit) == most)
            .map(|(_, name)| *name)
            .collect();
        match best[..] {
            [name] => Ok(name),
            [] => Err(format!("the file has no weight {weight} of it")),
            _ => Err(format!(
                "several weights {weight} in the file may belong to it: {}; save the model as \
                 .keras, which names them uniquely",
                best.join(", ")
            )),
        }
    };
    names.iter().map(|name| find(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_inner_layers_are_found_by_name() {
        let stored = [
            "c/kernel:0",
            "a/c/kernel:0",
            "a/b/c/bias",
            "d/kernel",
            "e/depthwise_kernel",
            "g/f/kernel",
            "h/f/kernel",
            "i/variable_2",
        ]
        .map(String::from);
        let place = |names: &[&str]| Place {
            group: String::new(),
            names: names.iter().map(|s| s.to_string()).collect(),
        };
        let rows = [
            (place(&["a", "c"]), "kernel", Some("a/c/kernel:0")),
            (place(&["x", "c"]), "kernel", Some("c/kernel:0")),
            (place(&["x", "e"]), "kernel", Some("e/depthwise_kernel")),
            (place(&["x", "f"]), "kernel", None),
            (place(&["a", "b", "c"]), "bias", Some("a/b/c/bias")),
            (place(&["a", "d"]), "kernel", Some("d/kernel")),
            (place(&["a", "d"]), "bias", None),
            (place(&["a", "i"]), "gamma", Some("i/variable_2")),
            (place(&["a", "i"]), "beta", None),
        ];
        for (place, weight, expected) in rows {
            assert_eq!(
                by_name(&stored, &place, &[weight]).ok().map(|n| n[0]),
                expected,
                "{place:?} {weight}"
            );
        }
    }

    #[test]
    fn weights_that_are_not_trained_come_after_all_others() {
        let slot = |names: &[&'static str], trainable: &[bool]| Slot {
            place: Place::default(),
            names: names.to_vec(),
            trainable: trainable.to_vec(),
        };
        let slots = [
            slot(&["kernel", "bias"], &[true, false]),
            slot(&["beta", "moving_mean"], &[true, true]),
            slot(&["kernel"], &[true, true, true]),
            slot(&["gamma", "moving_mean"], &[true, false, true]),
        ];
        let expected = [(1, 0), (2, 0), (0, 0), (0, 1), (1, 1), (3, 0), (3, 1)];
        assert_eq!(order(&slots), expected);
    }
}
