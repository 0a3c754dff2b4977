//! The labels of a CSV file, numbers or names, and the classes that they mean.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::data::classes::Classes;
use crate::data::fields::{number, shorten, whole};
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
    /// Whether the user names the classes, so that there may be other numbers than 0 to 6.
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
        let digits = number(whole(field)).map(|n| n.to_string());
        let are_numbers = self
            .first
            .first()
            .map(|(first, _)| first.parse::<u8>().is_ok());
        let is_number = digits.is_some();
        let known = digits
            .as_ref()
            .is_some_and(|n| self.are_named || n.as_str() < "7" && n.len() == 1);
        // A name has a letter in it.
        let is_name = field
            .iter()
            .any(|b| b.is_ascii_alphabetic() || !b.is_ascii());
        let fits = match are_numbers {
            Some(true) => is_number && known,
            Some(false) => !is_number && is_name,
            None => known || !is_number && is_name,
        };
        if !fits {
            let can_be = match are_numbers {
                Some(false) => "a name, as in the lines before",
                _ if self.are_named => "a number of 0 to 255, or a name",
                _ => "0 to 6, or a name",
            };
            return Err(format!(
                "the emotion is '{}'; it can be {can_be}: repair or remove the line",
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
}
