//! Resampling of images, with the weights of `tf.image.resize`.
//!
//! Every method except the nearest pixel is a linear map along each axis. The sizes are known, so
//! each map is a constant matrix. ONNX's `Resize` has only some of the methods, with other weights
//! at the edges, and engines refuse some of its shapes.

use super::crop;
use crate::config::Fields;
use crate::graph::{Graph, Planes, int, text};
use crate::tensor::Tensor;

/// The most values of a matrix: 16 MiB.
const MAX_MATRIX: usize = 1 << 22;

/// The number of steps between two pixels for which TensorFlow has bicubic weights.
const BICUBIC_STEPS: f32 = 1024.0;

/// A method of resampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Method {
    /// The pixel at the place.
    Nearest,
    /// A line between two pixels.
    Bilinear,
    /// Keys's cubic through four pixels.
    Bicubic,
    /// The average of the area of a pixel.
    Area,
    /// The average weighted by a kernel, which is stretched if `antialias` and the image shrinks.
    Kernel { kernel: Kernel, antialias: bool },
}

/// A weight for each distance from the place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kernel {
    Triangle,
    Keys,
    Mitchell,
    Gaussian,
    Lanczos { radius: f32 },
}

impl Method {
    /// The option `interpolation`, with `antialias` if the layer has it.
    ///
    /// # Errors
    /// TensorFlow has no such method.
    pub(super) fn parse(fields: &Fields<'_>, default: &'static str) -> Result<Self, String> {
        let antialias = fields.flag("antialias", false)?;
        let kernel = |kernel| Self::Kernel { kernel, antialias };
        Ok(match (fields.text("interpolation", default)?, antialias) {
            ("nearest", _) => Self::Nearest,
            ("area", _) => Self::Area,
            ("bilinear", false) => Self::Bilinear,
            ("bilinear", true) => kernel(Kernel::Triangle),
            ("bicubic", false) => Self::Bicubic,
            ("bicubic", true) => kernel(Kernel::Keys),
            ("mitchellcubic", _) => kernel(Kernel::Mitchell),
            ("gaussian", _) => kernel(Kernel::Gaussian),
            ("lanczos3", _) => kernel(Kernel::Lanczos { radius: 3.0 }),
            ("lanczos5", _) => kernel(Kernel::Lanczos { radius: 5.0 }),
            (other, _) => return Err(format!("its interpolation {other} can't be converted")),
        })
    }

    /// The image in another size.
    ///
    /// # Errors
    /// It is far larger than images of classifiers.
    pub(super) fn resize(
        self,
        graph: &mut Graph,
        image: Planes,
        size: [usize; 2],
    ) -> Result<Planes, String> {
        let before = [image.height, image.width];
        if before == size {
            return Ok(image);
        }
        for (from, to) in before.iter().zip(size) {
            // The nearest pixel is taken without a matrix.
            let from_all = if matches!(self, Self::Nearest) {
                1
            } else {
                *from
            };
            if to.checked_mul(from_all).is_none_or(|n| n > MAX_MATRIX) {
                return Err(format!(
                    "it resizes {from} pixels to {to}, which is too large for an image classifier"
                ));
            }
        }
        let name = match self {
            Self::Nearest => nearest(graph, &image, size),
            _ => self.weighted(graph, &image, size),
        };
        Ok(Planes {
            name,
            height: size[0],
            width: size[1],
            ..image
        })
    }

    fn weighted(self, graph: &mut Graph, image: &Planes, size: [usize; 2]) -> String {
        let rows = self.matrix(image.height, size[0]);
        let columns = self.matrix(image.width, size[1]).transposed(&[1, 0]);
        let mut name = image.name.clone();
        if !is_identity(&columns) {
            let columns = graph.weight("column_weights", &columns);
            name = graph.node("MatMul", &[&name, &columns], Vec::new());
        }
        if !is_identity(&rows) {
            let rows = graph.weight("row_weights", &rows);
            name = graph.node("MatMul", &[&rows, &name], Vec::new());
        }
        name
    }

    /// The weights `[to, from]` of the pixels of one axis, for each pixel of the result.
    fn matrix(self, from: usize, to: usize) -> Tensor {
        let mut values = vec![0.0; from * to];
        for (index, row) in values.chunks_exact_mut(from).enumerate() {
            match self {
                Self::Nearest => row[nearest_pixel(index, from, to)] = 1.0,
                Self::Bilinear => bilinear(row, index, to),
                Self::Bicubic => bicubic(row, index, to),
                Self::Area => area(row, index, to),
                Self::Kernel { kernel, antialias } => kernel.fill(row, index, to, antialias),
            }
        }
        Tensor {
            dims: vec![to, from],
            values,
        }
    }
}

fn is_identity(matrix: &Tensor) -> bool {
    let [to, from] = matrix.dims[..] else {
        return false;
    };
    let one = |i: usize| if i / from == i % from { 1.0 } else { 0.0 };
    to == from && matrix.values.iter().enumerate().all(|(i, v)| *v == one(i))
}

fn nearest(graph: &mut Graph, image: &Planes, [height, width]: [usize; 2]) -> String {
    if height.is_multiple_of(image.height) && width.is_multiple_of(image.width) {
        let factors = [1, 1, height / image.height, width / image.width].map(|f| f as f32);
        let scales = graph.weight("scales", &Tensor::vector(factors.to_vec()));
        let attributes = vec![
            text("mode", "nearest"),
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ];
        return graph.node("Resize", &[&image.name, "", &scales], attributes);
    }
    let axes = [
        ("rows", image.height, height),
        ("columns", image.width, width),
    ];
    let mut name = image.name.clone();
    for (axis, (label, from, to)) in axes.into_iter().enumerate() {
        if from != to {
            let pixels: Vec<i64> = (0..to).map(|i| nearest_pixel(i, from, to) as i64).collect();
            let pixels = graph.integers(label, &pixels);
            name = graph.node(
                "Gather",
                &[&name, &pixels],
                vec![int("axis", axis as i64 + 2)],
            );
        }
    }
    name
}

/// The pixels of the image for one of the result.
fn scale(from: usize, to: usize) -> f32 {
    from as f32 / to as f32
}

fn nearest_pixel(index: usize, from: usize, to: usize) -> usize {
    let at = (index as f32 + 0.5) * scale(from, to);
    (at as usize).min(from - 1)
}

/// The place of a pixel's center between the centers of the image's pixels: its whole part and its
/// fraction.
fn place(index: usize, from: usize, to: usize) -> (i64, f32) {
    let at = (index as f32 + 0.5) * scale(from, to) - 0.5;
    (at.floor() as i64, at - at.floor())
}

fn bilinear(row: &mut [f32], index: usize, to: usize) {
    let (before, fraction) = place(index, row.len(), to);
    let last = row.len() as i64 - 1;
    let [lower, upper] = [before, before + 1].map(|i| i.clamp(0, last) as usize);
    row[lower] += 1.0 - fraction;
    row[upper] += fraction;
}

/// Pixels beyond the edges have no weight; the others' weights are scaled to the sum 1.
fn bicubic(row: &mut [f32], index: usize, to: usize) {
    let (before, fraction) = place(index, row.len(), to);
    let step = (fraction * BICUBIC_STEPS).round_ties_even() / BICUBIC_STEPS;
    for (pixel, distance) in (before - 1..).zip([1.0 + step, step, 1.0 - step, 2.0 - step]) {
        let weight = usize::try_from(pixel).ok().and_then(|i| row.get_mut(i));
        if let Some(weight) = weight {
            *weight = Kernel::Keys.at(distance);
        }
    }
    normalize(row);
}

fn area(row: &mut [f32], index: usize, to: usize) {
    let scale = scale(row.len(), to);
    let (start, end) = (index as f32 * scale, (index + 1) as f32 * scale);
    let last = row.len() - 1;
    for pixel in start.floor() as usize..end.ceil() as usize {
        let inside = end.min((pixel + 1) as f32) - start.max(pixel as f32);
        row[pixel.min(last)] += inside / scale;
    }
}

impl Kernel {
    /// The distance from which on the weight is zero.
    fn radius(self) -> f32 {
        match self {
            Self::Triangle => 1.0,
            Self::Keys | Self::Mitchell => 2.0,
            Self::Gaussian => 1.5,
            Self::Lanczos { radius } => radius,
        }
    }

    /// The weight at a distance of 0 or more.
    fn at(self, x: f32) -> f32 {
        if x >= self.radius() {
            return 0.0;
        }
        match self {
            Self::Triangle => 1.0 - x,
            Self::Keys if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Keys => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Mitchell if x < 1.0 => (7.0 / 6.0 * x - 2.0) * x * x + 8.0 / 9.0,
            Self::Mitchell => ((-7.0 / 18.0 * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0,
            // The standard deviation is 1/2.
            Self::Gaussian => (-2.0 * x * x).exp(),
            Self::Lanczos { .. } if x <= 1e-3 => 1.0,
            Self::Lanczos { radius } => {
                let angle = std::f32::consts::PI * x;
                radius * angle.sin() * (angle / radius).sin() / (angle * angle)
            }
        }
    }

    /// Fills the weights of the pixels within the radius.
    fn fill(self, row: &mut [f32], index: usize, to: usize, antialias: bool) {
        let step = 1.0 / scale(to, row.len());
        let stretch = if antialias { step.max(1.0) } else { 1.0 };
        let center = step * (index as f32 + 0.5);
        let reach = self.radius() * stretch;
        let last = row.len() as f32 - 1.0;
        let first = (center - reach - 0.5).ceil().clamp(0.0, last);
        let end = (center + reach - 0.5).floor().clamp(0.0, last);
        let (first, end) = (first as usize, end as usize);
        for (pixel, weight) in row.iter_mut().enumerate().take(end + 1).skip(first) {
            let distance = (pixel as f32 + 0.5 - center).abs() / stretch;
            *weight = self.at(distance);
        }
        normalize(row);
    }
}

fn normalize(row: &mut [f32]) {
    let sum: f32 = row.iter().sum();
    if sum.abs() > f32::MIN_POSITIVE * 1000.0 {
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
}

/// The largest part in the middle of an image that has the proportions of `size`, resized to it.
///
/// # Errors
/// As [`Method::resize`].
pub(super) fn crop_and_resize(
    method: Method,
    graph: &mut Graph,
    image: Planes,
    size: [usize; 2],
) -> Result<Planes, String> {
    let [height, width] = fitted(&image, size);
    let part = [height.clamp(1, image.height), width.clamp(1, image.width)];
    let corner = [(image.height - part[0]) / 2, (image.width - part[1]) / 2];
    let image = crop(graph, image, corner, part);
    method.resize(graph, image, size)
}

/// The height that fits to the image's width in the proportions of `size`, and the width that fits
/// to its height.
pub(super) fn fitted(image: &Planes, size: [usize; 2]) -> [usize; 2] {
    let of = |a: usize, b: usize, c: usize| (a as f32 * b as f32 / c as f32) as usize;
    [
        of(image.width, size[0], size[1]),
        of(image.height, size[1], size[0]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_every_method_sum_to_one() {
        let kernels = [
            Kernel::Triangle,
            Kernel::Keys,
            Kernel::Mitchell,
            Kernel::Gaussian,
            Kernel::Lanczos { radius: 3.0 },
            Kernel::Lanczos { radius: 5.0 },
        ];
        let kernels = kernels
            .into_iter()
            .flat_map(|kernel| [true, false].map(|antialias| Method::Kernel { kernel, antialias }));
        let plain = [
            Method::Nearest,
            Method::Bilinear,
            Method::Bicubic,
            Method::Area,
        ];
        let mut wrong = Vec::new();
        for method in plain.into_iter().chain(kernels) {
            for (from, to) in [(1, 1), (1, 7), (7, 1), (5, 13), (13, 5), (48, 224), (3, 3)] {
                let matrix = method.matrix(from, to);
                let sums = matrix
                    .values
                    .chunks_exact(from)
                    .map(|row| row.iter().sum::<f32>());
                let off = sums.map(|sum| (sum - 1.0).abs()).fold(0.0, f32::max);
                if off > 1e-4 {
                    wrong.push(format!("{method:?} {from} to {to}: {off}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
