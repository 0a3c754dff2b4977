//! The second moments of a layer's inputs: by how much an error in each pair of its weights changes
//! its outputs.
//!
//! An output of a convolution is the product of the kernel with a patch of the input, as that of a
//! dense layer with all of it. With patches x, kernels w and their rounded form q, the mean squared
//! error of an output is `(w − q)ᵀ H (w − q)` with `H = E[x xᵀ]`.

use rayon::prelude::*;

use crate::layer::{Conv, Kind, Layer};

/// Rows and columns of `H` whose products are computed together.
const TILE: usize = 4;

/// Products that are added up in parallel, as a vector register holds them.
const LANES: usize = 8;

/// The golden ratio's fraction: multiples of it fall evenly into 0..1, however many there are.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// The sums of the products of all pairs of values of a patch, over patches of many images.
#[derive(Debug, Clone)]
pub struct Moments {
    /// The number of values of a patch, [`Layer::depth`].
    pub depth: usize,
    /// `[depth, depth]`, of which the lower triangle counts.
    sums: Vec<f32>,
    /// The sums of the values.
    means: Vec<f64>,
    patches: usize,
    images: usize,
}

impl Moments {
    /// The most values of a patch: above, the moments and their factors take too much memory.
    pub const MAX_DEPTH: usize = 6144;

    /// No patch yet; `None` for layers without common moments (convolutions in groups) and for
    /// patches over [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub fn new(layer: &Layer) -> Option<Self> {
        let grouped = matches!(&layer.kind, Kind::Conv(conv) if conv.groups != 1);
        let depth = layer.depth;
        (!grouped && depth <= Self::MAX_DEPTH).then(|| Self {
            depth,
            sums: vec![0.0; depth * depth],
            means: vec![0.0; depth],
            patches: 0,
            images: 0,
        })
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.sums.len() * size_of::<f32>()
    }

    /// Adds patches of a batch of the layer's input, `dims` by its dimensions: all of a dense
    /// layer, and up to `positions` of each image of a convolution, spread over the image. A tensor
    /// of other dimensions than the layer takes adds nothing.
    pub fn add(&mut self, layer: &Layer, dims: &[usize], values: &[f32], positions: usize) {
        let patches = match (&layer.kind, dims) {
            (Kind::Dense, [n, depth]) if *depth == self.depth && values.len() == n * depth => {
                self.images += n;
                transposed(values, *n, *depth)
            }
            (Kind::Conv(conv), [n, c, h, w])
                if c * conv.kernel[0] * conv.kernel[1] == self.depth
                    && values.len() == n * c * h * w =>
            {
                let patches = sampled(conv, [*n, *c, *h, *w], values, positions, self.images);
                self.images += n;
                patches
            }
            _ => return,
        };
        let n = patches.len() / self.depth.max(1);
        if n == 0 {
            return;
        }
        self.patches += n;
        for (mean, row) in self.means.iter_mut().zip(patches.chunks_exact(n)) {
            *mean += row.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
        add_products(&mut self.sums, &patches, self.depth, n);
    }

    /// The number of patches.
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// The means of the patches' values.
    pub fn means(&self) -> Vec<f64> {
        let n = self.patches.max(1) as f64;
        self.means.iter().map(|sum| sum / n).collect()
    }

    /// `H`, `[depth, depth]`, of which the lower triangle counts.
    pub fn matrix(&self) -> Vec<f64> {
        let n = self.patches.max(1) as f64;
        self.sums.iter().map(|sum| f64::from(*sum) / n).collect()
    }
}

/// `[n, depth]` → `[depth, n]`.
fn transposed(values: &[f32], n: usize, depth: usize) -> Vec<f32> {
    let at = |d: usize| (0..n).map(move |i| values[i * depth + d]);
    (0..depth).flat_map(at).collect()
}

/// Patches of `[n, c, h, w]`, as `[depth, patches]`.
fn sampled(
    conv: &Conv,
    [n, c, h, w]: [usize; 4],
    values: &[f32],
    positions: usize,
    seen: usize,
) -> Vec<f32> {
    let size = |axis: usize, length: usize| {
        let reach = conv.dilations[axis] * (conv.kernel[axis].saturating_sub(1)) + 1;
        // As if padded alike on both sides.
        (length + 2 * conv.pads[axis])
            .checked_sub(reach)
            .map_or(0, |left| left / conv.strides[axis] + 1)
    };
    let (rows, columns) = (size(0, h), size(1, w));
    let area = rows * columns;
    let places: Vec<[usize; 3]> = (0..n)
        .flat_map(|image| {
            let count = positions.min(area);
            (0..count).map(move |i| {
                // Each image another set, so that all places come up.
                let turn = if count < area {
                    ((seen + image) * count + i) as f64 * GOLDEN
                } else {
                    i as f64 / area as f64
                };
                let at = ((turn.fract() * area as f64 + 1e-6) as usize).min(area - 1);
                [image, at / columns, at % columns]
            })
        })
        .collect();
    let mut patches = Vec::with_capacity(c * conv.kernel[0] * conv.kernel[1] * places.len());
    for channel in 0..c {
        for ky in 0..conv.kernel[0] {
            for kx in 0..conv.kernel[1] {
                patches.extend(places.iter().map(|[image, row, column]| {
                    let y = row * conv.strides[0] + ky * conv.dilations[0];
                    let x = column * conv.strides[1] + kx * conv.dilations[1];
                    let (y, x) = (y.wrapping_sub(conv.pads[0]), x.wrapping_sub(conv.pads[1]));
                    if y < h && x < w {
                        values[((image * c + channel) * h + y) * w + x]
                    } else {
                        0.0
                    }
                }));
            }
        }
    }
    patches
}

/// Adds `patches · patchesᵀ` to the lower triangle of `sums`; `patches` is `[depth, n]`.
fn add_products(sums: &mut [f32], patches: &[f32], depth: usize, n: usize) {
    let row = |i: usize| &patches[i * n..(i + 1) * n];
    sums.par_chunks_mut(TILE * depth)
        .enumerate()
        .for_each(|(tile, sums)| {
            let first = tile * TILE;
            let rows = sums.len() / depth;
            for column in (0..first + rows).step_by(TILE) {
                let columns = TILE.min(depth - column);
                if rows == TILE && columns == TILE {
                    let a = [row(first), row(first + 1), row(first + 2), row(first + 3)];
                    let b = [
                        row(column),
                        row(column + 1),
                        row(column + 2),
                        row(column + 3),
                    ];
                    let products = tile_products(a, b);
                    for (r, products) in products.iter().enumerate() {
                        for (c, product) in products.iter().enumerate() {
                            sums[r * depth + column + c] += product;
                        }
                    }
                } else {
                    for r in 0..rows {
                        for c in 0..columns {
                            sums[r * depth + column + c] += dot(row(first + r), row(column + c));
                        }
                    }
                }
            }
        });
}

/// The products of four rows with four others: two at a time, so that the sums stay in registers.
fn tile_products(a: [&[f32]; TILE], b: [&[f32]; TILE]) -> [[f32; TILE]; TILE] {
    let mut products = [[0.0; TILE]; TILE];
    for i in (0..TILE).step_by(2) {
        for j in (0..TILE).step_by(2) {
            let [[p, q], [r, s]] = pair_products([a[i], a[i + 1]], [b[j], b[j + 1]]);
            [products[i][j], products[i][j + 1]] = [p, q];
            [products[i + 1][j], products[i + 1][j + 1]] = [r, s];
        }
    }
    products
}

fn pair_products(a: [&[f32]; 2], b: [&[f32]; 2]) -> [[f32; 2]; 2] {
    let mut sums = [[[0.0f32; LANES]; 2]; 2];
    let whole = a[0].len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let part = |row: &[f32]| -> [f32; LANES] {
            let mut part = [0.0; LANES];
            part.copy_from_slice(&row[at..at + LANES]);
            part
        };
        let (a, b) = (a.map(part), b.map(part));
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sums) in sums.iter_mut().enumerate() {
                for lane in 0..LANES {
                    sums[lane] += a[i][lane] * b[j][lane];
                }
            }
        }
    }
    let mut products = [[0.0; 2]; 2];
    for (i, row) in products.iter_mut().enumerate() {
        for (j, product) in row.iter_mut().enumerate() {
            let rest = a[i][whole..].iter().zip(&b[j][whole..]);
            *product = sums[i][j].iter().sum::<f32>() + rest.map(|(x, y)| x * y).sum::<f32>();
        }
    }
    products
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    pair_products([a, a], [b, b])[0][0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(kind: Kind, depth: usize) -> Layer {
        Layer {
            name: "l".into(),
            kind,
            input: "x".into(),
            sum: "y".into(),
            output: "y".into(),
            channels: 1,
            depth,
            weights: vec![0.0; depth],
            bias: vec![0.0],
            is_last: false,
            dims: vec![1, depth],
            node: 0,
        }
    }

    #[test]
    fn all_patches_of_a_small_image_count() {
        let conv = Conv {
            groups: 1,
            kernel: [3, 3],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [1, 1],
        };
        let layer = layer(Kind::Conv(conv), 9);
        let mut moments = Moments::new(&layer).unwrap();
        let image: Vec<f32> = (1..=6).map(|v| v as f32).collect();
        moments.add(&layer, &[1, 1, 2, 3], &image, 100);
        assert_eq!(moments.patches(), 6);
        // The middle of the kernel sees each pixel once, its first weight all but the last row and
        // column.
        let means = moments.means();
        assert!((means[4] - 21.0 / 6.0).abs() < 1e-6, "{means:?}");
        assert!((means[0] - 3.0 / 6.0).abs() < 1e-6, "{means:?}");
        let squares: f64 = (1..=6).map(|v| f64::from(v * v)).sum();
        assert!((moments.matrix()[4 * 9 + 4] - squares / 6.0).abs() < 1e-4);
        // A tensor that is not the layer's.
        moments.add(&layer, &[1, 2, 2, 3], &[image.clone(), image].concat(), 100);
        assert_eq!(moments.patches(), 6);
    }

    #[test]
    fn places_of_a_large_image_differ_from_image_to_image() {
        let conv = Conv {
            groups: 1,
            kernel: [1, 1],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0, 0],
        };
        let image: Vec<f32> = (0..100).map(|v| v as f32).collect();
        let batch = [image.clone(), image].concat();
        let patches = sampled(&conv, [2, 1, 10, 10], &batch, 5, 0);
        let mut different = patches.clone();
        different.sort_by(f32::total_cmp);
        different.dedup();
        assert_eq!((patches.len(), different.len()), (10, 10), "{patches:?}");
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_definition(
            depth in 1usize..14, n in 1usize..30, seed in 0u32..1000
        ) {
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed * 97)
                % 1000) as f32 / 500.0 - 1.0;
            let rows: Vec<f32> = (0..n * depth).map(value).collect();
            let layer = layer(Kind::Dense, depth);
            let mut moments = Moments::new(&layer).unwrap();
            moments.add(&layer, &[n, depth], &rows, 1);
            let matrix = moments.matrix();
            for i in 0..depth {
                for j in 0..=i {
                    let product = |k: usize| f64::from(rows[k * depth + i] * rows[k * depth + j]);
                    let expected = (0..n).map(product).sum::<f64>() / n as f64;
                    prop_assert!((matrix[i * depth + j] - expected).abs() < 1e-4);
                }
            }
        }
    }
}
