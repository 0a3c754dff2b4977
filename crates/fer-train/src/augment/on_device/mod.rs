//! The same augmentation as tensor operations, for images that lie on a GPU: what is drawn is drawn
//! on the CPU, what happens to the pixels happens there. Equal to
//! [`Augmentation::apply`](super::Augmentation::apply) within rounding.

mod quality;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Variation;
use super::levels::LEVELS;

/// Varies images: `levels` are `[n, channels · height · width]` pixel levels 0..=255, and so is the
/// result.
///
/// # Panics
/// If there are not as many variations as images, or the images are not of whole channels of
/// `width × height` pixels.
pub fn render(
    levels: Tensor<2>,
    variations: &[Variation],
    width: usize,
    height: usize,
) -> Tensor<2> {
    let device = levels.device();
    let (n, plane) = (variations.len(), width * height);
    let channels = levels.dims()[1] / plane.max(1);
    assert_eq!(
        levels.dims(),
        [n, channels * plane],
        "images of channels of {width}x{height} pixels and their variations"
    );
    // What happens to each channel on its own happens to it as if it were an image.
    let of_planes: Vec<Variation> = match channels {
        1 => Vec::new(),
        _ => variations
            .iter()
            .flat_map(|variation| std::iter::repeat_n(variation.clone(), channels))
            .collect(),
    };
    let of_planes = match channels {
        1 => variations,
        _ => &of_planes,
    };
    let planes = |levels: Tensor<2>| levels.reshape([n * channels, plane]);
    let images = |levels: Tensor<2>| levels.reshape([n, channels * plane]);
    let levels = bent(levels, variations, &device);
    let levels = images(resampled(planes(levels), of_planes, width, height));
    let levels = planes(toned(levels, variations, &device));
    let levels = quality::softened(levels, of_planes, width, height);
    let levels = images(quality::compressed(levels, of_planes, width, height));
    erased(levels, variations, channels, width, &device)
}

/// One number of each variation, as a column.
fn column(
    variations: &[Variation],
    device: &Device,
    number: impl Fn(&Variation) -> f32,
) -> Tensor<2> {
    let numbers: Vec<f32> = variations.iter().map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [variations.len(), 1]), device)
}

/// Equalization and gamma: each level of the source, which is a whole one, is looked up in its
/// image's table.
fn bent(levels: Tensor<2>, variations: &[Variation], device: &Device) -> Tensor<2> {
    if variations.iter().all(|v| v.levels.is_none()) {
        return levels;
    }
    let same: Vec<f32> = (0..LEVELS).map(|level| level as f32).collect();
    let tables: Vec<f32> = variations
        .iter()
        .flat_map(|v| v.levels.as_ref().unwrap_or(&same))
        .copied()
        .collect();
    let tables =
        Tensor::<2>::from_data(TensorData::new(tables, [variations.len(), LEVELS]), device);
    tables.gather(1, levels.int())
}

/// Geometry: each pixel of the result looks up its place in the source.
fn resampled(
    levels: Tensor<2>,
    variations: &[Variation],
    width: usize,
    height: usize,
) -> Tensor<2> {
    let device = levels.device();
    let pixels = width * height;
    let line = |of: fn(usize, usize) -> usize| {
        let numbers: Vec<f32> = (0..pixels).map(|i| of(i, width) as f32).collect();
        Tensor::<2>::from_data(TensorData::new(numbers, [1, pixels]), &device)
    };
    let (x, y) = (line(|i, width| i % width), line(|i, width| i / width));
    let maps: Vec<[[f64; 3]; 2]> = variations
        .iter()
        .map(|v| v.geometry.map(width as f64, height as f64))
        .collect();
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
    if variations
        .iter()
        .all(|v| (v.brightness, v.contrast) == (1.0, 1.0))
    {
        return levels;
    }
    let brightness = column(variations, device, |v| v.brightness);
    let contrast = column(variations, device, |v| v.contrast);
    let mean = levels.clone().mean_dim(1);
    ((mean.clone() + (levels - mean) * contrast) * brightness).clamp(0.0, 255.0)
}

/// Rectangles of noise.
fn erased(
    levels: Tensor<2>,
    variations: &[Variation],
    channels: usize,
    width: usize,
    device: &Device,
) -> Tensor<2> {
    if variations.iter().all(|v| v.erased.is_none()) {
        return levels;
    }
    let values = levels.dims()[1];
    // Where there is no noise: a number that is not a level.
    let mut noise = vec![-1.0; variations.len() * values];
    for (variation, image) in variations.iter().zip(noise.chunks_exact_mut(values)) {
        variation
            .erased
            .iter()
            .for_each(|erased| erased.fill(image, channels, width));
    }
    let noise = Tensor::<2>::from_data(TensorData::new(noise, [variations.len(), values]), device);
    levels.mask_where(noise.clone().greater_equal_elem(0.0), noise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Augmentation, Draw};

    /// Levels apart, and the share of pixels that may be farther: where rounding errors decide to
    /// which side JPEG rounds an amplitude, its block is another by a step. All other errors are of
    /// float32.
    const NEAR: f32 = 0.01;
    const FARTHER: f64 = 0.002;

    /// 12x9 pixels, as no side is a multiple of 8, and 48x48.
    #[test]
    fn images_are_varied_as_on_the_cpu() {
        let off = Augmentation::default();
        let each = Augmentation {
            shift: 0.2,
            rotation: 20.0,
            zoom: 0.2,
            flip: 0.5,
            crop: 0.1,
            ..off
        };
        let tone = Augmentation {
            brightness: 0.3,
            contrast: 0.4,
            ..off
        };
        let quality = Augmentation {
            scale: [0.9, 1.25],
            gamma: 0.3,
            equalize: 0.5,
            downscale: 0.5,
            blur: 0.5,
            jpeg: 0.5,
            ..off
        };
        let all = Augmentation {
            shift: 0.2,
            rotation: 20.0,
            zoom: 0.2,
            flip: 0.5,
            crop: 0.1,
            erase: 0.5,
            ..quality
        };
        let rows = [
            ("nothing", off, 0.0),
            ("geometry", each, 0.0),
            (
                "scale",
                Augmentation {
                    scale: [0.9, 1.25],
                    ..off
                },
                0.0,
            ),
            ("tone", tone, 0.0),
            ("gamma", Augmentation { gamma: 0.3, ..off }, 0.0),
            (
                "equalize",
                Augmentation {
                    equalize: 0.5,
                    ..off
                },
                0.0,
            ),
            (
                "downscale",
                Augmentation {
                    downscale: 0.5,
                    ..off
                },
                0.0,
            ),
            ("blur", Augmentation { blur: 0.5, ..off }, 0.0),
            ("jpeg", Augmentation { jpeg: 0.5, ..off }, 0.0),
            ("noise", Augmentation { erase: 0.5, ..off }, 0.0),
            ("quality", quality, FARTHER),
            (
                "all",
                Augmentation {
                    brightness: 0.3,
                    contrast: 0.4,
                    ..all
                },
                FARTHER,
            ),
        ];
        let mut wrong = Vec::new();
        for (channels, width, height, n) in [(1, 12, 9, 64), (1, 48, 48, 64), (3, 20, 14, 64)] {
            for (name, augmentation, farther) in rows {
                let apart = apart(&augmentation, [channels, height, width], n);
                let share = apart.iter().filter(|d| **d > NEAR).count() as f64 / apart.len() as f64;
                // The largest step is 202, of which a level gets a quarter at most.
                let most = apart.iter().copied().fold(0.0, f32::max);
                println!(
                    "{width}x{height}x{channels}, {name}: {share} of the levels apart, by up to \
                     {most}"
                );
                if share > farther || most > 51.0 || apart.iter().any(|d| d.is_nan()) {
                    wrong.push(format!(
                        "{width}x{height}x{channels}, {name}: {share} of the levels apart, by up \
                         to {most}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// How far the levels of `n` images are apart from the CPU's.
    fn apart(
        augmentation: &Augmentation,
        [channels, height, width]: [usize; 3],
        n: usize,
    ) -> Vec<f32> {
        let size = channels * width * height;
        let pixels: Vec<u8> = (0..n * size).map(|i| (i * 37 % 251) as u8).collect();
        let draw = |i: usize| Draw {
            seed: 5,
            epoch: 2,
            index: i as u64,
        };
        let mut expected = vec![0.0; pixels.len()];
        let mut variations = Vec::new();
        for (i, (out, image)) in expected
            .chunks_exact_mut(size)
            .zip(pixels.chunks_exact(size))
            .enumerate()
        {
            augmentation.apply(image, width, height, draw(i), out);
            variations.push(augmentation.variation(image, width, height, draw(i)));
        }
        let levels: Vec<f32> = pixels.iter().map(|p| f32::from(*p)).collect();
        let levels = Tensor::from_data(TensorData::new(levels, [n, size]), &Device::flex());
        let found: Vec<f32> = render(levels, &variations, width, height)
            .into_data()
            .try_into_vec()
            .unwrap();
        found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .collect()
    }
}
