//! Numbers as users and files write them: `0.5`, `1/255`, `[0.485, 0.456, 0.406]`.

/// Parses a finite number or a fraction such as `1/255`.
///
/// # Errors
/// It is neither.
pub fn parse_number(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((a, b)) => number(a).zip(number(b)).map(|(a, b)| a / b),
        None => number(text),
    };
    value
        .filter(|v| (*v as f32).is_finite())
        .ok_or_else(|| format!("'{text}' is not a number"))
}

/// Parses a factor for pixels, or a divisor: a number that is not 0 as float32 either.
///
/// # Errors
/// It is not such a number.
pub fn parse_factor(text: &str) -> Result<f64, String> {
    parse_number(text)
        .ok()
        .filter(|v| *v as f32 != 0.0)
        .ok_or_else(|| format!("'{text}' is not a number other than 0"))
}

/// Parses numbers separated by commas, in brackets or not.
///
/// # Errors
/// One of them is not a number.
pub fn parse_numbers(text: &str) -> Result<Vec<f64>, String> {
    text.trim()
        .trim_matches(['[', ']'])
        .split(',')
        .map(parse_number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_fractions() {
        let rows = [
            ("1/127.5", Ok(1.0 / 127.5)),
            (" -0.5 ", Ok(-0.5)),
            ("0", Ok(0.0)),
            ("1/0", Err(())),
            ("NaN", Err(())),
            ("1e39", Err(())),
            ("", Err(())),
            ("1/2/3", Err(())),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(text, value)| parse_number(text).map_err(drop) != *value)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(parse_numbers("[0.5, 1/4,2]"), Ok(vec![0.5, 0.25, 2.0]));
        assert_eq!(parse_factor("1e-50").map_err(drop), Err(()));
    }
}
