//! A network as a list of layers, each of which takes values that are there already.

use std::sync::{Mutex, PoisonError};

use super::super::team::{on_pool, parallel, tasks};
use super::super::{team, threads};
use super::layer::{Buffer, Dims, Kind, Layer, Operation};
use super::pass::Threads;
use super::{Instructions, Quantization};

/// The most images that one thread takes through the network at a time. More read the weights less
/// often, and need more room in the cache.
const CHUNK: usize = 8;

/// The most buffers that are kept.
const SPARE: usize = 16;

/// An input of layers: the images, or what a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(usize);

/// A network.
pub struct Network {
    instructions: Instructions,
    channels_first: bool,
    /// The images, and what each step computes.
    kinds: Vec<Kind>,
    /// By value, the last step that takes it.
    last: Vec<usize>,
    steps: Vec<Step>,
    /// Buffers of past runs.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// A layer, which computes the value after those before it.
struct Step {
    inputs: [usize; 2],
    operation: Operation,
}

impl Network {
    /// A network without layers, and the images that it takes as numbers: `[channels, height,
    /// width]` if `channels_first`, else `[height, width, channels]`.
    ///
    /// # Panics
    /// An image has no values.
    pub fn new(input: Dims, channels_first: bool, instructions: Instructions) -> (Self, Value) {
        assert!(input.iter().all(|n| *n > 0), "an image without values");
        let images = Kind {
            dims: input,
            quantization: None,
        };
        let network = Self {
            instructions,
            channels_first,
            kinds: vec![images],
            last: vec![0],
            steps: Vec::new(),
            spare: Mutex::default(),
        };
        (network, Value(0))
    }

    /// Adds a layer. What the last one computes is the network's output.
    ///
    /// # Panics
    /// The layer does not take such a value, or its weights do not fit.
    pub fn add(&mut self, layer: Layer, input: Value) -> Value {
        self.add_with(layer, input, input)
    }

    /// [`Network::add`] for a layer of two values.
    ///
    /// # Panics
    /// As [`Network::add`].
    pub fn add_with(&mut self, layer: Layer, input: Value, other: Value) -> Value {
        let inputs = [input.0, other.0];
        let kinds = inputs.map(|value| self.kinds[value]);
        let (operation, output) = layer.operation(kinds, self.instructions);
        for value in inputs {
            self.last[value] = self.steps.len();
        }
        self.steps.push(Step { inputs, operation });
        self.kinds.push(output);
        self.last.push(usize::MAX);
        Value(self.kinds.len() - 1)
    }

    /// The dimensions of the images.
    pub fn input(&self) -> Dims {
        self.kinds[0].dims
    }

    /// The dimensions of a value.
    pub fn dims(&self, value: Value) -> Dims {
        self.kinds[value.0].dims
    }

    /// The instructions that sum products.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// The output for each image, on all threads. Bytes are returned as the numbers that they stand
    /// for.
    ///
    /// # Panics
    /// `input` does not hold some images.
    pub fn forward(&self, input: &[f32]) -> Vec<f32> {
        let len = self.kinds[0].len();
        let images = input.len() / len;
        assert_eq!(input.len(), images * len, "values of images of {len}");
        threads::start(None);
        let threads = tasks();
        if images < 2 * threads {
            return team::together(|| self.run(input, Threads::Team));
        }
        // As many chunks for each thread, about equally large.
        let chunks = images.div_ceil(CHUNK).next_multiple_of(threads);
        let outputs: Vec<Mutex<Vec<f32>>> = (0..chunks).map(|_| Mutex::default()).collect();
        on_pool(|| {
            parallel(chunks, |i| {
                let [first, end] = [i, i + 1].map(|i| i * images / chunks * len);
                let output = self.run(&input[first..end], Threads::One);
                *outputs[i].lock().unwrap_or_else(PoisonError::into_inner) = output;
            });
        });
        let outputs = outputs.into_iter();
        let outputs = outputs.map(|o| o.into_inner().unwrap_or_else(PoisonError::into_inner));
        outputs.collect::<Vec<_>>().concat()
    }

    fn run(&self, input: &[f32], threads: Threads) -> Vec<f32> {
        let images = input.len() / self.kinds[0].len();
        let mut values = vec![Buffer::Floats(self.ordered(input))];
        for (at, step) in self.steps.iter().enumerate() {
            let output = self.kinds[at + 1];
            let inputs = step.inputs.map(|value| &values[value]);
            let room = match output.quantization {
                Some(_) => Buffer::Bytes(self.room(images * output.len())),
                None => Buffer::Floats(vec![0.0; images * output.len()]),
            };
            let from = self.kinds[step.inputs[0]];
            let output = step.operation.run(inputs, [from, output], room, threads);
            for value in step.inputs {
                if self.last[value] == at {
                    self.give_back(std::mem::take(&mut values[value]));
                }
            }
            values.push(output);
        }
        let output = values.pop().unwrap_or_default();
        match (output, self.kinds.last().and_then(|kind| kind.quantization)) {
            (Buffer::Bytes(bytes), Some(of)) => {
                let numbers = bytes.iter().map(|byte| of.number(*byte)).collect();
                self.give_back(Buffer::Bytes(bytes));
                numbers
            }
            (Buffer::Floats(numbers), _) => numbers,
            (Buffer::Bytes(_), None) => unreachable!("bytes have a quantization"),
        }
    }

    /// The images with the channels of a pixel side by side.
    fn ordered(&self, input: &[f32]) -> Vec<f32> {
        let [height, width, channels] = self.kinds[0].dims;
        if !self.channels_first || channels == 1 {
            return input.to_vec();
        }
        let pixels = height * width;
        let mut ordered = Vec::with_capacity(input.len());
        for image in input.chunks_exact(pixels * channels) {
            for pixel in 0..pixels {
                ordered.extend(image[pixel..].iter().step_by(pixels));
            }
        }
        ordered
    }

    /// A buffer with arbitrary values.
    fn room(&self, len: usize) -> Vec<u8> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |i: &usize| {
            let have = spare[*i].len();
            (have < len, have.abs_diff(len))
        };
        let best = (0..spare.len()).min_by_key(fits);
        let mut room = best.map(|i| spare.swap_remove(i)).unwrap_or_default();
        drop(spare);
        room.resize(len, 0);
        room
    }

    fn give_back(&self, buffer: Buffer) {
        if let Buffer::Bytes(bytes) = buffer {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < SPARE {
                spare.push(bytes);
            }
        }
    }
}

impl Quantization {
    /// Whether the scale is one: positive and finite.
    pub fn is_valid(self) -> bool {
        self.scale.is_finite() && self.scale > 0.0
    }
}
