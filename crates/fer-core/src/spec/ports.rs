//! Which input and output of a file are the classifier's, and what the output's values are.

use super::labels::parse_labels;
use super::resolve::Resolver;
use super::{Basis, Field, OutputKind};
use crate::onnx::{Port, elem_type_name, is_float, is_whole};

impl<'a> Resolver<'a> {
    /// The only input, and whether it takes whole numbers.
    pub(super) fn input(&self) -> Result<(&'a Port, bool), String> {
        let header = self.header;
        let [input] = &header.inputs[..] else {
            return Err(format!(
                "it has {} inputs; an image classifier has one",
                header.inputs.len()
            ));
        };
        let whole = is_whole(input.elem_type);
        if !whole && !is_float(input.elem_type) {
            return Err(format!(
                "its input '{}' takes {}; export it with an input of float32 or uint8",
                input.name,
                elem_type_name(input.elem_type)
            ));
        }
        Ok((input, whole))
    }

    /// The classifier's output: the only one, the one that is named, or the one that alone can be
    /// it.
    pub(super) fn output(&mut self) -> Result<&'a Port, String> {
        let all = &self.header.outputs[..];
        let names: Vec<String> = all.iter().map(shown).collect();
        let names = names.join(", ");
        if let Some(name) = self.stated("output_name") {
            let found = all.iter().find(|port| port.name == name);
            return found.ok_or_else(|| format!("it has no output '{name}'; it has {names}"));
        }
        let output = match all {
            [] => return Err("it has no output".into()),
            [output] => output,
            _ => {
                let Some((output, why)) = self.choose(all) else {
                    self.missing = Some(Field::OutputName);
                    return Err(format!(
                        "it has {} outputs, and nothing tells which is the classifier's: {names}",
                        all.len()
                    ));
                };
                self.assume(
                    Field::OutputName,
                    format!("output '{}' of {names}", output.name),
                    Basis::Convention(why),
                );
                output
            }
        };
        if !is_float(output.elem_type) {
            return Err(format!(
                "its output '{}' is {}; a classifier returns floats",
                output.name,
                elem_type_name(output.elem_type)
            ));
        }
        Ok(output)
    }

    /// The only output of several that can be a classifier's, and why.
    fn choose(&self, all: &'a [Port]) -> Option<(&'a Port, String)> {
        let mut candidates: Vec<&Port> = all
            .iter()
            .filter(|port| is_float(port.elem_type) && per_class(port).is_some())
            .collect();
        let hinted = self.hints("labels").map(|hint| hint.value.clone());
        let named = self.stated("labels").into_iter().chain(hinted);
        for labels in named.filter_map(|text| parse_labels(&text).ok()) {
            let fits = |port: &&&Port| match per_class(port) {
                Some(1) => labels.len() == 2,
                values => values == Some(labels.len()),
            };
            let fitting: Vec<&Port> = candidates.iter().filter(fits).copied().collect();
            if let [port] = fitting[..] {
                let why = format!("the only one for {} classes", labels.len());
                return Some((port, why));
            }
            if !fitting.is_empty() {
                candidates = fitting;
            }
        }
        if let [port] = candidates[..] {
            return Some((port, "the only one of shape [N, classes]".into()));
        }
        let activated = |port: &&&Port| is_activation(port.operator.as_deref());
        match candidates.iter().filter(activated).collect::<Vec<_>>()[..] {
            [port] => {
                let operator = port.operator.as_deref().unwrap_or_default();
                Some((port, format!("the only one that ends in {operator}")))
            }
            _ => None,
        }
    }

    /// The number of output values for an image; `None` if the file does not state it.
    pub(super) fn values(
        &self,
        output: &Port,
        batch: Option<usize>,
    ) -> Result<Option<usize>, String> {
        match &output.dims {
            None => Ok(None),
            // [N], of a single value that was squeezed.
            Some(dims) if dims.len() == 1 && (dims[0].is_none() || dims[0] == batch) => Ok(Some(1)),
            Some(dims) if flat(dims) => Ok(dims[1]),
            Some(dims) => Err(format!(
                "its output '{}' has rank {}; a classifier returns [N, classes]",
                output.name,
                dims.len()
            )),
        }
    }

    /// What the values of an output are: stated, or by the operator that computes them.
    pub(super) fn output_kind(
        &mut self,
        output: &Port,
        values: Option<usize>,
        classes: usize,
    ) -> Result<OutputKind, String> {
        let single = values == Some(1);
        if let Some(kind) = self.parsed::<OutputKind>("output")? {
            let kind = of_values(kind, single);
            let for_two = kind.values(classes) == 1;
            if for_two && values.is_some_and(|values| values != 1) {
                return Err(format!(
                    "its metadata 'output' is '{kind}', one value for two classes; its output has \
                     more"
                ));
            }
            if for_two && classes != 2 {
                return Err(format!(
                    "its metadata 'output' is '{kind}', one value for two classes; it has {classes}"
                ));
            }
            return Ok(kind);
        }
        let guess = self.guess("output");
        let operator = output.operator.as_deref().unwrap_or("unknown");
        let by_operator = |kind| (of_values(kind, single), Basis::Operator(operator.into()));
        let (kind, basis) = match operator {
            // Who wrote a guess knew the operator: it may work on parts of the values.
            "Softmax" if guess.is_none() => by_operator(OutputKind::Probabilities),
            "Sigmoid" | "HardSigmoid" if guess.is_none() => by_operator(OutputKind::Scores),
            _ => {
                let kind = guess.and_then(|kind| kind.parse().ok());
                let kind = kind.unwrap_or(OutputKind::Logits);
                (of_values(kind, single), Basis::Guess)
            }
        };
        let value = match basis {
            Basis::Guess => format!("output {kind} (its last operator is {operator})"),
            _ => format!("output {kind}"),
        };
        self.assume(Field::Output, value, basis);
        Ok(kind)
    }
}

/// The kind for a single value that is the same for one value per class.
fn of_values(kind: OutputKind, single: bool) -> OutputKind {
    match kind {
        OutputKind::Probabilities | OutputKind::Scores if single => OutputKind::Probability,
        OutputKind::Logits if single => OutputKind::Logit,
        _ => kind,
    }
}

/// Whether an operator makes a classifier's outputs of its logits.
fn is_activation(operator: Option<&str>) -> bool {
    matches!(operator, Some("Softmax" | "Sigmoid" | "HardSigmoid"))
}

/// `[N, values]`, or `[N, values, 1, 1]` from some exporters.
fn flat(dims: &[Option<usize>]) -> bool {
    dims.len() >= 2 && dims[2..].iter().all(|d| *d == Some(1))
}

/// The number of values for an image, if the port's shape is a classifier's and states it.
fn per_class(port: &Port) -> Option<usize> {
    port.dims
        .as_ref()
        .filter(|dims| flat(dims))
        .and_then(|dims| dims[1])
}

/// A port's name and shape: `logits [N, 7]`.
fn shown(port: &Port) -> String {
    let dims = port.dims.as_ref().map(|dims| {
        let number = |(i, d): (usize, &Option<usize>)| match d {
            Some(d) => d.to_string(),
            None if i == 0 => "N".into(),
            None => "?".into(),
        };
        dims.iter()
            .enumerate()
            .map(number)
            .collect::<Vec<_>>()
            .join(", ")
    });
    format!("{} [{}]", port.name, dims.unwrap_or_else(|| "?".into()))
}
