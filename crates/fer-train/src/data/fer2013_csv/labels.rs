//! The labels of a CSV file, numbers or names, and the classes that they mean.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::data::classes::Classes;
use crate::data::fields::{float, shorten, whole};
use crate::data::{CLASSES, DataError, Note};
use fer_core::names;
use fer_core::spec::EMOTIONS;

/// The index into [`EMOTIONS`] of each label in the file: angry, disgust, fear, happy, sad,
/// surprise, neutral.
pub(super) const LABELS: [usize; 7] = [0, 1, 2, 3, 5, 6, 4];

/// The different labels of a file, in the order in which they come: all numbers, or all names.
pub(super) struct Labels {
    /// Each with the line where it comes first.
    first: Vec<(String, usize)>,
    places: HashMap<String, usize>,
    /// Whether the user names the classes, so that other numbers than 0 to 6 have a meaning.
    are_named: bool,
}

impl Labels {
    pub fn new(are_named: bool) -> Self {
        Self {
            first: Vec::new(),
            places: HashMap::new(),
            are_named,
        }
    }

    /// The place of a label among the different ones.
    pub fn place(&mut self, field: &[u8], line: usize) -> Result<usize, String> {
        let digits = whole(field).map(|n| n.to_string());
        let are_numbers = self
            .first
            .first()
            .map(|(first, _)| first.parse::<u8>().is_ok());
        let is_number = digits.is_some();
        // A name has a letter in it, and is neither 1.5e+00 nor NaN.
        let is_letter = |b: &u8| b.is_ascii_alphabetic() || !b.is_ascii();
        let is_name = !is_number && field.iter().any(is_letter) && float(field).is_none();
        let fits = match are_numbers {
            Some(true) => is_number,
            Some(false) => is_name,
            None => is_number || is_name,
        };
        if !fits {
            let numbers = match self.are_named {
                true => "a number of 0 to 255",
                false => "0 to 6",
            };
            let (can_be, todo) = match are_numbers {
                Some(true) if is_name => (
                    format!("{numbers}, as the lines before have numbers"),
                    "write numbers or names in all lines",
                ),
                Some(false) if is_number => (
                    "a name, as in the lines before".into(),
                    "write numbers or names in all lines",
                ),
                Some(true) => (numbers.into(), "repair or remove the line"),
                Some(false) => ("a name".into(), "repair or remove the line"),
                None => (format!("{numbers}, or a name"), "repair or remove the line"),
            };
            return Err(format!(
                "the emotion is '{}'; it can be {can_be}: {todo}",
                shorten(field)
            ));
        }
        let label = digits.unwrap_or_else(|| String::from_utf8_lossy(field).into_owned());
        if let Some(place) = self.places.get(&label) {
            return Ok(*place);
        }
        let place = self.first.len();
        if place == *CLASSES.end() {
            return Err(format!(
                "'{}' is one more class than the {place} that a data set has at most",
                shorten(field)
            ));
        }
        self.first.push((label.clone(), line));
        self.places.insert(label, place);
        Ok(place)
    }

    /// The classes, and the class of each label.
    pub fn classes(
        &self,
        path: &Path,
        given: Option<&[String]>,
        notes: &mut Vec<Note>,
    ) -> Result<(Vec<String>, Vec<usize>), DataError> {
        let number = |(label, _): &(String, usize)| label.parse::<usize>().ok();
        let numbers: Option<Vec<usize>> = self.first.iter().map(number).collect();
        let Some(numbers) = numbers else {
            let names: BTreeSet<&str> = self.first.iter().map(|(name, _)| name.as_str()).collect();
            let classes = Classes::of(path, &names, given, false, notes)?;
            let label = |(name, line): &(String, usize)| {
                classes.label(name).ok_or_else(|| DataError::Csv {
                    path: names::of(path),
                    line: *line,
                    problem: format!(
                        "'{}' is none of the classes; repair the line",
                        shorten(name.as_bytes())
                    ),
                })
            };
            let by_label = self.first.iter().map(label).collect::<Result<_, _>>()?;
            return Ok((classes.names, by_label));
        };
        let Some(given) = given else {
            self.check_emotions(path, &numbers)?;
            let by_label = numbers.iter().map(|n| LABELS[*n]).collect();
            return Ok((EMOTIONS.map(String::from).to_vec(), by_label));
        };
        // From 0 on, or from 1 on where all numbers are there.
        let all: BTreeSet<usize> = numbers.iter().copied().collect();
        let from_one = all.into_iter().eq(1..=given.len());
        let by_label: Vec<usize> = numbers.iter().map(|n| n - usize::from(from_one)).collect();
        if let Some(place) = by_label.iter().position(|label| *label >= given.len()) {
            return Err(DataError::Csv {
                path: names::of(path),
                line: self.first[place].1,
                problem: format!(
                    "the emotion is {}, and {} classes are named, from 0 on; name all of them",
                    numbers[place],
                    given.len()
                ),
            });
        }
        Ok((given.to_vec(), by_label))
    }

    /// Refuses numbers that are none of the competition's.
    fn check_emotions(&self, path: &Path, numbers: &[usize]) -> Result<(), DataError> {
        let Some(place) = numbers.iter().position(|n| *n >= LABELS.len()) else {
            return Ok(());
        };
        // As they are given: from 1 on where all numbers are there.
        let all: BTreeSet<usize> = numbers.iter().copied().collect();
        let last = all.iter().copied().max().unwrap_or(0);
        let from_one = all.into_iter().eq(1..=last);
        Err(DataError::Label {
            path: names::of(path),
            line: self.first[place].1,
            number: numbers[place],
            numbers: usize::from(from_one)..=last,
        })
    }
}
