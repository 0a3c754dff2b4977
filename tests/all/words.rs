//! The libraries say what is wrong; flags and commands of the program are named in `src/cli/`
//! alone, as a server or another program has none of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files whose texts hold a flag or a command, and why. One that holds none any more is an error.
const ALLOWED: [(&str, &str); 4] = [
    (
        "crates/fer-burn/src/device/list.rs",
        "arguments of nvidia-smi",
    ),
    ("crates/fer-ort/src/runtime/pip.rs", "arguments of pip"),
    (
        "crates/fer-ort/src/runtime/testing.rs",
        "a fake pip for tests",
    ),
    ("src/parity/keras.rs", "arguments of the Keras script"),
];

/// The string literals of a Rust file, without comments and without its module of tests.
fn literals(source: &str) -> Vec<String> {
    let text = without_tests(source);
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, here) = rest.split_at(at);
        rest = if let Some(comment) = here.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = here.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else if let Some(character) = here.strip_prefix('\'') {
            after_quote(character)
        } else if let Some(literal) = here.strip_prefix('"') {
            let (literal, rest) = match raw_end(before) {
                Some(end) => literal.split_once(end.as_str()).unwrap_or((literal, "")),
                None => plain(literal),
            };
            found.push(literal.to_string());
            rest
        } else {
            &here[1..]
        };
    }
    found
}

/// What stands before the module of tests.
fn without_tests(source: &str) -> &str {
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let attributes = &source[..start];
        if line.starts_with("mod tests {") && attributes.contains("#[cfg(test)]") {
            return &source[..start];
        }
        start += line.len();
    }
    source
}

/// What stands behind a character, or behind the quote of a lifetime.
fn after_quote(text: &str) -> &str {
    let mut chars = text.char_indices();
    match (chars.next(), chars.next()) {
        // An escape of one character; what follows of a longer one holds no quote but its last.
        (Some((_, '\\')), Some((at, c))) => {
            let rest = &text[at + c.len_utf8()..];
            rest.split_once('\'').map_or("", |(_, rest)| rest)
        }
        (Some(_), Some((at, '\''))) => &text[at + 1..],
        _ => text,
    }
}

/// The end of a raw string, if `before` ends in the beginning of one: `"##` for `r##`.
fn raw_end(before: &str) -> Option<String> {
    let name = before.trim_end_matches('#');
    let hashes = &before[name.len()..];
    let begins = name
        .strip_suffix('r')
        .map(|n| n.strip_suffix('b').unwrap_or(n))?;
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    (!begins.ends_with(is_name)).then(|| format!("\"{hashes}"))
}

/// A string with escapes, and what stands behind it.
fn plain(text: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// Whether a text names a flag, as `--model`, or a command, as `` `fer infer` ``.
fn names_flag_or_command(text: &str) -> bool {
    let flag = text
        .match_indices("--")
        .any(|(at, _)| text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase()));
    flag || text.contains("`fer ")
}

/// The Rust files below a folder, without those that hold nothing but tests (`tests.rs`).
fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn flags_are_named_by_the_command_line_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files).unwrap();
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files).unwrap();
    }
    let cli = root.join("src/cli");
    files.retain(|file| !file.starts_with(&cli));
    assert!(files.len() > 100, "{} files are read", files.len());

    let allowed: BTreeSet<&str> = ALLOWED.iter().map(|(file, _)| *file).collect();
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in files {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        let name = name.replace('\\', "/");
        let source = std::fs::read_to_string(&file).unwrap();
        for text in literals(&source) {
            if !names_flag_or_command(&text) {
                continue;
            }
            match allowed.get(name.as_str()) {
                Some(file) => drop(used.insert(*file)),
                None => wrong.push(format!("{name}: {text}")),
            }
        }
    }
    let unused = allowed.difference(&used);
    wrong.extend(unused.map(|file| format!("{file} names no flag: take it off the list")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn literals_are_told_from_comments_and_tests() {
    let source = r##"
        //! "comment"
        fn f<'a>(x: &'a str) -> char { /* "block" */
            let _ = ("one \" quote", r#"raw " quote"#, b"bytes", '"', '\'', '\u{22}', "two
            lines");
            '/' // "comment"
        }
#[cfg(test)]
mod tests {
    const T: &str = "in a test";
}
"##;
    assert_eq!(
        literals(source),
        [
            "one \\\" quote",
            "raw \" quote",
            "bytes",
            "two\n            lines"
        ]
    );
}

#[test]
fn flags_and_commands_are_seen() {
    let rows = [
        ("use --model", true),
        ("--x", true),
        ("see `fer doctor`", true),
        ("fer's own", false),
        ("`fer`", false),
        ("a -- b", false),
        ("---", false),
        ("-v", false),
    ];
    let wrong: Vec<_> = rows
        .iter()
        .filter(|(text, is)| names_flag_or_command(text) != *is)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
