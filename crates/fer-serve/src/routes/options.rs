//! The options of requests for pictures: the query of their address.

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use fer_faces::{SearchOptions, When};
use serde::Deserialize;

use crate::models::Model;
use crate::problem::Problem;
use crate::see::Search;
use crate::service::Shared;

/// The options, as those of `fer infer` with the same names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    model: Option<String>,
    faces: Option<Faces>,
    min_score: Option<f32>,
    min_face: Option<f32>,
    max_faces: Option<NonZeroUsize>,
    small_faces: Option<bool>,
    /// Of a stream: seconds over which the probabilities of a track are averaged.
    smooth: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Faces {
    Auto,
    Always,
    Never,
}

impl Options {
    /// The options in an address.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        match Query::<Self>::try_from_uri(uri) {
            Ok(Query(options)) => Ok(options),
            Err(error) => Err(Problem::bad(format!("the options can't be read: {error}"))),
        }
    }

    /// The model that is asked for.
    pub(crate) fn model(&self, shared: &Shared) -> Result<Arc<Model>, Problem> {
        model(shared, self.model.as_deref())
    }

    /// Which faces are asked for.
    pub(crate) fn search(&self, model: &Model) -> Result<Search, Problem> {
        let mut options = SearchOptions {
            max_faces: self.max_faces.map(NonZeroUsize::get),
            small_faces: self.small_faces.unwrap_or_default(),
            ..SearchOptions::default()
        };
        if let Some(score) = self.min_score {
            if !(score > 0.0 && score <= 1.0) {
                return Err(Problem::bad("min_score must be above 0 and at most 1"));
            }
            options.min_score = score;
        }
        if let Some(side) = self.min_face {
            if !(side >= 0.0 && side.is_finite()) {
                return Err(Problem::bad("min_face must be a number of pixels"));
            }
            options.min_face = side;
        }
        let when = match self.faces.unwrap_or(Faces::Auto) {
            Faces::Always => Some(When::Always),
            Faces::Auto if model.reads_faces => Some(When::Auto),
            Faces::Auto | Faces::Never => None,
        };
        Ok(Search {
            when,
            or_whole: false,
            options,
        })
    }

    /// The seconds of `smooth`.
    pub(crate) fn smooth(&self) -> Result<f64, Problem> {
        match self.smooth.unwrap_or_default() {
            seconds if (0.0..=60.0).contains(&seconds) => Ok(seconds),
            _ => Err(Problem::bad("smooth must be 0 to 60 seconds")),
        }
    }

    /// Fails if the request has an option that only streams have.
    pub(crate) fn without_stream(self) -> Result<Self, Problem> {
        match self.smooth {
            None => Ok(self),
            Some(_) => Err(Problem::bad("smooth is an option of /v1/stream alone")),
        }
    }
}

/// A model by its name, or the default one.
pub(crate) fn model(shared: &Shared, name: Option<&str>) -> Result<Arc<Model>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "there is no model of that name");
    shared.models.get(name).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let rows = [
            ("", true),
            (
                "?faces=auto&min_score=0.5&min_face=10&max_faces=3&small_faces=true",
                true,
            ),
            ("?model=a%20b", true),
            ("?smooth=0.5", true),
            ("?faces=some", false),
            ("?max_faces=0", false),
            ("?max_faces=-1", false),
            ("?small_faces=maybe", false),
            ("?min_scores=1", false),
            ("?faces=auto&faces=never", false),
        ];
        let read = |query: &str| Options::of(&format!("/v1/classify{query}").parse().unwrap());
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(q, ok)| read(q).is_ok() != *ok)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
