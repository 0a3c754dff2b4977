//! Convolutions in their training form, beside a 1×1 convolution and the input: what the branches
//! give, and the plain network that gives the same.

use std::fs;

use crate::common::{self, all_right, ort, run, run_without_ort};
use burn::module::{Module, Param};
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use fer::kernels::nn;
use fer::kernels::norm::Epilogue;
use fer::model::{Architecture, Network, Shape, load_onnx};
use fer::random::{Purpose, Random};
use fer::train::batch::Batch;
use fer::train::{Config, Precision, optimizer, step};
use serde_json::Value;

/// The width and height of FER-2013's images.
const SIDE: usize = 48;

/// FER-2013's classes.
const CLASSES: usize = 7;

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, Purpose::Noise, 0, 0);
    (0..len).map(|_| random.around(1.0) as f32).collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(numbers(shape.iter().product(), seed), shape),
        device,
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The largest difference as a fraction of the largest value.
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().map(|v| v.abs()).fold(1e-3, f32::max);
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
        / largest
}

/// Normalizations added up by the kernels and by Burn: outputs, gradients, running statistics, and
/// evaluations.
fn compare<const N: usize, const P: usize>(shape: [usize; 4], then: Epilogue) -> Vec<String> {
    let (plain, device) = (Device::flex(), Device::flex().autodiff());
    let norms = || -> [BatchNorm; N] {
        std::array::from_fn(|i| {
            let mut norm = BatchNormConfig::new(shape[1]).init(&device);
            norm.gamma = Param::from_tensor(tensor([shape[1]], 10 + i as u64, &device));
            norm.beta = Param::from_tensor(tensor([shape[1]], 20 + i as u64, &device));
            norm
        })
    };
    let by_burn = |norms: &[BatchNorm; N], inputs: &[Tensor<4>; N]| {
        let sum = norms
            .iter()
            .zip(inputs)
            .map(|(norm, x)| norm.forward(x.clone()))
            .reduce(|a, b| a + b)
            .unwrap();
        match then {
            Epilogue::Nothing => sum,
            Epilogue::Relu => relu(sum),
            Epilogue::MaxPool => MaxPool2dConfig::new([2, 2])
                .with_strides([2, 2])
                .init()
                .forward(sum),
        }
    };
    let by_kernels = |norms: &[BatchNorm; N], inputs: &[Tensor<4>; N]| {
        nn::batch_norm_sum::<N, P>(
            std::array::from_fn(|i| (&norms[i], inputs[i].clone())),
            then,
        )
    };
    let inputs: [Tensor<4>; N] =
        std::array::from_fn(|i| tensor(shape, 1 + i as u64, &device).require_grad());
    let (ours, burns) = (norms(), norms());
    let (found, expected) = (by_kernels(&ours, &inputs), by_burn(&burns, &inputs));
    let weight = tensor(expected.dims(), 5, &device);
    let gradients = (found.clone() * weight.clone()).sum().backward();
    let wanted = (expected.clone() * weight).sum().backward();
    let mut pairs = vec![(
        "output".to_string(),
        values(found.inner()),
        values(expected.inner()),
    )];
    for (i, ((ours, burns), x)) in ours.iter().zip(&burns).zip(&inputs).enumerate() {
        let mut pair = |what: &str, found: Vec<f32>, expected: Vec<f32>| {
            pairs.push((format!("{what} {i}"), found, expected))
        };
        pair(
            "input's gradient",
            values(x.grad(&gradients).unwrap()),
            values(x.grad(&wanted).unwrap()),
        );
        let [gammas, betas] = [[&ours.gamma, &burns.gamma], [&ours.beta, &burns.beta]];
        pair(
            "γ's gradient",
            values(gammas[0].grad(&gradients).unwrap()),
            values(gammas[1].grad(&wanted).unwrap()),
        );
        pair(
            "β's gradient",
            values(betas[0].grad(&gradients).unwrap()),
            values(betas[1].grad(&wanted).unwrap()),
        );
        for (what, [ours, burns]) in [
            ("running mean", [&ours.running_mean, &burns.running_mean]),
            ("running variance", [&ours.running_var, &burns.running_var]),
        ] {
            pair(
                what,
                values(ours.value_sync().inner()),
                values(burns.value_sync().inner()),
            );
        }
    }
    let inputs: [Tensor<4>; N] = std::array::from_fn(|i| tensor(shape, 6 + i as u64, &plain));
    let evaluated = by_kernels(&ours.map(|norm| norm.valid()), &inputs);
    pairs.push((
        "evaluation".into(),
        values(evaluated),
        values(by_burn(&burns.map(|norm| norm.valid()), &inputs)),
    ));
    let wrong = |(what, found, expected): (String, Vec<f32>, Vec<f32>)| {
        let apart = apart(&found, &expected);
        (apart.is_nan() || apart > 1e-4)
            .then(|| format!("{N} of {shape:?}, {then:?}: {what} differs by {apart:e}"))
    };
    pairs.into_iter().filter_map(wrong).collect()
}

#[test]
fn normalizations_that_are_added_up_are_those_of_burn() {
    let mut wrong = Vec::new();
    for shape in [[2, 16, 4, 6], [3, 5, 7, 5], [2, 33, 9, 9], [1, 64, 2, 2]] {
        for then in [Epilogue::Nothing, Epilogue::Relu, Epilogue::MaxPool] {
            wrong.extend(compare::<1, 3>(shape, then));
            wrong.extend(compare::<2, 6>(shape, then));
            wrong.extend(compare::<3, 9>(shape, then));
        }
    }
    all_right(wrong);
}

fn batch(n: usize) -> Batch {
    let labels: Vec<u16> = (0..n).map(|i| (i % CLASSES) as u16).collect();
    let one_hot = |label: &u16| {
        (0..CLASSES)
            .map(|class| f32::from(class == usize::from(*label)))
            .collect::<Vec<_>>()
    };
    Batch {
        shape: [1, 48, 48],
        images: numbers(n * SIDE * SIDE, 3)
            .iter()
            .map(|x| x.abs())
            .collect(),
        targets: labels.iter().flat_map(one_hot).collect(),
        labels,
    }
}

/// The network after some steps, without autodiff: its statistics and normalizations have moved.
fn trained(network: Network, steps: usize) -> Network {
    let mut network = Module::train(network);
    let mut optimizer = optimizer::build(&Config::preset("vgg").unwrap().optimizer, &network);
    for _ in 0..steps {
        let batch = batch(14).tensors(&Device::flex().autodiff());
        let pass = step::gradients(&network, batch, Precision::F32);
        network = step::apply(network, &mut optimizer, pass.gradients, 0.02, 0.0);
    }
    step::frozen(&network)
}

fn logits(network: &Network) -> Vec<f32> {
    step::logits(network, &batch(14).images, 14, &Device::flex()).unwrap()
}

#[test]
fn branches_fold_into_the_plain_network() {
    let network = trained(
        Architecture::RepVgg.init(Shape::FER2013, Some(0.0), 1, &Device::flex()),
        4,
    );
    let folded = network.folded();
    assert!(matches!(folded, Network::Vgg(_)));
    assert_eq!(
        (folded.num_params(), folded.macs()),
        (1_878_311, 114_796_288)
    );
    let (found, expected) = (logits(&folded), logits(&network));
    assert!(
        apart(&found, &expected) < 1e-4,
        "{:e}",
        apart(&found, &expected)
    );
    let spread = expected.iter().copied().fold(f32::MIN, f32::max)
        - expected.iter().copied().fold(f32::MAX, f32::min);
    assert!(spread > 0.1, "the logits say nothing: {expected:?}");
}

#[test]
fn a_plain_network_begins_as_the_first_branch_and_the_others_learn() {
    let device = Device::flex();
    let file = common::root().join("models/fer.onnx");
    let load = |architecture: Architecture| {
        load_onnx(
            architecture.init(Shape::FER2013, Some(0.0), 1, &device),
            &fer::train::task::Task::default().spec(),
            &file,
        )
        .unwrap()
    };
    let (plain, branched) = (load(Architecture::Vgg), load(Architecture::RepVgg));
    assert!(matches!(branched, Network::RepVgg(_)));
    assert!(
        apart(&logits(&branched), &logits(&plain)) < 1e-5,
        "{:e}",
        apart(&logits(&branched), &logits(&plain))
    );
    assert!(apart(&logits(&branched.folded()), &logits(&plain)) < 1e-4);
    // A few steps further the other branches have a part in it.
    let [plain, branched] = [plain, branched].map(|network| logits(&trained(network, 3)));
    assert!(
        apart(&branched, &plain) > 2e-3,
        "{:e}",
        apart(&branched, &plain)
    );
}

#[test]
fn a_run_is_exported_as_the_plain_network_and_goes_on_as_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(&["data", "synth", &path("faces"), "--count", "140"]).expect(0);
    let train = |architecture: &str, init: &[&str], out: &str| {
        let args = [
            "train",
            "--preset",
            "vgg",
            "--epochs",
            "1",
            "--architecture",
            architecture,
            "--data",
        ];
        run(&[&args[..], &[&path("faces"), "--out", &path(out)], init].concat())
    };
    let (out, file) = (path("run"), path("run/model.onnx"));
    train("repvgg", &[], "run").expect(0);
    // Of the folder, of the checkpoint, and of the file.
    let figures = |model: &str, engine: &str| -> Value {
        let args = [
            "eval",
            "-q",
            "--model",
            model,
            "--engine",
            engine,
            "--data",
            &path("faces"),
            "--format",
            "json",
        ];
        serde_json::from_str(&run(&args).expect(0).stdout).unwrap()
    };
    let own = figures(&out, "burn");
    let metrics: Value =
        serde_json::from_slice(&fs::read(path("run/metrics.json")).unwrap()).unwrap();
    assert_eq!(own["confusion"], metrics["validation"]["confusion"]);
    let exported = run_without_ort(&["export", "--onnx", "--run", &out]).expect(0);
    assert!(
        exported.stderr.contains("equal on") && exported.stderr.contains("reading it back"),
        "{}",
        exported.stderr
    );
    let header = fer::onnx::OnnxModel::read(file.as_ref()).unwrap().header;
    assert_eq!(header.metadata["fer.architecture"], "vgg");
    if ort().is_some() {
        run(&["export", "--onnx", "--run", &out]).expect(0);
        assert_eq!(figures(&file, "ort")["confusion"], own["confusion"]);
    }
    for architecture in ["vgg", "repvgg"] {
        let from_file = train(
            architecture,
            &["--init", &file, "--lr", "1e-12"],
            &format!("from-file-{architecture}"),
        )
        .expect(0);
        let compared = if ort().is_some() {
            "predictions equal to"
        } else {
            "not compared"
        };
        assert!(
            from_file.stderr.contains(compared),
            "{architecture}: {}",
            from_file.stderr
        );
    }
    train("repvgg", &["--init", &out], "from-run").expect(0);
    let other = train("vgg", &["--init", &out], "other").expect(2);
    assert!(
        other
            .error()
            .contains("is of architecture repvgg, this run of vgg"),
        "{}",
        other.error()
    );
}
