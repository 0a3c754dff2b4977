//! The result of a search for the library: the places, what each had, which one decides, and the
//! error if none does.

use std::fmt;
use std::path::PathBuf;

/// A kind of place that is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The path that the caller gave.
    Option,
    /// The `ORT_DYLIB_PATH` variable.
    Environment,
    /// fer's data folder.
    DataFolder,
    /// The folder of the running program, and `lib` in it.
    BesideExecutable,
    /// Python's `onnxruntime` package.
    Python,
    /// The loader's search path and the usual library folders.
    System,
}

impl Origin {
    /// The search order.
    pub const ORDER: [Origin; 6] = [
        Origin::Option,
        Origin::Environment,
        Origin::DataFolder,
        Origin::BesideExecutable,
        Origin::Python,
        Origin::System,
    ];
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Option => "the given path",
            Origin::Environment => "ORT_DYLIB_PATH",
            Origin::DataFolder => "fer's data folder",
            Origin::BesideExecutable => "the program's folder",
            Origin::Python => "Python's onnxruntime package",
            Origin::System => "the system's library folders",
        })
    }
}

/// A library that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The library's file, as an absolute path.
    pub path: PathBuf,
    /// The place where it was found.
    pub origin: Origin,
}

/// What one place had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The library's file, as an absolute path.
    Found(PathBuf),
    /// Nothing usable; the reason in a few words.
    Missing(String),
}

/// One place that was searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The kind of place.
    pub origin: Origin,
    /// The folders, files or interpreters that were searched.
    pub looked_at: Vec<PathBuf>,
    /// The finding.
    pub outcome: Finding,
}

/// The places that were searched, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The places.
    pub steps: Vec<Step>,
    /// The index of the step that decides: the first hit, or the given path or `ORT_DYLIB_PATH` if
    /// set, whether it is right or wrong. `None` if nothing was found.
    pub decided_by: Option<usize>,
}

impl Search {
    /// The library to use, if there is one.
    pub fn used(&self) -> Option<Found> {
        let step = self.steps.get(self.decided_by?)?;
        match &step.outcome {
            Finding::Found(path) => Some(Found {
                path: path.clone(),
                origin: step.origin,
            }),
            Finding::Missing(_) => None,
        }
    }

    /// The library to use, or the error that says why there is none.
    pub fn result(self) -> Result<Found, NotFound> {
        if let Some(found) = self.used() {
            return Ok(found);
        }
        match self.decided_by.and_then(|index| self.steps.get(index)) {
            Some(Step {
                origin,
                looked_at,
                outcome: Finding::Missing(reason),
            }) => Err(NotFound::WrongPath {
                origin: *origin,
                path: looked_at.first().cloned().unwrap_or_default(),
                reason: reason.clone(),
                search: self,
            }),
            _ => Err(NotFound::Nowhere { search: self }),
        }
    }

    fn places(&self) -> String {
        let implied = [Origin::Option, Origin::Environment];
        let names = self
            .steps
            .iter()
            .filter(|step| !implied.contains(&step.origin));
        names
            .map(|step| step.origin.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Why there is no library to use.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// The given path or `ORT_DYLIB_PATH` names something that is not the library.
    #[error("{} (from {origin}) is not ONNX Runtime's library: {reason}", path.display())]
    WrongPath {
        /// Which of the two.
        origin: Origin,
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: String,
        /// The search.
        search: Search,
    },
    /// No place holds the library.
    #[error("ONNX Runtime was not found (looked in {})", search.places())]
    Nowhere {
        /// The search.
        search: Search,
    },
}

impl NotFound {
    /// The places that were searched.
    pub fn search(&self) -> &Search {
        match self {
            NotFound::WrongPath { search, .. } | NotFound::Nowhere { search } => search,
        }
    }
}
