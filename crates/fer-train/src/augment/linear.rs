//! Linear maps of an image's rows and columns, as matrices: what blur, downscaling and the cosine
//! transform have in common.

/// The factors of a linear map, `[outputs, inputs]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    /// Inputs.
    pub inputs: usize,
    /// Factors, output by output.
    pub factors: Vec<f32>,
}

impl Matrix {
    /// A matrix of `factor(output, input)`.
    pub fn new(outputs: usize, inputs: usize, factor: impl Fn(usize, usize) -> f64) -> Self {
        let mut factors = Vec::with_capacity(outputs * inputs);
        for output in 0..outputs {
            factors.extend((0..inputs).map(|input| factor(output, input) as f32));
        }
        Self { inputs, factors }
    }

    /// Applies the map along the columns of `rows` (`[blocks · inputs, width]`), block by block:
    /// `[blocks · outputs, width]`. A sum goes through the inputs in their order.
    fn apply(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let outputs = self.factors.len() / self.inputs;
        let mut result = vec![0.0; rows.len() / self.inputs * outputs];
        for (block, sums) in rows
            .chunks_exact(self.inputs * width)
            .zip(result.chunks_exact_mut(outputs * width))
        {
            for (factors, sum) in self
                .factors
                .chunks_exact(self.inputs)
                .zip(sums.chunks_exact_mut(width))
            {
                for (factor, row) in factors
                    .iter()
                    .zip(block.chunks_exact(width))
                    .filter(|(f, _)| **f != 0.0)
                {
                    sum.iter_mut()
                        .zip(row)
                        .for_each(|(sum, value)| *sum += factor * value);
                }
            }
        }
        result
    }

    /// The map that applies `first`, then `self`.
    pub fn after(&self, first: &Self) -> Self {
        Self {
            inputs: first.inputs,
            factors: self.apply(&first.factors, first.inputs),
        }
    }

    /// The map back, of an orthogonal one.
    pub fn transposed(&self) -> Self {
        Self {
            inputs: self.factors.len() / self.inputs,
            factors: transposed(&self.factors, self.inputs),
        }
    }
}

/// Applies `down` along the columns of an image of `width` pixels a row, then `across` along its
/// rows.
pub(super) fn separable(down: &Matrix, across: &Matrix, image: &[f32], width: usize) -> Vec<f32> {
    let columns = transposed(&down.apply(image, width), width);
    let height = columns.len() / width;
    transposed(&across.apply(&columns, height), height)
}

/// Rows as columns: from `[rows, width]` to `[width, rows]`.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width;
    let mut result = vec![0.0; values.len()];
    for (y, row) in values.chunks_exact(width).enumerate() {
        row.iter()
            .enumerate()
            .for_each(|(x, value)| result[x * rows + y] = *value);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows become three, three columns become two, by hand.
    #[test]
    fn rows_and_columns_are_mapped() {
        let down = Matrix::new(3, 2, |to, from| {
            [[1.0, 0.0], [0.5, 0.5], [0.0, 2.0]][to][from]
        });
        let across = Matrix::new(2, 3, |to, from| {
            [[1.0, -1.0, 0.0], [0.0, 1.0, 1.0]][to][from]
        });
        let image = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0];
        assert_eq!(
            separable(&down, &across, &image, 3),
            [-1.0, 5.0, -2.0, 13.0, -6.0, 42.0]
        );
    }

    #[test]
    fn a_product_is_one_map_after_the_other() {
        let first = Matrix::new(3, 2, |to, from| {
            [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]][to][from]
        });
        let second = Matrix::new(1, 3, |_, from| [1.0, 0.0, -1.0][from]);
        assert_eq!(
            second.after(&first),
            Matrix {
                inputs: 2,
                factors: vec![-4.0, -4.0]
            }
        );
        assert_eq!(
            first.transposed(),
            Matrix {
                inputs: 3,
                factors: vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]
            }
        );
    }

    /// Rows of several blocks are mapped block by block.
    #[test]
    fn blocks_are_mapped_on_their_own() {
        let swap = Matrix::new(2, 2, |to, from| f64::from(u8::from(to != from)));
        assert_eq!(swap.apply(&[1.0, 2.0, 3.0, 4.0], 1), [2.0, 1.0, 4.0, 3.0]);
    }
}
