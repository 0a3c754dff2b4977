//! Chains against their definition, layer by layer in `f64`.

use super::*;
use crate::simd;

/// The variable that limits the vectors of a test's process, see [`simd::limit`].
const BITS: &str = "FER_CHAIN_TEST_BITS";

fn limited() {
    if let Ok(bits) = std::env::var(BITS) {
        simd::limit(bits.parse().unwrap());
    }
}

/// An image, `[height, width, channels]`.
#[derive(Clone)]
struct Image {
    size: [usize; 2],
    channels: usize,
    values: Vec<f64>,
}

impl Image {
    fn at(&self, y: isize, x: isize, channel: usize) -> f64 {
        let [height, width] = self.size.map(|side| side as isize);
        if !(0..height).contains(&y) || !(0..width).contains(&x) {
            return 0.0;
        }
        self.values[(y * width + x) as usize * self.channels + channel]
    }

    fn make(size: [usize; 2], channels: usize, value: impl Fn([isize; 2], usize) -> f64) -> Self {
        let mut values = Vec::new();
        for y in 0..size[0] as isize {
            for x in 0..size[1] as isize {
                values.extend((0..channels).map(|channel| value([y, x], channel)));
            }
        }
        Self {
            size,
            channels,
            values,
        }
    }

    fn pooled(&self) -> Self {
        let size = self.size.map(|side| side / 2);
        Self::make(size, self.channels, |[y, x], c| {
            let four = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let four = four.map(|(i, j)| self.at(2 * y + i, 2 * x + j, c));
            four.into_iter().fold(f64::MIN, f64::max)
        })
    }

    fn link(&self, link: &Drawn) -> Self {
        let (inputs, outputs) = (self.channels, link.outputs);
        let between = Self::make(self.size, outputs, |[y, x], o| {
            let products =
                (0..inputs).map(|i| self.at(y, x, i) * f64::from(link.pointwise[o * inputs + i]));
            products.sum::<f64>() + f64::from(link.bias[o])
        });
        let output = Self::make(self.size, outputs, |[y, x], c| {
            let tap = |t: isize| {
                let value = between.at(y + t / 3 - 1, x + t % 3 - 1, c);
                value * f64::from(link.depthwise[c * 9 + t as usize])
            };
            let sum = (0..9).map(tap).sum::<f64>() + f64::from(link.bias[c]) / 2.0;
            if link.relu { sum.max(0.0) } else { sum }
        });
        if link.pool { output.pooled() } else { output }
    }
}

/// A link's weights, as ONNX has them.
struct Drawn {
    outputs: usize,
    pointwise: Vec<f32>,
    depthwise: Vec<f32>,
    bias: Vec<f32>,
    relu: bool,
    pool: bool,
}

impl Drawn {
    fn new(random: &mut impl FnMut() -> f32, inputs: usize, spec: (usize, bool, bool)) -> Self {
        let (outputs, relu, pool) = spec;
        let mut some = |count: usize| (0..count).map(|_| random()).collect();
        Self {
            outputs,
            pointwise: some(inputs * outputs),
            depthwise: some(9 * outputs),
            bias: some(outputs),
            relu,
            pool,
        }
    }

    fn link(&self, inputs: usize) -> Link {
        let halves: Vec<f32> = self.bias.iter().map(|bias| bias / 2.0).collect();
        Link::new(
            [inputs, self.outputs],
            (&self.pointwise, Some(&self.bias)),
            (&self.depthwise, Some(&halves)),
            self.relu,
            self.pool,
        )
    }
}

fn generator() -> impl FnMut() -> f32 {
    let mut state = 1u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    }
}

/// Sources by name.
const SOURCES: [&str; 4] = ["image", "pool", "sum", "planes"];

/// The largest difference from the definition, relative to the largest value.
fn difference(
    name: &str,
    batch: usize,
    size: [usize; 2],
    inputs: usize,
    specs: &[(usize, bool, bool)],
) -> f64 {
    let mut random = generator();
    let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| random()).collect() };
    let pixels = batch * size[0] * size[1];
    let channels = if name == "planes" { 3 } else { inputs };
    let (images, halves) = (values(pixels * channels), values(pixels * channels / 4));
    let (kernel, shift) = (values(27 * inputs), values(inputs));
    let first = First::new(inputs, (&kernel, Some(&shift)));
    let mut drawn = Vec::new();
    let mut channels = inputs;
    for spec in specs {
        drawn.push(Drawn::new(&mut random, channels, *spec));
        channels = spec.0;
    }
    let mut channels = inputs;
    let mut links = Vec::new();
    for link in &drawn {
        links.push(link.link(channels));
        channels = link.outputs;
    }
    let source = match name {
        "image" => Source::Image(&images),
        "pool" => Source::Pool(&images),
        "sum" => Source::Sum(&images, &halves),
        _ => Source::Planes(&images, &first),
    };
    let chain = Chain {
        batch,
        size,
        source,
        links: &links,
    };
    let found = chain.forward();
    let mut expected = Vec::new();
    for n in 0..batch {
        let pixels = size[0] * size[1];
        let image = |from: &[f32], size: [usize; 2]| {
            let len = size[0] * size[1] * inputs;
            Image {
                size,
                channels: inputs,
                values: from[n * len..][..len]
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect(),
            }
        };
        let mut y = match name {
            "image" => image(&images, size),
            "pool" => image(&images, size).pooled(),
            "sum" => {
                let (a, b) = (
                    image(&images, size),
                    image(&halves, size.map(|side| side / 2)),
                );
                Image::make(size, inputs, |[y, x], c| {
                    a.at(y, x, c) + b.at(y / 2, x / 2, c)
                })
            }
            _ => {
                let planes = &images[n * 3 * pixels..][..3 * pixels];
                let planes = Image::make(size, 3, |[y, x], c| {
                    f64::from(planes[c * pixels + y as usize * size[1] + x as usize])
                });
                Image::make(size.map(|side| side.div_ceil(2)), inputs, |[y, x], o| {
                    let tap = |t: usize| {
                        let (c, i, j) = (t / 9, (t / 3 % 3) as isize, (t % 3) as isize);
                        let value = planes.at(2 * y + i - 1, 2 * x + j - 1, c);
                        value * f64::from(kernel[o * 27 + t])
                    };
                    ((0..27).map(tap).sum::<f64>() + f64::from(shift[o])).max(0.0)
                })
            }
        };
        for link in &drawn {
            y = y.link(link);
        }
        let [height, width, channels] = chain.output();
        assert_eq!((y.size, y.channels), ([height, width], channels));
        expected.extend(y.values);
    }
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-9f64, |most, v| most.max(v.abs()));
    let pairs = found.iter().zip(&expected);
    pairs
        .map(|(a, b)| (f64::from(*a) - b).abs())
        .fold(0.0, f64::max)
        / largest
}

#[test]
fn every_chain_equals_its_definition() {
    limited();
    let (plain, relu, pool) = (false, true, true);
    let chains: [&[(usize, bool, bool)]; 5] = [
        &[(16, relu, false)],
        &[(32, plain, false), (16, relu, false), (64, relu, false)],
        &[(16, relu, pool), (48, relu, false)],
        &[(64, plain, pool)],
        &[(32, relu, false), (32, relu, pool), (128, plain, pool)],
    ];
    let sizes = [[1, 1], [2, 2], [3, 5], [7, 4], [12, 18], [32, 40], [17, 33]];
    let mut wrong = Vec::new();
    for name in SOURCES {
        for size in sizes {
            if name == "sum" && size.iter().any(|side| side % 2 == 1) {
                continue;
            }
            for (chain, specs) in chains.iter().enumerate() {
                for batch in [1, 2] {
                    let found = difference(name, batch, size, 16 << (chain % 2), specs);
                    if found.is_nan() || found > 2e-6 {
                        wrong.push(format!("{name} {batch}x{size:?} chain {chain}: {found:e}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    limited();
    let mut random = generator();
    let size = [64, 48];
    let image: Vec<f32> = (0..64 * 48 * 16).map(|_| random()).collect();
    let specs = [(32, true, false), (32, true, true), (64, false, false)];
    let mut links = Vec::new();
    let mut channels = 16;
    for spec in specs {
        links.push(Drawn::new(&mut random, channels, spec).link(channels));
        channels = spec.0;
    }
    let chain = Chain {
        batch: 1,
        size,
        source: Source::Image(&image),
        links: &links,
    };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| chain.forward())
    };
    let one = on(1);
    assert!(one.iter().any(|v| *v != 0.0));
    for threads in [2, 3, 5] {
        assert!(on(threads) == one, "{threads} threads");
    }
}

/// In processes of their own, as the instructions are chosen once.
#[test]
fn so_it_is_with_other_instructions() {
    if std::env::var(BITS).is_ok() {
        return;
    }
    for bits in ["256", "0"] {
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("chain::tests")
            .env(BITS, bits)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success(), "{bits} bits: {output}");
        assert!(output.contains("3 passed"), "{bits} bits: {output}");
    }
}
