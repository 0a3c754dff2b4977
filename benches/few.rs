//! How long a model takes on few images at a time, as they come from a camera or to a service,
//! compiled in and in ONNX Runtime, on as many threads as there are cores.
//!
//! `cargo bench --bench few`. `FER_BENCH_THREADS=1` sets the number of threads,
//! `FER_BENCH_BITS=256` (or 0) limits the compiled-in one to AVX2 (or no vectors).

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

mod turns;

use std::hint::black_box;

use fer::kernels::allocator::Reuse;
use fer::kernels::simd;
use fer::runtime::Host;
use fer::{LoadError, LoadOptions, ModelRef, load};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

const MODELS: [&str; 3] = ["fer", "notebook", "fer.int8"];
const BATCHES: [usize; 4] = [1, 2, 4, 8];
const BLOCKS: usize = 10;
const RUNS: usize = 100;

fn main() {
    if let Some(bits) = turns::number("FER_BENCH_BITS") {
        simd::limit(bits);
    }
    let threads = turns::threads();
    println!("{threads} threads, {}", simd::instructions());
    for name in MODELS {
        for batch in BATCHES {
            println!("{name}, {batch} at a time:");
            turns::turns(contenders(name, batch, threads), BLOCKS, RUNS);
        }
    }
}

fn contenders(model: &str, batch: usize, threads: usize) -> Vec<turns::Contender<'static>> {
    turns::engines(|backend| {
        let options = LoadOptions {
            backend,
            threads: Some(threads),
            ..LoadOptions::default()
        };
        let mut classifier = load(&ModelRef::find(model)?, &options, &Host::from_env())?;
        let len = batch * classifier.spec().image_len();
        let input: Vec<f32> = (0..len).map(|i| (i * 7 % 256) as f32 / 255.0).collect();
        Ok::<_, LoadError>(Box::new(move || {
            black_box(classifier.classify(&input).expect("the model answers"));
        }))
    })
}
