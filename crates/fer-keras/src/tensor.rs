//! Weights in memory: float32 values with dimensions, and transposition.

/// Float32 values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    /// The dimensions; their product is the number of values.
    pub(crate) dims: Vec<usize>,
    /// The values.
    pub(crate) values: Vec<f32>,
}

impl Tensor {
    /// A vector.
    pub(crate) fn vector(values: Vec<f32>) -> Self {
        Self {
            dims: vec![values.len()],
            values,
        }
    }

    /// One value, without dimensions.
    pub(crate) fn scalar(value: f32) -> Self {
        Self {
            dims: Vec::new(),
            values: vec![value],
        }
    }

    /// The same values with other dimensions of the same product.
    ///
    /// # Errors
    /// The product differs.
    pub(crate) fn reshaped(self, dims: &[usize]) -> Result<Self, String> {
        if product(dims) != Some(self.values.len()) {
            return Err(format!(
                "a weight of {:?} does not have the size of {dims:?}",
                self.dims
            ));
        }
        Ok(Self {
            dims: dims.to_vec(),
            ..self
        })
    }

    /// Transposes the axes as NumPy's `transpose`: axis `i` of the result is axis `order[i]` of
    /// this tensor.
    pub(crate) fn transposed(&self, order: &[usize]) -> Self {
        let mut strides = vec![1; self.dims.len()];
        for i in (1..self.dims.len()).rev() {
            strides[i - 1] = strides[i] * self.dims[i];
        }
        let dims: Vec<usize> = order.iter().map(|&i| self.dims[i]).collect();
        let steps: Vec<usize> = order.iter().map(|&i| strides[i]).collect();
        let mut values = Vec::with_capacity(self.values.len());
        let (mut index, mut at) = (vec![0; dims.len()], 0);
        for _ in 0..self.values.len() {
            values.push(self.values[at]);
            for axis in (0..dims.len()).rev() {
                index[axis] += 1;
                at += steps[axis];
                if index[axis] < dims[axis] {
                    break;
                }
                at -= steps[axis] * dims[axis];
                index[axis] = 0;
            }
        }
        Self { dims, values }
    }

    /// Checks that the dimensions are `dims`; `name` is the weight's name.
    ///
    /// # Errors
    /// They differ.
    pub(crate) fn must_be(&self, name: &str, dims: &[usize]) -> Result<(), String> {
        if self.dims == dims {
            return Ok(());
        }
        Err(format!(
            "its weight {name} is {:?} in the file and {dims:?} in its configuration",
            self.dims
        ))
    }
}

/// The product of dimensions, `None` if it overflows.
pub(crate) fn product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_reordered_as_numpy_does() {
        let tensor = Tensor {
            dims: vec![2, 3],
            values: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        };
        assert_eq!(
            tensor.transposed(&[1, 0]).values,
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
        let tensor = Tensor {
            dims: vec![1, 2, 3],
            values: tensor.values,
        };
        let moved = tensor.transposed(&[2, 0, 1]);
        assert_eq!(
            (moved.dims.as_slice(), moved.values[1]),
            (&[3, 1, 2][..], 3.0)
        );
        assert_eq!(Tensor::scalar(2.0).transposed(&[]), Tensor::scalar(2.0));
        assert!(tensor.reshaped(&[7]).is_err());
    }
}
