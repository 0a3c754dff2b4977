//! The kernels against sums written as they are defined, in double precision, over odd shapes; and
//! against Burn's own operations with Burn's own backward passes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, DropoutConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use fer::kernels::conv::{Algorithm, Conv};
use fer::kernels::norm::{Affine, Epilogue, Norm};
use fer::kernels::threads::{self, FlushToZero};
use fer::kernels::{elementwise, nn, simd};
use fer::model::Architecture;
use fer::train::batch::Batch;
use fer::train::{Config, Precision, optimizer, step};

/// The variable in which the test of other processors' instructions asks this program, run again,
/// for a limit.
const LIMIT: &str = "FER_TEST_VECTOR_BITS";

/// Every test begins with this.
fn begin() {
    if let Ok(bits) = std::env::var(LIMIT) {
        simd::limit(bits.parse().unwrap());
        match &bits[..] {
            "0" => assert_eq!((simd::instructions(), simd::panel()), ("no vectors", 2)),
            _ => assert!(simd::instructions() != "AVX-512" && simd::panel() <= 16),
        }
    }
}

/// The other tests, with the instructions of processors that have less than this one.
#[test]
fn other_processors_instructions_give_the_same() {
    begin();
    if std::env::var_os(LIMIT).is_some() {
        return;
    }
    for bits in ["256", "0"] {
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .env(LIMIT, bits)
            .output()
            .unwrap();
        assert!(
            again.status.success(),
            "{bits} bits: {}",
            String::from_utf8_lossy(&again.stdout)
        );
    }
}

/// Numbers in -1..1, as a function of the place.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let number = |i| {
        let mut x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
    };
    (0..len).map(number).collect()
}

/// The largest difference, as a share of the largest expected value.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f64::from(*f) - e).abs());
    differences.fold(
        0.0,
        |m, d| if d.is_nan() { f64::INFINITY } else { d.max(m) },
    ) / largest
}

/// Runs `check` on each row and fails with all rows that fail.
fn table<T: std::fmt::Debug>(rows: impl IntoIterator<Item = T>, check: impl Fn(&T)) {
    let failed: Vec<_> = rows
        .into_iter()
        .filter_map(|row| {
            let failed = catch_unwind(AssertUnwindSafe(|| check(&row))).err()?;
            let said = failed.downcast_ref::<String>().cloned().unwrap_or_default();
            Some(format!("{row:?}: {said}"))
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} rows:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Output and gradients of a convolution, by its definition.
struct Naive {
    output: Vec<f64>,
    input: Vec<f64>,
    kernel: Vec<f64>,
    bias: Vec<f64>,
}

/// `gradient`: of the output. Where `relu`, negative outputs are zero and their gradients too.
fn naive(
    conv: &Conv,
    input: &[f32],
    kernel: &[f32],
    bias: &[f32],
    gradient: &[f32],
    relu: bool,
) -> Naive {
    let Conv {
        batch,
        input: [height, width],
        channels: [inputs, outputs],
        kernel: size,
        stride,
        padding,
    } = *conv;
    let [rows, columns] = conv.output();
    let mut naive = Naive {
        output: vec![0.0; batch * rows * columns * outputs],
        input: vec![0.0; input.len()],
        kernel: vec![0.0; kernel.len()],
        bias: vec![0.0; outputs],
    };
    for (n, y, x, o) in (0..batch * rows * columns * outputs).map(|i| {
        (
            i / (rows * columns * outputs),
            i / (columns * outputs) % rows,
            i / outputs % columns,
            i % outputs,
        )
    }) {
        let at = ((n * rows + y) * columns + x) * outputs + o;
        let terms = || {
            (0..size[0] * size[1] * inputs).filter_map(|k| {
                let (ky, kx, i) = (k / (size[1] * inputs), k / inputs % size[1], k % inputs);
                let from_y = (y * stride[0] + ky)
                    .checked_sub(padding[0])
                    .filter(|y| *y < height)?;
                let from_x = (x * stride[1] + kx)
                    .checked_sub(padding[1])
                    .filter(|x| *x < width)?;
                let from = ((n * height + from_y) * width + from_x) * inputs + i;
                Some((from, ((o * inputs + i) * size[0] + ky) * size[1] + kx))
            })
        };
        let sum = f64::from(bias[o])
            + terms()
                .map(|(i, k)| f64::from(input[i]) * f64::from(kernel[k]))
                .sum::<f64>();
        naive.output[at] = if relu { sum.max(0.0) } else { sum };
        let g = if relu && sum <= 0.0 {
            0.0
        } else {
            f64::from(gradient[at])
        };
        naive.bias[o] += g;
        for (i, k) in terms() {
            naive.input[i] += g * f64::from(kernel[k]);
            naive.kernel[k] += g * f64::from(input[i]);
        }
    }
    naive
}

/// Batch, height and width, channels in and out, kernel, stride, padding.
type Row = (
    usize,
    [usize; 2],
    [usize; 2],
    [usize; 2],
    [usize; 2],
    [usize; 4],
);

fn conv_of((batch, input, channels, kernel, stride, padding): Row) -> Conv {
    Conv {
        batch,
        input,
        channels,
        kernel,
        stride,
        padding,
    }
}

#[test]
fn convolutions_and_their_gradients_are_those_of_the_definition() {
    begin();
    let rows: [Row; 24] = [
        // What the networks have, smaller.
        (2, [12, 12], [1, 32], [3, 3], [1, 1], [0; 4]),
        (2, [11, 11], [32, 64], [3, 3], [1, 1], [1; 4]),
        (2, [11, 11], [32, 48], [5, 5], [1, 1], [2; 4]),
        (3, [12, 12], [32, 32], [3, 3], [2, 2], [1; 4]),
        (3, [12, 12], [32, 64], [1, 1], [2, 2], [0; 4]),
        // One image, one pixel, one channel.
        (1, [1, 1], [1, 1], [1, 1], [1, 1], [0; 4]),
        (1, [1, 1], [16, 16], [3, 3], [1, 1], [1; 4]),
        (1, [5, 5], [16, 16], [5, 5], [1, 1], [0; 4]),
        (1, [7, 9], [3, 7], [3, 3], [1, 1], [1; 4]),
        (2, [6, 5], [3, 16], [3, 3], [2, 1], [0, 1, 1, 0]),
        // Few channels, and more lines than a task has.
        (2, [31, 27], [3, 32], [7, 7], [2, 2], [3, 3, 2, 3]),
        (1, [26, 9], [2, 64], [3, 2], [1, 3], [0, 2, 1, 0]),
        // Sides that the tiles do not divide, padding that differs by side.
        (2, [7, 10], [16, 32], [3, 3], [1, 1], [0; 4]),
        (2, [9, 6], [32, 16], [3, 3], [1, 1], [0, 1, 1, 0]),
        (2, [6, 9], [16, 16], [3, 3], [1, 1], [2; 4]),
        (2, [9, 7], [16, 16], [5, 5], [1, 1], [1, 2, 0, 2]),
        // Channels that are not whole panels or vectors.
        (2, [8, 8], [24, 40], [3, 3], [1, 1], [1; 4]),
        (2, [8, 8], [17, 33], [3, 3], [1, 1], [1; 4]),
        (2, [5, 5], [5, 3], [2, 4], [1, 2], [1, 0, 0, 3]),
        (2, [8, 8], [48, 80], [5, 5], [1, 1], [2; 4]),
        // Sums longer than a panel of the matrix product is deep.
        (1, [3, 3], [528, 32], [3, 3], [1, 1], [1; 4]),
        (1, [2, 2], [32, 528], [1, 1], [1, 1], [0; 4]),
        // More images than are worked on at a time.
        (70, [24, 24], [16, 16], [3, 3], [1, 1], [1; 4]),
        (5, [30, 30], [64, 16], [3, 3], [3, 3], [1; 4]),
    ];
    table(rows, |row| {
        let conv = conv_of(*row);
        let (input, kernel) = (
            numbers(conv.batch * conv.input_len(), 1),
            numbers(conv.kernel_len(), 2),
        );
        let bias = numbers(conv.channels[1], 3);
        let gradient = numbers(conv.batch * conv.output_len(), 4);
        for relu in [false, true] {
            let naive = naive(&conv, &input, &kernel, &bias, &gradient, relu);
            for way in Algorithm::ALL {
                let Some(output) = conv.forward_by(way, &input, &kernel, Some(&bias), relu) else {
                    continue;
                };
                // The gradient passes where the definition's output is above zero: near zero,
                // rounding decides.
                let answer: Vec<f32> = naive.output.iter().map(|v| *v as f32).collect();
                let answer = relu.then_some(&answer[..]);
                let gradients = conv
                    .backward_by(way, &input, &kernel, &gradient, answer, true)
                    .unwrap();
                let pairs = [
                    ("output", output, &naive.output),
                    (
                        "input's gradient",
                        gradients.input.unwrap_or_default(),
                        &naive.input,
                    ),
                    ("kernel's gradient", gradients.kernel, &naive.kernel),
                    ("bias's gradient", gradients.bias, &naive.bias),
                ];
                for (what, found, expected) in pairs {
                    let difference = difference(&found, expected);
                    assert!(
                        difference < 2e-5,
                        "{way:?}, relu {relu}: {what} differs by {difference:e}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_kernel_larger_than_the_image_gives_nothing() {
    begin();
    let conv = conv_of((2, [3, 3], [16, 16], [5, 5], [1, 1], [0; 4]));
    let (input, kernel) = (
        numbers(conv.batch * conv.input_len(), 1),
        numbers(conv.kernel_len(), 2),
    );
    assert_eq!(conv.output(), [0, 0]);
    assert!(conv.forward(&input, &kernel, None, false).is_empty());
    let gradients = conv.backward(&input, &kernel, &[], None, true);
    assert!(
        gradients
            .kernel
            .iter()
            .chain(&gradients.input.unwrap())
            .all(|g| *g == 0.0)
    );
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    begin();
    let rows: [Row; 4] = [
        (9, [23, 23], [64, 128], [5, 5], [1, 1], [2; 4]),
        (9, [11, 11], [64, 64], [3, 3], [1, 1], [1; 4]),
        (9, [24, 24], [16, 32], [3, 3], [2, 2], [1; 4]),
        (9, [24, 24], [1, 32], [3, 3], [1, 1], [1; 4]),
    ];
    let with = |threads: usize, body: &(dyn Fn() -> Vec<Vec<f32>> + Sync)| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(body)
    };
    for row in rows {
        let conv = conv_of(row);
        let (input, kernel) = (
            numbers(conv.batch * conv.input_len(), 1),
            numbers(conv.kernel_len(), 2),
        );
        let gradient = numbers(conv.batch * conv.output_len(), 4);
        let all = || {
            let gradients = conv.backward(&input, &kernel, &gradient, None, true);
            let norm = Norm {
                batch: conv.batch,
                side: conv.input,
                channels: conv.channels[0],
                then: Epilogue::MaxPool,
            };
            let statistics = norm.statistics(&input);
            vec![
                conv.forward(&input, &kernel, None, true),
                gradients.input.unwrap(),
                gradients.kernel,
                gradients.bias,
                statistics.mean,
                statistics.variance,
            ]
        };
        let one = with(1, &all);
        for threads in [2, 3, 7] {
            assert!(with(threads, &all) == one, "{row:?} with {threads} threads");
        }
    }
}

/// Batch normalization by its definition, and its gradients, in double precision.
fn naive_norm(
    norm: &Norm,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f64,
    gradient: &[f32],
) -> [Vec<f64>; 4] {
    let Norm {
        batch,
        side: [height, width],
        channels,
        then,
    } = *norm;
    let pixels = batch * height * width;
    let at = |pixel: usize, c: usize| pixel * channels + c;
    let [rows, columns] = norm.output();
    let mut output = vec![0.0; batch * rows * columns * channels];
    let (mut by_input, mut by_gamma, mut by_beta) =
        (vec![0.0; x.len()], vec![0.0; channels], vec![0.0; channels]);
    for c in 0..channels {
        let value = |pixel: usize| f64::from(x[at(pixel, c)]);
        let mean = (0..pixels).map(value).sum::<f64>() / pixels as f64;
        let variance = (0..pixels).map(|p| (value(p) - mean).powi(2)).sum::<f64>() / pixels as f64;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        let normal = |pixel: usize| (value(pixel) - mean) * inverse;
        let y = |pixel: usize| normal(pixel) * f64::from(gamma[c]) + f64::from(beta[c]);
        // The gradient of y: of a maximum it is all the first largest's.
        let mut by_y = vec![0.0; pixels];
        for out in 0..batch * rows * columns {
            let g = f64::from(gradient[at(out, c)]);
            let from = match then {
                Epilogue::MaxPool => {
                    let (n, row, column) =
                        (out / (rows * columns), out / columns % rows, out % columns);
                    let corner = (n * height + 2 * row) * width + 2 * column;
                    let four = [corner, corner + 1, corner + width, corner + width + 1];
                    four.into_iter()
                        .fold(corner, |best, p| if y(p) > y(best) { p } else { best })
                }
                _ => out,
            };
            let on = then != Epilogue::Relu || y(from) > 0.0;
            output[at(out, c)] = if on { y(from) } else { 0.0 };
            by_y[from] += if on { g } else { 0.0 };
        }
        by_beta[c] = by_y.iter().sum();
        by_gamma[c] = (0..pixels).map(|p| by_y[p] * normal(p)).sum();
        for p in 0..pixels {
            let centered =
                by_y[p] - by_beta[c] / pixels as f64 - normal(p) * by_gamma[c] / pixels as f64;
            by_input[at(p, c)] = f64::from(gamma[c]) * inverse * centered;
        }
    }
    [output, by_input, by_gamma, by_beta]
}

#[test]
fn normalizations_and_their_gradients_are_those_of_the_definition() {
    begin();
    let shapes = [
        (1, [1, 3], 1),
        (2, [4, 4], 3),
        (3, [5, 7], 16),
        (2, [11, 11], 40),
        (64, [6, 6], 33),
        (2, [2, 2], 512),
        (1, [40, 40], 8),
    ];
    let rows = shapes.into_iter().flat_map(|shape| {
        [Epilogue::Nothing, Epilogue::Relu, Epilogue::MaxPool].map(|then| (shape, then))
    });
    table(rows, |&((batch, side, channels), then)| {
        let norm = Norm {
            batch,
            side,
            channels,
            then,
        };
        let len = batch * side[0] * side[1] * channels;
        // A mean far from zero costs a naive sum of squares its digits.
        let x: Vec<f32> = numbers(len, 1).iter().map(|v| v * 0.5 + 3.0).collect();
        let gamma: Vec<f32> = numbers(channels, 2).iter().map(|v| v * 2.0).collect();
        let beta = numbers(channels, 3);
        let gradient = numbers(
            batch * norm.output().iter().product::<usize>() * channels,
            4,
        );
        let epsilon = 1e-3;
        let [output, by_input, by_gamma, by_beta] =
            naive_norm(&norm, &x, &gamma, &beta, epsilon, &gradient);
        let statistics = norm.statistics(&x);
        let affine = Affine::new(&statistics, &gamma, &beta, epsilon);
        let found = norm.forward(&x, &affine);
        let gradients = norm.backward(
            &x,
            &gamma,
            &statistics,
            &affine,
            epsilon,
            &found.largest,
            &gradient,
        );
        let pairs = [
            ("output", found.output, output),
            ("input's gradient", gradients.input, by_input),
            ("gamma's gradient", gradients.gamma, by_gamma),
            ("beta's gradient", gradients.beta, by_beta),
        ];
        for (what, found, expected) in pairs {
            let difference = difference(&found, &expected);
            assert!(difference < 2e-5, "{what} differs by {difference:e}");
        }
    });
}

fn tensor<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(numbers(shape.iter().product(), seed), shape),
        device,
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    values(tensor).into_iter().map(f64::from).collect()
}

/// A convolution, a normalization and a maximum, once by the kernels and once by Burn alone:
/// outputs, gradients and running statistics.
#[test]
fn layers_answer_as_burns_own() {
    begin();
    fn block(conv: &Conv2d, norm: &BatchNorm, x: Tensor<4>, then: Epilogue) -> Tensor<4> {
        let y = norm.forward(relu(conv.forward(x)));
        match then {
            Epilogue::Nothing => y,
            Epilogue::Relu => relu(y),
            Epilogue::MaxPool => MaxPool2dConfig::new([2, 2])
                .with_strides([2, 2])
                .init()
                .forward(y),
        }
    }
    let rows = [
        (
            [2, 16, 9, 9],
            32,
            3,
            1,
            PaddingConfig2d::Explicit(1, 1, 1, 1),
            Epilogue::MaxPool,
        ),
        (
            [2, 16, 8, 10],
            16,
            5,
            1,
            PaddingConfig2d::Explicit(2, 2, 2, 2),
            Epilogue::Relu,
        ),
        (
            [3, 3, 8, 8],
            16,
            3,
            2,
            PaddingConfig2d::Valid,
            Epilogue::Nothing,
        ),
        // What the kernels leave to Burn: Burn's `same`.
        (
            [2, 16, 6, 6],
            16,
            3,
            1,
            PaddingConfig2d::Same,
            Epilogue::Relu,
        ),
    ];
    table(rows, |(shape, outputs, kernel, stride, padding, then)| {
        let plain = Device::flex();
        let device = plain.clone().autodiff();
        let conv = Conv2dConfig::new([shape[1], *outputs], [*kernel; 2])
            .with_stride([*stride; 2])
            .with_padding(padding.clone())
            .init(&device);
        let [ours, burns] = [(); 2].map(|()| {
            BatchNormConfig::new(*outputs)
                .with_epsilon(1e-3)
                .init(&device)
        });
        let x = tensor(*shape, 1, &device).require_grad();
        let y = nn::batch_norm(&ours, nn::conv2d(&conv, x.clone(), true), *then);
        let expected = block(&conv, &burns, x.clone(), *then);
        let weight = tensor(y.dims(), 2, &device);
        let gradients = (y.clone() * weight.clone()).sum().backward();
        let wanted = (expected.clone() * weight).sum().backward();
        let bias = conv.bias.as_ref().unwrap().val();
        let pairs = [
            ("output", values(y.inner()), doubles(expected.inner())),
            (
                "input's gradient",
                values(x.grad(&gradients).unwrap()),
                doubles(x.grad(&wanted).unwrap()),
            ),
            (
                "kernel's gradient",
                values(conv.weight.grad(&gradients).unwrap()),
                doubles(conv.weight.grad(&wanted).unwrap()),
            ),
            (
                "bias's gradient",
                values(bias.grad(&gradients).unwrap()),
                doubles(bias.grad(&wanted).unwrap()),
            ),
            (
                "gamma's gradient",
                values(ours.gamma.grad(&gradients).unwrap()),
                doubles(burns.gamma.grad(&wanted).unwrap()),
            ),
            (
                "beta's gradient",
                values(ours.beta.grad(&gradients).unwrap()),
                doubles(burns.beta.grad(&wanted).unwrap()),
            ),
            (
                "running mean",
                values(ours.running_mean.value_sync().inner()),
                doubles(burns.running_mean.value_sync().inner()),
            ),
            (
                "running variance",
                values(ours.running_var.value_sync().inner()),
                doubles(burns.running_var.value_sync().inner()),
            ),
        ];
        for (what, found, expected) in pairs {
            let difference = difference(&found, &expected);
            assert!(difference < 1e-4, "{what} differs by {difference:e}");
        }
        // And without autodiff, by the running statistics.
        let (conv, ours, burns) = (conv.valid(), ours.valid(), burns.valid());
        let x = tensor(*shape, 5, &plain);
        let found = values(nn::batch_norm(
            &ours,
            nn::conv2d(&conv, x.clone(), true),
            *then,
        ));
        let difference = difference(&found, &doubles(block(&conv, &burns, x, *then)));
        assert!(difference < 1e-4, "evaluation differs by {difference:e}");
    });
}

#[test]
fn a_frozen_normalization_lets_gradients_through() {
    begin();
    let device = Device::flex().autodiff();
    let norm = BatchNormConfig::new(16).init(&device).freeze();
    let x = tensor([2, 16, 4, 4], 1, &device).require_grad();
    let y = nn::batch_norm(&norm, x.clone(), Epilogue::Relu);
    let expected = relu(norm.forward(x.clone()));
    let (gradients, wanted) = (
        y.clone().sum().backward(),
        expected.clone().sum().backward(),
    );
    assert_eq!(values(y.inner()), values(expected.inner()));
    assert_eq!(
        values(x.grad(&gradients).unwrap()),
        values(x.grad(&wanted).unwrap())
    );
}

#[test]
fn what_is_no_number_stays_none() {
    begin();
    let rows: [Row; 3] = [
        (1, [8, 8], [16, 16], [3, 3], [1, 1], [1; 4]),
        (1, [8, 8], [16, 16], [5, 5], [1, 1], [2; 4]),
        (1, [8, 8], [1, 16], [3, 3], [2, 2], [1; 4]),
    ];
    table(rows, |row| {
        let conv = conv_of(*row);
        let (input, mut kernel) = (numbers(conv.input_len(), 1), numbers(conv.kernel_len(), 2));
        kernel[0] = f32::NAN;
        let found = conv.forward(&input, &kernel, None, true);
        assert!(
            found
                .chunks_exact(conv.channels[1])
                .all(|pixel| pixel[0].is_nan()),
            "{found:?}"
        );
    });
    for then in [Epilogue::Nothing, Epilogue::Relu, Epilogue::MaxPool] {
        let norm = Norm {
            batch: 1,
            side: [2, 2],
            channels: 16,
            then,
        };
        let mut input = numbers(64, 3);
        input[16] = f32::NAN;
        let affine = Affine {
            scale: vec![1.0; 16],
            shift: vec![0.0; 16],
        };
        let found = norm.forward(&input, &affine).output;
        assert_eq!(
            found.iter().filter(|v| v.is_nan()).count(),
            1,
            "{then:?}: {found:?}"
        );
    }
    assert!(elementwise::add_relu(&[f32::NAN], &[1.0])[0].is_nan());
}

#[test]
fn dropout_leaves_out_its_share_and_its_gradient_the_same_places() {
    begin();
    let device = Device::flex().autodiff();
    device.seed(5);
    let layer = DropoutConfig::new(0.25).init();
    let x = Tensor::<4>::ones([4, 32, 20, 20], &device).require_grad();
    let y = nn::dropout(&layer, x.clone());
    let gradient = values(x.grad(&y.clone().sum().backward()).unwrap());
    let y = values(y.inner());
    assert_eq!(
        y, gradient,
        "of a sum, the gradient is what each value was multiplied with"
    );
    let kept = y.iter().filter(|v| **v == 1.0 / 0.75).count();
    assert_eq!(kept + y.iter().filter(|v| **v == 0.0).count(), y.len());
    // Five standard deviations of 51,200 draws are 0.0096.
    assert!(
        (kept as f64 / y.len() as f64 - 0.75).abs() < 0.0096,
        "{kept} of {}",
        y.len()
    );
    // Neighbours are independent: of 12,800 left out, a quarter's right neighbours are too.
    let pairs = y.windows(2).filter(|w| w[0] == 0.0 && w[1] == 0.0).count();
    assert!(
        (pairs as f64 / y.len() as f64 - 0.0625).abs() < 0.008,
        "{pairs}"
    );
    // Another step draws others, the same seed the same.
    let mask = || values(nn::dropout(&layer, Tensor::<4>::ones([4, 32, 20, 20], &device)).inner());
    let second = mask();
    device.seed(5);
    assert_ne!(second, y);
    assert_eq!(
        mask().iter().filter(|v| **v == 0.0).count(),
        y.iter().filter(|v| **v == 0.0).count()
    );
    // Evaluation leaves out nothing.
    let plain = Device::flex();
    let x = tensor([1, 16, 4, 4], 1, &plain);
    assert_eq!(values(nn::dropout(&layer, x.clone())), values(x));
}

/// Numbers too small for normal ones count as zero in every part of a training step, so that none
/// takes the time that they cost: if the first layer's kernels are such numbers, the step is the
/// same, bit for bit, as if they were zeros.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn a_step_takes_subnormal_weights_for_zeros() {
    /// Makes the first kernels 0 to 4 times a number.
    struct First(Option<f32>);
    impl ModuleMapper for First {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(number) = self.0.take_if(|_| D == 4) else {
                return param;
            };
            param.map(|w| {
                let small = (0..w.shape().num_elements())
                    .map(|i| number * (i % 5) as f32)
                    .collect();
                Tensor::from_data(TensorData::new(small, w.shape()), &w.device())
            })
        }
    }
    begin();
    threads::start(None);
    let _flushed = FlushToZero::new();
    let (plain, learning) = (Device::flex(), Device::flex().autodiff());
    let batch = Batch {
        shape: [1, 48, 48],
        images: numbers(6 * 48 * 48, 1).iter().map(|x| x.abs()).collect(),
        targets: (0..42).map(|i| f32::from(i % 8 == 0)).collect(),
        labels: (0..6).collect(),
    };
    table(
        [
            Architecture::Notebook,
            Architecture::Vgg,
            Architecture::Tiny,
        ],
        |architecture| {
            let step = |small: f32| {
                let network = architecture
                    .init(fer::model::Shape::FER2013, Some(0.0), 3, &plain)
                    .map(&mut First(Some(small)))
                    .train();
                let mut optimizer =
                    optimizer::build(&Config::preset("notebook").unwrap().optimizer, &network);
                let pass =
                    step::gradients(&network, batch.clone().tensors(&learning), Precision::F32);
                let logits = fer_burn::values(pass.logits).unwrap();
                let after = step::frozen(&step::apply(
                    network,
                    &mut optimizer,
                    pass.gradients,
                    1e-3,
                    0.0,
                ));
                (
                    logits,
                    step::logits(&after, &batch.images, 6, &plain).unwrap(),
                )
            };
            let (zeros, subnormal) = (step(0.0), step(2e-39f32));
            assert!(zeros.0.iter().chain(&zeros.1).all(|v| v.is_finite()));
            assert!(zeros == subnormal, "{zeros:?}\n{subnormal:?}");
        },
    );
}

#[test]
fn sums_through_relu_pass_gradients_where_they_are_above_zero() {
    begin();
    let device = Device::flex().autodiff();
    let [a, b] = [1, 2].map(|seed| tensor([2, 5, 3, 4], seed, &device).require_grad());
    let weight = tensor([2, 5, 3, 4], 3, &device);
    let y = nn::add_relu(a.clone(), b.clone());
    let expected = relu(a.clone() + b.clone());
    let gradients = (y.clone() * weight.clone()).sum().backward();
    let wanted = (expected.clone() * weight).sum().backward();
    assert_eq!(values(y.inner()), values(expected.inner()));
    for x in [a, b] {
        assert_eq!(
            values(x.grad(&gradients).unwrap()),
            values(x.grad(&wanted).unwrap())
        );
    }
}

#[test]
fn value_by_value_loops_take_every_length() {
    begin();
    for len in [0, 1, 7, 16, 33, 40_000] {
        let (a, b) = (numbers(len, 1), numbers(len, 2));
        let sums: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b).max(0.0)).collect();
        assert_eq!(elementwise::add_relu(&a, &b), sums, "{len}");
        let step = elementwise::Adam {
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 0.1,
            rate: 0.5,
            coupled_decay: 0.25,
            keep: 0.75,
        };
        let (mut w, mut m, mut v) = (a.clone(), numbers(len, 3), vec![0.5; len]);
        step.step(&mut w, &b, &mut m, &mut v);
        for i in 0..len {
            let g = f64::from(b[i]) + f64::from(a[i]) * 0.25;
            let first = f64::from(numbers(len, 3)[i]) * 0.9 + g * 0.1;
            let second = 0.5 * 0.99 + g * g * 0.01;
            let weight = f64::from(a[i]) * 0.75 - first / (second.sqrt() + 0.1) * 0.5;
            assert!(
                (f64::from(w[i]) - weight).abs() < 1e-6,
                "{len}: {i}: {} is not {weight}",
                w[i]
            );
            if len > 100 && i > 50 {
                break;
            }
        }
    }
}
