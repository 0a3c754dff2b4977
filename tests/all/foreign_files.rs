//! What people give `fer infer` beside images that it reads: pictures in other formats, videos,
//! what a download left, addresses, cameras; files that are passed over; names that are not UTF-8;
//! 16 bits that are fewer.

use std::fs;
use std::path::Path;

use crate::common::{self, Run, all_right, run};
use serde_json::Value;

fn infer(args: &[&str]) -> Run {
    run(&[&["infer", "--engine", "burn", "--faces", "never"], args].concat())
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

fn face() -> Vec<u8> {
    fs::read(common::root().join("examples/faces/happy.png")).unwrap()
}

#[test]
fn what_is_no_image_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let jpeg = fs::read(common::root().join("tests/fixtures/images/rgb420.jpg")).unwrap();
    let png = face();
    let ftyp = |brands: &str| [b"\0\0\0\x18ftyp", brands.as_bytes(), b"\0\0\0\x08free"].concat();
    let mut float_tiff = b"II*\0\x08\0\0\0\x01\0".to_vec();
    float_tiff.extend(b"\x53\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0");
    // One pixel of a palette: tag, type (2 bytes or 4), how many, and the value or where it is.
    let mut palette_tiff = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, count, value) in [
        (256u16, 3u16, 1u32, 1u32),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, 1),
        (279, 4, 1, 1),
        (320, 3, 768, 134),
    ] {
        palette_tiff.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        palette_tiff.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    palette_tiff.resize(134 + 2 * 768, 0);
    let rows: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        (
            "heic.jpg",
            ftyp("heic\0\0\0\0mif1heic"),
            "a HEIC picture",
            "`heif-convert",
        ),
        (
            "avif.jpg",
            ftyp("avif\0\0\0\0mif1avif"),
            "an AVIF picture",
            "`magick",
        ),
        (
            "jxl.png",
            b"\xff\x0a\0\0".to_vec(),
            "a JPEG XL picture",
            "`djxl",
        ),
        (
            "page.jpg",
            b"<!DOCTYPE html><html>".to_vec(),
            "a web page (HTML)",
            "browser",
        ),
        (
            "lfs.png",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(),
            "a Git LFS pointer",
            "`git lfs pull`",
        ),
        (
            "clip.mp4",
            ftyp("isom\0\0\x02\0isomavc1"),
            "a video (MP4)",
            "`ffmpeg -i",
        ),
        (
            "clip.mov",
            ftyp("qt  \0\0\0\0qt  \0\0\0\0"),
            "a video (QuickTime",
            "`ffmpeg -i",
        ),
        (
            "clip.webm",
            b"\x1a\x45\xdf\xa3....webm".to_vec(),
            "a video (WebM",
            "`ffmpeg -i",
        ),
        (
            "clip.avi",
            b"RIFF\0\0\0\0AVI LIST".to_vec(),
            "a video (AVI)",
            "`ffmpeg -i",
        ),
        (
            "paper.pdf",
            b"%PDF-1.7\n".to_vec(),
            "a PDF document",
            "`pdftoppm",
        ),
        (
            "logo.png",
            b"<svg xmlns='x'></svg>".to_vec(),
            "an SVG drawing",
            "`rsvg-convert",
        ),
        (
            "art.jpg",
            b"8BPS\0\x01".to_vec(),
            "a Photoshop file",
            "`magick",
        ),
        (
            "palette.tif",
            palette_tiff,
            "a Tiff image of a kind that fer does not read",
            "`magick",
        ),
        ("float.tif", float_tiff, "floating-point values", "8-bit"),
        (
            "text.jpg",
            b"This is a text.\n".to_vec(),
            "a text, not an image",
            "again",
        ),
        ("zeros.jpg", vec![0; 999], "only zero bytes", "again"),
        ("empty.jpg", vec![], "the file is empty", ""),
        (
            "cut.jpg",
            jpeg[..jpeg.len() / 2].to_vec(),
            "JPEG: the file is cut off",
            "again",
        ),
        (
            "header.jpg",
            jpeg[..20].to_vec(),
            "JPEG: the file is cut off",
            "again",
        ),
        (
            "cut.png",
            png[..png.len() / 2].to_vec(),
            "Png: the file is cut off",
            "again",
        ),
        (
            "noise.jpg",
            (0..99).map(|i| (i * 37 + 130) as u8).collect(),
            "not an image",
            "JPEG, PNG",
        ),
    ];
    let paths: Vec<String> = rows
        .iter()
        .map(|(name, bytes, ..)| put(f, name, bytes))
        .collect();
    let mut args = vec!["--format", "json", "examples/faces/happy.png"];
    args.extend(paths.iter().map(String::as_str));
    let records = infer(&args).expect(1).records();
    let mut wrong = Vec::new();
    for ((name, _, what, advice), record) in rows.iter().zip(&records[1..]) {
        let error = record["error"].as_str().unwrap_or_default();
        if !error.contains(what) || !error.contains(advice) || error.contains('\n') {
            wrong.push(format!("{name}: {what}: {record}"));
        }
    }
    let rows = [
        ("https://example.org/a.jpg?size=9", "`curl -LO"),
        ("0", "if it is a camera"),
        ("/dev/video0", "if it is a camera"),
        ("data:image/png;base64,AAAA", "decode its Base64"),
    ];
    for (argument, advice) in rows {
        let run = infer(&[argument]);
        let said = run.stderr.contains(advice) && run.stderr.contains(argument);
        if run.code != 2 || !said {
            wrong.push(format!("{argument}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn an_address_in_the_place_of_a_file_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let address = "https://example.org/faces.zip";
    let face = "examples/faces/happy.png";
    let rows: &[&[&str]] = &[
        &["eval", "--data", address],
        &["train", "--data", address, "--out", &out],
        &["data", "check", address],
        &["convert", address, "-o", &out],
        &["infer", "--model", address, face],
    ];
    let mut wrong = Vec::new();
    for args in rows {
        let run = run(args);
        let said = format!("{address}: is a URL, not a file; download it first");
        if run.code != 2 || !run.error().contains(&said) || run.stderr.lines().count() != 1 {
            wrong.push(format!("{args:?}: {run:?}"));
        }
    }
    all_right(wrong);
}

/// The beginning of a HEIC file.
const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x08free";

#[test]
fn files_that_are_passed_over_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    put(f, "mixed/a.png", &face());
    put(f, "mixed/.hidden", b"x");
    put(f, "mixed/__MACOSX/._a.png", b"x");
    let text = put(f, "mixed/notes.txt", b"x");
    put(f, "only/notes.txt", b"x");
    let mixed = f.join("mixed").display().to_string();
    let said = infer(&["--format", "json", &mixed]).expect(0);
    let line = format!("1 file was not read, as its name does not end like an image's: {text}\n");
    assert!(said.stderr.contains(&line), "{}", said.stderr);
    assert_eq!(said.records().len(), 1);
    let quiet = infer(&["-q", "--format", "json", &mixed]).expect(0);
    assert_eq!(quiet.stderr, "");
    for i in 0..200 {
        put(f, &format!("mixed/{i:03}.xyz"), b"x");
    }
    let said = infer(&[&mixed]).expect(0).stderr;
    let line = said
        .lines()
        .find(|line| line.contains("201 files were not read"))
        .unwrap();
    assert!(
        line.ends_with(" and 198 more") && line.contains("000.xyz"),
        "{line}"
    );
    let none = infer(&[&f.join("only").display().to_string()]).expect(2);
    assert!(none.error().contains("holds no images"), "{}", none.error());
    assert!(none.error().contains("; not read: "), "{}", none.error());
    assert!(none.error().contains("notes.txt"), "{}", none.error());

    // A photograph that can't be read has a record, as any picture.
    put(f, "photos/a.png", &face());
    for name in ["b.heic", "c.AVIF", "d.jxl"] {
        put(f, &format!("photos/{name}"), HEIC);
    }
    let photos = f.join("photos").display().to_string();
    let records = infer(&["-q", "--format", "json", &photos])
        .expect(1)
        .records();
    assert_eq!(records.len(), 4);
    let error = records[1]["error"].as_str().unwrap_or_default();
    assert!(
        error.contains("a HEIC picture") && error.contains("heif-convert"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_stay_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let raw = [b"a\xfe.png".as_slice(), b"a\xff.png", b"a\\xff.png"];
    for name in raw {
        fs::write(folder.path().join(OsStr::from_bytes(name)), face()).unwrap();
    }
    let escaped = ["a\\x5cxff.png", "a\\xfe.png", "a\\xff.png"];
    // Each once through its folder, once through a list in bytes.
    let mut list = b"\xef\xbb\xbf".to_vec();
    for name in raw {
        list.extend([folder.path().as_os_str().as_bytes(), b"/", name, b"\r\n"].concat());
    }
    fs::write(folder.path().join("list"), list).unwrap();
    let at = folder.path().display().to_string();
    let list = format!("@{at}/list");
    let mut wrong = Vec::new();
    for argument in [&at, &list] {
        let names = |text: &str| text.replace(&format!("{at}/"), "");
        let records = infer(&["-q", "--format", "json", argument])
            .expect(0)
            .records();
        let found = records
            .iter()
            .map(|record| names(record["path"].as_str().unwrap()));
        let mut found: Vec<String> = found.collect();
        found.sort_unstable();
        if found != escaped {
            wrong.push(format!("{argument}: {found:?}"));
        }
        let csv = infer(&["-q", "--format", "csv", argument]).expect(0).stdout;
        let mut csv = csv::Reader::from_reader(csv.as_bytes());
        let found = csv.records().map(|row| names(&row.unwrap()[0]));
        let mut found: Vec<String> = found.collect();
        found.sort_unstable();
        if found != escaped {
            wrong.push(format!("{argument}: {found:?}"));
        }
    }
    all_right(wrong);

    // In a data set they are two images, of which a list can name one.
    for class in ["cat", "dog"] {
        for name in &raw[..2] {
            let to = folder.path().join("data").join(class);
            fs::create_dir_all(&to).unwrap();
            fs::write(to.join(OsStr::from_bytes(name)), face()).unwrap();
        }
    }
    let data = folder.path().join("data").display().to_string();
    let out = put(folder.path(), "leave-out.txt", b"");
    let report = run(&[
        "data",
        "check",
        "-q",
        "--format",
        "json",
        "--quarantine",
        &out,
        &data,
    ]);
    let report: Value = serde_json::from_str(&report.expect(1).stdout).unwrap();
    let members = report["duplicates"]["groups"][0]["members"]
        .as_array()
        .unwrap();
    let found: Vec<&str> = members
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        found,
        [
            "cat/a\\xfe.png",
            "cat/a\\xff.png",
            "dog/a\\xfe.png",
            "dog/a\\xff.png"
        ]
    );
}

/// A gray PNG of 48×48 pixels, of 8 or 16 bits.
fn png(folder: &Path, name: &str, bits: u8, value: impl Fn(usize) -> u16) -> String {
    let values = (0..48 * 48).map(value);
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = match bits {
        8 => {
            let values = values.map(|v| v as u8).collect();
            image::GrayImage::from_raw(48, 48, values).map(image::DynamicImage::ImageLuma8)
        }
        _ => {
            let values = values.collect();
            let picture = image::ImageBuffer::from_raw(48, 48, values);
            picture.map(image::DynamicImage::ImageLuma16)
        }
    };
    picture
        .unwrap()
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    put(folder, name, bytes.get_ref())
}

#[test]
fn twelve_bits_in_sixteen_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    // Twelve bits, a ramp with some texture.
    let twelve = |i: usize| ((i * 4096 / 2304) ^ (i * 2_654_435_761 % 512)).min(4095) as u16;
    let eight = png(f, "eight.png", 8, |i| twelve(i) >> 4);
    let rows = [
        ("whole.png", 4, None),
        ("twelve.png", 0, Some("twelve.png (12 bits)")),
        ("fourteen.png", 2, Some("fourteen.png (14 bits)")),
    ];
    let probabilities = |args: &[&str]| {
        let records = infer(&[&["-q", "--format", "json"], args].concat())
            .expect(0)
            .records();
        records[0]["probabilities"].clone()
    };
    let expected = probabilities(&[&eight]);
    let mut wrong = Vec::new();
    for (name, shift, said) in rows {
        let path = png(f, name, 16, |i| {
            (twelve(i) << shift) | ((i % 3) as u16 * u16::from(shift > 0))
        });
        let run = infer(&["--format", "json", &path]).expect(0);
        let told = run.stderr.contains("which is a guess");
        let named = said.is_none_or(|said| run.stderr.contains(said));
        if run.records()[0]["probabilities"] != expected || told != said.is_some() || !named {
            wrong.push(format!("{name}: {}\n{expected}\n{run:?}", said.is_some()));
        }
    }
    for class in ["happy", "sad"] {
        for i in 0..2 {
            png(f, &format!("data/{class}/{i}.png"), 16, twelve);
        }
    }
    let data = f.join("data").display().to_string();
    let check = run(&["data", "check", "-q", &data]).stdout;
    if !check.contains("of fewer bits              4  16-bit images") {
        wrong.push(check);
    }
    let eval = run(&["eval", "--engine", "burn", "--data", &data])
        .expect(0)
        .stderr;
    if !eval.contains("4 16-bit images have only values of fewer bits") {
        wrong.push(eval);
    }
    all_right(wrong);
}

#[test]
fn an_output_that_is_an_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let csv = format!("emotion,pixels\n3,{}\n", ["7"; 48 * 48].join(" "));
    let data = put("data.csv", csv.as_bytes());
    let face = put("face.jpg", &face());
    let list = put("list.csv", format!("{face}\n").as_bytes());
    let listed = format!("@{list}");
    let keras = put("keras.onnx", b"a Keras file by another name");
    let model = put("model.keras", b"a Keras file");
    let csv = ["--format", "csv"];
    // The command, and the file that it would have written over.
    let rows: [(&[&str], &str); 6] = [
        (&["infer", &data, "-o", &data], &data),
        (&["infer", &listed, "-o", &list], &list),
        (&["infer", &face, csv[0], csv[1], "-o", &face], &face),
        (&["data", "check", &data, "--quarantine", &data], &data),
        (&["convert", &keras, "-o", &keras], &keras),
        (&["convert", &model, "-o", &model], &model),
    ];
    let mut wrong = Vec::new();
    for (args, file) in rows {
        let before = std::fs::read(file).unwrap();
        let run = run(args);
        let said = ["is an input of this command", "ending of a Keras file"];
        let refused = run.code == 2 && said.iter().any(|word| run.error().contains(word));
        if !refused || std::fs::read(file).unwrap() != before {
            wrong.push(format!("{args:?}: {run:?}"));
        }
    }
    all_right(wrong);
}
