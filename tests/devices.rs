//! What Burn computes on: what the build or the machine lacks is refused with the reason and the
//! next step, and every device answers and learns as the CPU does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod common;

use std::fs;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::{all_right, fer, run};
use fer::device::Backend;
use fer::model::{Architecture, Network, Shape};
use fer::random::{Purpose, Random};
use fer::train::batch::Batch;
use fer::train::parallel::Team;
use fer::train::{Precision, step};

/// The width and height of FER-2013's images.
const SIDE: usize = 48;

/// FER-2013's classes.
const CLASSES: usize = 7;

const FACE: &str = "examples/faces/happy.png";

/// The GPUs' backends, by name and feature, and whether this build has them.
const GPUS: [(&str, &str, bool); 3] = [
    ("wgpu", "wgpu", cfg!(feature = "wgpu")),
    ("vulkan", "vulkan", cfg!(feature = "vulkan")),
    ("cuda", "cuda", cfg!(feature = "cuda")),
];

#[test]
fn a_device_that_was_not_built_in_names_its_feature() {
    let mut wrong = Vec::new();
    for (name, feature, built_in) in
        GPUS.into_iter()
            .chain([("ndarray", "ndarray", cfg!(feature = "ndarray"))])
    {
        assert_eq!(
            Backend::ALL
                .iter()
                .find(|b| b.to_string() == name)
                .map(|b| b.is_built_in()),
            Some(built_in)
        );
        if built_in {
            continue;
        }
        let target = format!("fer@burn:{name}");
        let parity = [
            "parity",
            "--reference",
            &target,
            "--candidate",
            "fer@burn",
            FACE,
        ];
        for command in [
            &["infer", "--device", name, FACE][..],
            &["train", "--device", name],
            &parity,
        ] {
            let run = run(command);
            let told = run
                .stderr
                .contains(&format!("cargo build --release --features {feature}"));
            if run.code != 2 || !told || !run.stdout.is_empty() {
                wrong.push(format!("{command:?}: {run:?}"));
            }
        }
    }
    all_right(wrong);
}

#[test]
fn a_machine_without_a_device_says_what_it_takes() {
    let mut wrong = Vec::new();
    // wgpu may find a GPU by more than one interface.
    for (name, _, _) in GPUS
        .into_iter()
        .filter(|(name, _, built_in)| *built_in && *name != "wgpu")
    {
        let mut command = fer();
        // Neither Vulkan's drivers nor CUDA's devices are found with these.
        command
            .env("VK_DRIVER_FILES", "/no/driver")
            .env("VK_ICD_FILENAMES", "/no/driver")
            .env("CUDA_VISIBLE_DEVICES", "");
        command.args(["infer", "--device", name, FACE]);
        let run = common::Run::of(command.output().unwrap());
        let one_line = run.stderr.lines().count() == 1;
        if run.code != 2 || !run.stderr.contains("it takes") || !one_line || !run.stdout.is_empty()
        {
            wrong.push(format!("--device {name}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn engines_and_their_devices_are_not_mixed_up() {
    let rows: [(&[&str], &str); 5] = [
        (
            &["--engine", "ort", "--device", "wgpu"],
            "belongs to --engine burn",
        ),
        (
            &["--provider", "cuda", "--device", "wgpu"],
            "belongs to --engine burn",
        ),
        (
            &["--engine", "burn", "--device", "1"],
            "name it, as wgpu or cuda:1",
        ),
        (
            &["--engine", "burn", "--provider", "cuda"],
            "belongs to --engine ort",
        ),
        (&["--device", "tpu"], "the devices are flex"),
    ];
    let mut wrong = Vec::new();
    for (options, text) in rows {
        let run = run(&[&["infer"], options, &[FACE]].concat());
        if run.code != 2 || !run.stderr.contains(text) {
            wrong.push(format!("{options:?}: {run:?}"));
        }
    }
    all_right(wrong);
    let flex = run(&["infer", "--device", "flex", FACE]).expect(0);
    assert!(
        flex.stderr.contains("on burn cpu (Burn, flex backend)"),
        "{}",
        flex.stderr
    );
}

fn batch(n: usize) -> Batch {
    let mut random = Random::new(7, Purpose::Noise, 0, 0);
    let labels: Vec<u16> = (0..n).map(|i| (i % CLASSES) as u16).collect();
    let targets = labels.iter().flat_map(|label| {
        let label = usize::from(*label);
        std::array::from_fn::<f32, CLASSES, _>(|class| if class == label { 0.9 } else { 0.1 / 6.0 })
    });
    Batch {
        shape: [1, 48, 48],
        images: (0..n * SIDE * SIDE)
            .map(|_| random.uniform() as f32)
            .collect(),
        targets: targets.collect(),
        labels,
    }
}

struct Collect<'a>(Option<&'a GradientsParams>, Vec<Vec<f32>>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.0 {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val()),
        };
        self.1
            .extend(tensor.map(|t| t.into_data().try_into_vec().unwrap()));
    }
}

fn collect(network: &Network, gradients: Option<&GradientsParams>) -> Vec<Vec<f32>> {
    let mut collect = Collect(gradients, Vec::new());
    network.visit(&mut collect);
    collect.1
}

/// The length of the difference as a share of the length of what is expected.
fn apart(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = length(&mut found.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
    difference / length(&mut expected.iter().map(|v| f64::from(*v))).max(1e-6)
}

/// A training step's logits, losses and gradients, and the running statistics and answers after it.
fn pass(
    architecture: Architecture,
    device: &Device,
    batch: &Batch,
    precision: Precision,
) -> Vec<(String, Vec<f32>)> {
    let learning = device.clone().autodiff();
    let network = Module::train(architecture.init(Shape::FER2013, Some(0.0), 3, device));
    let pass = step::gradients(&network, batch.clone().tensors(&learning), precision);
    let mut all = vec![
        ("logits".into(), fer_burn::values(pass.logits).unwrap()),
        ("score".into(), fer_burn::values(pass.score).unwrap()),
    ];
    let gradients = collect(&network, Some(&pass.gradients));
    all.extend(
        gradients
            .into_iter()
            .enumerate()
            .map(|(i, values)| (format!("gradient {i}"), values)),
    );
    let frozen = step::frozen(&network);
    let parameters = collect(&frozen, None);
    all.extend(
        parameters
            .into_iter()
            .enumerate()
            .map(|(i, values)| (format!("parameter {i}"), values)),
    );
    all.push((
        "answers".into(),
        step::logits(&frozen, &batch.images, batch.labels.len(), device).unwrap(),
    ));
    all
}

/// All gradients of a pass as one.
fn joined(pass: &[(String, Vec<f32>)]) -> Vec<f32> {
    pass.iter()
        .filter(|(name, _)| name.starts_with("gradient"))
        .flat_map(|(_, values)| values.clone())
        .collect()
}

/// Narrow types come near to float32 as far as their mantissas reach.
#[test]
fn a_step_in_mixed_precision_learns_what_float32_learns() {
    let batch = batch(8);
    let mut wrong = Vec::new();
    for architecture in Architecture::ALL {
        let expected = pass(architecture, &Device::flex(), &batch, Precision::F32);
        // Of the logits, and of the gradients. Where a value is off by a share of e, so large a
        // share of the ReLUs and maxima of noise go another way, which turns the gradient by the
        // square root of e.
        for (precision, allowed) in [
            (Precision::Bf16, [0.15, 0.6]),
            (Precision::F16, [0.03, 0.25]),
        ] {
            let found = pass(architecture, &Device::flex(), &batch, precision);
            let apart = [
                apart(&found[0].1, &expected[0].1),
                apart(&joined(&found), &joined(&expected)),
            ];
            println!(
                "{architecture} in {precision}: logits {:e}, gradients {:e} apart",
                apart[0], apart[1]
            );
            // Where next to nothing differs, nothing was computed in another type.
            let near = |(apart, allowed): (f64, f64)| apart < allowed && apart > allowed / 1000.0;
            if !apart.into_iter().zip(allowed).all(near) {
                wrong.push(format!(
                    "{architecture} in {precision}: {apart:?} of {allowed:?}"
                ));
            }
        }
    }
    all_right(wrong);
}

#[test]
fn a_precision_that_a_device_lacks_is_refused() {
    let rows = [
        ("tf32", "only CUDA has it"),
        ("f64", "there are f32, tf32, bf16, f16"),
    ];
    let mut wrong = Vec::new();
    for (precision, text) in rows {
        let run = run(&["train", "--data", "nowhere", "--precision", precision]);
        if run.code != 2 || !run.stderr.contains(text) {
            wrong.push(format!("{precision}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn a_run_in_mixed_precision_keeps_float32_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(&["data", "synth", &path("faces"), "--count", "70"]).expect(0);
    let train = |precision: &[&str], out: &str| {
        let args = [
            "train",
            "--preset",
            "tiny",
            "--epochs",
            "1",
            "--batch-size",
            "16",
            "--data",
        ];
        run(&[&args[..], &[&path("faces"), "--out", &path(out)], precision].concat()).expect(0)
    };
    let loss = |out: &str| {
        let rows = fs::read_to_string(folder.path().join(out).join("history.csv")).unwrap();
        let row = rows.lines().find(|line| line.contains("training")).unwrap();
        row.split(',').nth(2).unwrap().parse::<f64>().unwrap()
    };
    train(&[], "f32");
    let said = train(&["--precision", "bf16"], "bf16").stderr;
    assert!(said.contains("on flex, in bf16"), "{said}");
    let (full, narrow) = (loss("f32"), loss("bf16"));
    assert!(
        (full - narrow).abs() < 0.05 && full != narrow,
        "{full} {narrow}"
    );
    // The weights are float32: the run is evaluated and exported as any other, and resumed in
    // another precision it says so.
    run(&[
        "eval",
        "-q",
        "--model",
        &path("bf16"),
        "--data",
        &path("faces"),
    ])
    .expect(0);
    let resumed = run(&["train", "--resume", &path("bf16")]).expect(0).stderr;
    assert!(
        resumed.contains("the run began on flex, in bf16"),
        "{resumed}"
    );
}

/// Three devices, which may as well be one: what they give together is the mean of what each gives.
#[test]
fn devices_share_a_batch() {
    let (batch, device) = (batch(7), Device::flex());
    let learning = device.clone().autodiff();
    let init = || Module::train(Architecture::Tiny.init(Shape::FER2013, Some(0.0), 3, &device));
    let whole = batch.clone().tensors(&learning);
    let network = init();
    let team = Team::new(&device, 2, Precision::F32);
    let (gradients, together) = team
        .gradients(&network, whole.clone(), vec![whole.clone(), whole.clone()])
        .unwrap();
    let found = collect(&network, Some(&gradients));

    let mut expected: Vec<Vec<f32>> = Vec::new();
    let (mut score, mut statistics) = (vec![0.0; 3], Vec::new());
    for range in [0..2, 2..4, 4..7] {
        let network = init();
        let share = range.len() as f32 / 7.0;
        let pass = step::gradients(&network, whole.part(range.clone()), Precision::F32);
        let gradients = collect(&network, Some(&pass.gradients));
        expected.resize(gradients.len(), Vec::new());
        for (sum, gradient) in expected.iter_mut().zip(gradients) {
            sum.resize(gradient.len(), 0.0);
            sum.iter_mut()
                .zip(gradient)
                .for_each(|(sum, g)| *sum += share * g);
        }
        fer_burn::values(pass.score)
            .unwrap()
            .iter()
            .zip(&mut score)
            .for_each(|(part, sum)| *sum += part);
        if range.start == 0 {
            statistics = collect(&step::frozen(&network), None);
        }
    }
    let mut wrong = Vec::new();
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        if apart(found, expected) > 1e-5 {
            wrong.push(format!("gradient {i}: {:e}", apart(found, expected)));
        }
    }
    assert_eq!(found.len(), expected.len());
    assert!(apart(&fer_burn::values(together).unwrap(), &score) < 1e-5);
    assert_eq!(
        collect(&step::frozen(&network), None),
        statistics,
        "the first device's part is what is remembered"
    );
    // More devices than images: the first ones work.
    let one = whole.part(0..1);
    let alone = step::gradients(&init(), one.clone(), Precision::F32);
    let (_, pair) = team
        .gradients(&init(), one.clone(), vec![one.clone(), one])
        .unwrap();
    assert_eq!(
        fer_burn::values(pair).unwrap(),
        fer_burn::values(alone.score).unwrap()
    );
    all_right(wrong);
}

/// On a GPU, or on software that imitates one.
#[cfg(feature = "wgpu")]
mod gpu {
    use std::fs;

    use burn::tensor::Device;
    use fer::device::{DeviceSpec, Opened};
    use fer::model::Architecture;
    use fer::train::Precision;

    use super::common::{self, all_right, run};
    use super::{apart, batch, joined, pass};

    /// wgpu's first device.
    fn wgpu() -> Option<Opened> {
        match "wgpu".parse::<DeviceSpec>().unwrap().open() {
            Ok(opened) => Some(opened),
            Err(e) => common::skip("wgpu", &e.to_string()),
        }
    }

    /// What two passes have in common, each with how far it is apart.
    fn compare(
        found: &[(String, Vec<f32>)],
        expected: &[(String, Vec<f32>)],
    ) -> Vec<(String, f64)> {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        pairs
            .map(|((name, found), (_, expected))| (name.clone(), apart(found, expected)))
            .collect()
    }

    #[test]
    fn a_training_step_gives_what_it_gives_on_the_cpu() {
        let Some(gpu) = wgpu() else { return };
        let mut wrong = Vec::new();
        let mut rows = vec![(Architecture::Tiny, 4), (Architecture::Vgg, 2)];
        // The notebook's takes minutes where a CPU imitates the GPU.
        if !gpu.name.contains("llvmpipe") {
            rows.push((Architecture::Notebook, 2));
        }
        for (architecture, images) in rows {
            let batch = batch(images);
            let of = |device: &Device| pass(architecture, device, &batch, Precision::F32);
            let (found, expected) = (of(&gpu.device), of(&Device::flex()));
            let mut all = compare(&found, &expected);
            all.push((
                "all gradients".into(),
                apart(&joined(&found), &joined(&expected)),
            ));
            for (name, apart) in &all {
                // A maximum or a ReLU whose inputs are equal within rounding sends its gradient one
                // way or the other.
                let allowed = match name.split(' ').next() {
                    Some("gradient") => 5e-2,
                    Some("all") => 3e-2,
                    _ => 1e-4,
                };
                if apart.is_nan() || *apart > allowed {
                    wrong.push(format!("{architecture} {name}: {apart:e} of {allowed:e}"));
                }
            }
            let worst = all.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            println!(
                "{architecture} on {}: at most {:e} apart ({})",
                gpu.name, worst.1, worst.0
            );
        }
        all_right(wrong);
    }

    #[test]
    fn compiled_in_models_answer_what_they_answer_on_the_cpu() {
        if wgpu().is_none() {
            return;
        }
        for model in ["fer", "notebook"] {
            let (reference, candidate) = (format!("{model}@burn"), format!("{model}@burn:wgpu"));
            let args = [
                "parity",
                "--reference",
                &reference,
                "--candidate",
                &candidate,
                "examples/faces/happy.png",
            ];
            println!("{}", run(&args).expect(0).stdout);
        }
    }

    #[test]
    fn an_epoch_and_its_evaluation_are_those_of_the_cpu() {
        if wgpu().is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        run(&["data", "synth", &path("faces"), "--count", "70"]).expect(0);
        let history = |device: &str| {
            let out = path(device);
            let args = [
                "train",
                "-q",
                "--preset",
                "tiny",
                "--epochs",
                "1",
                "--batch-size",
                "16",
                "--data",
            ];
            run(&[
                &args[..],
                &[&path("faces"), "--device", device, "--out", &out],
            ]
            .concat())
            .expect(0);
            let rows = fs::read_to_string(folder.path().join(device).join("history.csv")).unwrap();
            let row = |line: &str| {
                line.split(',')
                    .skip(2)
                    .take(2)
                    .map(|v| v.parse().unwrap())
                    .collect::<Vec<f64>>()
            };
            rows.lines().skip(1).flat_map(row).collect::<Vec<f64>>()
        };
        let (cpu, gpu) = (history("flex"), history("wgpu"));
        // Loss and accuracy of training and validation.
        let near = cpu.iter().zip(&gpu).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(near && cpu.len() == 4 && gpu.len() == 4, "{cpu:?} {gpu:?}");
        // The run that the GPU left, on both.
        let accuracy = |device: &str| {
            let args = [
                "eval",
                "-q",
                "--format",
                "json",
                "--model",
                &path("wgpu"),
                "--data",
                &path("faces"),
            ];
            let text = run(&[&args[..], &["--device", device]].concat())
                .expect(0)
                .stdout;
            let report: serde_json::Value = serde_json::from_str(&text).unwrap();
            (
                report["accuracy"].as_f64().unwrap(),
                report["loss"].as_f64().unwrap(),
            )
        };
        let (cpu, gpu) = (accuracy("flex"), accuracy("wgpu"));
        assert!(
            (cpu.0 - gpu.0).abs() < 1e-9 && (cpu.1 - gpu.1).abs() < 1e-4,
            "{cpu:?} {gpu:?}"
        );
    }

    #[test]
    fn what_fails_on_a_gpu_is_an_error() {
        let Some(gpu) = wgpu() else { return };
        let fails = || -> u8 { panic!("no memory\nfor that") };
        assert_eq!(
            fer::device::computed(&gpu.device, fails),
            Err("no memory".to_string())
        );
        assert_eq!(fer::device::computed(&gpu.device, || 1), Ok(1));
        // On the CPU it is a fault of the program, and stays one.
        let on_cpu = fer::panics::caught(|| fer::device::computed(&Device::flex(), fails));
        assert_eq!(on_cpu, Err("no memory".to_string()));
    }

    #[test]
    fn doctor_lists_devices_that_start() {
        let Some(gpu) = wgpu() else { return };
        let findings: serde_json::Value =
            serde_json::from_str(&run(&["doctor", "--json"]).expect(0).stdout).unwrap();
        let devices = findings["burn_devices"].as_array().unwrap();
        let own = devices.iter().find(|d| d["device"] == "wgpu").unwrap();
        assert!(
            own["error"].is_null() && own["driver"].is_string() && own["kind"].is_string(),
            "{own}"
        );
        assert!(
            gpu.name.contains(own["name"].as_str().unwrap()),
            "{} {own}",
            gpu.name
        );
        let far = run(&["infer", "--device", "wgpu:99", super::FACE]).expect(2);
        assert!(far.error().contains("numbered from 0"), "{}", far.stderr);
    }
}
