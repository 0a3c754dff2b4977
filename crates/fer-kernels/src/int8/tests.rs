//! The kernels against their definition in integers: the same bits with all instructions and any
//! number of threads.

use super::super::conv as floats;
use super::super::team;
use super::*;

/// Whole numbers of 0..`end`, as a function of the place.
fn numbers(len: usize, end: u64, seed: u64) -> impl Iterator<Item = u64> {
    (0..len as u64).map(move |i| {
        let mut x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xff51_afd7);
        x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        (x ^ x >> 33) % end
    })
}

/// The instructions that this processor has. The others are named.
fn supported() -> Vec<Instructions> {
    let (have, lack): (Vec<_>, Vec<_>) = Instructions::ALL
        .into_iter()
        .partition(|i| i.is_supported());
    for lacking in lack {
        eprintln!("SKIPPED: this processor has no {lacking}");
    }
    have
}

/// A convolution's sums, of numbers in place of bytes.
fn sums(conv: &Conv, images: &[u8], kernel: &[i8], bias: &[i32]) -> Vec<i32> {
    let [height, width, channels] = conv.input;
    let [out_height, out_width, outputs] = conv.output();
    let [down, across] = conv.kernel;
    let mut all = Vec::new();
    for image in images.chunks_exact(height * width * channels) {
        for place in 0..out_height * out_width {
            for output in 0..outputs {
                let mut sum = i64::from(bias[output]);
                for tap in 0..down * across {
                    let y = place / out_width * conv.stride[0] + tap / across;
                    let x = place % out_width * conv.stride[1] + tap % across;
                    let (Some(y), Some(x)) = (
                        y.checked_sub(conv.padding[0]),
                        x.checked_sub(conv.padding[1]),
                    ) else {
                        continue;
                    };
                    if y >= height || x >= width {
                        continue;
                    }
                    for channel in 0..channels {
                        let byte = image[(y * width + x) * channels + channel];
                        let weight = kernel[(output * channels + channel) * down * across + tap];
                        sum += (i64::from(byte) - i64::from(conv.zero)) * i64::from(weight);
                    }
                }
                all.push(i32::try_from(sum).unwrap());
            }
        }
    }
    all
}

/// Shapes, the number of images, and the largest weight; 128 also among the weights of 127.
fn shapes() -> Vec<(Conv, usize, i16)> {
    let conv = |input, outputs, kernel, stride, padding, zero| Conv {
        input,
        outputs,
        kernel,
        stride,
        padding,
        zero,
    };
    let same = [1, 1, 1, 1];
    vec![
        // Those of models/fer.onnx, smaller where they are large.
        (conv([48, 48, 1], 32, [3, 3], [1, 1], same, 0), 2, 64),
        (conv([13, 48, 32], 32, [3, 3], [1, 1], same, 0), 1, 64),
        (conv([12, 12, 64], 128, [3, 3], [1, 1], same, 0), 2, 64),
        (conv([6, 6, 128], 192, [3, 3], [1, 1], same, 0), 3, 64),
        (conv([3, 3, 192], 256, [3, 3], [1, 1], same, 0), 7, 127),
        // The odd ones.
        (conv([1, 1, 1], 1, [1, 1], [1, 1], [0; 4], 3), 1, 127),
        (conv([1, 1, 256], 7, [1, 1], [1, 1], [0; 4], 0), 9, 127),
        (conv([1, 1, 37], 70, [1, 1], [1, 1], [0; 4], 128), 5, 127),
        (conv([5, 7, 3], 17, [3, 3], [1, 1], same, 255), 2, 127),
        (conv([9, 8, 6], 24, [3, 3], [2, 2], [0, 0, 1, 1], 7), 2, 127),
        (
            conv([9, 8, 5], 40, [5, 5], [1, 2], [2, 3, 1, 0], 200),
            3,
            127,
        ),
        (conv([4, 9, 12], 65, [1, 3], [1, 1], [0, 1, 0, 1], 1), 1, 64),
        (conv([7, 2, 33], 100, [2, 2], [3, 1], [0; 4], 0), 4, 127),
        (conv([11, 11, 8], 16, [1, 1], [2, 2], [0; 4], 9), 3, 64),
        (conv([2, 2, 4], 5, [3, 3], [1, 1], [0; 4], 0), 2, 127),
    ]
}

#[test]
fn convolutions_are_their_definition_on_all_processors() {
    let mut wrong = Vec::new();
    for (row, (conv, images, largest)) in shapes().into_iter().enumerate() {
        let seed = row as u64;
        let input = images * conv.input.iter().product::<usize>();
        let mut input: Vec<u8> = numbers(input, 256, seed).map(|n| n as u8).collect();
        // Where products of bytes are summed in words, these do not fit.
        let len = input.len();
        input[..len / 2].fill(255);
        let weights = conv.outputs * conv.kernel[0] * conv.kernel[1] * conv.input[2];
        let weight = |n: u64| (n as i16 - largest).max(-128) as i8;
        let mut kernel: Vec<i8> = numbers(weights, 2 * largest as u64 + 1, seed + 100)
            .map(weight)
            .collect();
        kernel[..weights / 4].fill(largest as i8);
        kernel[weights / 4..weights / 2].fill(if largest == 127 { -128 } else { -largest as i8 });
        let bias: Vec<i32> = numbers(conv.outputs, 20_000, seed + 200)
            .map(|n| n as i32 - 10_000)
            .collect();
        let scale: Vec<f32> = numbers(conv.outputs, 1000, seed + 300)
            .map(|n| (n + 1) as f32 * 3e-6)
            .collect();
        let shift: Vec<f32> = numbers(conv.outputs, 1000, seed + 400)
            .map(|n| n as f32 * 1e-3 - 0.5)
            .collect();
        let sums = sums(&conv, &input, &kernel, &bias);
        let scaled = |i: usize| sums[i] as f32 * scale[i % conv.outputs];
        for least in [0, 5] {
            let byte = |i| (scaled(i).round_ties_even() as i32 + 5).clamp(least, 255) as u8;
            let bytes: Vec<u8> = (0..sums.len()).map(byte).collect();
            let number = |i| scaled(i) + shift[i % conv.outputs];
            let relu = least > 0;
            let number = |i| {
                if relu {
                    f32::max(number(i), 0.0)
                } else {
                    number(i)
                }
            };
            let floats: Vec<f32> = (0..sums.len()).map(number).collect();
            for instructions in supported() {
                let prepared = |output| Prepared::new(conv, &kernel, &bias, output, instructions);
                let [to_bytes, to_floats] = [
                    Output::Bytes {
                        scale: scale.clone(),
                        zero: 5,
                        least: least as u8,
                    },
                    Output::Floats {
                        scale: scale.clone(),
                        shift: shift.clone(),
                        relu,
                    },
                ]
                .map(prepared);
                for threads in [Threads::One, Threads::Team] {
                    let mut found = (vec![1; sums.len()], vec![1.0; sums.len()]);
                    team::together(|| {
                        to_bytes.forward(&input, Target::Bytes(&mut found.0), threads);
                        to_floats.forward(&input, Target::Floats(&mut found.1), threads);
                    });
                    if found.0 != bytes || found.1 != floats {
                        wrong.push((conv, instructions, threads, least));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[should_panic(expected = "kernel and stride")]
fn kernels_without_pixels_are_refused() {
    let conv = Conv {
        input: [4, 4, 1],
        outputs: 1,
        kernel: [0, 0],
        stride: [1, 1],
        padding: [0; 4],
        zero: 0,
    };
    let output = Output::Bytes {
        scale: vec![1.0],
        zero: 0,
        least: 0,
    };
    Prepared::new(conv, &[], &[0], output, Instructions::Plain);
}

#[test]
fn numbers_are_rounded_half_to_even_within_the_bytes() {
    let to = Quantization {
        scale: 0.5,
        zero: 10,
    };
    let rows = [
        (0.0, 10),
        (0.25, 10),
        (0.75, 12),
        (-0.25, 10),
        (-0.75, 8),
        (1e9, 255),
        (-1e9, 0),
        (f32::INFINITY, 255),
        (f32::NAN, 0),
        (122.5, 255),
        (-5.0, 0),
    ];
    let wrong: Vec<_> = rows
        .iter()
        .filter(|(x, byte)| to.byte(*x) != *byte)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!([0, 10, 12].map(|byte| to.number(byte)), [-5.0, 0.0, 1.0]);
}

/// A network with each layer, of which `layer` is the number of those with weights.
fn network(instructions: Instructions) -> Network {
    let mut seed = 0;
    let mut next = |len: usize, end: u64| {
        seed += 1;
        numbers(len, end, seed).collect::<Vec<u64>>()
    };
    let to = |scale, zero| Quantization { scale, zero };
    let (mut network, images) = Network::new([12, 9, 2], true, instructions);
    let mut conv = |network: &mut Network, x: Value, outputs: usize, relu: bool, to| {
        let input = network.dims(x);
        let layer = Layer::Conv {
            conv: Conv {
                input,
                outputs,
                kernel: [3, 3],
                stride: [1, 1],
                padding: [1; 4],
                zero: 0,
            },
            kernel: next(outputs * input[2] * 9, 129)
                .iter()
                .map(|n| (*n as i16 - 64) as i8)
                .collect(),
            scales: next(outputs, 90)
                .iter()
                .map(|n| (*n + 10) as f32 * 1e-4)
                .collect(),
            bias: next(outputs, 90).iter().map(|n| *n as i32).collect(),
            shift: vec![0.0; outputs],
            relu,
            to,
        };
        network.add(layer, x)
    };
    let x = network.add(Layer::Quantize(to(1.0 / 255.0, 3)), images);
    let a = conv(&mut network, x, 20, true, Some(to(0.02, 0)));
    let b = conv(&mut network, a, 20, false, Some(to(0.03, 100)));
    let sum = Layer::Add {
        relu: true,
        to: Some(to(0.04, 0)),
    };
    let c = network.add_with(sum, a, b);
    let pool = |kernel, stride| Layer::MaxPool { kernel, stride };
    let c = network.add(pool([2, 2], [2, 2]), c);
    let c = network.add(Layer::Quantize(to(0.03, 20)), c);
    let c = network.add(Layer::Relu, c);
    let d = conv(&mut network, c, 33, false, None);
    let d = network.add(pool([3, 2], [1, 2]), d);
    let e = network.add(Layer::Relu, d);
    let sum = Layer::Add {
        relu: false,
        to: None,
    };
    let e = network.add_with(sum, d, e);
    let [height, width, channels] = network.dims(e);
    let float = Layer::FloatConv {
        conv: floats::Conv {
            batch: 1,
            input: [height, width],
            channels: [channels, 16],
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1; 4],
        },
        kernel: numbers(16 * channels * 9, 1000, 7)
            .map(|n| n as f32 * 1e-4 - 0.05)
            .collect(),
        bias: vec![0.1; 16],
        relu: true,
    };
    let e = network.add(float, e);
    let e = network.add(Layer::Quantize(to(0.01, 0)), e);
    let means = [
        network.add(Layer::Mean(None), e),
        {
            let bytes = network.add(Layer::Mean(Some(to(0.005, 1))), e);
            network.add(Layer::Dequantize, bytes)
        },
        {
            let numbers = network.add(Layer::Dequantize, e);
            network.add(Layer::Mean(None), numbers)
        },
    ];
    let sum = || Layer::Add {
        relu: true,
        to: None,
    };
    let f = network.add_with(sum(), means[0], means[1]);
    let f = network.add_with(sum(), f, means[2]);
    network.add(Layer::Softmax, f);
    network
}

#[test]
fn a_network_computes_the_same_by_all_instructions_and_any_number_of_threads() {
    let images = 21;
    let len = 12 * 9 * 2;
    let input: Vec<f32> = numbers(images * len, 256, 1)
        .map(|n| n as f32 / 255.0)
        .collect();
    let first = network(Instructions::Plain).forward(&input);
    assert_eq!(first.len(), images * 16);
    let rows: Vec<&[f32]> = first.chunks(16).collect();
    assert!(
        rows.iter()
            .all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5)
    );
    assert!(
        rows.windows(2).all(|pair| pair[0] != pair[1]),
        "images differ"
    );
    let mut wrong = Vec::new();
    for instructions in supported() {
        let network = network(instructions);
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for count in [1, 2, 3, 4, 7, 21] {
                let found = pool.install(|| network.forward(&input[..count * len]));
                if found != first[..count * 16] {
                    wrong.push((instructions, threads, count));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(network(Instructions::Plain).forward(&[]).is_empty());
}

#[test]
fn sums_and_means_are_near_those_of_the_numbers() {
    let [a, b, to] =
        [(0.02, 0), (0.035, 120), (0.03, 77)].map(|(scale, zero)| Quantization { scale, zero });
    let [x, y]: [Vec<u8>; 2] =
        [1, 2].map(|seed| numbers(600, 256, seed).map(|n| n as u8).collect());
    let mut sum = vec![0; 600];
    to.add([(&x, a), (&y, b)], 0, &mut sum);
    for i in 0..600 {
        let exact = (a.number(x[i]) + b.number(y[i])).clamp(to.number(0), to.number(255));
        assert!(
            (to.number(sum[i]) - exact).abs() <= to.scale * 0.5001,
            "{i}"
        );
    }
    let mut mean = vec![0.0; 30];
    b.mean(&y, &mut mean);
    let mut bytes = vec![0; 30];
    b.mean_bytes(&y, to, &mut bytes);
    for channel in 0..30 {
        let of = y.iter().skip(channel).step_by(30);
        let exact = of.map(|byte| f64::from(b.number(*byte))).sum::<f64>() / 20.0;
        assert!((f64::from(mean[channel]) - exact).abs() < 1e-5);
        assert!(
            (f64::from(to.number(bytes[channel])) - exact).abs() <= f64::from(to.scale) * 0.5001
        );
    }
}
