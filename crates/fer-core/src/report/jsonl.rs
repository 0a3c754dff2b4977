//! One JSON object per line: `{"path", "label", "confidence", "probabilities"}`, for pictures
//! `{"path", "width", "height", "faces": [{"box": {"x", "y", "w", "h"}, "score", "landmarks",
//! "label", "confidence", "probabilities"}]}`, or `{"path", "error"}`. Frames of a video have
//! "frame" and "time" too, of live sources "skipped", and their faces have "track".

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Content, FoundFace, Record, Report};
use crate::prediction::Prediction;

/// A record as a JSON object.
pub fn object(record: &Record, labels: &[String]) -> Value {
    let mut object = Map::new();
    object.insert("path".into(), json!(record.path));
    if let Some(moment) = &record.moment {
        object.insert("frame".into(), json!(moment.frame));
        object.insert("time".into(), json!(moment.rounded()));
        if let Some(skipped) = moment.skipped {
            object.insert("skipped".into(), json!(skipped));
        }
        if let Some(gap) = moment.gap {
            object.insert("gap".into(), json!((gap * 1e3).round() / 1e3));
        }
    }
    match &record.outcome {
        Ok(Content::Whole(prediction)) => add(&mut object, prediction, labels),
        Ok(Content::Faces(picture)) => {
            let faces = picture.faces.iter().map(|face| self::face(face, labels));
            object.insert("width".into(), json!(picture.width));
            object.insert("height".into(), json!(picture.height));
            object.insert("faces".into(), faces.collect());
        }
        Err(reason) => drop(object.insert("error".into(), json!(reason))),
    }
    Value::Object(object)
}

fn face(face: &FoundFace, labels: &[String]) -> Value {
    let [x, y, w, h] = face.bounds.map(number);
    let points = |points: [[f32; 2]; 5]| points.map(|point| point.map(number));
    let mut object = Map::new();
    if let Some(track) = face.track {
        object.insert("track".into(), json!(track));
    }
    object.insert("box".into(), json!({"x": x, "y": y, "w": w, "h": h}));
    object.insert("score".into(), json!(face.score.map(number)));
    object.insert("landmarks".into(), json!(face.landmarks.map(points)));
    match &face.outcome {
        Ok(prediction) => add(&mut object, prediction, labels),
        Err(reason) => drop(object.insert("error".into(), json!(reason))),
    }
    Value::Object(object)
}

/// Adds the keys of a prediction.
fn add(object: &mut Map<String, Value>, prediction: &Prediction, labels: &[String]) {
    let probabilities: Map<String, Value> = labels
        .iter()
        .zip(&prediction.probabilities)
        .map(|(label, p)| (label.clone(), number(*p)))
        .collect();
    object.insert("label".into(), json!(labels[prediction.class]));
    object.insert("confidence".into(), number(prediction.confidence()));
    object.insert("probabilities".into(), Value::Object(probabilities));
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
        self.out.write_all(b"\n")?;
        // The reader of a video's records waits for each.
        match record.moment {
            Some(_) => self.out.flush(),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
