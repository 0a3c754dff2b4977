//! What Burn computes on: what the build or the machine lacks is refused with the reason and the next step, and every device
//! answers and learns as the CPU does.

mod common;

use common::{all_right, fer, run};
use fer::device::Backend;

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
    for (name, feature, built_in) in GPUS.into_iter().chain([("ndarray", "ndarray", cfg!(feature = "ndarray"))]) {
        assert_eq!(Backend::ALL.iter().find(|b| b.to_string() == name).map(|b| b.is_built_in()), Some(built_in));
        if built_in {
            continue;
        }
        let target = format!("fer@burn:{name}");
        let parity = ["parity", "--reference", &target, "--candidate", "fer@burn", FACE];
        for command in [&["infer", "--device", name, FACE][..], &["train", "--device", name], &parity] {
            let run = run(command);
            let told = run.stderr.contains(&format!("cargo build --release --features {feature}"));
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
    for (name, _, _) in GPUS.into_iter().filter(|(name, _, built_in)| *built_in && *name != "wgpu") {
        let mut command = fer();
        // Neither Vulkan's drivers nor CUDA's devices are found with these.
        command
            .env("VK_DRIVER_FILES", "/no/driver")
            .env("VK_ICD_FILENAMES", "/no/driver")
            .env("CUDA_VISIBLE_DEVICES", "");
        command.args(["infer", "--device", name, FACE]);
        let run = common::Run::of(command.output().unwrap());
        let one_line = run.stderr.lines().count() == 1;
        if run.code != 2 || !run.stderr.contains("it takes") || !one_line || !run.stdout.is_empty() {
            wrong.push(format!("--device {name}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn engines_and_their_devices_are_not_mixed_up() {
    let rows: [(&[&str], &str); 5] = [
        (&["--engine", "ort", "--device", "wgpu"], "belongs to --engine burn"),
        (&["--provider", "cuda", "--device", "wgpu"], "belongs to --engine burn"),
        (&["--engine", "burn", "--device", "1"], "name it, as wgpu or cuda:1"),
        (&["--engine", "burn", "--provider", "cuda"], "belongs to --engine ort"),
        (&["--device", "tpu"], "there are flex"),
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
    assert!(flex.stderr.contains("on burn cpu (Burn, flex backend)"), "{}", flex.stderr);
}

/// On a GPU, or on software that imitates one.
#[cfg(feature = "wgpu")]
mod gpu {
    use std::fs;

    use burn::module::{ModuleVisitor, Param};
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Tensor};
    use fer::device::{Choice, Opened};
    use fer::model::{Architecture, CLASSES, Network, SIDE};
    use fer::random::{Purpose, Random};
    use fer::train::batch::Batch;
    use fer::train::step;

    use super::common::{self, all_right, run};

    /// wgpu's first device.
    fn wgpu() -> Option<Opened> {
        match "wgpu".parse::<Choice>().unwrap().open() {
            Ok(opened) => Some(opened),
            Err(e) => common::skip("wgpu", &e.to_string()),
        }
    }

    fn batch(n: usize) -> Batch {
        let mut random = Random::new(7, Purpose::Noise, 0, 0);
        let labels: Vec<u8> = (0..n).map(|i| (i % CLASSES) as u8).collect();
        let targets = labels.iter().flat_map(|label| {
            let label = usize::from(*label);
            std::array::from_fn::<f32, CLASSES, _>(|class| if class == label { 0.9 } else { 0.1 / 6.0 })
        });
        Batch {
            images: (0..n * SIDE * SIDE).map(|_| random.uniform() as f32).collect(),
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
            self.1.extend(tensor.map(|t| t.into_data().try_into_vec().unwrap()));
        }
    }

    fn collect(network: &Network, gradients: Option<&GradientsParams>) -> Vec<Vec<f32>> {
        let mut collect = Collect(gradients, Vec::new());
        burn::module::Module::visit(network, &mut collect);
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
    fn pass(architecture: Architecture, device: &Device, batch: &Batch) -> Vec<(String, Vec<f32>)> {
        let learning = device.clone().autodiff();
        let network = burn::module::Module::train(architecture.init(Some(0.0), 3, device));
        let pass = step::gradients(&network, batch.clone().tensors(&learning));
        let mut all = vec![
            ("logits".into(), step::values(pass.logits).unwrap()),
            ("score".into(), step::values(pass.score).unwrap()),
        ];
        let gradients = collect(&network, Some(&pass.gradients));
        all.extend(gradients.into_iter().enumerate().map(|(i, values)| (format!("gradient {i}"), values)));
        let frozen = step::frozen(&network);
        let parameters = collect(&frozen, None);
        all.extend(parameters.into_iter().enumerate().map(|(i, values)| (format!("parameter {i}"), values)));
        all.push(("answers".into(), step::logits(&frozen, &batch.images, batch.labels.len(), device).unwrap()));
        all
    }

    #[test]
    fn a_training_step_gives_what_it_gives_on_the_cpu() {
        let Some(gpu) = wgpu() else { return };
        let batch = batch(4);
        let mut wrong = Vec::new();
        for architecture in Architecture::ALL {
            let (found, expected) =
                (pass(architecture, &gpu.device, &batch), pass(architecture, &Device::flex(), &batch));
            assert_eq!(found.len(), expected.len());
            let mut worst = (0.0, String::new());
            for ((name, found), (_, expected)) in found.iter().zip(&expected) {
                // A maximum or a ReLU whose inputs are equal within rounding sends its gradient one way or the other.
                let allowed = if name.starts_with("gradient") { 2e-2 } else { 1e-4 };
                let apart = apart(found, expected);
                if apart.is_nan() || apart > allowed {
                    wrong.push(format!("{architecture} {name}: {apart:e} of {allowed:e}"));
                }
                if apart > worst.0 {
                    worst = (apart, name.clone());
                }
            }
            println!("{architecture} on {}: at most {:e} apart ({})", gpu.name, worst.0, worst.1);
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
            let args = ["parity", "--reference", &reference, "--candidate", &candidate, "examples/faces"];
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
        run(&["data", "synth", &path("faces"), "--count", "140"]).expect(0);
        let history = |device: &str| {
            let out = path(device);
            let args = ["train", "-q", "--preset", "tiny", "--epochs", "1", "--batch-size", "16", "--data"];
            run(&[&args[..], &[&path("faces"), "--device", device, "--out", &out]].concat()).expect(0);
            let rows = fs::read_to_string(folder.path().join(device).join("history.csv")).unwrap();
            let row = |line: &str| line.split(',').skip(2).take(2).map(|v| v.parse().unwrap()).collect::<Vec<f64>>();
            rows.lines().skip(1).flat_map(row).collect::<Vec<f64>>()
        };
        let (cpu, gpu) = (history("flex"), history("wgpu"));
        // Loss and accuracy of training and validation.
        let near = cpu.iter().zip(&gpu).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(near && cpu.len() == 4 && gpu.len() == 4, "{cpu:?} {gpu:?}");
        // The run that the GPU left, on both.
        let accuracy = |device: &str| {
            let args = ["eval", "-q", "--format", "json", "--model", &path("wgpu"), "--data", &path("faces")];
            let text = run(&[&args[..], &["--device", device]].concat()).expect(0).stdout;
            let report: serde_json::Value = serde_json::from_str(&text).unwrap();
            (report["accuracy"].as_f64().unwrap(), report["loss"].as_f64().unwrap())
        };
        let (cpu, gpu) = (accuracy("flex"), accuracy("wgpu"));
        assert!((cpu.0 - gpu.0).abs() < 1e-9 && (cpu.1 - gpu.1).abs() < 1e-4, "{cpu:?} {gpu:?}");
    }

    #[test]
    fn doctor_lists_devices_that_start() {
        let Some(gpu) = wgpu() else { return };
        let findings: serde_json::Value = serde_json::from_str(&run(&["doctor", "--json"]).expect(0).stdout).unwrap();
        let devices = findings["burn_devices"].as_array().unwrap();
        let own = devices.iter().find(|d| d["device"] == "wgpu").unwrap();
        assert!(own["error"].is_null() && own["driver"].is_string() && own["kind"].is_string(), "{own}");
        assert!(gpu.name.contains(own["name"].as_str().unwrap()), "{} {own}", gpu.name);
        let far = run(&["infer", "--device", "wgpu:99", super::FACE]).expect(2);
        assert!(far.error().contains("numbered from 0"), "{}", far.stderr);
    }
}
