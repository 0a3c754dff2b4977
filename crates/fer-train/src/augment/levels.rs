//! What becomes of each level of the source: histogram equalization and gamma, as one table.

/// The levels of an 8-bit pixel.
pub(super) const LEVELS: usize = 256;

/// The level that each of the 256 becomes: `pixels` equalized, if `equalize` says so, then
/// `255 · (level / 255)^gamma`.
pub(super) fn table(pixels: &[u8], equalize: bool, gamma: f64) -> Vec<f32> {
    let levels = if equalize {
        equalized(pixels)
    } else {
        std::array::from_fn(|level| level as u8)
    };
    let powered = |level: u8| match gamma == 1.0 {
        true => f32::from(level),
        false => (255.0 * (f64::from(level) / 255.0).powf(gamma)) as f32,
    };
    levels.into_iter().map(powered).collect()
}

/// Histogram equalization as OpenCV's `equalizeHist` defines it: of `n` pixels, of which `c(l)`
/// have level `l` or a lower one and `c₀` the lowest that there is, level `l` becomes
/// `255 · (c(l) − c₀) / (n − c₀)`, rounded. So the lowest becomes 0 and the highest 255; an image
/// of one level stays as it is. Returns what each level becomes.
pub fn equalized(pixels: &[u8]) -> [u8; 256] {
    let mut counts = [0_usize; LEVELS];
    pixels
        .iter()
        .for_each(|level| counts[usize::from(*level)] += 1);
    let lowest = counts.iter().copied().find(|count| *count > 0).unwrap_or(0);
    let others = pixels.len() - lowest;
    let mut up_to = 0;
    std::array::from_fn(|level| {
        up_to += counts[level];
        match others {
            0 => level as u8,
            _ => ((510 * up_to.saturating_sub(lowest) + others) / (2 * others)) as u8,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of 8x8 pixels of <https://en.wikipedia.org/wiki/Histogram_equalization>: level,
    /// pixels up to it, result.
    const EXAMPLE: [(u8, usize, f32); 37] = [
        (52, 1, 0.0),
        (55, 4, 12.0),
        (58, 6, 20.0),
        (59, 9, 32.0),
        (60, 10, 36.0),
        (61, 14, 53.0),
        (62, 15, 57.0),
        (63, 17, 65.0),
        (64, 19, 73.0),
        (65, 22, 85.0),
        (66, 24, 93.0),
        (67, 25, 97.0),
        (68, 30, 117.0),
        (69, 33, 130.0),
        (70, 37, 146.0),
        (71, 39, 154.0),
        (72, 40, 158.0),
        (73, 42, 166.0),
        (75, 43, 170.0),
        (76, 44, 174.0),
        (77, 45, 178.0),
        (78, 46, 182.0),
        (79, 48, 190.0),
        (83, 49, 194.0),
        (85, 51, 202.0),
        (87, 52, 206.0),
        (88, 53, 210.0),
        (90, 54, 215.0),
        (94, 55, 219.0),
        (104, 57, 227.0),
        (106, 58, 231.0),
        (109, 59, 235.0),
        (113, 60, 239.0),
        (122, 61, 243.0),
        (126, 62, 247.0),
        (144, 63, 251.0),
        (154, 64, 255.0),
    ];

    #[test]
    fn histograms_are_equalized() {
        let mut pixels = Vec::new();
        for (level, up_to, _) in EXAMPLE {
            pixels.resize(up_to, level);
        }
        let table = table(&pixels, true, 1.0);
        let wrong: Vec<_> = EXAMPLE
            .iter()
            .filter(|(level, _, expected)| table[usize::from(*level)] != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?} of {table:?}");
    }

    #[test]
    fn an_image_of_one_level_stays() {
        let table = table(&[77; 9], true, 1.0);
        assert_eq!(table[77], 77.0);
    }

    #[test]
    fn gamma_bends_between_the_ends() {
        let cases = [
            (1.0, [0.0, 51.0, 255.0]),
            (2.0, [0.0, 10.2, 255.0]),
            (0.5, [0.0, 114.039_47, 255.0]),
        ];
        let mut wrong = Vec::new();
        for (gamma, expected) in cases {
            let table = table(&[], false, gamma);
            let found = [0, 51, 255].map(|level| table[level]);
            if found
                .iter()
                .zip(expected)
                .any(|(a, b)| (a - b).abs() > 1e-4)
            {
                wrong.push(format!("gamma {gamma}: {found:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
