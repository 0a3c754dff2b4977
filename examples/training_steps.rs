//! Takes training steps of a network on batches from a file, as many as it is told, and says how long they took: fer's side
//! of `scripts/bench/train_peers.py`, where the protocol is described.
//!
//! `cargo run --release --example training_steps -- notebook batches.bin 64 [VECTOR BITS]`

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use fer::kernels::memory::Reuse;
use fer::kernels::simd;
use fer::kernels::threads::{self, FlushToZero};
use fer::model::{Architecture, CLASSES, SIDE};
use fer::train::batch::{Batch, SCALE};
use fer::train::step::{self, Score};
use fer::train::{Config, optimizer};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, file, size, bits @ ..] = &arguments[..] else {
        bail!("usage: training_steps ARCHITECTURE FILE BATCH [VECTOR BITS]")
    };
    if let [bits] = bits {
        simd::limit(bits.parse()?);
    }
    let architecture: Architecture = architecture.parse().map_err(anyhow::Error::msg)?;
    let batches = batches(&std::fs::read(file).with_context(|| file.clone())?, size.parse()?);
    threads::start(None);
    let _flushed = FlushToZero::new();
    let device = Device::flex();
    let learning = device.clone().autodiff();
    let mut network = architecture.init(None, 0, &device).train();
    // Adam at 1e-4, as the notebook has it.
    let mut optimizer = optimizer::build(&Config::preset("notebook")?.optimizer, &network);
    let mut done = 0;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let steps: usize = line?.trim().parse()?;
        let began = Instant::now();
        let mut loss = 0.0;
        for _ in 0..steps {
            let batch = &batches[done % batches.len()];
            done += 1;
            let pass = step::gradients(&network, batch.clone().tensors(&learning));
            loss = Score::read(pass.score).map_err(anyhow::Error::msg)?.loss() / batch.labels.len() as f64;
            network = step::apply(network, &mut optimizer, pass.gradients, 1e-4, 0.0);
        }
        println!("{} {loss}", began.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The batches of a file: for each image its label, a byte, and its pixels, a byte each.
fn batches(bytes: &[u8], size: usize) -> Vec<Batch> {
    let image = 1 + SIDE * SIDE;
    let batch = |bytes: &[u8]| {
        let labels: Vec<u8> = bytes.chunks_exact(image).map(|i| i[0]).collect();
        Batch {
            images: bytes.chunks_exact(image).flat_map(|i| &i[1..]).map(|p| f32::from(*p) * SCALE).collect(),
            targets: labels.iter().flat_map(|l| (0..CLASSES).map(|c| f32::from(c == usize::from(*l)))).collect(),
            labels,
        }
    };
    bytes.chunks_exact(size * image).map(batch).collect()
}
