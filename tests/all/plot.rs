//! Pictures: they are whole PNG files, nothing is cut off at their edges, and what can't be drawn
//! is one line of error.

use std::path::Path;

use fer::eval::robustness::CorruptionScores;
use fer::eval::{CalibrationBin, Corruption, Robustness};
use fer::images::{Pixels, read};
use fer::plot::{
    Boxed, Cell, EpochPoint, MAX_CELLS, Mark, PlotError, annotated, confusion, corruptions, curves,
    reliability, sheet,
};

const BLUE: [u8; 3] = [0, 114, 178];
const ORANGE: [u8; 3] = [213, 94, 0];
const GREEN: [u8; 3] = [0, 158, 115];

/// Draws into a folder of its own; the picture, if there is one, must be all that is there.
fn drawn(draw: impl FnOnce(&Path) -> Result<(), PlotError>) -> Result<Pixels, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    let result = draw(&path);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(
        files,
        usize::from(result.is_ok()),
        "files left in the folder"
    );
    result.map_err(|e| e.to_string())?;
    Ok(read(&path).unwrap().into_rgb())
}

/// The error's text, which is one line that names the file.
fn refused(draw: impl FnOnce(&Path) -> Result<(), PlotError>) -> String {
    let text = drawn(draw).map(|p| (p.width, p.height)).unwrap_err();
    assert!(
        text.contains("picture.png") && !text.contains('\n'),
        "{text}"
    );
    text
}

fn count(pixels: &Pixels, color: [u8; 3]) -> usize {
    pixels.data.chunks_exact(3).filter(|p| *p == color).count()
}

/// Fails unless the outermost three pixels are white: text or lines that reach them are cut off.
#[track_caller]
fn nothing_is_cut_off(what: &str, pixels: &Pixels) {
    let (w, h) = (pixels.width, pixels.height);
    let edge = |i: usize| i % w < 3 || i % w >= w - 3 || i / w < 3 || i / w >= h - 3;
    let ink = pixels
        .data
        .chunks_exact(3)
        .enumerate()
        .filter(|(i, p)| edge(*i) && **p != [255; 3])
        .count();
    assert_eq!(ink, 0, "{what}: {ink} pixels at the edge of {w}x{h}");
}

fn epochs(n: u32) -> Vec<EpochPoint> {
    let point = |epoch: u32| {
        let t = 1.0 / f64::from(epoch);
        EpochPoint {
            epoch,
            train_loss: 1.2 + 8.0 * t,
            train_accuracy: 0.72 - 0.5 * t,
            validation_loss: 1.4 + 7.0 * t,
            validation_accuracy: 0.68 - 0.5 * t,
            learning_rate: 1e-4,
        }
    };
    (1..=n).map(point).collect()
}

#[test]
fn curves_of_any_length() {
    let long = "a long title ".repeat(50);
    for (n, best, title) in [
        (1, Some(1), "one"),
        (2, None, ""),
        (100, Some(87), long.as_str()),
        (300, Some(999), "Größe\n"),
    ] {
        let picture = drawn(|path| curves(path, &epochs(n), best, title)).unwrap();
        nothing_is_cut_off(&format!("{n} epochs"), &picture);
        assert!(
            count(&picture, BLUE) > 60 && count(&picture, ORANGE) > 60,
            "{n} epochs: lines and legend"
        );
    }
}

#[test]
fn curves_leave_out_what_is_not_finite() {
    let whole = drawn(|path| curves(path, &epochs(100), None, "")).unwrap();
    let mut gap = epochs(100);
    gap[20..60].iter_mut().for_each(|p| p.train_loss = f64::NAN);
    let gap = drawn(|path| curves(path, &gap, None, "")).unwrap();
    assert!(count(&gap, BLUE) < count(&whole, BLUE));
    assert_eq!(count(&gap, ORANGE), count(&whole, ORANGE));

    let mut none = epochs(5);
    for p in &mut none {
        (p.train_loss, p.validation_loss) = (f64::INFINITY, f64::NAN);
        (p.train_accuracy, p.validation_accuracy, p.learning_rate) =
            (f64::NAN, f64::NEG_INFINITY, f64::NAN);
    }
    nothing_is_cut_off(
        "no value",
        &drawn(|path| curves(path, &none, Some(3), "")).unwrap(),
    );
    let mut huge = epochs(5);
    (
        huge[0].train_loss,
        huge[1].train_loss,
        huge[2].validation_loss,
    ) = (f64::MAX, 1e25, 1e-300);
    nothing_is_cut_off(
        "huge values",
        &drawn(|path| curves(path, &huge, Some(3), "")).unwrap(),
    );
    assert!(refused(|path| curves(path, &[], None, "")).contains("no epochs"));
}

fn labels(n: usize) -> Vec<String> {
    (0..n)
        .map(|i| format!("class number {i} with a long name"))
        .collect()
}

#[test]
fn confusion_matrices() {
    for n in [1, 2, 7, 30] {
        let matrix: Vec<Vec<u64>> = (0..n)
            .map(|i| (0..n).map(|j| if i == j { 1_234_567 } else { 0 }).collect())
            .collect();
        let picture =
            drawn(|path| confusion(path, &labels(n), &matrix, "title ".repeat(99).as_str()))
                .unwrap();
        nothing_is_cut_off(&format!("{n} classes"), &picture);
        // The darkest blue is a share of 1: the diagonal, and nothing else.
        let dark = count(&picture, [8, 48, 107]);
        assert!(
            (n * 4500..n * 6400).contains(&dark),
            "{n} classes: {dark} dark pixels"
        );
    }
    assert!(
        drawn(|path| confusion(path, &labels(2), &[vec![0, 0], vec![0, 0]], "nothing")).is_ok()
    );
    assert!(refused(|path| confusion(path, &[], &[], "")).contains("0 classes"));
    assert!(refused(|path| confusion(path, &labels(2), &[vec![1, 2]], "")).contains("2 classes"));
    assert!(
        refused(|path| confusion(path, &labels(2), &[vec![1, 2], vec![1]], ""))
            .contains("2 classes")
    );
    assert!(
        refused(|path| confusion(path, &labels(31), &vec![vec![1; 31]; 31], ""))
            .contains("31 classes")
    );
}

#[test]
fn reliability_diagrams() {
    let bin = |i: u32, count: u64, accuracy: f64| {
        let (low, high) = (f64::from(i) / 15.0, f64::from(i + 1) / 15.0);
        CalibrationBin {
            low,
            high,
            count,
            mean_confidence: (low + high) / 2.0,
            accuracy,
        }
    };
    let all = |accuracy: f64| (0..15).map(|i| bin(i, 10, accuracy)).collect::<Vec<_>>();
    for (what, bins) in [
        ("never right", all(0.0)),
        ("always right", all(1.0)),
        ("one bin", vec![bin(14, 10, 1.0)]),
    ] {
        let picture = drawn(|path| reliability(path, &bins, 0.1, "title")).unwrap();
        nothing_is_cut_off(what, &picture);
        assert!(count(&picture, ORANGE) > 40, "{what}");
    }
    // The accuracy of few predictions is an outline, and has no gap.
    let few = drawn(|path| reliability(path, &[bin(14, 9, 1.0)], 0.1, "title")).unwrap();
    let outline = count(&few, [64, 149, 197]);
    let gap = |picture: &Pixels| count(picture, [240, 186, 144]);
    let full = drawn(|path| reliability(path, &[bin(14, 10, 0.5)], 0.1, "title")).unwrap();
    assert!(gap(&few) < gap(&full) / 2, "{} {}", gap(&few), gap(&full));
    assert!((900..2500).contains(&outline), "{outline}");
    assert!(refused(|path| reliability(path, &[], 0.0, "")).contains("no predictions"));
    assert!(
        refused(|path| reliability(path, &[bin(3, 0, 0.0)], 0.0, "")).contains("no predictions")
    );
}

#[test]
fn bars_of_corruptions() {
    let robustness = |names: &[Corruption], accuracy: [f64; 3]| {
        let scores = |name: &Corruption| CorruptionScores {
            name: *name,
            accuracy,
            mean: 0.5,
        };
        let corruptions = names.iter().map(scores).collect();
        Robustness {
            clean: 0.7,
            mean: 0.5,
            lost: 0.2,
            by_severity: accuracy,
            corruptions,
        }
    };
    const DARK: [u8; 3] = [8, 81, 156];
    for (names, long) in [
        (&Corruption::ALL[..], false),
        (&Corruption::ALL[10..], true),
    ] {
        let title = if long {
            "a long title ".repeat(50)
        } else {
            "fer on 3589 images".into()
        };
        for accuracy in [[0.0; 3], [1.0; 3], [0.6, 0.4, 0.2]] {
            let picture =
                drawn(|path| corruptions(path, &robustness(names, accuracy), &title)).unwrap();
            nothing_is_cut_off(&format!("{} of {accuracy:?}", names.len()), &picture);
            // The legend's square, and each worst bar: 30 pixels wide, 380 high at 100 %, but for
            // its number.
            let (dark, bars) = (
                count(&picture, DARK),
                names.len() as f64 * 30.0 * 380.0 * accuracy[2],
            );
            assert!(
                dark as f64 >= 0.8 * bars && dark as f64 <= bars + 400.0,
                "{accuracy:?}: {dark} for {bars}"
            );
        }
    }
    assert!(
        refused(|path| corruptions(path, &robustness(&[], [0.5; 3]), ""))
            .contains("no corruptions")
    );
}

fn cell(width: usize, height: usize, channels: usize, caption: &str, mark: Option<Mark>) -> Cell {
    let data = (0..width * height * channels)
        .map(|i| (i * 7) as u8)
        .collect();
    Cell {
        pixels: Pixels {
            width,
            height,
            channels,
            data,
        },
        caption: caption.into(),
        mark,
    }
}

#[test]
fn sheets() {
    let mut cells = vec![cell(48, 48, 1, "happy\n99.1 %", None); 30];
    cells[0].mark = Some(Mark::Good);
    cells[1].mark = Some(Mark::Bad);
    let picture = drawn(|path| sheet(path, &cells, 8, 3, "worst mistakes")).unwrap();
    nothing_is_cut_off("sheet", &picture);
    let frame = 4 * 4 * (3 * 48 + 4);
    assert_eq!(
        (count(&picture, GREEN), count(&picture, ORANGE)),
        (frame, frame)
    );

    let odd = [
        cell(1, 1, 1, &"long ".repeat(500), Some(Mark::Bad)),
        cell(90, 7, 3, "", None),
        cell(3, 50, 1, "a\nb\nc", None),
    ];
    nothing_is_cut_off(
        "odd sizes",
        &drawn(|path| sheet(path, &odd, 2, 1, "a title that is too long for it")).unwrap(),
    );
    nothing_is_cut_off(
        "no captions",
        &drawn(|path| sheet(path, &odd[1..2], 5, 16, "")).unwrap(),
    );
}

#[test]
fn the_pixels_of_a_sheet_are_those_of_its_images() {
    let pixels = Pixels {
        width: 2,
        height: 1,
        channels: 3,
        data: vec![10, 20, 30, 200, 100, 50],
    };
    let cell = Cell {
        pixels,
        caption: String::new(),
        mark: None,
    };
    let picture = drawn(|path| sheet(path, &[cell], 1, 1, "")).unwrap();
    assert_eq!(
        (
            count(&picture, [10, 20, 30]),
            count(&picture, [200, 100, 50])
        ),
        (1, 1)
    );
}

#[test]
fn sheets_are_bounded() {
    let good = cell(48, 48, 1, "", None);
    let mut short = good.clone();
    short.pixels.data.pop();
    let empty = cell(0, 48, 1, "", None);
    let rgba = cell(2, 2, 4, "", None);
    let vast = Cell {
        pixels: Pixels {
            width: usize::MAX,
            height: usize::MAX,
            channels: 1,
            data: vec![],
        },
        ..good.clone()
    };
    let rows: [(&str, Vec<Cell>, usize, u32, &str); 9] = [
        ("none", vec![], 1, 1, "0 images"),
        (
            "many",
            vec![good.clone(); MAX_CELLS + 1],
            20,
            1,
            "401 images",
        ),
        ("no columns", vec![good.clone()], 0, 1, "0 columns"),
        ("no scale", vec![good.clone()], 1, 0, "scale 0"),
        (
            "huge scale",
            vec![good.clone()],
            1,
            u32::MAX,
            "scale 4294967295",
        ),
        (
            "large",
            vec![good.clone(); 300],
            20,
            8,
            "over the limit of 12 megapixels",
        ),
        ("vast", vec![vast], 1, 1, "over the limit of 12 megapixels"),
        (
            "short",
            vec![good.clone(), short],
            1,
            1,
            "image 2 of the sheet is not whole",
        ),
        (
            "RGBA",
            vec![rgba],
            1,
            1,
            "image 1 of the sheet is not whole",
        ),
    ];
    for (what, cells, columns, scale, expected) in rows {
        let text = refused(|path| sheet(path, &cells, columns, scale, ""));
        assert!(text.contains(expected), "{what}: {text}");
    }
    assert!(refused(|path| sheet(path, &[empty], 1, 1, "")).contains("not whole"));
}

#[test]
fn a_picture_that_can_not_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken.png");
    std::fs::create_dir(&taken).unwrap();
    for path in [folder.path().join("missing/picture.png"), taken] {
        let text = curves(&path, &epochs(3), None, "").unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("can't write {}", path.display())) && !text.contains('\n'),
            "{text}"
        );
    }
    let text = curves(&folder.path().join("picture.jpg"), &epochs(3), None, "")
        .unwrap_err()
        .to_string();
    assert!(text.contains("ends in .png"), "{text}");
}

#[test]
fn equal_figures_give_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        curves(&path, &epochs(40), Some(30), "run").unwrap();
        std::fs::read(path).unwrap()
    };
    let first = file("a.png");
    assert!(first == file("b.png"), "the same figures");
    assert!(first == file("a.png"), "and over an older file");
}

#[cfg(unix)]
#[test]
fn a_picture_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (picture, plain) = (folder.path().join("a.png"), folder.path().join("plain"));
    curves(&picture, &epochs(3), None, "").unwrap();
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
    assert_eq!(mode(&picture), mode(&plain));
}

#[test]
fn annotated_pictures_of_any_size() {
    let picture = |width: usize, height: usize, value: u8| Pixels {
        width,
        height,
        channels: 1,
        data: vec![value; width * height],
    };
    let boxed = |bounds: [f32; 4]| Boxed {
        bounds,
        label: "surprise 100 %".into(),
    };
    let rows = [
        (
            "white",
            picture(640, 480, 255),
            [100.0, 100.0, 200.0, 200.0],
        ),
        ("black", picture(640, 480, 0), [100.0, 100.0, 200.0, 200.0]),
        ("a crop", picture(48, 48, 128), [0.0, 0.0, 48.0, 48.0]),
        (
            "at the top",
            picture(640, 480, 128),
            [500.0, -20.0, 200.0, 200.0],
        ),
        (
            "all of it",
            picture(640, 480, 128),
            [-9.0, -9.0, 700.0, 700.0],
        ),
        ("a line", picture(3000, 1, 9), [0.0, 0.0, 1.0, 1.0]),
    ];
    for (what, pixels, bounds) in rows {
        let drawn = drawn(|path| annotated(path, pixels, &[boxed(bounds)])).unwrap();
        // The label's white letters on black.
        assert!(count(&drawn, [0, 0, 0]) > 100, "{what}");
        let white = drawn
            .data
            .chunks_exact(3)
            .filter(|p| p.iter().all(|v| *v > 180));
        assert!(white.count() > 20, "{what}");
    }
    let large = drawn(|path| annotated(path, picture(5000, 4000, 7), &[])).unwrap();
    assert!(large.width * large.height <= 12_000_000);
}
