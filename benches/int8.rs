//! How long a model of 8-bit integers takes: each convolution alone on one thread, and the whole
//! network on one thread and on all of them, by each of the processor's instructions and in ONNX
//! Runtime.
//!
//! `cargo bench --bench int8`. The model is `models/fer.int8.onnx`, or the QDQ file that
//! `FER_BENCH_MODEL` names. Contenders take turns.

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fer::compiled;
use fer::kernels::allocator::Reuse;
use fer::kernels::int8::{Conv, Instructions, Output, Prepared, Target, Threads};
use fer::onnx::qdq::{self, Operation};
use fer::onnx::{OnnxModel, parse_proto};
use fer::ort::{Provider, ProviderOptions};
use fer::runtime::Host;
use fer::{Backend, LoadOptions, ModelRef, load};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

/// Images of a batch.
const BATCH: usize = 64;
/// Images of a convolution alone.
const IMAGES: usize = 8;
const BLOCKS: usize = 9;
const BLOCK: Duration = Duration::from_millis(300);
/// ONNX Runtime's threads go on waiting for a while.
const PAUSE: Duration = Duration::from_millis(50);

fn main() {
    let named = std::env::var_os("FER_BENCH_MODEL").map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models/fer.int8.onnx"))
    });
    if !path.is_file() {
        eprintln!("skipped: there is no {}", path.display());
        return;
    }
    let file = OnnxModel::read(&path).expect("an ONNX file");
    let model = parse_proto(&file.bytes, "the model").expect("an ONNX file");
    let network = qdq::read(&model).expect("a QDQ file");
    let supported = Instructions::ALL.into_iter().filter(|i| i.is_supported());
    let supported: Vec<Instructions> = supported.collect();
    convolutions(&network, &supported);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut counts = vec![1, cores];
    counts.dedup();
    for threads in counts {
        for batch in [1, BATCH] {
            whole(&path, &file.bytes, &supported, threads, batch);
        }
    }
}

/// Each convolution of bytes, on one thread.
fn convolutions(network: &qdq::Network, supported: &[Instructions]) {
    let mut lines = Vec::new();
    for layer in &network.layers {
        let Operation::Conv {
            conv,
            kernel,
            bias,
            scales,
            ..
        } = &layer.operation
        else {
            continue;
        };
        let conv = Conv {
            input: conv.input,
            outputs: conv.outputs,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            zero: 0,
        };
        let [height, width, channels] = conv.input;
        let mut line = format!("{height}×{width}×{channels} → {}", conv.outputs);
        let input: Vec<u8> = (0..IMAGES * height * width * channels)
            .map(|i| i as u8)
            .collect();
        let mut output = vec![0; IMAGES * conv.output().iter().product::<usize>()];
        for instructions in supported {
            let then = Output::Bytes {
                scale: scales.clone(),
                zero: 0,
                least: 0,
            };
            let prepared = Prepared::new(conv, kernel, bias, then, *instructions);
            let mut once = || prepared.forward(&input, Target::Bytes(&mut output), Threads::One);
            let seconds = median((0..BLOCKS).map(|_| block(&mut once)).collect());
            let products = (IMAGES * conv.products()) as f64;
            let rate = products / seconds / 1e9;
            line += &format!(
                ", {instructions} {:.0} µs {rate:.0} G/s",
                seconds * 1e6 / IMAGES as f64
            );
        }
        lines.push(line);
    }
    println!("one image's convolution on one thread, and products a second:");
    lines.iter().for_each(|line| println!("  {line}"));
}

/// The whole network.
fn whole(path: &Path, onnx: &Bytes, supported: &[Instructions], threads: usize, batch: usize) {
    let options = LoadOptions {
        backend: Backend::Ort {
            provider: Provider::Cpu,
            options: ProviderOptions::default(),
            library: None,
        },
        threads: Some(threads),
        ..LoadOptions::default()
    };
    let ort = load(&ModelRef::Onnx(path.into()), &options, &Host::from_env());
    let mut ort = ort
        .map_err(|e| eprintln!("skipped: ONNX Runtime: {e}"))
        .ok();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool");
    let networks: Vec<_> = supported
        .iter()
        .map(|i| (*i, compiled::network(onnx, *i).expect("a QDQ file")))
        .collect();
    let len = networks[0].1.input().iter().product::<usize>();
    let input: Vec<f32> = (0..batch * len)
        .map(|i| (i * 7 % 256) as f32 / 255.0)
        .collect();
    let mut times = vec![Vec::new(); networks.len() + 1];
    for _ in 0..BLOCKS {
        for ((_, network), times) in networks.iter().zip(&mut times) {
            let mut once = || drop(std::hint::black_box(network.forward(&input)));
            times.push(pool.install(|| block(&mut once)));
        }
        if let (Some(ort), Some(times)) = (&mut ort, times.last_mut()) {
            let mut once = || drop(std::hint::black_box(ort.outputs(&input).expect("it runs")));
            times.push(block(&mut once));
            std::thread::sleep(PAUSE);
        }
    }
    println!("{threads} threads, {batch} images:");
    let names = networks
        .iter()
        .map(|(i, _)| i.to_string())
        .chain(["ONNX Runtime".into()]);
    for (name, times) in names.zip(times).filter(|(_, times)| !times.is_empty()) {
        let seconds = median(times);
        let (rate, each) = (batch as f64 / seconds, seconds * 1e3);
        println!("  {name:14} {each:8.3} ms, {rate:6.0} images/s");
    }
}

/// The mean time of a run, of as many as fit into a block.
fn block(once: &mut dyn FnMut()) -> f64 {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < BLOCK {
        once();
        count += 1;
    }
    began.elapsed().as_secs_f64() / f64::from(count)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
