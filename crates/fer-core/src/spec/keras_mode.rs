//! The three ways in which `keras.applications` turns pixels into values ([`KerasMode`]).

/// A mode of `preprocess_input` in `keras.applications`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KerasMode {
    /// `x / 127.5 − 1`, so −1..=1.
    Tf,
    /// Blue, green, red, each minus ImageNet's mean in 0..255.
    Caffe,
    /// `x / 255`, minus ImageNet's mean, by its standard deviation.
    Torch,
}

impl KerasMode {
    /// The metadata that states the same, by key without `fer.`.
    pub fn metadata(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Tf => &[("scale", "1/127.5"), ("mean", "1")],
            Self::Caffe => &[
                ("scale", "1"),
                ("mean", "103.939,116.779,123.68"),
                ("channel_order", "bgr"),
            ],
            Self::Torch => &[
                ("scale", "1/255"),
                ("mean", "0.485,0.456,0.406"),
                ("std", "0.229,0.224,0.225"),
            ],
        }
    }
}
