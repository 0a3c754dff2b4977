//! The convolutions of the networks, forward and backward, and the passes between them, at batch
//! 64: multiply-adds a second of the convolution as it is written, so that Winograd's method may
//! show more than the processor has.
//!
//! `cargo bench --bench kernels`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fer::kernels::allocator::Reuse;
use fer::kernels::conv::Conv;
use fer::kernels::norm::{Affine, Epilogue, Norm};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

/// Side, channels in and out, kernel, stride; padded by half a kernel.
const LAYERS: [(usize, usize, usize, usize, usize); 16] = [
    // notebook
    (46, 32, 64, 3, 1),
    (23, 64, 128, 5, 1),
    (11, 128, 512, 3, 1),
    (5, 512, 512, 3, 1),
    // vgg
    (48, 1, 32, 3, 1),
    (48, 32, 32, 3, 1),
    (24, 32, 64, 3, 1),
    (24, 64, 64, 3, 1),
    (12, 64, 128, 3, 1),
    (12, 128, 128, 3, 1),
    (6, 128, 192, 3, 1),
    (6, 192, 192, 3, 1),
    (3, 192, 256, 3, 1),
    (3, 256, 256, 3, 1),
    // tiny
    (48, 16, 32, 3, 2),
    (24, 32, 32, 1, 2),
];

fn main() {
    divan::main();
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn conv((side, inputs, outputs, kernel, stride): (usize, usize, usize, usize, usize)) -> Conv {
    Conv {
        batch: 64,
        input: [side; 2],
        channels: [inputs, outputs],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 4],
    }
}

fn macs(conv: &Conv) -> ItemsCount {
    let [inputs, _] = conv.channels;
    ItemsCount::new(conv.batch * conv.output_len() * inputs * conv.kernel[0] * conv.kernel[1])
}

#[divan::bench(args = 0..LAYERS.len(), sample_count = 20, sample_size = 1)]
fn forward(bencher: Bencher, layer: usize) {
    let conv = conv(LAYERS[layer]);
    let (input, kernel) = (
        numbers(conv.batch * conv.input_len()),
        numbers(conv.kernel_len()),
    );
    bencher
        .counter(macs(&conv))
        .bench_local(|| black_box(conv.forward(&input, &kernel, None, false)));
}

/// Twice the forward pass's multiply-adds.
#[divan::bench(args = 0..LAYERS.len(), sample_count = 20, sample_size = 1)]
fn backward(bencher: Bencher, layer: usize) {
    let conv = conv(LAYERS[layer]);
    let (input, kernel) = (
        numbers(conv.batch * conv.input_len()),
        numbers(conv.kernel_len()),
    );
    let gradient = numbers(conv.batch * conv.output_len());
    let first = conv.channels[0] == 1;
    bencher
        .counter(macs(&conv))
        .bench_local(|| black_box(conv.backward(&input, &kernel, &gradient, None, !first)));
}

#[divan::bench(
    args = [
        (48, 32, Epilogue::Relu),
        (24, 64, Epilogue::Relu),
        (12, 128, Epilogue::Nothing),
        (46, 64, Epilogue::MaxPool),
    ],
    sample_count = 20,
    sample_size = 1
)]
fn normalization(bencher: Bencher, (side, channels, then): (usize, usize, Epilogue)) {
    let norm = Norm {
        batch: 64,
        side: [side; 2],
        channels,
        then,
    };
    let input = numbers(64 * side * side * channels);
    let gradient = numbers(64 * norm.output().iter().product::<usize>() * channels);
    let ones = vec![1.0; channels];
    bencher
        .counter(ItemsCount::new(input.len()))
        .bench_local(|| {
            let statistics = norm.statistics(&input);
            let affine = Affine::new(&statistics, &ones, &ones, 1e-3);
            let normed = norm.forward(&input, &affine);
            black_box(norm.backward(
                &input,
                &ones,
                &statistics,
                &affine,
                1e-3,
                &normed.largest,
                &gradient,
            ))
        });
}
