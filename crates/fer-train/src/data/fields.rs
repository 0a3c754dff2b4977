//! The fields of a line of a CSV file, and numbers in them.

/// The fields of a line, without the blanks and quotes around them; a `delimiter` in quotes
/// divides nothing.
pub(super) fn fields(line: &[u8], delimiter: u8) -> Vec<&[u8]> {
    let mut quoted = false;
    let divides = |b: &u8| {
        quoted ^= *b == b'"';
        *b == delimiter && !quoted
    };
    let unquoted =
        |field: &'_ [u8]| field.len() >= 2 && field.starts_with(b"\"") && field.ends_with(b"\"");
    let fields = line.split(divides).map(<[u8]>::trim_ascii);
    fields
        .map(|f| {
            if unquoted(f) {
                f[1..f.len() - 1].trim_ascii()
            } else {
                f
            }
        })
        .collect()
}

/// A number of 0 to 255 in one to three digits.
pub(super) fn number(text: &[u8]) -> Option<u8> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    let value = text.iter().try_fold(0u16, |value, b| {
        b.is_ascii_digit().then(|| 10 * value + u16::from(b - b'0'))
    });
    value.and_then(|value| u8::try_from(value).ok())
}

/// A whole number of 0 to 255, also as programs write numbers that need not be whole: `7.0`,
/// `7.`, `7.000e+00`.
pub(super) fn whole(text: &[u8]) -> Option<u8> {
    number(text).or_else(|| {
        let is_written_so =
            text.first()?.is_ascii_digit() && text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
        let value = float(text).filter(|_| is_written_so)?;
        let whole = value as u8;
        (f64::from(whole) == value).then_some(whole)
    })
}

/// Any number, also one that is not finite.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// At most 40 characters of a field, to be shown.
pub(super) fn shorten(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(&field[..field.len().min(160)]);
    let mut short: String = text
        .chars()
        .take(40)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().count() > 40 || field.len() > 160 {
        short.push('…');
    }
    short
}
