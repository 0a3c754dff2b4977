//! The names of classes in the YAML head of a data set's `README.md`, as Hugging Face writes it:
//!
//! ```yaml
//! ---
//! dataset_info:
//!   features:
//!   - name: label
//!     dtype:
//!       class_label:
//!         names:
//!           '0': angry
//!           '1': happy
//! ---
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// No head is longer, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The names of the classes of the column `label`, in their order, that the `README.md` in a folder
/// gives; `None` if there is no such file or it gives none.
pub fn classes(folder: &Path, label: Option<&str>) -> Option<Vec<String>> {
    let file = File::open(folder.join("README.md")).ok()?;
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    names(&String::from_utf8_lossy(&text), label)
}

/// The same for the file's text. Without a column, the first one with classes counts.
fn names(text: &str, label: Option<&str>) -> Option<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    let head = text.strip_prefix("---")?;
    let lines = head.lines().skip(1);
    let mut lines = lines
        .take_while(|line| line.trim_end() != "---")
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .peekable();
    let mut column = None;
    let mut in_class_label = false;
    while let Some(line) = lines.next() {
        let text = line.trim_start().trim_start_matches("- ").trim();
        if let Some(name) = text.strip_prefix("name:") {
            column = Some(scalar(name));
            in_class_label = false;
        }
        in_class_label |= text == "class_label:";
        if text != "names:" || !in_class_label {
            continue;
        }
        in_class_label = false;
        if label.is_some() && label != column.as_deref() {
            continue;
        }
        let depth = indent(line);
        let mut found = BTreeMap::new();
        // A list may stand as deep as its key.
        while let Some(line) = lines.next_if(|line| {
            indent(line) > depth || indent(line) == depth && line.trim_start().starts_with("- ")
        }) {
            let entry = line.trim();
            let (number, name) = match entry.strip_prefix("- ") {
                Some(name) => (found.len(), name),
                None => {
                    let (number, name) = entry.split_once(':')?;
                    (scalar(number).parse().ok()?, name)
                }
            };
            found.insert(number, scalar(name));
        }
        let whole = found.keys().copied().eq(0..found.len());
        return (whole && !found.is_empty()).then(|| found.into_values().collect());
    }
    None
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A value without its quotes, or the comment behind it.
fn scalar(text: &str) -> String {
    let text = text.trim();
    for quote in ['\'', '"'] {
        if let Some(rest) = text.strip_prefix(quote) {
            let inner = rest.split(quote).next().unwrap_or(rest);
            return inner.to_string();
        }
    }
    text.split(" #").next().unwrap_or(text).trim().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_classes() {
        let numbered = "---\nlicense: mit\ndataset_info:\n  features:\n  - name: image\n    dtype: \
                        image\n  - name: label\n    dtype:\n      class_label:\n        names:\n          \
                        '0': angry # so\n          '1': \"happy: yes\"\n          2: sad\n  splits:\n  \
                        - name: train\n---\n# x\n";
        let listed = "---\ndataset_info:\n- config_name: a\n  features:\n    - name: other\n      \
                      dtype:\n        class_label:\n          names:\n          - x\n    - name: \
                      label\n      dtype:\n        class_label:\n          names:\n          - no\n          \
                      - yes\n---\n";
        type Row<'a> = (&'a str, Option<&'a str>, Option<&'a [&'a str]>);
        let rows: [Row; 7] = [
            (
                numbered,
                Some("label"),
                Some(&["angry", "happy: yes", "sad"]),
            ),
            (numbered, Some("emotion"), None),
            (numbered, None, Some(&["angry", "happy: yes", "sad"])),
            (listed, Some("label"), Some(&["no", "yes"])),
            (listed, None, Some(&["x"])),
            ("# A title\nnames:\n- a\n", None, None),
            ("---\nclass_label:\n  names:\n    '1': a\n---\n", None, None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(text, label, right)| (names(text, *label), right))
            .filter(|(found, right)| {
                let right = right.map(|r| r.iter().map(|s| s.to_string()).collect::<Vec<_>>());
                *found != right
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(---\n)?([a-z: \n'\"-]{0,20}|names:\n|class_label:\n){0,12}") {
            names(&text, None);
        }
    }
}
