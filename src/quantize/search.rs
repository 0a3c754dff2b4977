//! Finds the plan that a network is quantized by: the weights from the moments of each layer's
//! inputs, the ranges from the distribution of the activations and from what the answers lose, the
//! biases from the means of each layer's outputs.

use std::collections::HashMap;

use fer_core::spec::InputSpec;
use fer_quantize::{Group, Histogram, Method, Moments, Params, Plan, divergence, nearest, rounded};

use super::lab::Lab;
use super::{QuantizeFileError, Ranges, Stage};

/// Patches of an image that a convolution's moments are taken of.
const POSITIONS: usize = 24;

/// The most bytes of moments that are collected in one pass over the images.
const MOMENTS_AT_ONCE: usize = 256 << 20;

/// The methods whose ranges are compared by what the answers lose.
const METHODS: [Method; 4] = [
    Method::LeastError,
    Method::MinMax,
    Method::Percentile(99.99),
    Method::Percentile(99.9),
];

/// Then the best of them is made smaller and larger.
const STRETCHES: [f32; 4] = [0.8, 0.9, 1.1, 1.25];

/// What was found.
pub struct Found {
    pub plan: Plan,
    /// The divergence of the answers for the calibration images.
    pub lost: f64,
    /// The share of them that keeps its label.
    pub kept: f64,
    /// The names of the layers that stay in float32 because they lose most.
    pub float: Vec<String>,
}

/// What the float32 network does with the calibration images.
struct Seen {
    /// The distribution of each group of tensors.
    histograms: Vec<Histogram>,
    /// The moments of each layer's inputs, where it has some.
    moments: Vec<Option<Moments>>,
}

/// The search for one network.
pub struct Search<'a> {
    pub lab: &'a Lab<'a>,
    pub ranges: Ranges,
    /// The least share of the calibration images that has to keep its label.
    pub kept: f64,
    pub stage: &'a mut dyn FnMut(Stage),
    groups: Vec<Group>,
    /// The float32 network's probabilities, `[n, classes]`.
    reference: Vec<f32>,
}

impl<'a> Search<'a> {
    /// Prepares the search: runs the float32 network.
    ///
    /// # Errors
    /// ONNX Runtime fails on it.
    pub fn new(
        lab: &'a Lab<'a>,
        ranges: Ranges,
        kept: f64,
        stage: &'a mut dyn FnMut(Stage),
    ) -> Result<Self, QuantizeFileError> {
        let network = lab.network;
        let output = network.output();
        Ok(Self {
            reference: lab.answers(network.with_outputs(&[&output])?)?,
            groups: network.groups(),
            lab,
            ranges,
            kept,
            stage,
        })
    }

    /// Finds a plan.
    ///
    /// # Errors
    /// ONNX Runtime fails, or an activation is not finite.
    pub fn run(self) -> Result<Found, QuantizeFileError> {
        (self.stage)(Stage::Activations);
        let seen = self.look()?;
        (self.stage)(Stage::Weights);
        let mut plan = self.first_plan(&seen);
        if self.ranges == Ranges::ByAnswers {
            (self.stage)(Stage::Ranges);
            self.choose_ranges(&mut plan, &seen.histograms)?;
        }
        (self.stage)(Stage::Biases);
        let mut lost = self.correct_biases(&mut plan)?;
        let mut float = Vec::new();
        let (mut answers, mut ranking) = (self.lab.answers_of(&plan)?, None);
        // With more of them in float32, the file would be another than was asked for.
        let most = plan.layers.iter().flatten().count() / 2;
        while self.kept_by(&answers) < self.kept && float.len() < most {
            (self.stage)(Stage::Layers);
            let ranking = match &mut ranking {
                Some(ranking) => ranking,
                none => none.insert(self.ranking(&plan)?),
            };
            let Some(layer) = ranking.pop() else { break };
            plan.layers[layer] = None;
            float.push(self.lab.network.layers[layer].name.clone());
            answers = self.lab.answers_of(&plan)?;
            lost = self.lost_by(&answers);
        }
        Ok(Found {
            kept: self.kept_by(&answers),
            plan,
            lost,
            float,
        })
    }

    fn lost_by(&self, answers: &[f32]) -> f64 {
        divergence(&self.reference, answers, self.lab.spec.labels.len())
    }

    fn lost(&self, plan: &Plan) -> Result<f64, QuantizeFileError> {
        Ok(self.lost_by(&self.lab.answers_of(plan)?))
    }

    /// The share of the calibration images that keeps its label.
    fn kept_by(&self, answers: &[f32]) -> f64 {
        let classes = self.lab.spec.labels.len();
        let top = |row: &[f32]| {
            let larger = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
            (0..row.len()).fold(0, larger)
        };
        let rows = self.reference.chunks(classes).zip(answers.chunks(classes));
        let kept = rows.filter(|(a, b)| top(a) == top(b)).count();
        kept as f64 / self.lab.count().max(1) as f64
    }

    /// Runs the float32 network on the images and looks at its tensors.
    fn look(&self) -> Result<Seen, QuantizeFileError> {
        let network = self.lab.network;
        let mut histograms = vec![Histogram::default(); self.groups.len()];
        let mut moments: Vec<Option<Moments>> = Vec::new();
        moments.resize_with(network.layers.len(), || None);
        let wanted: Vec<usize> = (0..network.layers.len())
            .filter(|i| !network.layers[*i].is_last)
            .collect();
        // As many layers at a time as there is memory for; at least once, for the distributions.
        let mut rest = &wanted[..];
        let mut first = true;
        while first || !rest.is_empty() {
            let (mut bytes, mut taken) = (0, 0);
            for layer in rest {
                let new = Moments::new(&network.layers[*layer]);
                bytes += new.as_ref().map_or(0, Moments::bytes);
                if taken > 0 && bytes > MOMENTS_AT_ONCE {
                    break;
                }
                moments[*layer] = new;
                taken += 1;
            }
            let (now, later) = rest.split_at(taken);
            let histograms = first.then_some(&mut histograms[..]);
            self.look_at(now, &mut moments, histograms.unwrap_or_default())?;
            (rest, first) = (later, false);
        }
        Ok(Seen {
            histograms,
            moments,
        })
    }

    /// One pass: the moments of some layers, and the distributions, if there are any to fill.
    fn look_at(
        &self,
        layers: &[usize],
        moments: &mut [Option<Moments>],
        histograms: &mut [Histogram],
    ) -> Result<(), QuantizeFileError> {
        let network = self.lab.network;
        let mut of_tensor: HashMap<&str, Vec<usize>> = HashMap::new();
        for layer in layers {
            let tensor = network.layers[*layer].input.as_str();
            of_tensor.entry(tensor).or_default().push(*layer);
        }
        let mut groups: HashMap<&str, usize> = HashMap::new();
        for (group, tensors) in self.groups.iter().enumerate().take(histograms.len()) {
            // What is passed on says it; where nothing takes the values themselves.
            if let Some(tensor) = tensors.tensors.last() {
                groups.insert(tensor, group);
            }
        }
        let mut take = |name: &str, dims: &[usize], values: &[f32]| {
            if let Some(group) = groups.get(name) {
                let finite = histograms[*group].add(values);
                finite.map_err(|_| QuantizeFileError::NotFinite {
                    model: network.name.clone(),
                    tensor: name.to_string(),
                })?;
            }
            for layer in of_tensor.get(name).into_iter().flatten() {
                if let Some(moments) = &mut moments[*layer] {
                    moments.add(&network.layers[*layer], dims, values, POSITIONS);
                }
            }
            Ok::<_, QuantizeFileError>(())
        };
        let mut names: Vec<&str> = groups.keys().chain(of_tensor.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        // The network's input is at hand.
        let input = network.input();
        if names.contains(&input.as_str()) {
            for images in self.lab.batches(1) {
                take(&input, &self.lab.spec.input_shape(1), &images)?;
            }
        }
        names.retain(|name| *name != input);
        if names.is_empty() {
            return Ok(());
        }
        self.lab
            .outputs(network.with_outputs(&names)?, &mut |output| {
                take(&output.name, &output.dims, &output.values)
            })
    }

    /// The plan of one method for all ranges, with the weights rounded by the moments.
    fn first_plan(&self, seen: &Seen) -> Plan {
        let method = match self.ranges {
            Ranges::By(method) => method,
            Ranges::ByAnswers => Method::LeastError,
        };
        let exact = exact_pixels(&self.lab.spec.input);
        let params: Vec<Params> = self
            .groups
            .iter()
            .zip(&seen.histograms)
            .map(
                |(group, histogram)| match exact.filter(|_| group.is_input) {
                    Some(exact) => exact,
                    None => Params::of(histogram.range(method)),
                },
            )
            .collect();
        let group_of =
            |tensor: &String| self.groups.iter().position(|g| g.tensors.contains(tensor));
        let layers = self.lab.network.layers.iter().zip(&seen.moments);
        let layers = layers.map(|(layer, moments)| {
            let step = group_of(&layer.input).map_or(0.0, |group| f64::from(params[group].scale));
            let rounded = match moments {
                Some(moments) => rounded(layer, moments, step * step / 12.0),
                None => nearest(layer),
            };
            (!layer.is_last).then_some(rounded)
        });
        Plan {
            layers: layers.collect(),
            params,
        }
    }

    /// Takes of each range that of which the answers lose least, one after the other.
    fn choose_ranges(
        &self,
        plan: &mut Plan,
        histograms: &[Histogram],
    ) -> Result<(), QuantizeFileError> {
        let exact = exact_pixels(&self.lab.spec.input);
        let mut best = self.lost(plan)?;
        for (group, histogram) in histograms.iter().enumerate() {
            if exact.is_some() && self.groups[group].is_input {
                continue;
            }
            let mut tried = vec![plan.params[group]];
            let mut range = histogram.range(Method::LeastError);
            let mut attempt = |plan: &mut Plan, other: [f32; 2]| {
                let (old, new) = (plan.params[group], Params::of(other));
                if tried.contains(&new) {
                    return Ok(false);
                }
                tried.push(new);
                plan.params[group] = new;
                let lost = self.lost(plan)?;
                if lost < best {
                    best = lost;
                    return Ok(true);
                }
                plan.params[group] = old;
                Ok::<_, QuantizeFileError>(false)
            };
            for method in METHODS {
                let other = histogram.range(method);
                if attempt(plan, other)? {
                    range = other;
                }
            }
            for stretch in STRETCHES {
                attempt(plan, range.map(|end| end * stretch))?;
            }
        }
        Ok(())
    }

    /// Moves the bias of each channel so that its mean is that of the float32 network, from the
    /// first layer to the last, and returns what the answers lose. Where they lose more by it, the
    /// biases stay.
    fn correct_biases(&self, plan: &mut Plan) -> Result<f64, QuantizeFileError> {
        let network = self.lab.network;
        let before = self.lost(plan)?;
        let sums: Vec<&str> = network.layers.iter().map(|l| l.sum.as_str()).collect();
        let expected = self.means(network.with_outputs(&sums)?)?;
        let mut corrected = plan.clone();
        for (i, layer) in network.layers.iter().enumerate() {
            let file = network.quantized_with_outputs(&corrected, &[&layer.sum])?;
            let Some(rounded) = &mut corrected.layers[i] else {
                continue;
            };
            let found = self.means(file)?;
            let (Some(expected), Some(found)) = (expected.get(&layer.sum), found.get(&layer.sum))
            else {
                continue;
            };
            if expected.len() == layer.channels && found.len() == layer.channels {
                let off = expected.iter().zip(found).map(|(a, b)| (a - b) as f32);
                rounded
                    .bias
                    .iter_mut()
                    .zip(off)
                    .for_each(|(b, off)| *b += off);
            }
        }
        let after = self.lost(&corrected)?;
        if after < before {
            *plan = corrected;
        }
        Ok(after.min(before))
    }

    /// The mean of each channel of each output of a file.
    fn means(&self, file: bytes::Bytes) -> Result<HashMap<String, Vec<f64>>, QuantizeFileError> {
        let mut sums: HashMap<String, (Vec<f64>, usize)> = HashMap::new();
        self.lab.outputs(file, &mut |output| {
            let [_, channels, area @ ..] = &output.dims[..] else {
                return Ok(());
            };
            let area: usize = area.iter().product::<usize>().max(1);
            let (sums, count) = sums
                .entry(output.name.clone())
                .or_insert_with(|| (vec![0.0; *channels], 0));
            for (i, values) in output.values.chunks(area).enumerate() {
                let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
                if let Some(channel) = sums.get_mut(i % (*channels).max(1)) {
                    *channel += sum;
                }
            }
            *count += output.values.len() / (*channels).max(1);
            Ok(())
        })?;
        let mean = |(name, (sums, count)): (String, (Vec<f64>, usize))| {
            let count = count.max(1) as f64;
            (name, sums.into_iter().map(|sum| sum / count).collect())
        };
        Ok(sums.into_iter().map(mean).collect())
    }

    /// The quantized layers, those last by whose float32 form the answers gain most.
    fn ranking(&self, plan: &Plan) -> Result<Vec<usize>, QuantizeFileError> {
        let quantized = |layer: &usize| plan.layers[*layer].is_some();
        let layers: Vec<usize> = (0..plan.layers.len()).filter(quantized).collect();
        let mut lost = Vec::with_capacity(layers.len());
        for layer in layers {
            let mut other = plan.clone();
            other.layers[layer] = None;
            lost.push((self.lost(&other)?, layer));
        }
        lost.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(lost.into_iter().map(|(_, layer)| layer).collect())
    }
}

/// The steps of pixels after preprocessing, if they are the same for all channels: 8 bits hold
/// these without loss.
fn exact_pixels(input: &InputSpec) -> Option<Params> {
    let same = |values: &[f32], none: f32| match values {
        [] => Some(none),
        [first, rest @ ..] => rest.iter().all(|v| v == first).then_some(*first),
    };
    let (mean, std) = (same(&input.mean, 0.0)?, same(&input.std, 1.0)?);
    let (scale, zero) = (input.scale / std, mean / input.scale);
    let is_level = (zero - zero.round()).abs() < 1e-3 && (0.0..=255.0).contains(&zero.round());
    (scale.is_finite() && scale > 0.0 && is_level).then_some(Params {
        scale,
        zero_point: zero.round() as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_core::spec::Layout;

    #[test]
    fn pixels_that_8_bits_hold_are_known() {
        let input = |scale: f32, mean: &[f32], std: &[f32]| InputSpec {
            scale,
            mean: mean.to_vec(),
            std: std.to_vec(),
            ..InputSpec::new(Layout::Nchw, 4, 4, 3)
        };
        let params = |scale: f32, zero_point: u8| Some(Params { scale, zero_point });
        let rows = [
            (input(1.0 / 255.0, &[], &[]), params(1.0 / 255.0, 0)),
            (input(1.0, &[128.0; 3], &[2.0; 3]), params(0.5, 128)),
            // Half a level.
            (input(1.0 / 127.5, &[1.0], &[]), None),
            (input(1.0, &[103.9, 116.8, 123.7], &[]), None),
            (input(1.0 / 255.0, &[0.5; 3], &[0.2, 0.2, 0.3]), None),
        ];
        for (input, expected) in rows {
            assert_eq!(exact_pixels(&input), expected, "{input:?}");
        }
    }
}
