//! Class names in a Python literal: `{0: 'angry', 1: "it's"}` or `['angry', 'sad']`.

/// Parses a dictionary of numbers and strings, or a list of strings; JSON is a part of that.
/// `None` if it is neither, or the numbers are not 0, 1, ….
pub(super) fn names(text: &str) -> Option<Vec<String>> {
    let mut chars = text.trim().chars().peekable();
    let is_list = match chars.next()? {
        '{' => false,
        '[' => true,
        _ => return None,
    };
    let close = if is_list { ']' } else { '}' };
    let mut entries = Vec::new();
    loop {
        skip_spaces(&mut chars);
        if chars.next_if_eq(&close).is_some() {
            break;
        }
        let key = if is_list {
            entries.len()
        } else {
            let key = key(&mut chars)?;
            skip_spaces(&mut chars);
            chars.next_if_eq(&':')?;
            skip_spaces(&mut chars);
            key
        };
        entries.push((key, string(&mut chars)?));
        skip_spaces(&mut chars);
        if chars.next_if_eq(&',').is_none() && chars.peek() != Some(&close) {
            return None;
        }
    }
    chars.next().is_none().then(|| in_order(entries)).flatten()
}

/// Names in the order of their indices, which must be 0, 1, …, each once.
pub(super) fn in_order(mut entries: Vec<(usize, String)>) -> Option<Vec<String>> {
    entries.sort_by_key(|(index, _)| *index);
    let whole = entries
        .iter()
        .enumerate()
        .all(|(i, (index, _))| i == *index);
    (whole && !entries.is_empty()).then(|| entries.into_iter().map(|(_, name)| name).collect())
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_spaces(chars: &mut Chars<'_>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

/// A number, in quotes or not.
fn key(chars: &mut Chars<'_>) -> Option<usize> {
    if matches!(chars.peek(), Some('\'' | '"')) {
        return string(chars)?.parse().ok();
    }
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok()
}

/// A string in single or double quotes.
fn string(chars: &mut Chars<'_>) -> Option<String> {
    let quote = chars.next_if(|c| matches!(c, '\'' | '"'))?;
    let mut text = String::new();
    loop {
        match chars.next()? {
            c if c == quote => return Some(text),
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'x' => code(chars, 2)?,
                'u' => code(chars, 4)?,
                'U' => code(chars, 8)?,
                c => c,
            }),
            c => text.push(c),
        }
    }
}

/// A character by its hexadecimal code of so many digits.
fn code(chars: &mut Chars<'_>, digits: usize) -> Option<char> {
    let text: String = chars.by_ref().take(digits).collect();
    char::from_u32(u32::from_str_radix(&text, 16).ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dictionaries_lists_and_what_is_neither() {
        let rows: [(&str, Option<&[&str]>); 14] = [
            ("{0: 'anger', 1: 'joy'}", Some(&["anger", "joy"])),
            ("{1: \"it's\", 0: 'a\\'b',}", Some(&["a'b", "it's"])),
            (r#"{"0": "a", "1": "b"}"#, Some(&["a", "b"])),
            ("['a', \"b\"]", Some(&["a", "b"])),
            ("{0: 'caf\\xe9', 1: '\\u5f97'}", Some(&["café", "得"])),
            ("{0: 'a', 2: 'b'}", None),
            ("{0: 'a', 0: 'b'}", None),
            ("{0: 'a' 1: 'b'}", None),
            ("{0: 'a'} x", None),
            ("{0: 'a'", None),
            ("{0: a}", None),
            ("{99999999999999999999: 'a'}", None),
            ("{}", None),
            ("angry,sad", None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(text, names)| {
                super::names(text).as_deref()
                    != names
                        .map(|n| n.iter().map(ToString::to_string).collect::<Vec<_>>())
                        .as_deref()
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
