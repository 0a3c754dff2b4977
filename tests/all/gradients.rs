//! Burn against Keras: one forward and one backward pass of the notebook's network, its running
//! statistics, and two steps of Adam, with the same weights and images.
//!
//! `scripts/keras/training_golden.py` made the golden file and describes what is in it.

use crate::common;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use fer::model::{Architecture, Network, Shape, load_onnx};
use fer::train::batch::{Batch, SCALE};
use fer::train::step::{self, Score};
use fer::train::{Config, Precision, optimizer};
use safetensors::SafeTensors;
use serde_json::Value;

/// FER-2013's classes.
const CLASSES: usize = 7;

/// The golden file.
struct Golden<'a> {
    file: SafeTensors<'a>,
    weights: Vec<Weight>,
}

/// A weight of the Keras model, in the order of Keras and of Burn alike.
#[derive(Clone)]
struct Weight {
    name: String,
    kind: String,
    shape: Vec<usize>,
    stride: usize,
    index: u64,
    amplitude: f64,
}

impl<'a> Golden<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
        let about: Value =
            serde_json::from_str(&metadata.metadata().as_ref().unwrap()["about"]).unwrap();
        let weights = about["weights"].as_array().unwrap().iter().map(|w| Weight {
            name: w["name"].as_str().unwrap().into(),
            kind: w["kind"].as_str().unwrap().into(),
            shape: w["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d.as_u64().unwrap() as usize)
                .collect(),
            stride: w["stride"].as_u64().unwrap() as usize,
            index: w["index"].as_u64().unwrap(),
            amplitude: w["amplitude"].as_f64().unwrap_or(0.0),
        });
        Self {
            file: SafeTensors::deserialize(bytes).unwrap(),
            weights: weights.collect(),
        }
    }

    fn bytes(&self, name: &str) -> &'a [u8] {
        self.file
            .tensor(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .data()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name)
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        self.bytes(name)
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    /// The batch of a setting, as the Keras model got it.
    fn batch(&self, setting: &str) -> Batch {
        let labels: Vec<u16> = self.bytes("labels").iter().map(|l| (*l).into()).collect();
        let target = |label: &u16| {
            (0..CLASSES)
                .map(|c| f32::from(c == usize::from(*label)))
                .collect::<Vec<_>>()
        };
        Batch {
            shape: [1, 48, 48],
            images: self
                .bytes(&format!("{setting}/images"))
                .iter()
                .map(|p| f32::from(*p) * SCALE)
                .collect(),
            targets: labels.iter().flat_map(target).collect(),
            labels,
        }
    }
}

impl Weight {
    /// The weight's values in Keras's layout, from those in Burn's.
    fn to_keras(&self, burn: &[f32]) -> Vec<f32> {
        let mut keras = vec![0.0; burn.len()];
        for (place, value) in self.places().zip(burn) {
            keras[place] = *value;
        }
        keras
    }

    /// For each value in Burn's layout, its place in Keras's.
    fn places(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self.shape[..] {
            // [height, width, in, out], which is [out, in, height, width] in Burn.
            [h, w, i, o] => Box::new((0..o * i * h * w).map(move |n| {
                let (out, input, pixel) = (n / (i * h * w), n / (h * w) % i, n % (h * w));
                (pixel * i + input) * o + out
            })),
            // The dense layer after the flatten: its rows are (pixel, channel) in Keras, (channel,
            // pixel) in Burn.
            [2048, o] => Box::new((0..2048 * o).map(move |n| {
                let (channel, pixel, out) = (n / o / 4, n / o % 4, n % o);
                (pixel * 512 + channel) * o + out
            })),
            _ => Box::new(0..self.shape.iter().product()),
        }
    }

    fn sample(&self, burn: &[f32]) -> Vec<f32> {
        self.to_keras(burn)
            .into_iter()
            .step_by(self.stride)
            .collect()
    }

    /// The formula's values, in Keras's layout.
    fn hashed(&self) -> Vec<f32> {
        let values = (0..self.shape.iter().product::<usize>() as u64).map(|j| {
            let unit = (splitmix64((self.index << 32) + j) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            let value = self.amplitude as f32 * unit;
            if matches!(self.kind.as_str(), "gamma" | "moving_variance") {
                1.0 + value
            } else {
                value
            }
        });
        values.collect()
    }
}

fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// All the weights of a network, or their gradients, in order.
struct Collect<'a> {
    gradients: Option<&'a GradientsParams>,
    found: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.gradients {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val()),
        };
        self.found
            .push(tensor.map(|t| t.into_data().try_into_vec::<f32>().unwrap()));
    }
}

fn collect(network: &Network, gradients: Option<&GradientsParams>) -> Vec<Option<Vec<f32>>> {
    let mut collect = Collect {
        gradients,
        found: Vec::new(),
    };
    network.visit(&mut collect);
    collect.found
}

struct Fill<'a> {
    weights: std::slice::Iter<'a, Weight>,
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weight = self.weights.next().unwrap();
        let keras = weight.hashed();
        let burn: Vec<f32> = weight.places().map(|place| keras[place]).collect();
        param.map(|old| Tensor::from_data(TensorData::new(burn, old.dims()), &old.device()))
    }
}

/// The largest difference as a share of the largest value.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    if found.iter().any(|v| !v.is_finite()) {
        return f64::NAN;
    }
    let largest = expected.iter().map(|v| v.abs()).fold(0.0, f32::max);
    let apart = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    if largest == 0.0 {
        f64::from(apart)
    } else {
        f64::from(apart / largest)
    }
}

/// The same, but for the one value that is farthest apart, and the difference there.
///
/// A ReLU or a maximum whose inputs are equal within rounding goes one way or the other, and the
/// gradient with it: that of one channel's bias jumps by 3.6e-4 of the largest, and back if all
/// images are made darker by 3e-7.
fn difference_but_for_a_tie(found: &[f32], expected: &[f32]) -> (f64, f64) {
    let apart = |i: &usize| (found[*i] - expected[*i]).abs();
    let Some(tie) = (0..found.len()).max_by(|a, b| apart(a).total_cmp(&apart(b))) else {
        return (0.0, 0.0);
    };
    let mut others = found.to_vec();
    others[tie] = expected[tie];
    (difference(&others, expected), difference(found, expected))
}

fn compare(golden: &Golden, setting: &str, network: Network, tolerance: f64, at_a_tie: f64) {
    let device = Device::flex();
    let learning = device.clone().autodiff();
    let batch = golden.batch(setting);
    let mut wrong = Vec::new();
    let mut worst: HashMap<&str, f64> = HashMap::new();
    let mut row = |what: &'static str, name: &str, difference: f64, allowed: f64| {
        worst
            .entry(what)
            .and_modify(|w| *w = w.max(difference))
            .or_insert(difference);
        if difference.is_nan() || difference > allowed {
            wrong.push(format!(
                "{setting} {what} {name}: {difference:e} of {allowed:e}"
            ));
        }
    };
    let answers = |network: &Network| {
        let mut rows = step::logits(&step::frozen(network), &batch.images, 8, &device).unwrap();
        for row in rows.chunks_exact_mut(CLASSES) {
            let sum: f32 = row.iter().map(|v| v.exp()).sum();
            row.iter_mut().for_each(|v| *v = v.exp() / sum);
        }
        rows
    };
    row(
        "answers",
        "",
        difference(
            &answers(&network),
            &golden.floats(&format!("{setting}/inference")),
        ),
        1e-5,
    );
    let before = collect(&network, None);
    let mut network = network.train();
    let config = Config::preset("notebook").unwrap();
    let mut adam = optimizer::build(&config.optimizer, &network);
    for number in 1..=2 {
        let pass = step::gradients(&network, batch.clone().tensors(&learning), Precision::F32);
        let score = Score::read(pass.score).unwrap();
        let losses =
            [score.cross_entropy, score.penalties].map(|sum| sum / batch.labels.len() as f64);
        let total: f64 = losses.iter().sum();
        let expected = golden.floats(&format!("{setting}/step_losses"))[number - 1];
        row(
            "loss of a step",
            &number.to_string(),
            (total / f64::from(expected) - 1.0).abs(),
            tolerance,
        );
        if number == 1 {
            row(
                "logits",
                "",
                difference(
                    &fer_burn::values(pass.logits).unwrap(),
                    &golden.floats(&format!("{setting}/logits")),
                ),
                tolerance,
            );
            let expected = golden.floats(&format!("{setting}/losses"));
            for (found, (expected, name)) in losses
                .iter()
                .zip(expected.iter().zip(["cross-entropy", "L2"]))
            {
                row(
                    "loss",
                    name,
                    (found / f64::from(*expected) - 1.0).abs(),
                    tolerance,
                );
            }
            let trained = golden
                .weights
                .iter()
                .zip(collect(&network, Some(&pass.gradients)));
            let norms = golden.doubles(&format!("{setting}/grad_norms"));
            let mut norms = norms.iter();
            for (weight, gradient) in trained {
                let Some(gradient) = gradient else { continue };
                let expected = golden.floats(&format!("{setting}/grad/{}", weight.name));
                let (others, tie) = difference_but_for_a_tie(&weight.sample(&gradient), &expected);
                row("gradient", &weight.name, others, tolerance);
                row("gradient at a tie", &weight.name, tie, at_a_tie);
                let norm = gradient
                    .iter()
                    .map(|g| f64::from(*g).powi(2))
                    .sum::<f64>()
                    .sqrt();
                row(
                    "norm of gradient",
                    &weight.name,
                    (norm / norms.next().unwrap() - 1.0).abs(),
                    tolerance,
                );
            }
            assert_eq!(norms.next(), None, "a gradient is missing");
            for (weight, value) in golden
                .weights
                .iter()
                .zip(collect(&step::frozen(&network), None))
            {
                if weight.kind.starts_with("moving") {
                    let expected = golden.floats(&format!("{setting}/moving/{}", weight.name));
                    row(
                        "running statistics",
                        &weight.name,
                        difference(&value.unwrap(), &expected),
                        1e-5,
                    );
                }
            }
        }
        network = step::apply(network, &mut adam, pass.gradients, 1e-4, 0.0);
        let moved = golden
            .weights
            .iter()
            .zip(collect(&network, None).into_iter().zip(&before));
        for (weight, (now, before)) in moved {
            if weight.kind.starts_with("moving") {
                continue;
            }
            let moved: Vec<f32> = now
                .unwrap()
                .iter()
                .zip(before.as_ref().unwrap())
                .map(|(a, b)| a - b)
                .collect();
            let expected = golden.floats(&format!("{setting}/delta{number}/{}", weight.name));
            // Where a gradient is next to nothing, its sign is rounding, and Adam makes a whole
            // step of it.
            let gradients = golden.floats(&format!("{setting}/grad/{}", weight.name));
            let floor = gradients.iter().map(|g| g.abs()).fold(0.0, f32::max) * 1e-3;
            let moved = weight.sample(&moved);
            let apart = moved
                .iter()
                .zip(&expected)
                .zip(&gradients)
                .filter(|(_, g)| g.abs() > floor);
            let apart: Vec<f64> = apart
                .map(|((a, b), _)| f64::from((a - b).abs()) / 1e-4)
                .collect();
            let mean = apart.iter().sum::<f64>() / apart.len().max(1) as f64;
            row(
                if number == 1 {
                    "Adam, step 1"
                } else {
                    "Adam, step 2"
                },
                &weight.name,
                mean,
                0.02,
            );
        }
    }
    let expected = golden.floats(&format!("{setting}/inference_after"));
    row(
        "answers after two steps",
        "",
        difference(&answers(&network), &expected),
        1e-3,
    );
    println!("{setting}: {worst:#?}");
    common::all_right(wrong);
}

fn file() -> Vec<u8> {
    std::fs::read(common::path("tests/golden/gradients.safetensors")).unwrap()
}

#[test]
fn the_trained_model_learns_as_in_keras() {
    let bytes = file();
    let golden = Golden::read(&bytes);
    let network = Architecture::Notebook.init(Shape::FER2013, Some(0.0), 0, &Device::flex());
    let network = load_onnx(
        network,
        &fer::train::task::Task::default().spec(),
        &common::root().join("models/notebook.onnx"),
    )
    .unwrap();
    compare(&golden, "trained", network, 1e-4, 1e-4);
}

#[test]
fn weights_by_a_formula_learn_as_in_keras() {
    let bytes = file();
    let golden = Golden::read(&bytes);
    let network = Architecture::Notebook.init(Shape::FER2013, Some(0.0), 0, &Device::flex());
    let network = network.map(&mut Fill {
        weights: golden.weights.iter(),
    });
    // Keras's own float32 is up to 1.8e-4 from its float64 here.
    compare(&golden, "hashed", network, 2e-4, 5e-4);
}
