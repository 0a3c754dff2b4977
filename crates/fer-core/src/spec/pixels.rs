//! How pixels become values, how images are resized, and how outputs are calibrated.

use std::ops::RangeInclusive;

use super::numbers::{parse_factor, parse_numbers};
use super::resolve::Resolver;
use super::{Basis, ChannelOrder, Field, InputSpec, KerasMode, OutputKind, Resize};
use crate::calibration::{Calibration, EXPONENTS, TEMPERATURES};

/// Why a model of independent scores is refused that has a calibration.
pub const NOT_CALIBRATED: &str = "its outputs are independent scores, which have no calibration";

/// A mean beyond this does not fit pixels of 0..=1.
const MAX_SCALED_MEAN: f32 = 2.0;

impl Resolver<'_> {
    /// Replaces the user's `preprocess` by the metadata that it stands for.
    pub(super) fn expand_preprocess(&mut self) -> Result<(), String> {
        let Some(text) = self.overrides.remove("preprocess") else {
            return Ok(());
        };
        let mode: KerasMode = text
            .parse()
            .map_err(|e| format!("its metadata 'preprocess' {e}"))?;
        for key in ["scale", "mean", "std", "channel_order"] {
            if self.overrides.contains_key(key) {
                return Err(format!(
                    "'preprocess' stands for scale, mean, std and channel_order, so '{key}' can't \
                     stand beside it"
                ));
            }
        }
        // All four, so that nothing is left of the file's.
        let neutral = [("mean", "0"), ("std", "1"), ("channel_order", "rgb")];
        let own = neutral.iter().chain(mode.metadata());
        self.overrides
            .extend(own.map(|(k, v)| (k.to_string(), v.to_string())));
        Ok(())
    }

    /// Fills in scale, mean, std and the order of colors; `whole` if the input takes whole numbers.
    pub(super) fn pixels(&mut self, input: &mut InputSpec, whole: bool) -> Result<(), String> {
        let channels = input.channels;
        let scale = self.stated("scale");
        let hint = self.hint("scale", parse_factor).filter(|_| !whole);
        // A mean and a std belong to their scale.
        let same = |(hint, _): &(f64, Basis)| match &scale {
            Some(text) => parse_factor(text).is_ok_and(|own| (own / hint - 1.0).abs() < 1e-6),
            None => true,
        };
        let hinted = hint.as_ref().is_some_and(same);
        let from = hint.as_ref().map(|(_, from)| from.clone());
        let mut basis = None;
        input.scale = match (scale, hint) {
            (Some(text), _) => {
                parse_factor(&text).map_err(|e| format!("its metadata 'scale': {e}"))? as f32
            }
            (None, Some((scale, from))) => {
                basis = Some(from);
                scale as f32
            }
            (None, None) if whole => {
                basis = Some(Basis::Convention("its input takes whole numbers".into()));
                1.0
            }
            (None, None) => {
                basis = Some(Basis::Guess);
                let guess = self.guess("scale").and_then(|text| parse_factor(text).ok());
                guess.unwrap_or(1.0 / 255.0) as f32
            }
        };
        for (key, neutral) in [("mean", 0.0), ("std", 1.0)] {
            let values = match self.stated(key) {
                Some(text) => per_channel(&text, key, channels)?,
                None if from.is_some() => {
                    let found = self.hint(key, |text| per_channel(text, key, channels));
                    if let (None, Some(hint)) = (&found, self.hints(key).next()) {
                        per_channel(&hint.value, key, channels)
                            .map_err(|e| format!("{e} (from {})", hint.source))?;
                    }
                    if let (Some((_, from)), None) = (&found, &basis) {
                        basis = Some(match (hinted, from) {
                            (false, Basis::Convention(from)) => Basis::Convention(format!(
                                "without the {key} {from}, which belongs to another scale"
                            )),
                            (_, from) => from.clone(),
                        });
                    }
                    let found = found.filter(|_| hinted);
                    found.map(|(values, _)| values).unwrap_or_default()
                }
                None => Vec::new(),
            };
            let all_neutral = values.iter().all(|v| *v == neutral);
            let values = if all_neutral { Vec::new() } else { values };
            *(if key == "mean" {
                &mut input.mean
            } else {
                &mut input.std
            }) = values;
        }
        let order = self.parsed::<ChannelOrder>("channel_order")?;
        if channels == 1 && order == Some(ChannelOrder::Bgr) {
            return Err("its metadata 'channel_order' is 'bgr', and it takes gray images".into());
        }
        input.order = order.unwrap_or(ChannelOrder::Rgb);
        if whole && (input.scale != 1.0 || !input.mean.is_empty() || !input.std.is_empty()) {
            return Err(
                "its input takes whole numbers, so pixels stay 0..255: it can't have a scale, mean \
                 or std"
                    .into(),
            );
        }
        let Some(basis) = basis else {
            return Ok(());
        };
        if let (Basis::Guess, Some(mean)) = (
            &basis,
            input.mean.iter().find(|m| m.abs() > MAX_SCALED_MEAN),
        ) {
            self.missing = Some(Field::Values);
            return Err(format!(
                "the mean {mean} does not fit pixels of 0..1, and no scale is stated; for pixels \
                 of 0..255 it is 1"
            ));
        }
        self.assume(Field::Values, input.values_in_words(), basis);
        Ok(())
    }

    pub(super) fn resize(&mut self) -> Result<Resize, String> {
        if let Some(resize) = self.parsed("resize")? {
            return Ok(resize);
        }
        let guess = self.guess("resize").and_then(|text| text.parse().ok());
        let (resize, basis) = self
            .hint("resize", str::parse)
            .unwrap_or((guess.unwrap_or(Resize::Nearest), Basis::Guess));
        let of_keras = if basis == Basis::Guess && resize == Resize::Nearest {
            ", as Keras"
        } else {
            ""
        };
        self.assume(Field::Resize, format!("resize {resize}{of_keras}"), basis);
        Ok(resize)
    }

    pub(super) fn calibration(&self, kind: OutputKind) -> Result<Calibration, String> {
        // The file's two numbers belong together: overriding one overrides both.
        let overridden = ["temperature", "exponent"]
            .iter()
            .any(|key| self.overrides.contains_key(*key));
        let number = |key: &str, range: RangeInclusive<f32>| {
            let given = if overridden {
                self.overrides.get(key).cloned()
            } else {
                self.stated(key)
            };
            let Some(text) = given else { return Ok(1.0) };
            let value = text.parse::<f32>().ok().filter(|v| range.contains(v));
            value.ok_or_else(|| {
                let (start, end) = (range.start(), range.end());
                format!(
                    "its metadata '{key}' is '{text}'; it should be a number from {start} to {end}"
                )
            })
        };
        let calibration = Calibration {
            temperature: number("temperature", TEMPERATURES)?,
            exponent: number("exponent", EXPONENTS)?,
        };
        if kind == OutputKind::Scores && calibration != Calibration::NONE {
            return Err(NOT_CALIBRATED.into());
        }
        Ok(calibration)
    }
}

/// One number per channel, from one for all or from as many.
fn per_channel(text: &str, key: &str, channels: usize) -> Result<Vec<f32>, String> {
    let values = parse_numbers(text).ok().map(|values| {
        let repeat = if values.len() == 1 { channels } else { 1 };
        values
            .repeat(repeat)
            .iter()
            .map(|v| *v as f32)
            .collect::<Vec<f32>>()
    });
    match values {
        Some(v) if v.len() == channels && (key != "std" || v.iter().all(|v| *v != 0.0)) => Ok(v),
        _ => {
            let numbers = match channels {
                1 => "one number".into(),
                n => format!("one number or {n}"),
            };
            let nonzero = if key == "std" { ", none of them 0" } else { "" };
            Err(format!(
                "its metadata '{key}' is '{text}'; it should be {numbers}{nonzero}, e.g. 0.5"
            ))
        }
    }
}

impl InputSpec {
    /// How a pixel becomes a value, for the user: `pixels × 1/127.5 − 1, RGB`.
    pub fn values_in_words(&self) -> String {
        let list = |values: &[f32]| match values {
            [first, others @ ..] if others.iter().all(|v| v == first) => first.to_string(),
            _ => {
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                format!("[{}]", values.join(", "))
            }
        };
        let mut text = match self.scale {
            1.0 => "pixels of 0..255".to_string(),
            scale => format!("pixels × {}", factor_in_words(scale)),
        };
        if !self.mean.is_empty() {
            text = format!("{text} − {}", list(&self.mean));
        }
        if !self.std.is_empty() {
            text = format!("({text}) / {}", list(&self.std));
        }
        match (self.channels, self.order) {
            (1, _) => text,
            (_, ChannelOrder::Rgb) => format!("{text}, RGB"),
            (_, ChannelOrder::Bgr) => format!("{text}, BGR"),
        }
    }
}

/// `1/255` for 0.003921569.
fn factor_in_words(factor: f32) -> String {
    let inverse = 1.0 / f64::from(factor);
    let rounded = (inverse * 2.0).round() / 2.0;
    if rounded.abs() >= 2.0 && (inverse / rounded - 1.0).abs() < 1e-6 {
        format!("1/{rounded}")
    } else {
        factor.to_string()
    }
}
