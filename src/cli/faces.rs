//! The options about faces, and the records of pictures.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use fer::faces::{
    Crop, Detector, DetectorRef, FRAME, Faces, Place, SearchOptions, When, guessed_crop,
};
use fer::host::Host;
use fer::report::{Content, FoundFace, Picture};
use fer::spec::{FaceCrop, ModelSpec};
use fer::stream::{ItemError, Seen};

use super::advice;
use super::model_args::ModelArgs;

/// Whether pictures are searched for faces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Auto,
    Always,
    Never,
}

impl FromStr for Choice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(format!("'{s}' is not auto, always or never")),
        }
    }
}

/// The options of `fer infer`.
#[derive(Debug, clap::Args)]
pub struct FaceArgs {
    /// Search pictures for faces: always, never, or auto: if the model reads faces (its classes are
    /// emotions, or it names a crop), in all pictures but ready-made crops (up to 128x128 pixels,
    /// or filled by one face). `never` classifies the whole picture.
    #[arg(long, value_name = "auto|always|never", default_value = "auto")]
    faces: Choice,

    /// At most this many faces of a picture, the largest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_faces: Option<u32>,

    #[command(flatten)]
    search: SearchArgs,
}

/// How faces are searched, in every command that does it.
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// Leave out faces whose longer side is shorter than this.
    #[arg(long, value_name = "PIXELS")]
    min_face: Option<f32>,

    /// Leave out faces of which the detector is less sure than this, 0..1 [default: 0.6].
    #[arg(long, value_name = "X")]
    min_score: Option<f32>,

    /// Search large pictures in tiles too, for faces from 16 pixels; takes longer.
    #[arg(long)]
    small_faces: bool,

    /// Another detector: an ONNX export of YuNet [default: the built-in one].
    #[arg(long, value_name = "FILE")]
    detector: Option<PathBuf>,
}

impl FaceArgs {
    /// The stage that finds faces; `None` if whole pictures are classified.
    pub fn stage<'a>(
        &self,
        spec: &ModelSpec,
        model: &'a ModelArgs,
        host: &'a Host,
    ) -> Result<Option<Faces<'a>>> {
        let most = self.most();
        let given = most.map(|_| "--max-faces");
        self.search
            .stage(self.faces, most, given, spec, model, host)
    }

    /// The stage for videos, with its detector loaded: every frame is searched.
    #[cfg(feature = "video")]
    pub fn stage_for_video<'a>(
        &self,
        spec: &ModelSpec,
        model: &'a ModelArgs,
        host: &'a Host,
    ) -> Result<Faces<'a>> {
        if self.faces == Choice::Never {
            bail!("--faces never is for pictures; in videos, faces are followed");
        }
        let stage = self
            .search
            .stage_of(When::Always, self.most(), spec, model, host)?;
        Ok(stage.loaded()?)
    }

    fn most(&self) -> Option<usize> {
        self.max_faces.map(|n| n as usize)
    }
}

impl SearchArgs {
    /// The stage that finds at most so many faces of a picture; `None` if whole pictures are
    /// classified. `given` is an option of the caller's that needs a search.
    pub fn stage<'a>(
        &self,
        choice: Choice,
        most: Option<usize>,
        given: Option<&'static str>,
        spec: &ModelSpec,
        model: &'a ModelArgs,
        host: &'a Host,
    ) -> Result<Option<Faces<'a>>> {
        let when = match choice {
            Choice::Always => When::Always,
            Choice::Auto if spec.reads_faces() => When::Auto,
            Choice::Auto | Choice::Never => {
                if let Some(option) = given.or(self.given()) {
                    bail!(
                        "{option} is about faces, and whole pictures are classified; search for \
                        faces with --faces always"
                    );
                }
                return Ok(None);
            }
        };
        self.stage_of(when, most, spec, model, host).map(Some)
    }

    fn stage_of<'a>(
        &self,
        when: When,
        most: Option<usize>,
        spec: &ModelSpec,
        model: &'a ModelArgs,
        host: &'a Host,
    ) -> Result<Faces<'a>> {
        let options = SearchOptions {
            max_faces: most,
            ..self.options()?
        };
        let crop = Crop {
            frame: spec.crop.unwrap_or(FRAME),
            size: [spec.input.width, spec.input.height],
        };
        let which = self.detector();
        // Options that do not fit are an error before the first picture.
        let loading = model.on.options(model.engine)?;
        let load = move || Detector::load(&which, &loading.backend, loading.threads, host);
        let faces = Faces::new(when, options, crop, load);
        Ok(match self.detector {
            // A file that does not fit is an error before the first picture.
            Some(_) => faces.loaded()?,
            None => faces,
        })
    }

    /// Which faces are wanted.
    pub fn options(&self) -> Result<SearchOptions> {
        let mut options = SearchOptions {
            small_faces: self.small_faces,
            ..SearchOptions::default()
        };
        if let Some(score) = self.min_score {
            if !(score > 0.0 && score <= 1.0) {
                bail!("--min-score {score} must be above 0 and at most 1");
            }
            options.min_score = score;
        }
        if let Some(side) = self.min_face {
            if !(side >= 0.0 && side.is_finite()) {
                bail!("--min-face {side} must be a number of pixels");
            }
            options.min_face = side;
        }
        Ok(options)
    }

    /// Which detector is wanted.
    pub fn detector(&self) -> DetectorRef {
        match &self.detector {
            Some(path) => DetectorRef::Onnx(path.clone()),
            None => DetectorRef::Builtin,
        }
    }

    /// The first option that needs a search.
    fn given(&self) -> Option<&'static str> {
        [
            ("--min-face", self.min_face.is_some()),
            ("--min-score", self.min_score.is_some()),
            ("--small-faces", self.small_faces),
            ("--detector", self.detector.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

/// Parses how faces are cut out.
pub fn parse_crop(text: &str) -> Result<FaceCrop, String> {
    text.parse()
}

/// Says what is guessed about the crops of a model whose pictures are searched.
pub fn announce(spec: &ModelSpec) {
    if let Some(guess) = guessed_crop(spec) {
        super::say(advice::note(&guess));
    }
}

/// What was seen in a picture, as a record has it.
pub fn content(seen: Seen<Place>) -> Content {
    let (width, height) = (seen.width, seen.height);
    let face = |(place, outcome): (Place, Result<_, ItemError>)| {
        let (bounds, score, landmarks) = match place {
            Place::Whole => ([0.0, 0.0, width as f32, height as f32], None, None),
            Place::Face(f) => ([f.x, f.y, f.w, f.h], Some(f.score), Some(f.landmarks)),
        };
        FoundFace {
            track: None,
            bounds,
            score,
            landmarks,
            outcome: outcome.map_err(|e| e.to_string()),
        }
    };
    Content::Faces(Picture {
        width,
        height,
        faces: seen.predictions.into_iter().map(face).collect(),
    })
}

/// What was found in a run.
#[derive(Default)]
pub struct Found {
    pictures: usize,
    faces: usize,
    empty: usize,
}

impl Found {
    /// Counts a picture that was read.
    pub fn count(&mut self, content: &Content) {
        if let Content::Faces(picture) = content {
            self.pictures += 1;
            self.faces += picture.faces.len();
            self.empty += usize::from(picture.faces.is_empty());
        }
    }

    /// Prints the numbers, of `sources` files in all, and which detector ran.
    pub fn say(&self, stage: &Faces<'_>, sources: usize) {
        let number = |n: usize, one: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {one}s"),
        };
        let detector = match stage.detector() {
            Some(Ok(detector)) => {
                let d = detector.description();
                format!(", found by {} on {} {}", d.model, d.engine, d.provider)
            }
            Some(Err(error)) => format!(" ({})", advice::with(error)),
            None => String::new(),
        };
        super::say(format_args!(
            "{} in {}{detector}; {} without a face, {} not read",
            number(self.faces, "face"),
            number(self.pictures, "picture"),
            number(self.empty, "picture"),
            sources.saturating_sub(self.pictures),
        ));
    }
}
