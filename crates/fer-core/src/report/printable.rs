//! Text from files and their names that is safe to print on a terminal.

use std::borrow::Cow;

/// The text with escapes (`\n`, `\u{1b}`) for control characters, which could move the cursor or
/// change colors, for line separators, and for marks that change the direction of writing.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_harmful(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmful_characters_are_escaped() {
        let rows = [
            ("a b.png", "a b.png"),
            ("Gesicht é 顔 😀.png", "Gesicht é 顔 😀.png"),
            ("a\u{1b}[31mb\nc\t\r", r"a\u{1b}[31mb\nc\t\r"),
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            ("a\u{202e}gnp.b", r"a\u{202e}gnp.b"),
            ("a\\b", "a\\b"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(text, expected)| printable(text) != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
