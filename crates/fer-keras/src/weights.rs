//! Finds a layer's weights in both layouts of Keras's HDF5 files.
//!
//! Keras 3 numbers the layers by class and position: `layers/conv2d_1/vars/0`. The legacy layout
//! has a group for each layer of the outermost model, with the weights' names in order. The layers
//! of a nested model share that model's group and are identified by name.

use std::cmp::Reverse;

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

    /// The weights of the layer at `place`, as many as `names`, in Keras's order.
    ///
    /// # Errors
    /// They are missing, their number differs, or one can't be read.
    pub(crate) fn of(&self, place: &Place, names: &[&str]) -> Result<Vec<Tensor>, String> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        match self.layout {
            Layout::Keras3 => (0..names.len())
                .map(|i| self.read(names[i], &self.path(place, names, i)))
                .collect(),
            Layout::Legacy { root, .. } => {
                let outermost = place.names.first().map_or("", String::as_str);
                let group = format!("{root}/{outermost}");
                let stored = self.file.texts(&group, "weight_names").ok_or_else(|| {
                    format!("the file has no weights of {outermost}, by the name of the layer")
                })?;
                // The number of batches that a Normalization has seen is not a weight.
                let stored: Vec<String> = stored.into_iter().filter(|s| !is_counter(s)).collect();
                // Keras has the weights of quantized layers in another order here.
                let ordered = !names.contains(&INT8_KERNEL);
                let chosen = if place.names.len() == 1 && ordered {
                    in_order(&stored, names)
                } else {
                    by_name(&stored, place, names)
                };
                chosen?
                    .into_iter()
                    .zip(names)
                    .map(|(stored, name)| self.read(name, &format!("{group}/{stored}")))
                    .collect()
            }
        }
    }
}

/// The layer in a layer that has a weight, and the weight's own name.
fn split(weight: &str) -> (Option<&str>, &str) {
    match weight.split_once('/') {
        Some((part, name)) => (Some(part), name),
        None => (None, weight),
    }
}

fn is_counter(stored: &str) -> bool {
    let stem = stored.rsplit_once(':').map_or(stored, |(stem, _)| stem);
    stem == "count" || stem.ends_with("/count")
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
        let stem = stored.rsplit_once(':').map_or(stored, |(stem, _)| stem);
        // Some layers of Keras 2 leave their own name out of their weights' names.
        let (layers, last) = stem.rsplit_once('/').unwrap_or(("", stem));
        let (part, weight) = split(weight);
        let own = place.names.last()?;
        let own = &part.map_or_else(|| own.clone(), |part| format!("{own}/{part}"));
        // The depthwise convolution's kernel has another name in Keras 2. A layer's only weight may
        // have none: `variable`, `variable_1` and so on.
        let same = last == weight
            || (weight == "kernel" && last == "depthwise_kernel")
            || (weight == INT8_KERNEL && last == "kernel")
            || (weight == "gamma" && names.len() == 1 && is_unnamed(last));
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
}
