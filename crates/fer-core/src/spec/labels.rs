//! The names of the classes.

use super::resolve::Resolver;
use super::{Basis, CSV_EMOTIONS, EMOTIONS, Field};

/// The most classes of an output that names none.
const MAX_UNNAMED: usize = 100_000;

impl Resolver<'_> {
    /// The names of the classes of an output with so many values for an image.
    pub(super) fn labels(&mut self, values: Option<usize>) -> Result<Vec<String>, String> {
        // One value is that of the second of two classes.
        let classes = values.map(|n| if n == 1 { 2 } else { n });
        if let Some(text) = self.stated("labels") {
            let labels = parse_labels(&text)?;
            return match classes {
                Some(n) if labels.len() != n => Err(format!(
                    "its metadata names {} classes, its output has {n}{}",
                    labels.len(),
                    if values == Some(1) {
                        " (one value for two)"
                    } else {
                        ""
                    }
                )),
                _ => Ok(labels),
            };
        }
        let mut misfits = Vec::new();
        let mut found = None;
        for hint in self.hints("labels") {
            match parse_labels(&hint.value) {
                Ok(labels) if classes.is_none_or(|n| n == labels.len()) => {
                    found = Some((labels, hint.source.clone()));
                    break;
                }
                Ok(labels) => misfits.push(format!("{} names {}", hint.source, labels.len())),
                Err(_) => misfits.push(format!("{} can't be used", hint.source)),
            }
        }
        if let Some((labels, source)) = found {
            let value = format!("classes {}", shortened(&labels));
            self.assume(
                Field::Labels,
                value,
                Basis::Convention(format!("from {source}")),
            );
            return Ok(labels);
        }
        let in_file = self
            .guess("labels")
            .and_then(|text| parse_labels(text).ok());
        let labels = match (in_file, classes) {
            (Some(labels), n) if n.is_none_or(|n| n == labels.len()) => labels,
            (_, Some(n)) if n == EMOTIONS.len() => EMOTIONS.map(String::from).to_vec(),
            (_, Some(n)) if n <= MAX_UNNAMED => (0..n).map(|i| format!("class_{i}")).collect(),
            (_, Some(n)) => {
                return Err(format!(
                    "its output has {n} values; a classifier has at most {MAX_UNNAMED}"
                ));
            }
            (_, None) => {
                self.missing = Some(Field::Labels);
                return Err("it does not say how many classes".into());
            }
        };
        let mut value = format!("classes {}", shortened(&labels));
        if labels == EMOTIONS {
            value = format!(
                "{value} (the order of folders; that of fer2013.csv is {})",
                CSV_EMOTIONS.join(", ")
            );
        }
        if !misfits.is_empty() {
            value = format!("{value} ({})", misfits.join("; "));
        }
        self.assume(Field::Labels, value, Basis::Guess);
        Ok(labels)
    }
}

/// All names, or the first and the last of many.
fn shortened(labels: &[String]) -> String {
    match labels {
        [first, second, .., last] if labels.len() > 20 => {
            format!("{first}, {second}, … {last} ({} in all)", labels.len())
        }
        _ => labels.join(", "),
    }
}

/// Parses class names: a JSON array, or a list separated by commas.
pub(super) fn parse_labels(text: &str) -> Result<Vec<String>, String> {
    let labels: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|e| format!("its metadata 'labels' is not a JSON array of names: {e}"))?
    } else {
        text.split(',').map(|l| l.trim().to_string()).collect()
    };
    let distinct: std::collections::HashSet<&String> = labels.iter().collect();
    if labels.len() < 2 || distinct.len() != labels.len() || labels.iter().any(String::is_empty) {
        return Err(format!(
            "its class names '{text}' are not two or more different names"
        ));
    }
    Ok(labels)
}
