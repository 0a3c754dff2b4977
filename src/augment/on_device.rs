//! The same augmentation as tensor operations, for images that lie on a GPU: what is drawn is drawn on the CPU, what happens
//! to the pixels happens there. Equal to [`Augmentation::apply`](super::Augmentation::apply) within rounding.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Variation;

/// Varies images: `levels` are `[n, height · width]` pixel levels 0..=255, and so is the result.
///
/// # Panics
/// If there are not as many variations as images, or the images are not of `width × height` pixels.
pub fn render(levels: Tensor<2>, variations: &[Variation], width: usize, height: usize) -> Tensor<2> {
    let device = levels.device();
    assert_eq!(
        levels.dims(),
        [variations.len(), width * height],
        "images of {width}x{height} pixels and their variations"
    );
    let levels = resampled(levels, variations, width, height);
    let levels = toned(levels, variations, &device);
    erased(levels, variations, width, height, &device)
}

/// One number of each variation, as a column.
fn column(variations: &[Variation], device: &Device, number: impl Fn(&Variation) -> f32) -> Tensor<2> {
    let numbers: Vec<f32> = variations.iter().map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [variations.len(), 1]), device)
}

/// Geometry: each pixel of the result looks up its place in the source.
fn resampled(levels: Tensor<2>, variations: &[Variation], width: usize, height: usize) -> Tensor<2> {
    let device = levels.device();
    let pixels = width * height;
    let line = |of: fn(usize, usize) -> usize| {
        let numbers: Vec<f32> = (0..pixels).map(|i| of(i, width) as f32).collect();
        Tensor::<2>::from_data(TensorData::new(numbers, [1, pixels]), &device)
    };
    let (x, y) = (line(|i, width| i % width), line(|i, width| i / width));
    let maps: Vec<[[f64; 3]; 2]> = variations.iter().map(|v| v.geometry.map(width as f64, height as f64)).collect();
    // Along x or y: the whole pixel before the place, and the share of the one after it.
    let along = |axis: usize, last: usize| {
        let part = |term: usize| {
            let numbers: Vec<f32> = maps.iter().map(|map| map[axis][term] as f32).collect();
            Tensor::<2>::from_data(TensorData::new(numbers, [maps.len(), 1]), &device)
        };
        let place = x.clone() * part(0) + y.clone() * part(1) + part(2);
        let place = place.clamp(0.0, last as f32);
        let before = place.clone().floor();
        let after = before.clone().add_scalar(1.0).clamp(0.0, last as f32);
        (before.clone(), after, place - before)
    };
    let (left, right, share_x) = along(0, width - 1);
    let (upper, lower, share_y) = along(1, height - 1);
    let pixel = |row: &Tensor<2>, column: &Tensor<2>| {
        let index: Tensor<2, Int> = (row.clone().mul_scalar(width as f32) + column.clone()).int();
        levels.clone().gather(1, index)
    };
    let mix = |a: Tensor<2>, b: Tensor<2>, share: &Tensor<2>| a.clone() + (b - a) * share.clone();
    let top = mix(pixel(&upper, &left), pixel(&upper, &right), &share_x);
    let low = mix(pixel(&lower, &left), pixel(&lower, &right), &share_x);
    mix(top, low, &share_y)
}

/// Brightness and contrast.
fn toned(levels: Tensor<2>, variations: &[Variation], device: &Device) -> Tensor<2> {
    if variations.iter().all(|v| (v.brightness, v.contrast) == (1.0, 1.0)) {
        return levels;
    }
    let brightness = column(variations, device, |v| v.brightness);
    let contrast = column(variations, device, |v| v.contrast);
    let mean = levels.clone().mean_dim(1);
    ((mean.clone() + (levels - mean) * contrast) * brightness).clamp(0.0, 255.0)
}

/// Rectangles of noise.
fn erased(levels: Tensor<2>, variations: &[Variation], width: usize, height: usize, device: &Device) -> Tensor<2> {
    if variations.iter().all(|v| v.erased.is_none()) {
        return levels;
    }
    let pixels = width * height;
    // Where there is no noise: a number that is no level.
    let mut noise = vec![-1.0; variations.len() * pixels];
    for (variation, image) in variations.iter().zip(noise.chunks_exact_mut(pixels)) {
        variation.erased.iter().for_each(|erased| erased.fill(image, width));
    }
    let noise = Tensor::<2>::from_data(TensorData::new(noise, [variations.len(), pixels]), device);
    levels.mask_where(noise.clone().greater_equal_elem(0.0), noise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Augmentation, Draw};

    #[test]
    fn images_are_varied_as_on_the_cpu() {
        let (width, height, n) = (12, 9, 24);
        let pixels: Vec<u8> = (0..n * width * height).map(|i| (i * 37 % 251) as u8).collect();
        let each = Augmentation { shift: 0.2, rotation: 20.0, zoom: 0.2, flip: 0.5, crop: 0.1, ..Default::default() };
        let rows = [
            ("nothing", Augmentation::default()),
            ("geometry", each),
            ("tone", Augmentation { brightness: 0.3, contrast: 0.4, ..Default::default() }),
            ("noise", Augmentation { erase: 0.5, ..Default::default() }),
            ("all", Augmentation { brightness: 0.3, contrast: 0.4, erase: 0.5, ..each }),
        ];
        let mut wrong = Vec::new();
        for (name, augmentation) in rows {
            let draw = |i: usize| Draw { seed: 5, epoch: 2, index: i as u64 };
            let mut expected = vec![0.0; pixels.len()];
            for (i, out) in expected.chunks_exact_mut(width * height).enumerate() {
                augmentation.apply(&pixels[i * width * height..][..width * height], width, height, draw(i), out);
            }
            let variations: Vec<_> = (0..n).map(|i| augmentation.variation(width, height, draw(i))).collect();
            let levels: Vec<f32> = pixels.iter().map(|p| f32::from(*p)).collect();
            let levels = Tensor::from_data(TensorData::new(levels, [n, width * height]), &Device::flex());
            let found: Vec<f32> = render(levels, &variations, width, height).into_data().try_into_vec().unwrap();
            let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if apart > 0.01 {
                wrong.push(format!("{name}: {apart} levels apart"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
