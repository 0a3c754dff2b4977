//! What images lose in resolution and by compression, as tensor operations.
//!
//! Matrix products soften, which CUDA may compute in TF32: a level is then within 0.1 of the CPU's.
//! JPEG's rounding makes steps of what is nearly equal, so its transform is written as sums of
//! eight products, float32 everywhere and in the CPU's order.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::column;
use crate::augment::Variation;
use crate::augment::jpeg::{self, BLOCK, INVERSE, MIDDLE, TIE, TRANSFORM};
use crate::augment::linear::Matrix;
use crate::augment::resolution::along;

/// Downscaling and blur.
pub(super) fn softened(
    levels: Tensor<2>,
    variations: &[Variation],
    width: usize,
    height: usize,
) -> Tensor<2> {
    if !variations.iter().any(Variation::is_softened) {
        return levels;
    }
    let (n, device) = (variations.len(), levels.device());
    let maps = |size: usize| {
        let factors: Vec<f32> = variations
            .iter()
            .flat_map(|v| along(size, v).factors)
            .collect();
        Tensor::<3>::from_data(TensorData::new(factors, [n, size, size]), &device)
    };
    let down = maps(height);
    let across = if width == height {
        down.clone()
    } else {
        maps(width)
    };
    let soft = down
        .matmul(levels.clone().reshape([n, height, width]))
        .matmul(across.swap_dims(1, 2));
    let soft = soft.reshape([n, width * height]).clamp(0.0, 255.0);
    where_some(levels, soft, variations, Variation::is_softened)
}

/// JPEG: as [`jpeg::compress`].
pub(super) fn compressed(
    levels: Tensor<2>,
    variations: &[Variation],
    width: usize,
    height: usize,
) -> Tensor<2> {
    if variations.iter().all(|v| v.jpeg.is_none()) {
        return levels;
    }
    let (n, device) = (variations.len(), levels.device());
    let image = levels.clone().reshape([n, height, width]);
    let image = padded(padded(image, 1, &device), 2, &device).sub_scalar(MIDDLE);
    let [_, high, wide] = image.dims();
    // The images that are not compressed get any steps.
    let steps: Vec<f32> = variations
        .iter()
        .flat_map(|v| jpeg::steps(v.jpeg.unwrap_or(100)))
        .collect();
    let steps = Tensor::<3>::from_data(TensorData::new(steps, [n, BLOCK, BLOCK]), &device);
    let steps = steps.repeat(&[1, high / BLOCK, wide / BLOCK]);
    let amplitudes = both_ways(image, &TRANSFORM, &device);
    let whole = ((amplitudes.clone().abs().add_scalar(TIE)) / steps.clone())
        .add_scalar(0.5)
        .floor();
    let image = both_ways(whole * steps * amplitudes.sign(), &INVERSE, &device);
    let image = image
        .narrow(1, 0, height)
        .narrow(2, 0, width)
        .add_scalar(MIDDLE)
        .clamp(0.0, 255.0);
    where_some(
        levels,
        image.reshape([n, width * height]),
        variations,
        |v| v.jpeg.is_some(),
    )
}

/// `changed` of the images that `which` names, `levels` of the others.
fn where_some(
    levels: Tensor<2>,
    changed: Tensor<2>,
    variations: &[Variation],
    which: impl Fn(&Variation) -> bool,
) -> Tensor<2> {
    let named = column(variations, &levels.device(), |v| {
        f32::from(u8::from(which(v)))
    });
    let named = named.expand(levels.dims()).greater_elem(0.5);
    levels.mask_where(named, changed)
}

/// The last pixel along `axis` is repeated up to a whole number of blocks.
fn padded(image: Tensor<3>, axis: usize, device: &Device) -> Tensor<3> {
    let size = image.dims()[axis];
    let full = size.next_multiple_of(BLOCK);
    if full == size {
        return image;
    }
    let places: Vec<i32> = (0..full).map(|place| place.min(size - 1) as i32).collect();
    image.select(
        axis,
        Tensor::<1, Int>::from_data(TensorData::new(places, [full]), device),
    )
}

/// The transform of 8 along columns, then along rows; `[n, high, wide]` of whole blocks.
fn both_ways(image: Tensor<3>, transform: &Matrix, device: &Device) -> Tensor<3> {
    let columns = blockwise(image, transform, device).swap_dims(1, 2);
    blockwise(columns, transform, device).swap_dims(1, 2)
}

/// The transform of 8 along the second axis.
fn blockwise(image: Tensor<3>, transform: &Matrix, device: &Device) -> Tensor<3> {
    let [n, high, wide] = image.dims();
    let blocks = image.reshape([n * high / BLOCK, BLOCK, wide]);
    let factors = TensorData::new(transform.factors.clone(), [1, BLOCK, BLOCK]);
    let factors = Tensor::<3>::from_data(factors, device);
    let product =
        |place: usize| blocks.clone().narrow(1, place, 1) * factors.clone().narrow(2, place, 1);
    let sum = (1..BLOCK).fold(product(0), |sum, place| sum + product(place));
    sum.reshape([n, high, wide])
}
