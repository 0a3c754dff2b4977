//! Convolution, forward and backward.
//!
//! Images are `[height, width, channels]`, one after another. Kernels are `[out, in, height,
//! width]`. A `Method` turns input, kernel and output into packed matrices and back.
//! In between there are only matrix products:
//!
//! - forward: `Y = V U`, where V is the input and U the kernel;
//! - gradient of the kernel: `dU = Vᵀ Z`, where Z is the gradient of the output;
//! - gradient of the input: `dV = Z Uᵀ`.
//!
//! A few images are processed at a time, so that their matrices stay in the cache. Sums are taken
//! in the same order for any number of threads.

use std::ops::Range;

use super::first;
use super::gemm::{Panelled, multiply, multiply_transposed, transpose};
use super::method::Method;
use super::patches::Patches;
use super::simd::{Scratch, Shared, buffer, panel};
use super::team::{on_pool, parallel};
use super::winograd::{Tile25, Tile33, Tile43, Winograd};

/// Bytes of expanded matrices that are processed at a time, unless that is too few rows for the
/// size of the kernels.
const WORKING_SET: usize = 8 << 20;

/// The fewest rows of a matrix that is multiplied by a kernel larger than the L2 cache.
const MANY_ROWS: usize = 512;

/// The shape of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Height and width.
    pub input: [usize; 2],
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Zeros above, left, below and right.
    pub padding: [usize; 4],
}

/// The algorithms for a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The convolution as written (im2col).
    Patches,
    /// Winograd's, with tiles of 4 × 4 outputs of a 3 × 3 kernel.
    Tiles43,
    /// Winograd's, with tiles of 3 × 3 outputs of a 3 × 3 kernel.
    Tiles33,
    /// Winograd's, with tiles of 2 × 2 outputs of a 5 × 5 kernel.
    Tiles25,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tiles43, Self::Tiles33, Self::Tiles25, Self::Patches];
}

/// The result of [`Conv::backward`].
pub struct Gradients {
    /// The gradient of the input, if requested.
    pub input: Option<Vec<f32>>,
    /// The gradient of the kernels.
    pub kernel: Vec<f32>,
    /// The gradient of the bias: the sums of the output's gradient.
    pub bias: Vec<f32>,
}

impl Conv {
    /// Height and width of the output; 0 if the kernel is larger than the padded input.
    pub fn output(&self) -> [usize; 2] {
        std::array::from_fn(|i| {
            let padded = self.input[i] + self.padding[i] + self.padding[i + 2];
            padded
                .checked_sub(self.kernel[i])
                .map_or(0, |rest| rest / self.stride[i] + 1)
        })
    }

    /// The number of values of an input image.
    pub fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.channels[0]
    }

    /// The number of values of an output image.
    pub fn output_len(&self) -> usize {
        self.output()[0] * self.output()[1] * self.channels[1]
    }

    /// The number of values of all kernels.
    pub fn kernel_len(&self) -> usize {
        self.channels[0] * self.channels[1] * self.kernel[0] * self.kernel[1]
    }

    /// The algorithm with the fewest multiplications.
    fn method(&self) -> Box<dyn Method> {
        let methods = Algorithm::ALL.into_iter().filter_map(|way| self.by(way));
        methods
            .min_by_key(|m| m.work(self.batch))
            .unwrap_or_else(|| Box::new(Patches::new(*self)))
    }

    /// The implementation of an algorithm, if it supports this convolution.
    fn by(&self, way: Algorithm) -> Option<Box<dyn Method>> {
        match way {
            Algorithm::Patches => Some(Box::new(Patches::new(*self))),
            Algorithm::Tiles43 => Winograd::<Tile43>::new(*self).map(|m| Box::new(m) as _),
            Algorithm::Tiles33 => Winograd::<Tile33>::new(*self).map(|m| Box::new(m) as _),
            Algorithm::Tiles25 => Winograd::<Tile25>::new(*self).map(|m| Box::new(m) as _),
        }
    }

    /// Returns `[batch, out height, out width, out]`: the convolution plus `bias`, with negative
    /// values set to zero if `relu`.
    pub fn forward(
        &self,
        input: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Vec<f32> {
        on_pool(|| self.forward_with(&*self.method(), input, kernel, bias, relu))
    }

    /// [`Conv::forward`] with a given algorithm; `None` if it does not support this convolution.
    pub fn forward_by(
        &self,
        way: Algorithm,
        input: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Option<Vec<f32>> {
        self.by(way)
            .map(|method| on_pool(|| self.forward_with(&*method, input, kernel, bias, relu)))
    }

    fn forward_with(
        &self,
        method: &dyn Method,
        input: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Vec<f32> {
        self.check(input, kernel);
        let mut expanded = Scratch::new(self.kernel_shape(method).values());
        expand_kernel(method, kernel, self.kernel_shape(method), &mut expanded);
        self.multiply(method, input, &expanded, bias, relu)
    }

    /// The forward pass, starting with the expanded kernels.
    fn multiply(
        &self,
        method: &dyn Method,
        input: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Vec<f32> {
        let len = self.batch * self.output_len();
        if len == 0 {
            return Vec::new();
        }
        if first::takes(self) {
            return first::forward(self, input, kernel, bias, relu);
        }
        let shapes = Shapes::new(self, method);
        let mut v = Scratch::new(shapes.input(shapes.images).values());
        let mut y = Scratch::new(shapes.output(shapes.images).values());
        let fill = |output: Shared| {
            for (chunk, input) in input.chunks(shapes.images * self.input_len()).enumerate() {
                let count = input.len() / self.input_len();
                let (v_shape, y_shape) = (shapes.input(count), shapes.output(count));
                self.expand_inputs(method, input, &mut v, v_shape);
                multiply(&v, v_shape, kernel, shapes.kernel, &mut y);
                each_line(method, count, y_shape.panels(), |image, panel, lines| {
                    let output = output.section(
                        (chunk * shapes.images + image) * self.output_len(),
                        self.output_len(),
                    );
                    method.collect_output(
                        &y,
                        y_shape,
                        image * method.rows(),
                        panel,
                        lines,
                        bias,
                        relu,
                        output,
                    );
                });
            }
        };
        // SAFETY: all panels of all images are collected.
        unsafe { buffer(len, fill) }
    }

    fn kernel_shape(&self, method: &dyn Method) -> Panelled {
        Panelled {
            batch: method.points(),
            rows: method.inner(),
            columns: self.channels[1],
        }
    }

    /// The gradients of a function of the output, where `gradient` is its gradient with respect to
    /// the output.
    ///
    /// `activated` is the output if it went through ReLU.
    pub fn backward(
        &self,
        input: &[f32],
        kernel: &[f32],
        gradient: &[f32],
        activated: Option<&[f32]>,
        wants_input: bool,
    ) -> Gradients {
        on_pool(|| {
            self.backward_with(
                &*self.method(),
                input,
                kernel,
                gradient,
                activated,
                wants_input,
            )
        })
    }

    /// [`Conv::backward`] with a given algorithm; `None` if it does not support this convolution.
    pub fn backward_by(
        &self,
        way: Algorithm,
        input: &[f32],
        kernel: &[f32],
        gradient: &[f32],
        activated: Option<&[f32]>,
        wants_input: bool,
    ) -> Option<Gradients> {
        self.by(way).map(|method| {
            on_pool(|| {
                self.backward_with(&*method, input, kernel, gradient, activated, wants_input)
            })
        })
    }

    fn backward_with(
        &self,
        method: &dyn Method,
        input: &[f32],
        kernel: &[f32],
        gradient: &[f32],
        activated: Option<&[f32]>,
        wants_input: bool,
    ) -> Gradients {
        self.check(input, kernel);
        assert_eq!(gradient.len(), self.batch * self.output_len());
        let mut bias = vec![0.0; self.channels[1]];
        if gradient.is_empty() {
            return Gradients {
                input: wants_input.then(|| vec![0.0; input.len()]),
                kernel: vec![0.0; kernel.len()],
                bias,
            };
        }
        let shapes = Shapes::new(self, method);
        let transposed = wants_input.then(|| {
            let mut expanded = Scratch::new(shapes.kernel.values());
            expand_kernel(method, kernel, shapes.kernel, &mut expanded);
            transpose(&expanded, shapes.kernel)
        });
        let mut v = Scratch::new(shapes.input(shapes.images).values());
        let mut z = Scratch::new(shapes.output(shapes.images).values());
        let mut du = Scratch::new(shapes.kernel.values());
        let panels = shapes.kernel.panels();
        let mut sums = vec![0.0; shapes.images * panels * panel()];
        let fill = |input_gradient: Shared| {
            for (chunk, input) in input.chunks(shapes.images * self.input_len()).enumerate() {
                let count = input.len() / self.input_len();
                let (v_shape, z_shape) = (shapes.input(count), shapes.output(count));
                let first = chunk * shapes.images;
                self.expand_inputs(method, input, &mut v, v_shape);
                let (z_target, sums_target) = (Shared::new(&mut z), Shared::new(&mut sums));
                each(count, panels, |image, column| {
                    let range = (first + image) * self.output_len()
                        ..(first + image + 1) * self.output_len();
                    // SAFETY: each image's and panel's sums are written once.
                    let sums =
                        unsafe { sums_target.part((image * panels + column) * panel(), panel()) };
                    let (gradient, activated) =
                        (&gradient[range.clone()], activated.map(|a| &a[range]));
                    method.expand_output(
                        gradient,
                        activated,
                        z_target,
                        z_shape,
                        image * method.rows(),
                        column,
                        sums,
                    );
                });
                for sums in sums[..count * panels * panel()].chunks_exact(panels * panel()) {
                    for (total, sum) in bias.iter_mut().zip(sums) {
                        *total += sum;
                    }
                }
                multiply_transposed(&v, v_shape, &z, z_shape, &mut du, chunk > 0);
                if let Some(transposed) = &transposed {
                    multiply(&z, z_shape, transposed, shapes.transposed(), &mut v);
                    let start = |image: usize| (first + image) * self.input_len();
                    each(count, 1, |image, _| {
                        // SAFETY: images lie side by side.
                        unsafe { input_gradient.fresh(start(image), self.input_len()) };
                    });
                    each(count, method.slices(), |image, slice| {
                        let gradient = input_gradient.section(start(image), self.input_len());
                        method.collect_input(&v, v_shape, image * method.rows(), slice, gradient);
                    });
                }
            }
        };
        // SAFETY: every image's part is fresh before it is added to.
        let input = unsafe { buffer(if wants_input { input.len() } else { 0 }, fill) };
        let collect = |kernel: Shared| {
            blocks(method.inner(), |rows| {
                method.collect_kernel(&du, shapes.kernel, kernel, rows)
            });
        };
        // SAFETY: all rows are collected, and so all inputs and places of all kernels.
        let kernel = unsafe { buffer(kernel.len(), collect) };
        Gradients {
            input: wants_input.then_some(input),
            kernel,
            bias,
        }
    }

    fn check(&self, input: &[f32], kernel: &[f32]) {
        assert_eq!(
            input.len(),
            self.batch * self.input_len(),
            "input of {self:?}"
        );
        assert_eq!(kernel.len(), self.kernel_len(), "kernel of {self:?}");
    }

    fn expand_inputs(&self, method: &dyn Method, images: &[f32], v: &mut [f32], shape: Panelled) {
        let v = Shared::new(v);
        each_line(
            method,
            images.len() / self.input_len(),
            method.slices(),
            |image, slice, lines| {
                let values = &images[image * self.input_len()..(image + 1) * self.input_len()];
                method.expand_input(values, v, shape, image * method.rows(), slice, lines);
            },
        );
    }
}

/// A convolution with constant kernels, which are expanded once.
pub struct Prepared {
    conv: Conv,
    method: Box<dyn Method>,
    expanded: Vec<f32>,
}

impl Prepared {
    /// For `conv` with these kernels and any batch size. The batch size of `conv` decides on the
    /// algorithm.
    pub fn new(conv: Conv, kernel: &[f32]) -> Self {
        let method = conv.method();
        assert_eq!(kernel.len(), conv.kernel_len(), "kernel of {conv:?}");
        let shape = conv.kernel_shape(&*method);
        let mut expanded = vec![0.0; shape.values()];
        on_pool(|| expand_kernel(&*method, kernel, shape, &mut expanded));
        Self {
            conv,
            method,
            expanded,
        }
    }

    /// The convolution of this many images.
    pub fn conv(&self, batch: usize) -> Conv {
        Conv { batch, ..self.conv }
    }

    /// [`Conv::forward`] of this many images.
    pub fn forward(
        &self,
        batch: usize,
        input: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
    ) -> Vec<f32> {
        let conv = self.conv(batch);
        assert_eq!(input.len(), batch * conv.input_len(), "input of {conv:?}");
        on_pool(|| conv.multiply(&*self.method, input, &self.expanded, bias, relu))
    }
}

/// The matrices of a convolution, and how many images are processed at a time.
struct Shapes {
    kernel: Panelled,
    rows: usize,
    images: usize,
}

impl Shapes {
    fn new(conv: &Conv, method: &dyn Method) -> Self {
        let kernel = conv.kernel_shape(method);
        let bytes = 4 * method.points() * method.rows() * (method.inner() + conv.channels[1]);
        let few = if kernel.values() * 4 > WORKING_SET / 2 {
            MANY_ROWS.div_ceil(method.rows())
        } else {
            1
        };
        let images = (WORKING_SET / bytes).max(few).clamp(1, conv.batch);
        Self {
            kernel,
            rows: method.rows(),
            images,
        }
    }

    fn input(&self, images: usize) -> Panelled {
        Panelled {
            batch: self.kernel.batch,
            rows: images * self.rows,
            columns: self.kernel.rows,
        }
    }

    fn output(&self, images: usize) -> Panelled {
        Panelled {
            batch: self.kernel.batch,
            rows: images * self.rows,
            columns: self.kernel.columns,
        }
    }

    fn transposed(&self) -> Panelled {
        Panelled {
            batch: self.kernel.batch,
            rows: self.kernel.columns,
            columns: self.kernel.rows,
        }
    }
}

fn expand_kernel(method: &dyn Method, kernel: &[f32], shape: Panelled, expanded: &mut [f32]) {
    let target = Shared::new(expanded);
    blocks(method.inner(), |rows| {
        method.expand_kernel(kernel, target, shape, rows)
    });
}

/// Every image and every part of it, in parallel.
fn each(images: usize, parts: usize, body: impl Fn(usize, usize) + Sync + Send) {
    parallel(images * parts, |task| body(task / parts, task % parts));
}

/// The same, and where these are few, ranges of their lines.
fn each_line(
    method: &dyn Method,
    images: usize,
    parts: usize,
    body: impl Fn(usize, usize, Range<usize>) + Sync + Send,
) {
    const FEW: usize = 8;
    let lines = method.lines();
    let pieces = FEW.div_ceil((images * parts).max(1)).min(lines).max(1);
    parallel(images * parts * pieces, |task| {
        let (task, piece) = (task / pieces, task % pieces);
        let lines = piece * lines / pieces..(piece + 1) * lines / pieces;
        body(task / parts, task % parts, lines);
    });
}

/// 0..`rows` in blocks, in parallel.
fn blocks(rows: usize, body: impl Fn(Range<usize>) + Sync + Send) {
    const BLOCK: usize = 16;
    parallel(rows.div_ceil(BLOCK), |block| {
        body(block * BLOCK..rows.min((block + 1) * BLOCK))
    });
}
