//! How light the pixels are: brightness and contrast.

/// Multiplies all levels with `brightness` and their differences from the image's mean with
/// `contrast` as well; the result is kept within 0..=255.
pub(super) fn tone(pixels: &mut [f32], brightness: f32, contrast: f32) {
    let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
    for value in pixels {
        *value = (brightness * (mean + contrast * (*value - mean))).clamp(0.0, 255.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_scales_and_contrast_spreads() {
        let cases: [(f32, f32, [f32; 4]); 5] = [
            (1.0, 1.0, [0.0, 50.0, 100.0, 250.0]),
            (0.5, 1.0, [0.0, 25.0, 50.0, 125.0]),
            (1.0, 0.5, [50.0, 75.0, 100.0, 175.0]),
            (1.0, 0.0, [100.0; 4]),
            (1.5, 2.0, [0.0, 0.0, 150.0, 255.0]),
        ];
        let mut wrong = Vec::new();
        for (brightness, contrast, expected) in cases {
            let mut pixels = [0.0, 50.0, 100.0, 250.0];
            tone(&mut pixels, brightness, contrast);
            if pixels != expected {
                wrong.push(format!(
                    "brightness {brightness}, contrast {contrast}: {pixels:?}, not {expected:?}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
