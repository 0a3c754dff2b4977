//! Sizes of tiles, and their matrices, computed by the compiler.

/// The side of the largest matrix.
pub(super) const SIZE: usize = 8;

/// The largest m.
pub(super) const MOST_OUT: usize = 4;

/// A matrix that may be only partly used.
pub type Matrix = [[f32; SIZE]; SIZE];

/// The finite points; the last point of every tile is infinity. Of the points whose coefficients
/// are exact in `f32`, these lose the fewest bits (Barabasz et al. 2020, arXiv 1803.10986).
const POINTS: [f64; SIZE - 1] = [0.0, 1.0, -1.0, 0.5, -2.0, 2.0, -0.5];

/// A size of output tiles and kernels, and its matrices.
pub trait Tile: Send + Sync {
    /// m: the output tile's side.
    const OUT: usize;
    /// r: the kernel's side.
    const KERNEL: usize;
    /// n: the side of the input tile, and the number of points in each direction.
    const SIDE: usize = Self::OUT + Self::KERNEL - 1;
    /// Aᵀ, `[m, n]`: the powers of the points.
    const OUTPUT: Matrix = powers(Self::OUT, Self::SIDE);
    /// G, `[n, r]`: the kernel's values at the points, divided by Π (pⱼ − pₗ) over the other finite
    /// points.
    const FILTER: Matrix = filter(Self::KERNEL, Self::SIDE);
    /// Bᵀ, `[n, n]`: the coefficients of the Lagrange polynomials' numerators.
    const INPUT: Matrix = numerators(Self::SIDE);
}

macro_rules! tile {
    ($(#[$doc:meta])* $name:ident, $out:expr, $kernel:expr) => {
        $(#[$doc])*
        pub struct $name;
        impl Tile for $name {
            const OUT: usize = $out;
            const KERNEL: usize = $kernel;
        }
    };
}

tile!(
    /// 4 × 4 outputs of a 3 × 3 kernel: a quarter of the multiplications.
    Tile43, 4, 3
);
tile!(
    /// 3 × 3 outputs of a 3 × 3 kernel: 25 multiplications instead of 81, for images whose sides 3
    /// divides better than 4.
    Tile33, 3, 3
);
tile!(
    /// 2 × 2 outputs of a 5 × 5 kernel: 36 multiplications instead of 100.
    Tile25, 2, 5
);

/// Π (pⱼ − pₗ) over the other finite points.
const fn denominator(j: usize, n: usize) -> f64 {
    let mut product = 1.0;
    let mut l = 0;
    while l < n - 1 {
        if l != j {
            product *= POINTS[j] - POINTS[l];
        }
        l += 1;
    }
    product
}

const fn power(x: f64, exponent: usize) -> f64 {
    let mut product = 1.0;
    let mut i = 0;
    while i < exponent {
        product *= x;
        i += 1;
    }
    product
}

const fn powers(m: usize, n: usize) -> Matrix {
    let mut matrix = [[0.0; SIZE]; SIZE];
    let mut i = 0;
    while i < m {
        let mut j = 0;
        while j < n - 1 {
            matrix[i][j] = power(POINTS[j], i) as f32;
            j += 1;
        }
        i += 1;
    }
    matrix[m - 1][n - 1] = 1.0;
    matrix
}

const fn filter(r: usize, n: usize) -> Matrix {
    let mut matrix = [[0.0; SIZE]; SIZE];
    let mut j = 0;
    while j < n - 1 {
        let mut k = 0;
        while k < r {
            matrix[j][k] = (power(POINTS[j], k) / denominator(j, n)) as f32;
            k += 1;
        }
        j += 1;
    }
    matrix[n - 1][r - 1] = 1.0;
    matrix
}

/// Row j: the coefficients, from the constant one on, of Π (x − pₗ) over the other finite points,
/// and for infinity over all.
const fn numerators(n: usize) -> Matrix {
    let mut matrix = [[0.0; SIZE]; SIZE];
    let mut j = 0;
    while j < n {
        let mut polynomial = [0.0; SIZE + 1];
        polynomial[0] = 1.0;
        let mut l = 0;
        while l < n - 1 {
            if l != j {
                // Times (x − pₗ).
                let mut k = n;
                while k > 0 {
                    polynomial[k] = polynomial[k - 1] - POINTS[l] * polynomial[k];
                    k -= 1;
                }
                polynomial[0] *= -POINTS[l];
            }
            l += 1;
        }
        let mut k = 0;
        while k < n {
            matrix[j][k] = polynomial[k] as f32;
            k += 1;
        }
        j += 1;
    }
    matrix
}
