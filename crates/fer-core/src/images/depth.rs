//! 16-bit images whose values use fewer bits ([`guess`]), as cameras of 10, 12 or 14 bits and
//! programs that widen 8 bits write them.

/// The bits that values of fewer than 16 are taken to have.
const BITS: [u32; 4] = [8, 10, 12, 14];

/// How many bits the 16-bit values of an image seem to have, 8, 10, 12 or 14: the fewest that hold
/// them all. `None` if they need 16, and for what a dark image of 16 bits looks like: nothing but
/// zeros, values whose low bits are not used, or 8 bits that were spread over 16 (×257).
///
/// It is a guess: an image of 16 bits may be that dark.
pub(super) fn guess(values: impl Iterator<Item = u16>) -> Option<u8> {
    let (mut all, mut spread) = (0, true);
    for value in values {
        all |= value;
        spread &= value % 257 == 0;
    }
    let used = u16::BITS - all.leading_zeros();
    let bits = BITS.into_iter().find(|bits| used <= *bits)?;
    let aligned = all.trailing_zeros() >= u16::BITS - bits;
    (all != 0 && !spread && !aligned).then_some(bits as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_guessed_from_all_values() {
        let ramp = |to: u16, step: usize| (0..=to).step_by(step).collect::<Vec<u16>>();
        let rows = [
            ("16 bits", ramp(65_535, 7), None),
            ("12 bits", ramp(4095, 3), Some(12)),
            ("a little over 12 bits", vec![0, 3, 4096], Some(14)),
            ("14 bits", ramp(16_383, 5), Some(14)),
            ("a little over 14 bits", vec![1, 16_384], None),
            ("10 bits", vec![700, 1023], Some(10)),
            ("8 bits", ramp(255, 1), Some(8)),
            ("black", vec![0; 9], None),
            ("8 bits spread over 16", ramp(15 * 257, 257), None),
            ("12 bits at the top", ramp(4080, 16), None),
            ("none", vec![], None),
        ];
        let wrong: Vec<_> = rows
            .into_iter()
            .map(|(what, values, bits)| (what, guess(values.into_iter()), bits))
            .filter(|(_, found, bits)| found != bits)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
