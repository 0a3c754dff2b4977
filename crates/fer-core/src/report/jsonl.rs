//! One JSON object per line: `{"path", "label", "confidence", "probabilities"}` or `{"path",
//! "error"}`.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Record, Report};

/// A record as a JSON object.
pub(super) fn object(record: &Record, labels: &[String]) -> Value {
    match &record.outcome {
        Ok(prediction) => {
            let probabilities: Map<String, Value> = labels
                .iter()
                .zip(&prediction.probabilities)
                .map(|(l, p)| (l.clone(), number(*p)))
                .collect();
            json!({
                "path": record.path,
                "label": labels[prediction.class],
                "confidence": number(prediction.confidence()),
                "probabilities": probabilities,
            })
        }
        Err(reason) => json!({ "path": record.path, "error": reason }),
    }
}

/// A float32 in its own shortest digits, not those of the nearest float64.
fn number(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, Value::from)
}

pub(super) struct Jsonl<'a> {
    labels: &'a [String],
    out: Box<dyn Write + 'a>,
}

impl<'a> Jsonl<'a> {
    pub(super) fn new(labels: &'a [String], out: Box<dyn Write + 'a>) -> Self {
        Self { labels, out }
    }
}

impl Report for Jsonl<'_> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &object(record, self.labels))?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
