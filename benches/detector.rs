//! How long the face detector takes on a picture of 640×640 pixels, compiled in and in ONNX
//! Runtime, on as many threads as there are cores.
//!
//! `cargo bench --bench detector`. The two take turns in one process, in blocks with a pause before
//! each, as ONNX Runtime's threads go on waiting for a while. On a busy machine, the CPU time says
//! more than the time on the clock, on one thread most (on several, ONNX Runtime's waiting counts).
//! `FER_BENCH_THREADS=1` sets the number of threads, `FER_BENCH_BITS=256` (or 0) limits the
//! compiled-in one to AVX2 (or no vectors).

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

use std::time::{Duration, Instant};

use fer::device::DeviceSpec;
use fer::faces::{Detector, DetectorRef, Network};
use fer::kernels::allocator::Reuse;
use fer::kernels::simd;
use fer::ort::{Provider, ProviderOptions};
use fer::runtime::Host;
use fer::{Backend, images};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

const SIDE: usize = 640;
const BLOCKS: usize = 20;
const RUNS: usize = 25;
const PAUSE: Duration = Duration::from_millis(100);

fn main() {
    let number = |name: &str| {
        let value = std::env::var(name).ok();
        value.map(|value| value.parse::<usize>().expect("a number"))
    };
    if let Some(bits) = number("FER_BENCH_BITS") {
        simd::limit(bits);
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = number("FER_BENCH_THREADS").unwrap_or(cores);
    let ort = Backend::Ort {
        provider: Provider::Cpu,
        options: ProviderOptions::default(),
        library: None,
    };
    let contenders: Vec<(&str, Detector)> = [
        ("compiled in", Backend::Burn(DeviceSpec::default())),
        ("ONNX Runtime", ort),
    ]
    .into_iter()
    .filter_map(|(name, backend)| {
        let host = Host::from_env();
        match Detector::load(&DetectorRef::Builtin, &backend, Some(threads), &host) {
            Ok(detector) => Some((name, detector)),
            Err(e) => {
                eprintln!("skipped: {name}: {e}");
                None
            }
        }
    })
    .collect();
    let image = picture();
    println!("{threads} threads, {}", simd::instructions());
    let mut times = vec![Vec::new(); contenders.len()];
    let mut on_cpu = vec![Vec::new(); contenders.len()];
    let mut ratios = Vec::new();
    for block in 0..=BLOCKS {
        let mut medians = Vec::new();
        let all = times.iter_mut().zip(&mut on_cpu);
        for ((_, detector), (times, on_cpu)) in contenders.iter().zip(all) {
            std::thread::sleep(PAUSE);
            let before = cpu_time();
            let mut own: Vec<f64> = (0..RUNS).map(|_| once(detector, &image)).collect();
            if let (Some(before), Some(after)) = (before, cpu_time()) {
                on_cpu.push((after - before) / RUNS as f64);
            }
            medians.push(median(&mut own));
            // The first block warms up.
            if block > 0 {
                times.extend(own);
            }
        }
        if let [compiled, ort] = medians[..] {
            ratios.push(compiled / ort);
        }
    }
    let all = times.iter_mut().zip(&mut on_cpu);
    for ((name, _), (times, on_cpu)) in contenders.iter().zip(all) {
        let median = median(times);
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        println!(
            "{name:14} median {median:.2} ms, least {:.2}, 10 % {:.2}, 90 % {:.2}",
            at(0),
            at(10),
            at(90)
        );
        if !on_cpu.is_empty() {
            let (middle, least) = (self::median(on_cpu), on_cpu[0]);
            println!(
                "{name:14} CPU time of a pass, of blocks: median {middle:.2} ms, least {least:.2}"
            );
        }
    }
    if ratios.len() > 1 {
        ratios.remove(0);
        let middle = median(&mut ratios);
        println!(
            "compiled in ÷ ONNX Runtime, medians of a block: {middle:.2} ({:.2}–{:.2})",
            ratios[0],
            ratios[ratios.len() - 1]
        );
    }
}

/// Milliseconds of one pass.
fn once(detector: &Detector, image: &[f32]) -> f64 {
    let image = image.to_vec();
    let began = Instant::now();
    let anchors = detector.anchors(image, [SIDE; 2]).expect("it runs");
    let took = began.elapsed().as_secs_f64() * 1e3;
    std::hint::black_box(anchors);
    took
}

/// The CPU time of all threads in milliseconds, on Linux; with the image's copies.
fn cpu_time() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let nanoseconds: f64 = threads.flatten().filter_map(|entry| of(entry.path())).sum();
    Some(nanoseconds / 1e6)
}

/// The middle one; they are sorted then.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The example's photograph, as the detector takes it.
fn picture() -> Vec<f32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/astronaut.jpg");
    let pixels = images::read(path.as_ref()).expect("the example is a picture");
    let mut planes = vec![0.0; 3 * SIDE * SIDE];
    for (plane, values) in planes.chunks_exact_mut(SIDE * SIDE).enumerate() {
        for y in 0..pixels.height.min(SIDE) {
            for x in 0..pixels.width.min(SIDE) {
                let value = pixels.data[(y * pixels.width + x) * 3 + 2 - plane];
                values[y * SIDE + x] = f32::from(value);
            }
        }
    }
    planes
}
