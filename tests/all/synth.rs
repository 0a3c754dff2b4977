//! The made-up data set: its folders and files, what makes it the same and what makes it different,
//! and where it refuses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fer::data::synth::{MAX_COUNT, MIN_COUNT, SIDE, SynthError, face, synth};
use fer::spec::EMOTIONS;

fn draw(dir: &Path, count: usize, seed: u64) -> Result<(), SynthError> {
    synth(dir, count, seed, &|| {})
}

/// Every file below a folder, by its path within it.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_path_buf());
            }
        }
    }
    found
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_set_has_the_folders_of_fer_2013() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new/faces");
    let drawn = AtomicUsize::new(0);
    let count = || {
        drawn.fetch_add(1, Ordering::Relaxed);
    };
    synth(&dir, 150, 5, &count).unwrap();
    assert_eq!(drawn.into_inner(), 150);
    assert_eq!(
        names(dir.parent().unwrap()),
        ["faces"],
        "nothing is left beside the set"
    );

    let found = files(&dir);
    assert_eq!(found.len(), 150);
    let mut wrong = Vec::new();
    for class in EMOTIONS {
        let number = |prefix: String| {
            found
                .iter()
                .filter(|p| p.display().to_string().starts_with(&prefix))
                .count()
        };
        let (train, public, private) = (
            number(format!("train/{class}/{class}-")),
            number(format!("test/{class}/PublicTest_")),
            number(format!("test/{class}/PrivateTest_")),
        );
        if !(16..=18).contains(&train) || (public, private) != (2, 2) {
            wrong.push(format!(
                "{class}: {train} for training, {public} public and {private} private ones"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found.contains(Path::new("train/angry/angry-00001.png")));
    assert!(found.contains(Path::new("test/surprise/PrivateTest_00002.png")));

    let image = image::open(dir.join("train/happy/happy-00009.png")).unwrap();
    assert_eq!(
        (image.color(), image.width(), image.height()),
        (image::ColorType::L8, SIDE as u32, SIDE as u32)
    );
    // The ninth for training is the eleventh of its class: two of the first ten are for tests.
    assert_eq!(image.into_bytes(), face(3, 5, 10));
}

#[test]
fn the_seed_is_all_that_counts() {
    let parent = tempfile::tempdir().unwrap();
    let [one, same, other, larger] =
        ["one", "same", "other", "larger"].map(|name| parent.path().join(name));
    draw(&one, 70, 1).unwrap();
    std::fs::create_dir(&same).unwrap();
    draw(&same, 70, 1).unwrap();
    draw(&other, 70, 2).unwrap();
    draw(&larger, 140, 1).unwrap();
    let read = |dir: &Path, path: &Path| std::fs::read(dir.join(path)).unwrap();
    let paths = files(&one);
    assert_eq!(paths, files(&same));
    for path in &paths {
        let bytes = read(&one, path);
        assert!(
            bytes == read(&same, path),
            "{} differs under the same seed",
            path.display()
        );
        assert!(
            bytes != read(&other, path),
            "{} is the same under another seed",
            path.display()
        );
        assert!(
            bytes == read(&larger, path),
            "{} differs in a larger set",
            path.display()
        );
    }
    let contents: BTreeSet<Vec<u8>> = paths.iter().map(|path| read(&one, path)).collect();
    assert_eq!(contents.len(), paths.len(), "no face is there twice");
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.txt"), "mine").unwrap();
    let error = draw(dir.path(), 70, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{}: not empty, there is 'mine.txt'; name a new folder",
            dir.path().display()
        )
    );
    assert_eq!(names(dir.path()), ["mine.txt"]);

    let file = dir.path().join("mine.txt");
    let error = draw(&file, 70, 1).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: can't be written", file.display())),
        "{error}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn counts_have_limits() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("faces");
    for count in [0, MIN_COUNT - 1, MAX_COUNT + 1, usize::MAX] {
        let error = draw(&dir, count, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{count} images can't be drawn: it can be 70 to 1000000")
        );
    }
    assert!(names(parent.path()).is_empty());
}

/// The classes have looks of their own, or nothing could be learned; but pose, light and skin keep
/// a comparison with the mean face of each class from telling them.
#[test]
fn classes_differ_but_not_plainly() {
    const LEARNT: u64 = 100;
    const ASKED: u64 = 50;
    let mean = |class: usize| -> Vec<f64> {
        let mut sum = vec![0.0; SIDE * SIDE];
        for i in 0..LEARNT {
            sum.iter_mut()
                .zip(face(class, 1, i))
                .for_each(|(sum, level)| *sum += f64::from(level) / LEARNT as f64);
        }
        sum
    };
    let means: Vec<Vec<f64>> = (0..7).map(mean).collect();
    let nearest = |face: &[u8]| {
        let distance = |mean: &Vec<f64>| {
            mean.iter()
                .zip(face)
                .map(|(m, v)| (m - f64::from(*v)).powi(2))
                .sum::<f64>()
        };
        (0..7).min_by(|a, b| distance(&means[*a]).total_cmp(&distance(&means[*b])))
    };
    let right: usize = (0..7)
        .map(|c| {
            (LEARNT..LEARNT + ASKED)
                .filter(|i| nearest(&face(c, 1, *i)) == Some(c))
                .count()
        })
        .sum();
    let share = right as f64 / (7 * ASKED) as f64;
    assert!(
        (0.2..0.5).contains(&share),
        "the mean faces tell {share} of the faces"
    );
}
