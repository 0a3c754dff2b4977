//! Sharpness-aware minimization against the same step by hand: plain passes, and the arithmetic
//! between them in float64.

use std::cell::Cell;

use crate::common::all_right;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use fer::model::{Architecture, Network, Shape};
use fer::random::{Purpose, Random};
use fer::train::batch::{Batch, Tensors};
use fer::train::config::{Method, Optimizer};
use fer::train::parallel::Team;
use fer::train::step::{self, Score};
use fer::train::{Config, Precision, optimizer, sam};

/// The width and height of FER-2013's images.
const SIDE: usize = 48;

/// FER-2013's classes.
const CLASSES: usize = 7;

/// Noise under labels that go round; `weight` is the sum of each image's targets.
fn batch(n: usize, weight: f32) -> Batch {
    let mut random = Random::new(7, Purpose::Noise, 0, 0);
    let labels: Vec<u16> = (0..n).map(|i| (i % CLASSES) as u16).collect();
    let one_hot = |label: &u16| {
        (0..CLASSES)
            .map(|class| f32::from(class == usize::from(*label)) * weight)
            .collect::<Vec<_>>()
    };
    Batch {
        shape: [1, 48, 48],
        images: (0..n * SIDE * SIDE)
            .map(|_| random.uniform() as f32)
            .collect(),
        targets: labels.iter().flat_map(one_hot).collect(),
        labels,
    }
}

/// The batch for a device and so many others, all of them the CPU.
fn tensors(batch: Batch, others: usize) -> (Tensors, Vec<Tensors>) {
    let first = batch.tensors(&Device::flex().autodiff());
    (first.clone(), vec![first; others])
}

type Values = Vec<Option<Vec<f32>>>;

struct Collect<'a>(Option<&'a GradientsParams>, Values);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.0 {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val()),
        };
        self.1
            .push(tensor.map(|t| t.into_data().try_into_vec().unwrap()));
    }
}

/// All parameters and running statistics in order, or their gradients, which the statistics lack.
fn collect(network: &Network, gradients: Option<&GradientsParams>) -> Values {
    let mut collect = Collect(gradients, Vec::new());
    network.visit(&mut collect);
    collect.1
}

struct Set(std::vec::IntoIter<Vec<f32>>);

impl ModuleMapper for Set {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.0.next().unwrap();
        param.map(|old| Tensor::from_data(TensorData::new(values, old.dims()), &old.device()))
    }
}

/// The values plus `factor` times the gradients.
fn along(values: &Values, gradients: &Values, factor: f64) -> Vec<Vec<f32>> {
    let moved = |(values, gradient): (&Option<Vec<f32>>, &Option<Vec<f32>>)| {
        let values = values.clone().unwrap();
        let Some(gradient) = gradient else {
            return values;
        };
        values
            .iter()
            .zip(gradient)
            .map(|(v, g)| (f64::from(*v) + factor * f64::from(*g)) as f32)
            .collect()
    };
    values.iter().zip(gradients).map(moved).collect()
}

fn flat(values: &Values) -> Vec<f64> {
    values
        .iter()
        .flatten()
        .flatten()
        .map(|v| f64::from(*v))
        .collect()
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The length of the difference as a fraction of the length of what is expected.
fn apart(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    length(&difference) / length(expected)
}

fn network(architecture: Architecture, dropout: f64) -> Network {
    Module::train(architecture.init(Shape::FER2013, Some(dropout), 3, &Device::flex()))
}

/// Two plain passes with the way between them by hand.
struct ByHand {
    /// The gradients at the weights as they are, and at the moved ones.
    gradients: [Values; 2],
    scores: [Score; 2],
    /// Weights and running statistics before the first pass, and after it.
    network: [Values; 2],
}

impl ByHand {
    fn new(
        architecture: Architecture,
        team: &Team,
        batch: &(Tensors, Vec<Tensors>),
        rho: f64,
    ) -> Self {
        let pass = |network: &Network| {
            let (gradients, score) = team
                .gradients(network, batch.0.clone(), batch.1.clone())
                .unwrap();
            (
                collect(network, Some(&gradients)),
                Score::read(score).unwrap(),
            )
        };
        let start = network(architecture, 0.0);
        let before = collect(&step::frozen(&start), None);
        let (uphill, score) = pass(&start);
        let moved = along(&before, &uphill, rho / length(&flat(&uphill)));
        let fresh = architecture.init(Shape::FER2013, Some(0.0), 3, &Device::flex());
        let (slopes, higher) = pass(&Module::train(fresh.map(&mut Set(moved.into_iter()))));
        let after = collect(&step::frozen(&start), None);
        Self {
            gradients: [uphill, slopes],
            scores: [score, higher],
            network: [before, after],
        }
    }
}

#[test]
fn a_step_goes_down_the_gradients_of_the_moved_weights() {
    let rows = [
        (Architecture::Tiny, 0, 0.05, 1e-4),
        (Architecture::Tiny, 0, 0.5, 1e-4),
        // A batch divided between three devices.
        (Architecture::Tiny, 2, 0.05, 1e-4),
        (Architecture::Vgg, 0, 0.05, 1e-4),
        // Its loss has penalties; a maximum whose inputs are equal within rounding goes one way or
        // the other.
        (Architecture::Notebook, 0, 0.05, 5e-3),
    ];
    let rate = 0.1;
    let base = Config::preset("tiny").unwrap().optimizer;
    let sgd = Optimizer {
        name: Method::Sgd,
        momentum: 0.0,
        weight_decay: 0.0,
        ..base
    };
    let mut wrong = Vec::new();
    for (architecture, others, rho, allowed) in rows {
        let team = Team::new(&Device::flex(), others, Precision::F32);
        let batch = tensors(batch(7, 1.0), others);
        let ByHand {
            gradients: [uphill, slopes],
            scores,
            network: [before, after],
        } = ByHand::new(architecture, &team, &batch, rho);
        let learner = network(architecture, 0.0);
        let (gradients, score) = sam::gradients(&team, &learner, batch, rho, || ()).unwrap();
        let left = collect(&step::frozen(&learner), None);
        let mut sgd = optimizer::build(&sgd, &learner);
        let stepped = collect(
            &step::frozen(&step::apply(learner, &mut sgd, gradients, rate, 0.0)),
            None,
        );
        // Running statistics have no gradients.
        let moved = |(before, stepped): (&Option<Vec<f32>>, &Option<Vec<f32>>)| {
            let pairs = stepped.iter().flatten().zip(before.iter().flatten());
            Some(pairs.map(|(a, b)| a - b).collect::<Vec<_>>())
        };
        let pairs = before
            .iter()
            .zip(&stepped)
            .zip(&slopes)
            .filter(|(_, slope)| slope.is_some());
        let taken = flat(&pairs.map(|(pair, _)| moved(pair)).collect());
        let expected: Vec<f64> = flat(&slopes).iter().map(|g| -rate * g).collect();
        let (near, far) = (
            apart(&taken, &expected),
            apart(&flat(&slopes), &flat(&uphill)),
        );
        println!(
            "{architecture}, {others} others, {rho}: {near:e} from the step by hand, {far:e} from \
             the plain gradients"
        );
        let checks = [
            (near < allowed, "another step than that by hand"),
            (far > 0.01, "the gradients are the plain ones"),
            (
                scores[1].loss() > scores[0].loss(),
                "the loss does not rise on the way up",
            ),
            (
                Score::read(score).unwrap() == scores[0],
                "the score is not the first pass's",
            ),
            (
                left == after,
                "the second pass left something in the network",
            ),
        ];
        let failed = checks.iter().filter(|(right, _)| !right);
        wrong.extend(
            failed.map(|(_, what)| format!("{architecture}, {others} others, {rho}: {what}")),
        );
    }
    all_right(wrong);
}

/// The only test of this file that draws numbers: the CPU's are one row for all threads.
#[test]
fn both_passes_have_the_same_dropout() {
    let (device, rho) = (Device::flex(), 0.5);
    let team = Team::new(&device, 0, Precision::F32);
    let plain = |network: &Network, seed: u64| {
        device.seed(seed);
        let (gradients, _) = team
            .gradients(network, tensors(batch(7, 1.0), 0).0, Vec::new())
            .unwrap();
        collect(network, Some(&gradients))
    };
    let start = network(Architecture::Tiny, 0.5);
    let weights = collect(&step::frozen(&start), None);
    let uphill = plain(&start, 11);
    let moved = along(&weights, &uphill, rho / length(&flat(&uphill)));
    let fresh = || {
        Architecture::Tiny
            .init(Shape::FER2013, Some(0.5), 3, &device)
            .map(&mut Set(moved.clone().into_iter()))
    };
    let [same, other] = [11, 12].map(|seed| flat(&plain(&Module::train(fresh()), seed)));
    let learner = network(Architecture::Tiny, 0.5);
    let passed = sam::gradients(&team, &learner, tensors(batch(7, 1.0), 0), rho, || {
        device.seed(11)
    });
    let found = flat(&collect(&learner, Some(&passed.unwrap().0)));
    assert!(apart(&found, &same) < 1e-3, "{:e}", apart(&found, &same));
    assert!(apart(&found, &other) > 0.1, "{:e}", apart(&found, &other));
}

#[test]
fn without_a_distance_there_is_one_pass_and_it_is_the_plain_one() {
    let team = Team::new(&Device::flex(), 0, Precision::F32);
    let passes = Cell::new(0);
    let gradients = |rho: f64| {
        let network = network(Architecture::Tiny, 0.0);
        passes.set(0);
        let passed = sam::gradients(&team, &network, tensors(batch(7, 1.0), 0), rho, || {
            passes.set(passes.get() + 1)
        });
        let (gradients, score) = passed.unwrap();
        (
            collect(&network, Some(&gradients)),
            fer_burn::values(score).unwrap(),
            passes.get(),
        )
    };
    let plain = network(Architecture::Tiny, 0.0);
    let (expected, score) = team
        .gradients(&plain, tensors(batch(7, 1.0), 0).0, Vec::new())
        .unwrap();
    let expected = (
        collect(&plain, Some(&expected)),
        fer_burn::values(score).unwrap(),
    );
    assert_eq!(gradients(0.0), (expected.0.clone(), expected.1.clone(), 1));
    let (moved, score, passes) = gradients(0.05);
    assert!(moved != expected.0 && score == expected.1 && passes == 2);
}

/// A class that weighs nothing can be alone in a batch.
#[test]
fn a_batch_without_gradients_moves_nothing() {
    let team = Team::new(&Device::flex(), 0, Precision::F32);
    let network = network(Architecture::Tiny, 0.0);
    let (gradients, _) =
        sam::gradients(&team, &network, tensors(batch(2, 0.0), 0), 0.05, || ()).unwrap();
    let gradients = flat(&collect(&network, Some(&gradients)));
    assert!(!gradients.is_empty() && gradients.iter().all(|g| *g == 0.0));
}

/// The loss's scale in float16 is not in the distance.
#[test]
fn mixed_precision_moves_the_weights_as_far() {
    let gradients = |precision: Precision, rho: f64| {
        let team = Team::new(&Device::flex(), 0, precision);
        let network = network(Architecture::Tiny, 0.0);
        let (gradients, _) =
            sam::gradients(&team, &network, tensors(batch(8, 1.0), 0), rho, || ()).unwrap();
        flat(&collect(&network, Some(&gradients)))
    };
    let expected = gradients(Precision::F32, 0.5);
    let mut wrong = Vec::new();
    // Where a value is off by rounding, some of the ReLUs and maxima of noise go another way.
    for (precision, allowed) in [(Precision::Bf16, 0.3), (Precision::F16, 0.25)] {
        let found = apart(&gradients(precision, 0.5), &expected);
        println!("{precision}: {found:e} apart");
        if found.is_nan() || found > allowed {
            wrong.push(format!("{precision}: {found:e} of {allowed:e}"));
        }
    }
    all_right(wrong);
    let plain = apart(&gradients(Precision::F32, 0.0), &expected);
    assert!(
        plain > 0.4,
        "a distance of 0.5 changes no more than rounding does: {plain:e}"
    );
}
