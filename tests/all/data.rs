//! Data sets on disk: what is listed, how it is named, what is refused; their pixels; what a check
//! finds and leaves out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fer::data::check::{CheckReport, Keep, Relation, check};
use fer::data::dataset::Dataset;
use fer::data::split::Split;
use fer::data::{Catalog, Form, Usage};
use fer::spec::EMOTIONS;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A folder with these files; each is its content's bytes.
fn tree<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a file in the folder"))
            .expect("a folder can be made");
        fs::write(path, bytes).expect("a file can be written");
    }
    folder
}

/// A folder with these empty files, which are enough to be listed.
fn empty_tree<S: AsRef<str>>(names: &[S]) -> TempDir {
    tree(names.iter().map(|name| (name.as_ref(), Vec::new())))
}

/// One empty image in each class folder of these folders.
fn classes(folders: &[&str]) -> Vec<String> {
    folders
        .iter()
        .flat_map(|f| EMOTIONS.map(|class| format!("{f}{class}/a.jpg")))
        .collect()
}

fn relative(catalog: &Catalog) -> Vec<&str> {
    catalog
        .items
        .iter()
        .map(|item| item.relative.as_str())
        .collect()
}

/// A gray picture that differs for each `seed`.
fn picture(width: usize, height: usize, seed: usize) -> Vec<u8> {
    let value = |i: usize| {
        let (x, y) = (
            (i % width) as f64 / width as f64,
            (i / width) as f64 / height as f64,
        );
        let s = seed as f64;
        (128.0 + 60.0 * (3.0 * s * x + s).sin() + 60.0 * ((2.0 + 1.7 * s) * y + 2.0 * x * s).cos())
            as u8
    };
    (0..width * height).map(value).collect()
}

/// An image file.
fn pgm(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    [format!("P5\n{width} {height}\n255\n").as_bytes(), pixels].concat()
}

#[test]
fn kaggles_folders_are_listed_by_part_class_and_name() {
    let mut names = classes(&["train/", "test/"]);
    names.extend(
        [
            "train/happy/Training_9.jpg",
            "train/happy/Training_10.jpg",
            "train/happy/PublicTest_1.PNG",
        ]
        .map(String::from),
    );
    names.extend(
        [
            "test/sad/PublicTest_1.jpg",
            "test/sad/PrivateTest_2.jpg",
            "test/sad/Training_3.jpg",
        ]
        .map(String::from),
    );
    names.extend(
        [
            "train/happy/.hidden.jpg",
            "train/happy/notes.txt",
            "train/.cache/x.jpg",
            "README",
        ]
        .map(String::from),
    );
    let folder = empty_tree(&names);
    let catalog = Catalog::open(folder.path()).expect("a data set");
    assert_eq!(
        (catalog.form, catalog.items.len(), catalog.passed_over.count),
        (Form::TrainTest, 20, 2),
        "hidden files do not count"
    );
    let happy: Vec<_> = relative(&catalog)
        .into_iter()
        .filter(|name| name.starts_with("train/happy"))
        .collect();
    let expected = [
        "PublicTest_1.PNG",
        "Training_10.jpg",
        "Training_9.jpg",
        "a.jpg",
    ];
    assert_eq!(happy, expected.map(|name| format!("train/happy/{name}")));
    let sad: Vec<_> = catalog
        .items
        .iter()
        .filter(|i| i.relative.starts_with("test/sad"))
        .map(|i| (i.class(), i.usage))
        .collect();
    let usages = [
        Usage::PrivateTest,
        Usage::PublicTest,
        Usage::PublicTest,
        Usage::PublicTest,
    ];
    assert_eq!(sad, usages.map(|usage| ("sad", Some(usage))));
    assert!(
        catalog.items[..10]
            .iter()
            .all(|item| item.usage == Some(Usage::Training))
    );
    let first = &catalog.items[0];
    assert_eq!(
        first.name,
        folder
            .path()
            .join("train/angry/a.jpg")
            .display()
            .to_string()
    );
    assert_eq!(
        (first.relative.as_str(), first.label),
        ("train/angry/a.jpg", 0)
    );
}

/// `scripts/keras/generator_golden.py` made the golden file: Keras's own lists, for the numbers of
/// files of FER-2013.
#[test]
fn the_keras_split_is_that_of_keras() {
    let golden: serde_json::Value = serde_json::from_slice(include_bytes!("../golden/split.json"))
        .expect("the golden file is JSON");
    let step = golden["step"].as_u64().expect("a number");
    let mut names = Vec::new();
    for part in ["train", "test"] {
        for (index, class) in EMOTIONS.iter().enumerate() {
            for k in 0..golden[part]["files"][class].as_u64().expect("a number") {
                let prefix = match (part, k % 2) {
                    ("train", _) => "Training",
                    (_, 0) => "PublicTest",
                    _ => "PrivateTest",
                };
                names.push(format!(
                    "{part}/{class}/{prefix}_{:08}.jpg",
                    (k * step + index as u64) % 100_000_000
                ));
            }
        }
    }
    let folder = empty_tree(&names);
    let catalog = Catalog::open(folder.path()).expect("a data set");
    let parts = Split::Keras
        .divide(&catalog, 0)
        .expect("the split of the notebook");
    for (part, indices) in [("train", parts.training), ("test", parts.validation)] {
        let prefix = format!("{part}/");
        let chosen: Vec<&str> = indices
            .iter()
            .map(|i| {
                catalog.items[*i]
                    .relative
                    .strip_prefix(&prefix)
                    .expect("its own part")
            })
            .collect();
        let sha256: String = Sha256::digest(chosen.join("\n"))
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(golden[part]["count"], chosen.len(), "{part}");
        assert_eq!(golden[part]["first"], chosen[0], "{part}");
        assert_eq!(golden[part]["sha256"], sha256, "{part}");
    }
}

#[test]
fn files_come_in_keras_order() {
    // As Python's sorted(os.walk(folder)) with sorted(files) gives it: folders by their whole path,
    // then code points.
    let order = [
        "B.jpg",
        "a.jpg",
        "a10.jpg",
        "a9.jpg",
        "é.jpg",
        "\u{ff5e}.jpg",
        "\u{1f600}.jpg",
        "sub/z.jpg",
        "sub-x/a.jpg",
        "sub/deep/a.jpg",
    ];
    let mut names = classes(&[""]);
    names.retain(|name| !name.starts_with("fear"));
    names.extend(order.iter().rev().map(|name| format!("fear/{name}")));
    let folder = empty_tree(&names);
    let catalog = Catalog::open(folder.path()).expect("a data set");
    let fear: Vec<_> = relative(&catalog)
        .into_iter()
        .filter_map(|name| name.strip_prefix("fear/"))
        .collect();
    assert_eq!(fear, order);
    assert!(catalog.items.iter().all(|item| item.usage.is_none()) && catalog.form == Form::Classes);
}

#[test]
fn other_names_of_parts_and_classes_are_known() {
    let synonyms = [
        "Anger",
        "Disgusted",
        "FEARFUL",
        "happiness",
        "Neutrality",
        "sadness",
        "surprised",
    ];
    let mut names: Vec<_> = synonyms
        .iter()
        .map(|class| format!("Training/{class}/a.jpg"))
        .collect();
    names.extend(classes(&["val/", "test/"]));
    names.extend([
        "val/sad/PrivateTest_1.jpg".into(),
        "test/sad/PublicTest_1.jpg".into(),
    ]);
    let folder = empty_tree(&names);
    let catalog = Catalog::open(folder.path()).expect("a data set");
    assert_eq!(catalog.form, Form::TrainValidationTest);
    let labels: Vec<_> = catalog.items[..7]
        .iter()
        .map(|item| usize::from(item.label))
        .collect();
    assert_eq!(labels, (0..7).collect::<Vec<_>>());
    let parts = Split::Official.divide(&catalog, 0).expect("three parts");
    assert_eq!(
        (
            parts.training.len(),
            parts.validation.len(),
            parts.test.len()
        ),
        (7, 8, 8)
    );
}

#[test]
fn folders_that_are_no_data_set_are_explained() {
    let without = |names: Vec<String>, gone: &[&str]| -> Vec<String> {
        names
            .into_iter()
            .filter(|name| !gone.iter().any(|gone| name.starts_with(gone)))
            .collect()
    };
    let with = |mut names: Vec<String>, more: &[&str]| -> Vec<String> {
        names.extend(more.iter().map(|name| name.to_string()));
        names
    };
    let cases: [(&str, Vec<String>, &str); 9] = [
        (
            "two classes missing in a part",
            without(classes(&["train/", "test/"]), &["train/sad", "train/fear"]),
            "train: the class fear, sad is missing (there is angry, disgust, happy, neutral, \
             surprise); add it",
        ),
        (
            "a class misspelled",
            with(without(classes(&[""]), &["sad"]), &["sda/a.jpg"]),
            "the folder sda is not a class, and the class sad is missing; rename it",
        ),
        (
            "an eighth class",
            with(classes(&[""]), &["ahegao/a.jpg"]),
            "the folder ahegao is not a class",
        ),
        (
            "a class twice",
            with(classes(&[""]), &["Anger/a.jpg"]),
            "the folders Anger and angry are the same class",
        ),
        (
            "a class without images",
            with(without(classes(&[""]), &["sad"]), &["sad/a.txt"]),
            "sad/a.txt); put some in",
        ),
        (
            "a part misspelled",
            with(classes(&["train/"]), &["tset/sad/a.jpg"]),
            "beside train there is tset",
        ),
        (
            "parts and classes",
            with(classes(&["train/"]), &["sad/a.jpg"]),
            "beside train there is sad",
        ),
        (
            "a part twice",
            classes(&["val/", "valid/"]),
            "the folders val and valid are the same part",
        ),
        (
            "no folders",
            vec!["a.jpg".into()],
            "holds no class folders (there is nothing)",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, names, text) in cases {
        let folder = empty_tree(&names);
        let error = Catalog::open(folder.path())
            .map(|c| c.items.len())
            .map_err(|e| e.to_string());
        if !error
            .as_ref()
            .is_err_and(|e| e.contains(text) && e.contains(&folder.path().display().to_string()))
        {
            wrong.push((what, error));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let folder = empty_tree(&["fer2013.txt"]);
    for (name, text) in [
        ("fer2013.txt", "neither a folder nor a .csv file"),
        ("absent", "can't be read"),
    ] {
        let error = Catalog::open(&folder.path().join(name))
            .expect_err(name)
            .to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_count_and_what_is_not_read_has_its_reason() {
    use std::os::unix::fs::symlink;
    let more = ["more/a.jpg", "more/b/c.png", "more/notes.txt"].map(String::from);
    let folder = empty_tree(&[classes(&["data/"]), more.to_vec()].concat());
    let data = folder.path().join("data");
    symlink(&data, data.join("sad/loop")).expect("a link");
    symlink(data.join("sad/a.jpg"), data.join("sad/b.jpg")).expect("a link");
    symlink(data.join("sad/absent.jpg"), data.join("sad/c.jpg")).expect("a link");
    fs::rename(data.join("happy"), folder.path().join("elsewhere")).expect("a move");
    symlink(folder.path().join("elsewhere"), data.join("happy")).expect("a link");
    symlink(folder.path().join("more"), data.join("sad/more")).expect("a link");
    symlink("..", folder.path().join("more/b/up")).expect("a link");
    symlink("itself.png", data.join("sad/itself.png")).expect("a link");
    symlink("no one", data.join("sad/.lock")).expect("a link");
    // Reading a pipe would wait forever.
    for pipe in ["sad/pipe.png", "fer2013.csv"] {
        let mkfifo = std::process::Command::new("mkfifo")
            .arg(data.join(pipe))
            .status();
        assert!(mkfifo.expect("mkfifo").success());
    }
    symlink("absent", data.join("readme")).expect("a link");
    let catalog = Catalog::open(&data).expect("a data set");
    assert_eq!(
        relative(&catalog)[3..9],
        [
            "happy/a.jpg",
            "neutral/a.jpg",
            "sad/a.jpg",
            "sad/b.jpg",
            "sad/more/a.jpg",
            "sad/more/b/c.png",
        ]
    );
    assert_eq!((catalog.items.len(), catalog.passed_over.count), (10, 1));
    let notes: Vec<_> = catalog.notes.iter().map(ToString::to_string).collect();
    let at = data.display().to_string();
    for (what, names) in [
        ("3 links that lead nowhere", ["readme", "sad/c.jpg"]),
        (
            "2 links to folders around them",
            ["sad/loop", "sad/more/b/up"],
        ),
        (
            "2 pipes, sockets or devices",
            ["fer2013.csv", "sad/pipe.png"],
        ),
    ] {
        let said = |note: &&String| note.starts_with(&format!("not read: {what}: "));
        let note = notes.iter().find(said);
        let named = |name| note.is_some_and(|note| note.contains(&format!("{at}/{name}")));
        assert!(names.into_iter().all(named), "{what}: {notes:#?}");
    }
    // A class of nothing else says why.
    fs::remove_file(data.join("happy")).expect("a link");
    fs::create_dir(data.join("happy")).expect("a folder");
    symlink("absent", data.join("happy/a.png")).expect("a link");
    let error = Catalog::open(&data).expect_err("no images").to_string();
    assert!(
        error.contains("happy: the class folder holds no images (not read: 1 link that leads"),
        "{error}"
    );
}

#[test]
fn a_list_takes_out_what_it_names_or_is_refused() {
    let folder = empty_tree(&classes(&["train/", "test/"]));
    let list = folder.path().join("list.txt");
    let mut catalog = Catalog::open(folder.path()).expect("a data set");
    let all = catalog.clone();
    fs::write(
        &list,
        "# head\n\ntrain/sad/a.jpg\ntrain/sad/b.jpg\nnowhere.jpg\n",
    )
    .expect("a file");
    let error = catalog
        .exclude(&list)
        .expect_err("two names are unknown")
        .to_string();
    assert!(
        error.contains("2 of its 3 names are not in")
            && error.contains("in line 4: train/sad/b.jpg"),
        "{error}"
    );
    assert_eq!(catalog, all);
    fs::write(
        &list,
        "\u{feff}# head\r\n\r\n train/sad/a.jpg \r\ntest/fear/a.jpg\r\ntrain/sad/a.jpg\r\n",
    )
    .expect("a file");
    assert_eq!(catalog.exclude(&list).expect("a list that fits"), 2);
    assert_eq!(catalog.items.len(), 12);
    assert!(
        !relative(&catalog).contains(&"train/sad/a.jpg")
            && !relative(&catalog).contains(&"test/fear/a.jpg")
    );
    assert!(catalog.exclude(&list).is_err(), "a list fits once");
}

#[test]
fn the_hash_follows_names_labels_usage_and_bytes_but_not_the_place() {
    let hash = |files: &[(&str, &str)], indices: &[usize]| {
        let mut all: Vec<(String, Vec<u8>)> = classes(&["train/", "test/"])
            .into_iter()
            .map(|name| (name, b"x".to_vec()))
            .collect();
        for (name, bytes) in files {
            all.retain(|(known, _)| known != name);
            all.push((name.to_string(), bytes.as_bytes().to_vec()));
        }
        let folder = tree(
            all.iter()
                .map(|(name, bytes)| (name.as_str(), bytes.clone())),
        );
        Catalog::open(folder.path())
            .expect("a data set")
            .hash(indices)
            .expect("readable files")
    };
    let all: Vec<usize> = (0..14).collect();
    let hashes = [
        hash(&[], &all),
        hash(&[], &all[1..]),
        hash(&[("train/sad/a.jpg", "y")], &all),
        hash(&[("train/sad/a.jpg", ""), ("test/sad/a.jpg", "xx")], &all),
        hash(&[("test/surprise/PrivateTest_1.jpg", "x")], &all),
    ];
    assert_eq!(
        hashes.iter().collect::<BTreeSet<_>>().len(),
        hashes.len(),
        "{hashes:?}"
    );
    assert_eq!(
        hash(&[], &all),
        hashes[0],
        "another folder with the same in it"
    );
    // printf 'train/angry/a.jpg\0angry\0Training\0%s\0' $(printf x | sha256sum | cut -c1-64) |
    // sha256sum
    assert_eq!(
        hash(&[], &[0]),
        "e2a743d0933d3f45265ff459b5ce209cb641400a817002a813c7f4c27eb1c28d"
    );
}

/// A data set of one 48×40 picture a class in `train/` and `test/`, and these other files.
fn pictures(more: &[(&str, Vec<u8>)]) -> TempDir {
    let parts = [("train", 1), ("test", 8)];
    let names: Vec<(String, Vec<u8>)> = parts
        .iter()
        .flat_map(|(part, seed)| {
            EMOTIONS.iter().zip(*seed..).map(move |(class, seed)| {
                (
                    format!("{part}/{class}/a.pgm"),
                    pgm(48, 40, &picture(48, 40, seed)),
                )
            })
        })
        .collect();
    tree(
        names
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.clone()))
            .chain(more.iter().cloned()),
    )
}

#[test]
fn a_data_set_is_loaded_in_order() {
    let rgb = [
        b"P6\n48 40\n255\n".as_slice(),
        &[10, 200, 30].repeat(48 * 40),
    ]
    .concat();
    let folder = pictures(&[("train/sad/b.ppm", rgb)]);
    let catalog = Catalog::open(folder.path()).expect("a data set");
    let steps = AtomicUsize::new(0);
    let count = || {
        steps.fetch_add(1, Ordering::Relaxed);
    };
    let data = Dataset::load(&catalog, &[14, 6, 0], &count).expect("good images");
    assert_eq!(
        (data.width, data.height, data.len(), data.pixels.len()),
        (48, 40, 3, 3 * 48 * 40)
    );
    assert_eq!(
        (data.labels.as_slice(), steps.into_inner()),
        ([6, 5, 0].as_slice(), 3)
    );
    assert_eq!(data.image(0), picture(48, 40, 14));
    // PIL's gray of (10, 200, 30).
    assert_eq!(data.image(1), [124; 48 * 40]);
    assert_eq!(data.image(2), picture(48, 40, 1));
    assert_eq!(data.names[2], catalog.items[0].name);
}

#[test]
fn images_that_do_not_fit_are_named() {
    let odd = |w, h| pgm(w, h, &picture(w, h, 3));
    let load = |more: &[(&str, Vec<u8>)], indices: Option<&[usize]>| {
        let folder = pictures(more);
        let catalog = Catalog::open(folder.path()).expect("a data set");
        let all: Vec<usize> = (0..catalog.items.len()).collect();
        Dataset::load(&catalog, indices.unwrap_or(&all), &|| {})
            .map(|data| data.len())
            .map_err(|e| e.to_string())
    };
    type Case<'a> = (
        &'a str,
        &'a [(&'a str, Vec<u8>)],
        Option<&'a [usize]>,
        &'a str,
    );
    let cases: [Case; 5] = [
        (
            "the first",
            &[("train/angry/0.pgm", odd(50, 40))],
            None,
            "angry/0.pgm: the image is 50x40 and most are 48x40",
        ),
        (
            "two",
            &[
                ("train/fear/b.pgm", odd(48, 48)),
                ("test/sad/b.pgm", odd(7, 7)),
            ],
            None,
            "fear/b.pgm: the image is 48x48 and most are 48x40 (1 more are not 48x40)",
        ),
        (
            "unreadable",
            &[
                ("train/fear/b.jpg", b"no image".to_vec()),
                ("train/angry/0.jpg", vec![]),
            ],
            None,
            "angry/0.jpg: the file is empty (1 more can't be read)",
        ),
        (
            "all unreadable",
            &[("train/angry/0.jpg", vec![])],
            Some(&[0]),
            "angry/0.jpg: the file is empty",
        ),
        ("none", &[], Some(&[]), "there are no images to load"),
    ];
    let results = cases.map(|(what, files, indices, text)| (what, text, load(files, indices)));
    let wrong: Vec<_> = results
        .iter()
        .filter(|(_, text, result)| !result.as_ref().is_err_and(|e| e.contains(text)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A data set with one fault of every kind.
fn faulty() -> TempDir {
    let image = |seed| picture(48, 40, seed);
    let darker: Vec<u8> = image(4).iter().map(|v| v / 2 + 5).collect();
    let mirrored: Vec<u8> = image(5)
        .chunks(48)
        .flat_map(|row| row.iter().rev().copied())
        .collect();
    let file = |pixels: &[u8]| pgm(48, 40, pixels);
    pictures(&[
        ("train/angry/blank.pgm", file(&[77; 48 * 40])),
        (
            "train/angry/broken.jpg",
            b"\xff\xd8\xff\xe0 no more".to_vec(),
        ),
        ("test/angry/broken.jpg", vec![]),
        ("test/angry/blank.pgm", file(&[0; 48 * 40])),
        ("train/angry/odd.pgm", pgm(20, 20, &picture(20, 20, 2))),
        // Of train/disgust/a.pgm: a copy in its class. Of train/fear/a.pgm: one in another class.
        ("train/disgust/copy.pgm", file(&image(2))),
        ("train/sad/copy.pgm", file(&image(3))),
        ("train/happy/darker.pgm", file(&darker)),
        ("train/neutral/mirrored.pgm", file(&mirrored)),
        // Of test/sad/a.pgm.
        ("train/sad/leak.pgm", file(&image(13))),
        ("test/sad/again.pgm", file(&image(13))),
    ])
}

fn checked(folder: &Path) -> (Catalog, CheckReport) {
    let catalog = Catalog::open(folder).expect("a data set");
    let report = check(&catalog, &|| {});
    (catalog, report)
}

#[test]
fn a_check_finds_every_fault() {
    let folder = faulty();
    let (_, report) = checked(folder.path());
    let size = report.size.expect("readable images");
    assert_eq!((report.images, size.width, size.height), (25, 48, 40));
    let unreadable: Vec<_> = report.unreadable.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(
        unreadable,
        ["train/angry/broken.jpg", "test/angry/broken.jpg"]
    );
    assert_eq!(
        report
            .odd_sized
            .iter()
            .map(|i| i.name.as_str())
            .collect::<Vec<_>>(),
        ["train/angry/odd.pgm"]
    );
    let blank: Vec<_> = report
        .blank
        .iter()
        .map(|i| (i.name.as_str(), i.deviation))
        .collect();
    assert_eq!(
        blank,
        [
            ("train/angry/blank.pgm", 0.0),
            ("test/angry/blank.pgm", 0.0)
        ]
    );
    let found = &report.duplicates;
    assert_eq!((found.exact, found.near, found.mirrored), (4, 1, 1));
    let groups: Vec<_> = found
        .groups
        .iter()
        .map(|g| {
            let relations: Vec<_> = g.members[1..].iter().map(|m| m.relation).collect();
            (
                g.members[0].name.as_str(),
                relations,
                g.conflicting,
                g.across,
            )
        })
        .collect();
    use Relation::{Exact, Mirrored, Near};
    let expected = [
        ("train/disgust/a.pgm", vec![Exact], false, false),
        ("train/fear/a.pgm", vec![Exact], true, false),
        ("train/happy/a.pgm", vec![Near], false, false),
        ("train/neutral/a.pgm", vec![Mirrored], false, false),
        ("train/sad/leak.pgm", vec![Exact, Exact], false, true),
    ];
    assert_eq!(groups, expected);
    let angry = &report.classes[0];
    assert_eq!(
        (
            angry.images,
            angry.training,
            angry.public_test,
            angry.private_test
        ),
        (7, 4, 3, 0)
    );
    let balance = report.balance.expect("no class is empty");
    assert_eq!(
        (
            balance.largest.as_str(),
            balance.smallest.as_str(),
            balance.ratio
        ),
        ("angry", "fear", 4.0)
    );
}

#[test]
fn the_quarantine_makes_a_data_set_that_loads_and_has_no_more_to_leave_out() {
    let folder = faulty();
    let (mut catalog, report) = checked(folder.path());
    let list = report.quarantine(Keep::Test);
    let names: Vec<_> = list.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "train/angry/broken.jpg",
        "test/angry/broken.jpg",
        "train/angry/odd.pgm",
        "train/angry/blank.pgm",
        "train/sad/leak.pgm",
        "train/fear/a.pgm",
        "train/sad/copy.pgm",
        "train/disgust/copy.pgm",
        "train/happy/darker.pgm",
        "train/neutral/mirrored.pgm",
    ];
    assert_eq!(names, expected);
    let file = folder.path().join("leave-out.txt");
    fs::write(&file, report.quarantine_list(Keep::Test)).expect("a file");
    assert_eq!(
        catalog.exclude(&file).expect("its own list"),
        expected.len()
    );
    let after = check(&catalog, &|| {});
    assert_eq!(after.quarantine(Keep::Test), []);
    let all: Vec<usize> = (0..catalog.items.len()).collect();
    Dataset::load(&catalog, &all, &|| {}).expect("what is left can be loaded");

    // The other way round, the test images go whose copy is trained on.
    let other: Vec<_> = report
        .quarantine(Keep::Training)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let seen = |name: &&'static str| match *name {
        "train/sad/leak.pgm" => vec!["test/sad/a.pgm", "test/sad/again.pgm"],
        name => vec![name],
    };
    assert_eq!(other, expected.iter().flat_map(seen).collect::<Vec<_>>());
}

#[test]
fn a_slow_change_is_not_one_picture() {
    let (from, to) = (picture(48, 40, 20), picture(48, 40, 23));
    let frames: Vec<(String, Vec<u8>)> = (0..=40)
        .map(|t| {
            let mix =
                |(a, b): (&u8, &u8)| ((u32::from(*a) * (40 - t) + u32::from(*b) * t) / 40) as u8;
            let pixels: Vec<u8> = from.iter().zip(&to).map(mix).collect();
            (format!("train/sad/frame{t:02}.pgm"), pgm(48, 40, &pixels))
        })
        .collect();
    let frames: Vec<_> = frames
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    let folder = pictures(&frames);
    let (_, report) = checked(folder.path());
    let groups: Vec<Vec<&str>> = report
        .duplicates
        .groups
        .iter()
        .map(|g| g.members.iter().map(|m| m.name.as_str()).collect())
        .collect();
    let of = |name: &str| groups.iter().position(|g| g.contains(&name));
    let (first, next, last) = (
        of("train/sad/frame00.pgm"),
        of("train/sad/frame01.pgm"),
        of("train/sad/frame40.pgm"),
    );
    assert!(
        first.is_some() && first == next && first != last,
        "{groups:?}"
    );
}

#[test]
fn a_report_is_readable_as_text_and_json() {
    let folder = faulty();
    let (_, report) = checked(folder.path());
    let text = report.to_string();
    let parts = [
        ": 25 images, 48x40 pixels",
        "angry            7   28.0 %            4            3",
        "angry has 4.0 times the training images of fear",
        "unreadable                 2\n",
        "    train/angry/odd.pgm is 20x20\n",
        "exact copies               4  equal",
        "    train/fear/a.pgm and train/sad/copy.pgm\n",
        "    train/sad/leak.pgm and test/sad/a.pgm\n",
        "10 images are better left out of training",
    ];
    let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
    assert!(missing.is_empty(), "{missing:#?} in\n{text}");
    let json = serde_json::to_value(&report).expect("a report can be written");
    assert_eq!(json["form"], "train-test");
    assert_eq!(
        json["duplicates"]["groups"][3]["members"][1]["relation"],
        "mirrored"
    );
    assert_eq!(json["blank"][1]["usage"], "PublicTest");
}

#[test]
fn a_csv_file_is_checked_and_cut_like_folders() {
    let row = |label: usize, seed: usize, usage: &str| {
        let pixels: Vec<String> = picture(24, 24, seed).iter().map(u8::to_string).collect();
        format!("{label},{},{usage}\n", pixels.join(" "))
    };
    let mut text = String::from("emotion,pixels,Usage\n");
    (0..7).for_each(|label| text += &row(label, label + 1, "Training"));
    text += &row(0, 1, "Training");
    text += &row(1, 2, "PublicTest");
    let folder = tree([("fer2013.csv", text.into_bytes())]);
    let (mut catalog, report) = checked(&folder.path().join("fer2013.csv"));
    let names: Vec<_> = report
        .quarantine(Keep::Test)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["fer2013.csv:3", "fer2013.csv:9"]);
    let list = folder.path().join("list.txt");
    fs::write(&list, report.quarantine_list(Keep::Test)).expect("a file");
    assert_eq!(catalog.exclude(&list).expect("its own list"), 2);
    let data = Dataset::load(&catalog, &[0, 6], &|| {}).expect("good images");
    assert_eq!(
        (data.width, data.labels.as_slice()),
        (24, [0, 1].as_slice())
    );
    assert_eq!(data.image(1), picture(24, 24, 2));
}
