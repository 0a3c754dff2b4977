//! An ONNX file's header → a spec: from the metadata, else from the shapes, else from hints, else
//! by a guess; all but the first are reported. Here is the input's shape; the other parts are in
//! `ports`, `pixels` and `labels`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::hints::Hint;
use super::{Assumed, Basis, Field, Hints, InputSpec, Layout, ModelSpec, Resolved};
use crate::onnx::Header;

/// The largest width and height of a classifier's input. A file that states more is refused.
const MAX_INPUT_SIDE: usize = 4096;

/// The most values of a fixed batch: 1 GiB of float32.
const MAX_BATCH_LEN: usize = 1 << 28;

/// Makes a spec from a header; see [`ModelSpec::resolve_with`]. Collects what it assumes.
pub(super) struct Resolver<'a> {
    pub(super) header: &'a Header,
    pub(super) overrides: BTreeMap<String, String>,
    hints: Vec<Hint>,
    /// The keys whose values in the file are guesses.
    guessed: BTreeSet<&'a str>,
    assumed: Vec<Assumed>,
    /// What neither file nor user says, if that is the problem.
    pub(super) missing: Option<Field>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        header: &'a Header,
        overrides: &BTreeMap<String, String>,
        hints: &Hints,
    ) -> Self {
        let guessed = header.metadata.get("fer.guessed");
        let mut all = Hints::in_metadata(header).0;
        all.extend(hints.0.iter().cloned());
        Self {
            header,
            overrides: overrides.clone(),
            hints: all,
            guessed: guessed
                .map(|keys| keys.split(',').map(str::trim).collect())
                .unwrap_or_default(),
            assumed: Vec::new(),
            missing: None,
        }
    }

    pub(super) fn resolve(&mut self) -> Result<Resolved, String> {
        self.expand_preprocess()?;
        let (input, whole) = self.input()?;
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
        let output = self.output()?;
        let layout = self.layout(&dims)?;
        let (h, w, c) = match layout {
            Layout::Nhwc => (dims[1], dims[2], dims[3]),
            Layout::Nchw => (dims[2], dims[3], dims[1]),
        };
        let (width, height) = self.size(w, h)?;
        let channels = self.channels(c)?;
        let values = self.values(output, dims[0])?;
        let labels = self.labels(values)?;
        let output_kind = self.output_kind(output, values, labels.len())?;
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
        let mut pixels = InputSpec::new(layout, width, height, channels);
        self.pixels(&mut pixels, whole)?;
        pixels.resize = self.resize()?;
        let float = |elem_type| elem_type == crate::onnx::ELEM_FLOAT;
        Ok(Resolved {
            output: output.name.clone(),
            whole,
            adapt: self.header.outputs.len() > 1
                || !float(input.elem_type)
                || !float(output.elem_type),
            spec: ModelSpec {
                labels,
                input: pixels,
                output: output_kind,
                calibration: self.calibration(output_kind)?,
                crop: self.parsed("crop")?,
                fixed_batch: dims[0],
                assumed: std::mem::take(&mut self.assumed),
            },
        })
    }

    pub(super) fn assume(&mut self, field: Field, value: impl Into<String>, basis: Basis) {
        let value = value.into();
        self.assumed.push(Assumed {
            field,
            value,
            basis,
        });
    }

    /// The user's value, else the file's, if that is not a guess.
    pub(super) fn stated(&self, key: &str) -> Option<String> {
        let file = || {
            let value = self.header.metadata.get(&format!("fer.{key}"));
            value.filter(|_| !self.guessed.contains(key))
        };
        self.overrides.get(key).or_else(file).cloned()
    }

    /// The guess in the file.
    pub(super) fn guess(&self, key: &str) -> Option<&'a str> {
        let value = self.header.metadata.get(&format!("fer.{key}"));
        value
            .filter(|_| self.guessed.contains(key))
            .map(String::as_str)
    }

    /// What other tools say, the weightiest first.
    pub(super) fn hints(&self, key: &str) -> impl Iterator<Item = &Hint> {
        self.hints.iter().filter(move |hint| hint.key == key)
    }

    /// The first hint that can be read.
    pub(super) fn hint<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(T, Basis)> {
        self.hints(key).find_map(|hint| {
            let value = parse(&hint.value).ok()?;
            Some((value, Basis::Convention(format!("from {}", hint.source))))
        })
    }

    pub(super) fn parsed<T: FromStr<Err = String>>(&self, key: &str) -> Result<Option<T>, String> {
        self.stated(key)
            .map(|v| v.parse().map_err(|e| format!("its metadata '{key}' {e}")))
            .transpose()
    }

    fn layout(&mut self, dims: &[Option<usize>]) -> Result<Layout, String> {
        if let Some(layout) = self.parsed("layout")? {
            return Ok(layout);
        }
        let is_channels = |d: Option<usize>| matches!(d, Some(1 | 3));
        let found = match (is_channels(dims[1]), is_channels(dims[3])) {
            (true, false) => Some((Layout::Nchw, Basis::Shape)),
            (false, true) => Some((Layout::Nhwc, Basis::Shape)),
            _ => self.hint("layout", str::parse),
        };
        let Some((layout, basis)) = found else {
            self.missing = Some(Field::Layout);
            return Err("its shape does not tell NHWC from NCHW".into());
        };
        self.assume(Field::Layout, format!("layout {layout}"), basis);
        Ok(layout)
    }

    fn size(
        &mut self,
        width: Option<usize>,
        height: Option<usize>,
    ) -> Result<(usize, usize), String> {
        let parse = |text: &str| {
            text.split_once(['x', 'X', '×'])
                .and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)))
                .ok_or_else(|| {
                    format!("its metadata 'size' is '{text}'; it should look like 48x48")
                })
        };
        let stated = self.stated("size").map(|text| parse(&text)).transpose()?;
        let shape = width.zip(height);
        let (w, h): (usize, usize) = match (stated, shape) {
            (Some(s), Some(shape)) if s != shape => {
                return Err(format!(
                    "its metadata says {}x{} pixels, its input takes {}x{}",
                    s.0, s.1, shape.0, shape.1
                ));
            }
            (Some(s), _) => s,
            (None, shape) => {
                let shape = shape.map(|shape| (shape, Basis::Shape));
                let Some((size, basis)) = shape.or_else(|| self.hint("size", parse)) else {
                    self.missing = Some(Field::Size);
                    return Err("it takes images of any size".into());
                };
                self.assume(Field::Size, format!("size {}x{}", size.0, size.1), basis);
                size
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
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| format!("its metadata 'channels' is '{text}', not a number"))
        };
        let stated: Option<usize> = self.stated("channels").map(|t| parse(&t)).transpose()?;
        let found = match (stated, shape) {
            (Some(a), Some(b)) if a != b => {
                return Err(format!(
                    "its metadata says {a} channels, its input takes {b}"
                ));
            }
            (Some(c), _) => c,
            (None, shape) => {
                let shape = shape.map(|c| (c, Basis::Shape));
                let Some((c, basis)) = shape.or_else(|| self.hint("channels", parse)) else {
                    self.missing = Some(Field::Channels);
                    return Err("it does not say how many channels".into());
                };
                let s = if c == 1 { "" } else { "s" };
                self.assume(Field::Channels, format!("{c} channel{s}"), basis);
                c
            }
        };
        match found {
            1 | 3 => Ok(found),
            c => Err(format!(
                "it takes {c} channels; images have 1 (gray) or 3 (color)"
            )),
        }
    }
}
