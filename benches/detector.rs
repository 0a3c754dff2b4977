//! How long the face detector takes on a picture of 640×640 pixels, compiled in and in ONNX
//! Runtime, on as many threads as there are cores.
//!
//! `cargo bench --bench detector`. `FER_BENCH_THREADS=1` sets the number of threads,
//! `FER_BENCH_BITS=256` (or 0) limits the compiled-in one to AVX2 (or no vectors).

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

mod turns;

use std::hint::black_box;

use fer::faces::{Detector, DetectorRef, Network};
use fer::kernels::allocator::Reuse;
use fer::kernels::simd;
use fer::runtime::Host;
use fer::{LoadError, images};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

const SIDE: usize = 640;
const BLOCKS: usize = 20;
const RUNS: usize = 25;

fn main() {
    if let Some(bits) = turns::number("FER_BENCH_BITS") {
        simd::limit(bits);
    }
    let threads = turns::threads();
    let image = picture();
    let contenders = turns::engines(|backend| {
        let host = Host::from_env();
        let detector = Detector::load(&DetectorRef::Builtin, &backend, Some(threads), &host)?;
        let image = &image;
        Ok::<_, LoadError>(Box::new(move || {
            let anchors = detector.anchors(image.clone(), [SIDE; 2]);
            black_box(anchors.expect("it runs"));
        }))
    });
    println!("{threads} threads, {}", simd::instructions());
    turns::turns(contenders, BLOCKS, RUNS);
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
