//! Images a second of training: a step of each architecture (forward, backward, optimizer) at batch
//! 64, and the data pipeline alone, with the notebook's and the vgg recipe's augmentation, and with
//! that for crops of detectors beside it.
//!
//! `cargo bench --bench training`.

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

use burn::module::Module;
use burn::tensor::Device;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fer::augment::Augmentation;
use fer::data::{Dataset, synth};
use fer::kernels::allocator::Reuse;
use fer::kernels::threads::{self, FlushToZero};
use fer::model::{Architecture, Network};
use fer::train::batch::Batches;
use fer::train::{Config, Precision, optimizer, step};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

const BATCH: usize = 64;

fn main() {
    divan::main();
}

fn faces() -> Dataset {
    let n = 4 * BATCH as u64;
    Dataset {
        width: synth::SIDE,
        height: synth::SIDE,
        channels: 1,
        pixels: (0..n)
            .flat_map(|i| synth::face((i % 7) as usize, 0, i))
            .collect(),
        labels: (0..n).map(|i| (i % 7) as u16).collect(),
        names: (0..n).map(|i| i.to_string()).collect(),
        ..Dataset::default()
    }
}

fn batches<'a>(dataset: &'a Dataset, config: &'a Config) -> Batches<'a> {
    Batches {
        dataset,
        augment: &config.augment,
        label_smoothing: config.loss.label_smoothing,
        votes: &[],
        votes_share: 0.0,
        class_weights: &[1.0; 7],
        size: BATCH,
        seed: 0,
    }
}

/// The vgg recipe with docs/training.md's augmentation for crops of detectors, and with all of it
/// for each image.
fn crops(probability: f32) -> Config {
    let mut config = Config::preset("vgg").expect("a preset");
    let (scale, gamma, equalize) = ([0.9, 1.25], 0.3, probability / 6.0);
    let (downscale, blur, jpeg) = (probability, probability, probability);
    config.augment = Augmentation {
        scale,
        gamma,
        equalize,
        downscale,
        blur,
        jpeg,
        ..config.augment
    };
    config
}

#[divan::bench(args = ["notebook", "vgg", "crops", "crops, all of it"], sample_count = 50)]
fn data_pipeline(bencher: Bencher, recipe: &str) {
    let config = match recipe {
        "crops" => crops(0.3),
        "crops, all of it" => crops(1.0),
        preset => Config::preset(preset).expect("a preset"),
    };
    let dataset = faces();
    let batches = batches(&dataset, &config);
    let order = batches.order(0);
    let mut number = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        number = (number + 1) % batches.count();
        black_box(batches.batch(&order, 0, number))
    });
}

/// The kernels of the notebook's two widest layers, once as they are drawn and once as L2 leaves
/// those of dead channels: too small for normal numbers.
#[divan::bench(args = [false, true], sample_count = 10, sample_size = 1)]
fn training_step_with_subnormal_weights(bencher: Bencher, subnormal: bool) {
    let mut network =
        Architecture::Notebook.init(fer::model::Shape::FER2013, None, 0, &Device::flex());
    if let (Network::Notebook(notebook), true) = (&mut network, subnormal) {
        for conv in [&mut notebook.conv4, &mut notebook.conv5] {
            conv.weight = conv.weight.clone().map(|w| w.mul_scalar(1e-38));
        }
    }
    steps(
        bencher,
        &Config::preset("notebook").expect("a preset"),
        network,
    );
}

#[divan::bench(
    args = [Architecture::Notebook, Architecture::Vgg, Architecture::Tiny],
    sample_count = 10,
    sample_size = 1,
)]
fn training_step(bencher: Bencher, architecture: Architecture) {
    let config = Config::preset(&architecture.to_string()).expect("a preset");
    steps(
        bencher,
        &config,
        architecture.init(fer::model::Shape::FER2013, None, 0, &Device::flex()),
    );
}

fn steps(bencher: Bencher, config: &Config, network: Network) {
    threads::start(None);
    let _flushed = FlushToZero::new();
    let dataset = faces();
    let batches = batches(&dataset, config);
    let order = batches.order(0);
    let learning = Device::flex().autodiff();
    let network = network.train();
    let mut optimizer = optimizer::build(&config.optimizer, &network);
    let mut network = Some(network);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let batch = batches.batch(&order, 0, 0);
        // There is one at the beginning of each step, as each puts one back.
        let Some(before) = network.take() else { return };
        let pass = step::gradients(&before, batch.tensors(&learning), Precision::F32);
        network = Some(step::apply(
            before,
            &mut optimizer,
            pass.gradients,
            1e-4,
            config.optimizer.clip_norm,
        ));
    });
}
