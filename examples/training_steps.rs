//! Takes training steps of a network on batches from a file, as many as the arguments say, and
//! prints how long they took: fer's side of `scripts/bench/train_peers.py`, where the protocol is
//! described.
//!
//! `cargo run --release --example training_steps -- notebook batches.bin 64 [bits=256]
//! [device=cuda] [precision=bf16]`

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use fer::device::DeviceSpec;
use fer::kernels::allocator::Reuse;
use fer::kernels::simd;
use fer::kernels::threads::{self, FlushToZero};
use fer::model::{Architecture, Shape};
use fer::train::batch::{Batch, SCALE, Tensors};
use fer::train::step::{self, Score};
use fer::train::{Config, Precision, optimizer};

/// The width and height of FER-2013's images.
const SIDE: usize = 48;

/// FER-2013's classes.
const CLASSES: usize = 7;

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, file, size, options @ ..] = &arguments[..] else {
        bail!(
            "usage: training_steps ARCHITECTURE FILE BATCH [bits=BITS] [device=NAME] \
             [precision=TYPE]"
        )
    };
    let (mut choice, mut precision) = (DeviceSpec::default(), None);
    for option in options {
        match option.split_once('=') {
            Some(("bits", bits)) => simd::limit(bits.parse()?),
            Some(("device", name)) => choice = name.parse().map_err(anyhow::Error::msg)?,
            Some(("precision", name)) => {
                precision = Some(name.parse().map_err(anyhow::Error::msg)?)
            }
            _ => bail!("'{option}' is not an option"),
        }
    }
    let architecture: Architecture = architecture.parse().map_err(anyhow::Error::msg)?;
    let batches = batches(
        &std::fs::read(file).with_context(|| file.clone())?,
        size.parse()?,
    );
    threads::start(None);
    let _flushed = FlushToZero::new();
    let opened = choice.open()?;
    let precision = Precision::on(precision, &opened).map_err(anyhow::Error::msg)?;
    let learning = opened.device.clone().autodiff();
    let batches: Vec<Tensors> = batches
        .into_iter()
        .map(|batch| batch.tensors(&learning))
        .collect();
    let mut network = architecture
        .init(Shape::FER2013, None, 0, &opened.device)
        .train();
    // Adam at 1e-4, as the notebook has it.
    let mut optimizer = optimizer::build(&Config::preset("notebook")?.optimizer, &network);
    let mut done = 0;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let steps: usize = line?.trim().parse()?;
        let began = Instant::now();
        let mut last = None;
        for _ in 0..steps {
            let batch = &batches[done % batches.len()];
            done += 1;
            let pass = step::gradients(&network, batch.clone(), precision);
            last = Some((pass.score, batch.images.dims()[0]));
            network = step::apply(network, &mut optimizer, pass.gradients, 1e-4, 0.0);
        }
        let (score, images) = last.context("no step was asked for")?;
        let loss = Score::read(score).map_err(anyhow::Error::msg)?.loss() / images as f64;
        // The last step's new weights too.
        opened.device.sync().map_err(|e| anyhow::anyhow!("{e}"))?;
        println!("{} {loss}", began.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The batches of a file: for each image its label, a byte, and its pixels, a byte each.
fn batches(bytes: &[u8], size: usize) -> Vec<Batch> {
    let image = 1 + SIDE * SIDE;
    let batch = |bytes: &[u8]| {
        let labels: Vec<u16> = bytes.chunks_exact(image).map(|i| i[0].into()).collect();
        Batch {
            shape: [1, 48, 48],
            images: bytes
                .chunks_exact(image)
                .flat_map(|i| &i[1..])
                .map(|p| f32::from(*p) * SCALE)
                .collect(),
            targets: labels
                .iter()
                .flat_map(|l| (0..CLASSES).map(|c| f32::from(c == usize::from(*l))))
                .collect(),
            labels,
        }
    };
    bytes.chunks_exact(size * image).map(batch).collect()
}
