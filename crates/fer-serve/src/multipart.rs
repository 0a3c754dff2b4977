//! Forms (`multipart/form-data`, RFC 7578): a body in memory → its parts.

use bytes::Bytes;

use crate::problem::Problem;

/// The most header fields of a part.
const HEADERS: usize = 16;

/// The longest boundary (RFC 2046).
const MAX_BOUNDARY: usize = 70;

/// A part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The field's name.
    pub(crate) name: String,
    /// The file's name, if it is one.
    pub(crate) file: Option<String>,
    /// The content.
    pub(crate) content: Bytes,
}

/// The boundary that a `Content-Type` names, if it is a form's.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let named = key.trim().eq_ignore_ascii_case("boundary");
        named.then_some(unquoted.unwrap_or(value))
    });
    found.filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))
}

/// The parts of a form, at most `limit`.
pub(crate) fn parts(body: &Bytes, boundary: &str, limit: usize) -> Result<Vec<Part>, Problem> {
    let cut_off = || Problem::bad("the form is cut off, or its boundary is another one");
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter may stand at the beginning, without a line before it.
    let mut at = if body.starts_with(&delimiter[2..]) {
        delimiter.len() - 2
    } else {
        find(body, &delimiter, 0).ok_or_else(cut_off)? + delimiter.len()
    };
    let mut parts = Vec::new();
    loop {
        match body.get(at..).unwrap_or_default() {
            [b'-', b'-', ..] => return Ok(parts),
            [b'\r', b'\n', ..] => at += 2,
            _ => return Err(cut_off()),
        }
        let end = find(body, &delimiter, at).ok_or_else(cut_off)?;
        if parts.len() == limit {
            let reason = format!("the form has more than {limit} parts");
            return Err(Problem::too_large(reason));
        }
        parts.push(part(body.slice(at..end))?);
        at = end + delimiter.len();
    }
}

/// A part: its header fields, an empty line, its content.
fn part(bytes: Bytes) -> Result<Part, Problem> {
    let bad = || Problem::bad("a part of the form has no header that names its field");
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let (length, headers) = match httparse::parse_headers(&bytes, &mut headers) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        _ => return Err(bad()),
    };
    let disposition = headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-disposition"));
    let disposition = disposition.ok_or_else(bad)?;
    let disposition = String::from_utf8_lossy(disposition.value);
    let name = parameter(&disposition, "name").ok_or_else(bad)?;
    let file = parameter(&disposition, "filename");
    let content = bytes.slice(length..);
    Ok(Part {
        name,
        file,
        content,
    })
}

/// A parameter of a `Content-Disposition`, whose values may be quoted and hold semicolons.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = match value.trim_start().strip_prefix('"') {
            None => {
                let (value, after) = value.split_once(';').unwrap_or((value, ""));
                (value.trim().to_owned(), after)
            }
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next()? {
                        (end, '"') => break end,
                        (_, '\\') => text.push(chars.next()?.1),
                        (_, c) => text.push(c),
                    }
                };
                let after = &quoted[end + 1..];
                (text, after.split_once(';').map_or("", |(_, after)| after))
            }
        };
        if key.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|b| *b == first)?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(parts: &[(&str, Option<&str>, &[u8])], boundary: &str) -> Bytes {
        let mut form = Vec::new();
        for (name, file, content) in parts {
            let file = file.map_or(String::new(), |f| format!("; filename=\"{f}\""));
            form.extend(
                format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
                )
                .bytes(),
            );
            form.extend(*content);
            form.extend(b"\r\n");
        }
        form.extend(format!("--{boundary}--\r\n").bytes());
        form.into()
    }

    #[test]
    fn boundaries_are_found_and_bounded() {
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        let rows = [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"",
                Some("a b"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
            ("image/jpeg", None),
            (&long, None),
        ];
        let wrong: Vec<_> = rows.iter().filter(|(t, b)| boundary(t) != *b).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn forms_of_curl_and_browsers_are_read() {
        let body = form(
            &[
                ("images", Some("a;\\\"b.jpg"), b"\r\n--ab\r\n"),
                ("x", None, b""),
            ],
            "abc",
        );
        let found = parts(&body, "abc", 2).unwrap();
        assert_eq!(found[0].file.as_deref(), Some("a;\"b.jpg"));
        assert_eq!(&found[0].content[..], b"\r\n--ab\r\n");
        assert_eq!((found[1].name.as_str(), &found[1].file), ("x", &None));
        assert_eq!(parts(&body, "abc", 1).unwrap_err().status, 413);
        for cut in 0..body.len() - 4 {
            assert!(parts(&body.slice(..cut), "abc", 2).is_err(), "{cut}");
        }
        assert!(parts(&form(&[], "abc"), "abc", 2).unwrap().is_empty());
        assert!(parts(&body, "abcd", 2).is_err());
    }

    proptest! {
        #[test]
        fn what_is_put_into_a_form_comes_out(contents in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..64), 0..5)) {
            let rows: Vec<_> = contents.iter().map(|c| ("f", Some("n"), &c[..])).collect();
            let boundary = "----boundary-that-64-random-bytes-do-not-hold";
            let found = parts(&form(&rows, boundary), boundary, 5).unwrap();
            let found: Vec<_> = found.iter().map(|p| p.content.to_vec()).collect();
            prop_assert_eq!(found, contents);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(
            prop::sample::select(b"-ab\r\n:;=\"\\ \0\xff".to_vec()), 0..200)) {
            let _ = parts(&bytes.into(), "a", 10);
        }

        #[test]
        fn any_header_is_read_or_refused(text in "[a-z=;\" \\\\é-]{0,60}") {
            let _ = parameter(&text, "name");
            let _ = boundary(&text);
        }
    }
}
