//! An ONNX file's header → a spec: from the metadata, else from the shapes, else from defaults,
//! which are reported.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::metadata::parse_labels;
use super::{EMOTIONS, Field, InputSpec, Layout, ModelSpec, OutputKind, Resize};
use crate::calibration::{Calibration, EXPONENTS, TEMPERATURES};
use crate::onnx::{Header, Port};

/// The largest width and height of a classifier's input. A file that states more is refused.
const MAX_INPUT_SIDE: usize = 4096;

/// The most values of a fixed batch: 1 GiB of float32.
const MAX_BATCH_LEN: usize = 1 << 28;

/// Makes a spec from a header; see [`ModelSpec::resolve`]. Collects what it assumes.
pub(super) struct Resolver<'a> {
    header: &'a Header,
    overrides: &'a BTreeMap<String, String>,
    assumed: Vec<String>,
    /// What neither file nor user says, if that is the problem.
    pub(super) missing: Option<Field>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(header: &'a Header, overrides: &'a BTreeMap<String, String>) -> Self {
        Self {
            header,
            overrides,
            assumed: Vec::new(),
            missing: None,
        }
    }

    pub(super) fn resolve(&mut self) -> Result<ModelSpec, String> {
        let input = self.only(&self.header.inputs, "input")?;
        let output = self.only(&self.header.outputs, "output")?;
        if input.elem_type != crate::onnx::ELEM_FLOAT {
            return Err(format!(
                "its input '{}' does not take float32; export it with a float32 input",
                input.name
            ));
        }
        if output.elem_type != crate::onnx::ELEM_FLOAT {
            return Err(format!(
                "its output '{}' is not float32; export it with a float32 output",
                output.name
            ));
        }
        let dims = match &input.dims {
            Some(dims) if dims.len() == 4 => dims.clone(),
            Some(dims) => {
                let rank = dims.len();
                return Err(format!(
                    "its input '{}' has rank {rank}; an image classifier takes [N, H, W, C] or [N, \
                     C, H, W]",
                    input.name
                ));
            }
            None => vec![None; 4],
        };

        let layout = self.layout(&dims)?;
        let (h, w, c) = match layout {
            Layout::Nhwc => (dims[1], dims[2], dims[3]),
            Layout::Nchw => (dims[2], dims[3], dims[1]),
        };
        let (width, height) = self.size(w, h)?;
        let channels = self.channels(c)?;
        let labels = self.labels(output)?;
        let fits = |n: usize| {
            n.checked_mul(width * height * channels)
                .is_some_and(|len| len <= MAX_BATCH_LEN)
        };
        if let Some(n) = dims[0].filter(|n| !fits(*n)) {
            return Err(format!(
                "it takes {n} images at once, which is over 1 GiB; export it with an open batch \
                 size"
            ));
        }
        Ok(ModelSpec {
            labels,
            input: InputSpec {
                layout,
                width,
                height,
                channels,
                scale: self.scale()?,
                mean: self.per_channel("mean", channels)?,
                std: self.per_channel("std", channels)?,
                resize: self.resize()?,
            },
            output: self.output_kind()?,
            calibration: self.calibration()?,
            fixed_batch: dims[0],
            assumed: std::mem::take(&mut self.assumed),
        })
    }

    fn only<'p>(&self, ports: &'p [Port], what: &str) -> Result<&'p Port, String> {
        match ports {
            [port] => Ok(port),
            _ => Err(format!(
                "it has {} {what}s; an image classifier has one",
                ports.len()
            )),
        }
    }

    /// The user's value, else the file's.
    fn meta(&self, key: &str) -> Option<&str> {
        let file = || self.header.metadata.get(&format!("fer.{key}"));
        self.overrides.get(key).or_else(file).map(String::as_str)
    }

    fn parsed<T: FromStr<Err = String>>(&self, key: &str) -> Result<Option<T>, String> {
        self.meta(key)
            .map(|v| v.parse().map_err(|e| format!("its metadata '{key}' {e}")))
            .transpose()
    }

    fn layout(&mut self, dims: &[Option<usize>]) -> Result<Layout, String> {
        if let Some(layout) = self.parsed("layout")? {
            return Ok(layout);
        }
        let is_channels = |d: Option<usize>| matches!(d, Some(1 | 3));
        let layout = match (is_channels(dims[1]), is_channels(dims[3])) {
            (true, false) => Layout::Nchw,
            (false, true) => Layout::Nhwc,
            _ => {
                self.missing = Some(Field::Layout);
                return Err("its shape does not tell NHWC from NCHW".into());
            }
        };
        self.assumed
            .push(format!("layout {layout} (from the shape)"));
        Ok(layout)
    }

    fn size(
        &mut self,
        width: Option<usize>,
        height: Option<usize>,
    ) -> Result<(usize, usize), String> {
        let stated = match self.meta("size") {
            None => None,
            Some(text) => Some(
                text.split_once(['x', 'X', '×'])
                    .and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)))
                    .ok_or_else(|| {
                        format!("its metadata 'size' is '{text}'; it should look like 48x48")
                    })?,
            ),
        };
        let shape = width.zip(height);
        let (w, h) = match (stated, shape) {
            (Some(s), Some(shape)) if s != shape => {
                return Err(format!(
                    "its metadata says {}x{} pixels, its input takes {}x{}",
                    s.0, s.1, shape.0, shape.1
                ));
            }
            (Some(s), _) => s,
            (None, Some(shape)) => {
                self.assumed
                    .push(format!("size {}x{} (from the shape)", shape.0, shape.1));
                shape
            }
            (None, None) => {
                self.missing = Some(Field::Size);
                return Err("it takes images of any size".into());
            }
        };
        if w == 0 || h == 0 || w > MAX_INPUT_SIDE || h > MAX_INPUT_SIDE {
            return Err(format!(
                "its input of {w}x{h} pixels is not between 1x1 and \
                 {MAX_INPUT_SIDE}x{MAX_INPUT_SIDE}"
            ));
        }
        Ok((w, h))
    }

    fn channels(&mut self, shape: Option<usize>) -> Result<usize, String> {
        let stated: Option<usize> = match self.meta("channels") {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| format!("its metadata 'channels' is '{text}', not a number"))?,
            ),
        };
        match (stated, shape) {
            (Some(a), Some(b)) if a != b => Err(format!(
                "its metadata says {a} channels, its input takes {b}"
            )),
            (Some(c @ (1 | 3)), _) => Ok(c),
            (None, Some(c @ (1 | 3))) => {
                self.assumed.push(format!(
                    "{c} channel{} (from the shape)",
                    if c == 1 { "" } else { "s" }
                ));
                Ok(c)
            }
            (Some(c), _) | (None, Some(c)) => Err(format!(
                "it takes {c} channels; images have 1 (gray) or 3 (RGB)"
            )),
            (None, None) => {
                self.missing = Some(Field::Channels);
                Err("it does not say how many channels".into())
            }
        }
    }

    fn labels(&mut self, output: &Port) -> Result<Vec<String>, String> {
        let classes = match &output.dims {
            None => None,
            // [N, classes], or [N, classes, 1, 1] from some exporters.
            Some(d) if d.len() >= 2 && d[2..].iter().all(|d| *d == Some(1)) => d[1],
            Some(d) => {
                return Err(format!(
                    "its output '{}' has rank {}; a classifier returns [N, classes]",
                    output.name,
                    d.len()
                ));
            }
        };
        let stated = match self.meta("labels") {
            None => None,
            Some(text) => Some(parse_labels(text)?),
        };
        match (stated, classes) {
            (Some(labels), Some(n)) if labels.len() != n => Err(format!(
                "its metadata names {} classes, its output has {n}",
                labels.len()
            )),
            (Some(labels), _) => Ok(labels),
            (None, Some(n)) if n == EMOTIONS.len() => {
                self.assumed
                    .push(format!("classes {} (seven outputs)", EMOTIONS.join(", ")));
                Ok(EMOTIONS.map(String::from).to_vec())
            }
            (None, Some(n)) if (2..=100_000).contains(&n) => {
                self.assumed.push(format!(
                    "classes class_0 … class_{} (the file names none)",
                    n - 1
                ));
                Ok((0..n).map(|i| format!("class_{i}")).collect())
            }
            (None, Some(n)) => Err(format!(
                "its output has {n} values; a classifier has two or more"
            )),
            (None, None) => {
                self.missing = Some(Field::Labels);
                Err("it does not say how many classes".into())
            }
        }
    }

    fn scale(&mut self) -> Result<f32, String> {
        let Some(text) = self.meta("scale") else {
            self.assumed.push("pixels scaled by 1/255".into());
            return Ok(1.0 / 255.0);
        };
        match text.parse::<f64>().map(|s| s as f32) {
            Ok(s) if s.is_finite() && s != 0.0 => Ok(s),
            _ => Err(format!(
                "its metadata 'scale' is '{text}', not a usable number"
            )),
        }
    }

    fn per_channel(&self, key: &str, channels: usize) -> Result<Vec<f32>, String> {
        let Some(text) = self.meta(key) else {
            return Ok(Vec::new());
        };
        let values: Option<Vec<f32>> = text
            .trim_matches(['[', ']'])
            .split(',')
            .map(|v| v.trim().parse().ok().filter(|v: &f32| v.is_finite()))
            .collect();
        match values {
            Some(v) if v.len() == channels && (key != "std" || v.iter().all(|v| *v != 0.0)) => {
                Ok(v)
            }
            _ => Err(format!(
                "its metadata '{key}' is '{text}'; it should be {channels} number(s), e.g. [0.5]"
            )),
        }
    }

    fn resize(&mut self) -> Result<Resize, String> {
        Ok(self.parsed("resize")?.unwrap_or_else(|| {
            self.assumed.push("resize nearest, as Keras".into());
            Resize::Nearest
        }))
    }

    fn calibration(&self) -> Result<Calibration, String> {
        // The file's two numbers belong together: overriding one overrides both.
        let overridden = ["temperature", "exponent"]
            .iter()
            .any(|key| self.overrides.contains_key(*key));
        let number =
            |key: &str, range: RangeInclusive<f32>| {
                let given = if overridden {
                    self.overrides.get(key).map(String::as_str)
                } else {
                    self.meta(key)
                };
                match given {
                None => Ok(1.0),
                Some(text) => text.parse::<f32>().ok().filter(|v| range.contains(v)).ok_or_else(|| {
                    let (start, end) = (range.start(), range.end());
                    format!("its metadata '{key}' is '{text}'; it should be a number from {start} \
                        to {end}")
                }),
            }
            };
        Ok(Calibration {
            temperature: number("temperature", TEMPERATURES)?,
            exponent: number("exponent", EXPONENTS)?,
        })
    }

    fn output_kind(&mut self) -> Result<OutputKind, String> {
        if let Some(kind) = self.parsed("output")? {
            return Ok(kind);
        }
        let operator = self.header.final_operator.as_deref().unwrap_or("unknown");
        let kind = if operator == "Softmax" {
            OutputKind::Probabilities
        } else {
            OutputKind::Logits
        };
        self.assumed
            .push(format!("output {kind} (its last operator is {operator})"));
        Ok(kind)
    }
}
