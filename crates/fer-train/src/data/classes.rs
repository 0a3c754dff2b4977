//! The classes of a data set, from the names of its folders or labels ([`Classes`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use super::folders::shortened;
use super::{CLASSES, DataError, Note};
use fer_core::spec::{EMOTIONS, emotion};

/// A file beside the class folders, or beside train/ and test/, that names the classes.
pub(super) const CLASSES_FILE: &str = "classes.txt";

/// No such file is larger, in bytes.
const MAX_CLASSES_BYTES: u64 = 1 << 20;

/// Different emotions among the names from which on the names are taken for emotions.
pub(super) const MEANT: usize = 5;

/// What RAF-DB's numbers from 1 on mean.
const RAF_DB: [&str; 7] = [
    "surprise", "fear", "disgust", "happy", "sad", "angry", "neutral",
];

/// How many different emotions some names mean.
pub(super) fn emotions<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    let meant: HashSet<&str> = names.into_iter().filter_map(emotion).collect();
    meant.len()
}

/// The classes of a data set, and which name means which of them.
pub(super) struct Classes {
    /// The classes in the order of their labels.
    pub names: Vec<String>,
    /// The label that a name means.
    labels: HashMap<String, usize>,
    /// Whether they are emotions because the names are.
    pub are_emotions: bool,
}

impl Classes {
    /// The classes of names that folders or labels have. `given` names the classes, in the order of
    /// their labels; `source` is the data set, for messages, and `is_raf_db` says whether its own
    /// name is RAF-DB's.
    ///
    /// - **Given** classes are the names themselves, or other words for them. Names that are plain
    ///   numbers mean the given classes in their order.
    /// - **Plain numbers** say nothing, except RAF-DB's 1 to 7.
    /// - **Emotions**: where five or more emotions are among the names, in any word for them, the
    ///   classes are the emotions that are there, sorted. Other names are not classes.
    /// - **Other** names are classes themselves, sorted by code point.
    ///
    /// # Errors
    /// The names are plain numbers, too few or too many, or differ in case alone.
    pub fn of(
        source: &Path,
        names: &BTreeSet<&str>,
        given: Option<&[String]>,
        is_raf_db: bool,
        notes: &mut Vec<Note>,
    ) -> Result<Self, DataError> {
        let numbers = plain_numbers(names);
        if let Some(given) = given {
            let classes = Self::given(source, names, numbers, given)?;
            classes.note(names, notes);
            return Ok(classes);
        }
        if let Some(numbers) = numbers {
            let order: Vec<u32> = numbers.keys().copied().collect();
            if !is_raf_db || order != [1, 2, 3, 4, 5, 6, 7] {
                return Err(DataError::Numbers {
                    path: fer_core::names::of(source),
                    numbers: names.iter().map(|name| name.to_string()).collect(),
                });
            }
            let by_number = numbers.values().zip(RAF_DB);
            let taken = by_number.map(|(name, class)| (name.to_string(), class.to_string()));
            let taken: Vec<_> = taken.collect();
            let classes =
                Self::emotions(taken.iter().map(|(n, class)| (n.as_str(), class.as_str())));
            notes.push(Note::RafDb(taken));
            return Ok(classes);
        }
        if emotions(names.iter().copied()) >= MEANT {
            let meant = names
                .iter()
                .filter_map(|name| Some((*name, emotion(name)?)));
            let classes = Self::emotions(meant);
            classes.note(names, notes);
            let lacks = |emotion: &&str| !classes.names.iter().any(|name| name == emotion);
            let without: Vec<&str> = EMOTIONS.into_iter().filter(lacks).collect();
            if !without.is_empty() {
                notes.push(Note::Without(without));
            }
            return Ok(classes);
        }
        Self::own(source, names)
    }

    /// Names that mean emotions.
    fn emotions<'a>(meant: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let classes: BTreeSet<&str> = meant.clone().map(|(_, class)| class).collect();
        let names: Vec<String> = classes.into_iter().map(String::from).collect();
        let label = |class: &str| names.iter().position(|name| name == class);
        let labels = meant.filter_map(|(name, class)| Some((name.to_string(), label(class)?)));
        Self {
            labels: labels.collect(),
            names,
            are_emotions: true,
        }
    }

    /// Names that are classes themselves.
    fn own(source: &Path, names: &BTreeSet<&str>) -> Result<Self, DataError> {
        if names.len() > *CLASSES.end() {
            let problem = format!(
                "holds {} folders; a data set has {} classes at most",
                names.len(),
                CLASSES.end()
            );
            return Err(DataError::folders(source, problem));
        }
        let mut lower: HashMap<String, &str> = HashMap::new();
        for name in names {
            if let Some(other) = lower.insert(name.to_lowercase(), name) {
                return Err(DataError::folders(source, same_class(other, name)));
            }
        }
        let labels = names.iter().zip(0..);
        Ok(Self {
            names: names.iter().map(|name| name.to_string()).collect(),
            labels: labels
                .map(|(name, label)| (name.to_string(), label))
                .collect(),
            are_emotions: false,
        })
    }

    /// Classes that the user names.
    fn given(
        source: &Path,
        names: &BTreeSet<&str>,
        numbers: Option<BTreeMap<u32, &str>>,
        given: &[String],
    ) -> Result<Self, DataError> {
        let find = |test: &dyn Fn(&str) -> bool| given.iter().position(|class| test(class));
        let are_classes = names
            .iter()
            .all(|name| find(&|class| class == *name).is_some());
        let labels = match numbers.filter(|_| !are_classes) {
            Some(numbers) if numbers.len() != given.len() => {
                let problem = format!(
                    "there are {} numbers ({}), and {} classes are named for them ({}); name one \
                     for each, in the order of the numbers",
                    numbers.len(),
                    shortened(names.iter().copied()),
                    given.len(),
                    shortened(given)
                );
                return Err(DataError::folders(source, problem));
            }
            Some(numbers) => numbers
                .values()
                .copied()
                .map(String::from)
                .zip(0..)
                .collect(),
            None => {
                let label = |name: &str| {
                    let (lower, meant) = (name.to_lowercase(), emotion(name));
                    find(&|class| class == name)
                        .or_else(|| find(&|class| class.to_lowercase() == lower))
                        .or_else(|| find(&|class| meant.is_some() && emotion(class) == meant))
                };
                let labels = names
                    .iter()
                    .filter_map(|name| Some((name.to_string(), label(name)?)));
                labels.collect()
            }
        };
        Ok(Self {
            names: given.to_vec(),
            labels,
            are_emotions: false,
        })
    }

    /// The label that a name means.
    pub fn label(&self, name: &str) -> Option<usize> {
        self.labels.get(name).copied()
    }

    /// Says which names were taken for classes that are not spelled like them.
    fn note(&self, names: &BTreeSet<&str>, notes: &mut Vec<Note>) {
        let taken = names.iter().filter_map(|name| {
            let class = &self.names[self.label(name)?];
            let differs = name.to_lowercase() != class.to_lowercase();
            differs.then(|| (name.to_string(), class.clone()))
        });
        let taken: Vec<_> = taken.collect();
        if !taken.is_empty() {
            notes.push(Note::Taken(taken));
        }
    }
}

/// The names by their numbers, if all of them are plain numbers, each another one.
fn plain_numbers<'a>(names: &BTreeSet<&'a str>) -> Option<BTreeMap<u32, &'a str>> {
    let number = |name: &&'a str| {
        let digits = name.bytes().all(|b| b.is_ascii_digit());
        Some((name.parse().ok().filter(|_| digits)?, *name))
    };
    let numbers: BTreeMap<u32, &str> = names.iter().map(number).collect::<Option<_>>()?;
    (numbers.len() == names.len() && !names.is_empty()).then_some(numbers)
}

/// Two names of one class in a message.
pub(super) fn same_class(first: &str, second: &str) -> String {
    format!("the folders {first} and {second} are the same class; make one of them")
}

/// The classes that a file in a data set's folder names, a line each.
///
/// # Errors
/// The file can't be read, or the classes are too few, too many or not all different.
pub(super) fn named(folder: &Path) -> Result<Option<Vec<String>>, DataError> {
    let path = folder.join(CLASSES_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    fs::File::open(&path)
        .and_then(|file| file.take(MAX_CLASSES_BYTES).read_to_string(&mut text))
        .map_err(|e| DataError::read(&path, e))?;
    let names = text.lines().map(|line| line.trim().to_string());
    let names: Vec<String> = names.filter(|line| !line.is_empty()).collect();
    check(&names).map_err(|problem| DataError::folders(&path, problem))?;
    Ok(Some(names))
}

/// Checks names of classes that the user gives.
///
/// # Errors
/// Says that there are too few or too many, that some are alike, or that one is empty.
pub fn check(names: &[String]) -> Result<(), String> {
    if let Some(place) = names.iter().position(|name| name.trim().is_empty()) {
        return Err(format!(
            "class {} of {} has an empty name; name it, or leave it out",
            place + 1,
            names.len()
        ));
    }
    let distinct: HashSet<&String> = names.iter().collect();
    if CLASSES.contains(&names.len()) && distinct.len() == names.len() {
        return Ok(());
    }
    Err(format!(
        "{} classes are named, {} of them different; there have to be {} to {}, all different",
        names.len(),
        distinct.len(),
        CLASSES.start(),
        CLASSES.end()
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The class of each name, in the order of the names as sets have them, and what is noted.
    fn found(names: &[&str], given: &[&str], is_raf_db: bool) -> Result<(String, String), String> {
        let given: Vec<String> = given.iter().map(|class| class.to_string()).collect();
        let given = (!given.is_empty()).then_some(given.as_slice());
        let names: BTreeSet<&str> = names.iter().copied().collect();
        let mut notes = Vec::new();
        let classes = Classes::of(Path::new("data"), &names, given, is_raf_db, &mut notes);
        let classes = classes.map_err(|e| e.to_string())?;
        let class = |name: &&str| match classes.label(name) {
            Some(label) => format!("{label} {}", classes.names[label]),
            None => "?".into(),
        };
        let found: Vec<String> = names.iter().map(class).collect();
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        Ok((found.join(", "), notes.join("; ")))
    }

    #[test]
    fn names_become_classes() {
        let seven = [
            "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
        ];
        let fer = "0 angry, 1 disgust, 2 fear, 3 happy, 4 neutral, 5 sad, 6 surprise";
        let zero = ["0", "1", "2", "3", "4", "5", "6"];
        let one = ["1", "2", "3", "4", "5", "6", "7"];
        let ck = [
            "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise",
        ];
        let numbered = [
            "0_angry",
            "1_disgust",
            "2_fear",
            "3_happy",
            "4-neutral",
            "5 sad",
            "6surprise",
        ];
        type Row<'a> = (&'a [&'a str], &'a [&'a str], bool, &'a str, &'a str);
        let rows: &[Row] = &[
            (&seven, &[], false, fer, ""),
            (
                &numbered,
                &[],
                false,
                fer,
                "0_angry = angry, 1_disgust = disgust",
            ),
            (
                &seven[..6],
                &[],
                false,
                "0 angry, 1 disgust, 2 fear, 3 happy, 4 neutral, 5 sad",
                "no images of surprise",
            ),
            (
                &ck,
                &[],
                false,
                "0 angry, 1 contempt, 2 disgust, 3 fear, 4 happy, 5 sad, 6 surprise",
                "anger = angry, sadness = sad; there are no images of neutral",
            ),
            (
                &["sda", "angry", "disgust", "fear", "happy", "neutral"],
                &[],
                false,
                "0 angry, 1 disgust, 2 fear, 3 happy, 4 neutral, ?",
                "no images of sad, surprise",
            ),
            (&["joy", "cat"], &[], false, "0 cat, 1 joy", ""),
            (&["0_cat", "1_dog"], &[], false, "0 0_cat, 1 1_dog", ""),
            (&zero, &seven, false, fer, "0 = angry, 1 = disgust"),
            (
                &["2", "10"],
                &["a", "b"],
                false,
                "1 b, 0 a",
                "10 = b, 2 = a",
            ),
            (&zero, &zero, false, "0 0, 1 1, 2 2, 3 3, 4 4, 5 5, 6 6", ""),
            (
                &one,
                &[],
                true,
                "6 surprise, 2 fear, 1 disgust, 3 happy, 5 sad, 0 angry, 4 neutral",
                "a guess from the folder's name: 1 = surprise, 2 = fear",
            ),
            (
                &["joy", "Sad"],
                &["sadness", "happy"],
                false,
                "0 sadness, 1 happy",
                "Sad = sadness, joy = happy",
            ),
            (&["a", "c"], &["b", "a"], false, "1 a, ?", ""),
        ];
        let mut wrong = Vec::new();
        for (names, given, is_raf_db, classes, note) in rows {
            let found = found(names, given, *is_raf_db);
            let right = found.as_ref().is_ok_and(|(found, notes)| {
                let said = if note.is_empty() {
                    notes.is_empty()
                } else {
                    notes.contains(note)
                };
                said && found == classes
            });
            if !right {
                wrong.push(format!("{names:?}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn names_that_are_no_classes_are_refused() {
        let rows: [(&[&str], &[&str], bool, &str); 5] = [
            (&["0", "1"], &[], false, "plain numbers"),
            (&["0", "1", "2"], &[], true, "plain numbers"),
            (
                &["0", "1"],
                &["a", "b", "c"],
                false,
                "there are 2 numbers (0, 1), and 3 classes",
            ),
            (
                &["1", "2", "3"],
                &["a", "b"],
                false,
                "there are 3 numbers (1, 2, 3), and 2 classes",
            ),
            (
                &["Cat", "cat"],
                &[],
                false,
                "the folders Cat and cat are the same class",
            ),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(names, given, raf, text)| (found(names, given, *raf), *text))
            .filter(|(found, text)| !found.as_ref().is_err_and(|e| e.contains(text)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    proptest! {
        #[test]
        fn labels_are_those_of_classes(
            names in proptest::collection::btree_set(
                "[0-9]{0,2}[ _]?(joy|sad|anger|a|b|fear|)",
                1..9,
            ),
            given in proptest::collection::vec("(joy|sad|[0-9]|a)", 0..9),
            is_raf_db: bool,
        ) {
            let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            let given = (!given.is_empty()).then_some(given.as_slice());
            let mut notes = Vec::new();
            let found = Classes::of(Path::new("data"), &names, given, is_raf_db, &mut notes);
            if let Ok(classes) = found {
                let labels = names.iter().filter_map(|name| classes.label(name));
                prop_assert!(labels.into_iter().all(|label| label < classes.names.len()));
            }
        }
    }
}
