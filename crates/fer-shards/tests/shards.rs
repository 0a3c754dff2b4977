//! Shards and records by the crate's public functions, and damaged shards.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fer_core::images::Decoded;
use fer_core::prediction::Prediction;
use fer_core::report::{Content, FoundFace, Picture, Record, Report, Shape};
use fer_shards::{Shard, find, labeled, records};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

/// A gray image of one value, as a PGM file of 2×2 pixels.
fn image(value: u8) -> Vec<u8> {
    [b"P5 2 2 255\n".as_slice(), &[value; 4]].concat()
}

/// How a Parquet file is written.
#[derive(Clone)]
struct How {
    compression: Compression,
    version: WriterVersion,
    dictionary: bool,
    page_bytes: usize,
    classes: Option<&'static [&'static str]>,
}

const HOW: How = How {
    compression: Compression::SNAPPY,
    version: WriterVersion::PARQUET_1_0,
    dictionary: false,
    page_bytes: 64,
    classes: Some(&["angry", "happy"]),
};

/// Writes a file in Hugging Face's form, of row groups with these images (`None` for no bytes) and
/// labels of 0 and 1 in turn.
fn write(path: &Path, how: &How, groups: &[&[Option<Vec<u8>>]]) {
    let schema = "message schema { optional group image { optional binary bytes; optional binary \
                  path (STRING); } optional int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(how.compression)
        .set_writer_version(how.version)
        .set_dictionary_enabled(how.dictionary)
        .set_data_page_size_limit(how.page_bytes)
        .set_write_batch_size(2)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    if let Some(classes) = how.classes {
        let features = serde_json::json!({"info": {"features": {
            "image": {"_type": "Image"},
            "label": {"names": classes, "_type": "ClassLabel"},
        }}});
        let pair = KeyValue::new("huggingface".into(), features.to_string());
        writer.append_key_value_metadata(pair);
    }
    for images in groups {
        let mut group = writer.next_row_group().unwrap();
        let levels: Vec<i16> = images.iter().map(|i| 1 + i16::from(i.is_some())).collect();
        let bytes: Vec<ByteArray> = images.iter().flatten().map(|i| i.clone().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&bytes, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&[], Some(&vec![1; images.len()]), None)
            .unwrap();
        column.close().unwrap();
        let labels: Vec<i64> = (0..images.len() as i64).map(|i| i % 2).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<Int64Type>();
        typed
            .write_batch(&labels, Some(&vec![1; images.len()]), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// The bytes of each picture of a shard, or why there are none, read in this order.
fn read(shard: &Shard, order: impl Fn(&mut Vec<usize>)) -> Vec<Result<Vec<u8>, String>> {
    let members: Vec<_> = shard.members().collect();
    let mut indices: Vec<usize> = (0..members.len()).collect();
    order(&mut indices);
    let mut read = vec![Err("not read".to_string()); members.len()];
    for i in indices {
        read[i] = match &members[i] {
            Ok(member) => member
                .image
                .read()
                .map(|bytes| bytes.to_vec())
                .map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
    }
    read
}

#[test]
fn parquet_files_are_read_in_any_order_and_by_any_codec() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let images = |n: u8| -> Vec<_> { (0..n).map(|i| Some(image(i))).collect() };
    let first = images(100);
    let mut second = images(70);
    second[3] = None;
    let rows: Vec<_> = first.iter().chain(&second).cloned().collect();
    let none = "the row has no bytes of an image".to_string();
    let right: Vec<_> = rows
        .into_iter()
        .map(|row| row.ok_or(none.clone()))
        .collect();
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
    for compression in codecs {
        for (version, dictionary) in [
            (versions[0], false),
            (versions[0], true),
            (versions[1], true),
        ] {
            let how = How {
                compression,
                version,
                dictionary,
                ..HOW
            };
            write(&path, &how, &[&first, &[], &second]);
            let shard = Shard::open(&path).unwrap();
            assert_eq!(shard.count(), Some(170));
            assert!(read(&shard, |_| ()) == right, "{compression} {dictionary}");
            let shard = Shard::open(&path).unwrap();
            let found = read(&shard, |i| i.reverse());
            assert!(found == right, "{compression}, backward");
            let shard = Shard::open(&path).unwrap();
            let scattered = |i: &mut Vec<usize>| i.sort_by_key(|i| i * 67 % 170);
            assert!(read(&shard, scattered) == right, "{compression}, scattered");
        }
    }
    let shard = Shard::open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(read(&shard, |_| ()) == right, "on threads"));
        }
    });
    let name = shard.members().nth(17).unwrap().unwrap().name;
    assert_eq!(name, format!("{}#17", path.display()));
}

#[test]
fn labels_come_from_the_file_the_readme_or_are_numbers() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data/train-00000-of-00001.parquet");
    let images = [Some(image(0)), Some(image(1)), Some(image(2))];
    let labels = |path: &Path| -> Vec<String> {
        let images = labeled(path, folder.path()).unwrap();
        images.into_iter().map(|image| image.label).collect()
    };
    write(&path, &HOW, &[&images]);
    assert_eq!(labels(&path), ["angry", "happy", "angry"]);
    let how = How {
        classes: None,
        ..HOW
    };
    write(&path, &how, &[&images]);
    assert_eq!(labels(&path), ["0", "1", "0"]);
    let readme = "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        \
                  names:\n          '0': sad\n          '1': fear\n---\n";
    fs::write(folder.path().join("README.md"), readme).unwrap();
    assert_eq!(labels(&path), ["sad", "fear", "sad"]);

    assert_eq!(find(folder.path()), std::slice::from_ref(&path));
    assert_eq!(find(&path), std::slice::from_ref(&path));
    fs::write(folder.path().join("data/a.png"), "").unwrap();
    assert_eq!(
        find(folder.path()),
        Vec::<PathBuf>::new(),
        "images beside it"
    );
}

/// Writes an archive of these files.
/// One text in a dictionary may be the label of a million images, which each keep it.
#[test]
fn a_label_that_is_no_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let refused = |len: usize| {
        let schema = "message schema { required binary image; required binary label (STRING); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(&path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for value in [image(0), vec![b'a'; len]] {
            let mut column = group.next_column().unwrap().unwrap();
            let values = vec![ByteArray::from(value); 3];
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        labeled(&path, &path).err().map(|e| e.to_string())
    };
    assert_eq!(refused(1024), None);
    let error = refused(1025).unwrap();
    assert!(
        error.ends_with("a.parquet: the column label: a label is over 1024 bytes"),
        "{error}"
    );
}

fn archive(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(File::create(path).unwrap());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn archives_are_read_with_long_names_and_without_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let long = format!("{}/{}.png", "folder".repeat(30), "name".repeat(30));
    let (one, two) = (image(1), image(2));
    archive(
        &path,
        &[
            ("a.pgm", &one),
            ("a.cls", b"1"),
            ("._a.pgm", b"of a Mac"),
            ("notes.txt", b"x"),
            ("__MACOSX/b.pgm", b"x"),
            (&long, &two),
        ],
    );
    let shard = Shard::open(&path).unwrap();
    let names: Vec<String> = shard.members().map(|m| m.unwrap().name).collect();
    let at = |name: &str| format!("{}/{name}", path.display());
    assert_eq!(names, [at("a.pgm"), at(&long)]);
    assert_eq!(read(&shard, |_| ()), [Ok(one.clone()), Ok(two)]);

    // POSIX's extensions, written by Python: a name, and a size.
    let pax = |pairs: &[(&str, &str)], content: &[u8]| {
        let record = |(key, value): &(&str, &str)| {
            let body = format!(" {key}={value}\n");
            let digits = (body.len() + 2).to_string().len();
            format!("{}{body}", body.len() + digits)
        };
        let records: String = pairs.iter().map(record).collect();
        let block = |kind: u8, size: usize, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_path("short.pgm").unwrap();
            header.set_entry_type(tar::EntryType::new(kind));
            header.set_size(size as u64);
            header.set_cksum();
            let filled = content.len().next_multiple_of(512);
            let mut block = [header.as_bytes().as_slice(), content].concat();
            block.resize(512 + filled, 0);
            block
        };
        [
            block(b'x', records.len(), records.as_bytes()),
            block(b'0', 0, content),
        ]
        .concat()
    };
    let size = one.len().to_string();
    fs::write(
        &path,
        pax(&[("path", "g\u{e9}.pgm"), ("size", &size)], &one),
    )
    .unwrap();
    let shard = Shard::open(&path).unwrap();
    let member = shard.members().next().unwrap().unwrap();
    assert_eq!(member.name, at("g\u{e9}.pgm"));
    assert_eq!(member.image.read().unwrap(), one);

    let bad: [(Vec<u8>, &str); 5] = [
        (
            pax(&[("GNU.sparse.major", "1")], &one),
            "sparse archives are not read",
        ),
        (pax(&[("size", "99999999999")], &one), "cut off"),
        (pax(&[("size", "x")], &one), "name no size"),
        (
            fs::read(root().join("examples/faces/happy.png")).unwrap(),
            "not a tar archive",
        ),
        (vec![0; 1024], "holds no images"),
    ];
    for (bytes, problem) in bad {
        fs::write(&path, bytes).unwrap();
        let error = match Shard::open(&path) {
            Ok(shard) => shard.members().find_map(Result::err).unwrap(),
            Err(e) => e,
        };
        assert!(error.to_string().contains(problem), "{problem}: {error}");
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn samples_of_webdataset_have_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-0.tar");
    let of = |files: &[(&str, &[u8])]| {
        archive(&path, files);
        let images = labeled(&path, folder.path());
        images
            .map(|images| {
                let pair = |i: fer_shards::LabeledImage| format!("{} {}", i.name, i.label);
                images.into_iter().map(pair).collect::<Vec<_>>().join(", ")
            })
            .unwrap_or_else(|e| e.reason())
    };
    type Row<'a> = (&'a [(&'a str, &'a [u8])], &'a str);
    let rows: [Row; 7] = [
        (
            &[
                ("a.jpg", b"1"),
                ("a.cls", b"happy\n"),
                ("b.x.png", b"2"),
                ("b.cls", b"3"),
            ],
            "/a.jpg happy, /b.x.png 3",
        ),
        (
            &[
                ("d/a.json", b"{\"label\": \"sad\"}"),
                ("d/a.jpg", b"1"),
                ("d/b.jpg", b"1"),
                ("d/b.json", b"4"),
            ],
            "/d/a.jpg sad, /d/b.jpg 4",
        ),
        (
            &[("a.cls", b"1"), ("a.json", b"2"), ("a.jpg", b"")],
            "/a.jpg 1",
        ),
        (&[("a.jpg", b"1")], "has no label; it takes a file KEY.cls"),
        (&[("a.jpg", b"1"), ("a.json", b"{")], "has no label"),
        (
            &[
                ("a.jpg", b""),
                ("a.cls", b"1"),
                ("b.jpg", b""),
                ("b.cls", b"1"),
                ("a.x", b""),
            ],
            "do not follow each other",
        ),
        (&[("a.cls", b"1")], "holds no images"),
    ];
    let wrong: Vec<_> = rows
        .iter()
        .map(|(files, right)| (of(files), right))
        .filter(|(found, right)| !found.contains(*right))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn record(path: &str, outcome: Result<Content, String>) -> Record {
    Record {
        path: path.into(),
        moment: None,
        outcome,
    }
}

fn prediction(class: usize) -> Prediction {
    let mut probabilities = vec![0.25, 0.25, 0.25];
    probabilities[class] = 0.5;
    Prediction {
        class,
        probabilities,
    }
}

fn face(x: f32, score: Option<f32>, outcome: Result<Prediction, String>) -> FoundFace {
    FoundFace {
        track: None,
        bounds: [x, 2.0, 3.0, 4.0],
        score,
        landmarks: None,
        outcome,
    }
}

/// The rows of a Parquet file as text.
fn rows(path: &Path) -> Vec<String> {
    let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let text = |field: &Field| match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        other => other.to_string(),
    };
    file.get_row_iter(None)
        .unwrap()
        .map(|row| {
            let row = row.unwrap();
            let columns = row.get_column_iter().map(|(_, field)| text(field));
            columns.collect::<Vec<_>>().join(",")
        })
        .collect()
}

#[test]
fn records_are_written_in_parts_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let labels = ["a", "b", "error"].map(String::from);
    let faces = |faces| {
        Ok(Content::Faces(Picture {
            width: 9,
            height: 9,
            faces,
        }))
    };
    let pictures = [
        record(
            "two.png",
            faces(vec![
                face(1.0, Some(0.75), Ok(prediction(1))),
                face(5.0, None, Err("no".into())),
            ]),
        ),
        record("none.png", faces(Vec::new())),
        record("bad.png", Err("is cut off".into())),
    ];
    for part in 0..2 {
        let mut parts = records::Parts::new(folder.path(), &labels, Shape::Faces, part);
        parts.begin().unwrap();
        for picture in &pictures {
            parts.record(picture).unwrap();
        }
        parts.finish().unwrap();
        parts.finish().unwrap();
    }
    let done = records::done(folder.path(), 1, &labels, Shape::Faces).unwrap();
    let done: Vec<_> = done
        .unwrap()
        .into_iter()
        .map(|d| (d.path, d.failed))
        .collect();
    let names = ["two.png", "none.png", "bad.png"].map(String::from);
    let [two, none, bad] = names;
    assert_eq!(done, [(two, true), (none, false), (bad, true)]);
    assert!(
        records::done(folder.path(), 1, &labels, Shape::Whole).is_err(),
        "other columns"
    );
    assert_eq!(
        records::done(folder.path(), 2, &labels, Shape::Faces).unwrap(),
        None
    );

    let path = folder.path().join("all.parquet");
    let out = File::create(&path).unwrap();
    records::join(folder.path(), &labels, Shape::Faces, &out).unwrap();
    let once = [
        "two.png,0,1.0,2.0,3.0,4.0,0.75,b,0.5,0.25,0.5,0.25,",
        "two.png,1,5.0,2.0,3.0,4.0,,,,,,,no",
        "none.png,,,,,,,,,,,,",
        "bad.png,,,,,,,,,,,,is cut off",
    ];
    assert_eq!(rows(&path), [once, once].concat());
    let file = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let schema = file.metadata().file_metadata().schema();
    let names: Vec<_> = schema
        .get_fields()
        .iter()
        .map(|f| f.name().to_string())
        .collect();
    let columns = "path,face,x,y,w,h,score,label,confidence,a,b,class error,error";
    assert_eq!(names.join(","), columns);

    records::remove_from(folder.path(), 0).unwrap();
    let out = File::create(&path).unwrap();
    records::join(folder.path(), &labels, Shape::Whole, &out).unwrap();
    assert_eq!(rows(&path), Vec::<String>::new(), "the columns alone");
}

#[test]
fn files_that_are_no_shards_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let rows: [(&[u8], &str); 4] = [
        (b"", "not a Parquet file, or cut off"),
        (b"PAR1aaaaaaaaPAR2", "not a Parquet file"),
        (b"PAR1\0\0\0\x7fPAR1", "length of its metadata is wrong"),
        (b"PAR1\0\0\0\0PARE", "is encrypted"),
    ];
    for (bytes, problem) in rows {
        fs::write(&path, bytes).unwrap();
        let error = Shard::open(&path).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let error = Shard::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("can't be read"), "{error}");
}

/// Reads all that a shard has; whatever is wrong, it is an error.
fn exhaust(path: &Path) {
    let _ = labeled(path, path);
    let Ok(shard) = Shard::open(path) else {
        return;
    };
    for member in shard.members().take(300).flatten() {
        if let Ok(bytes) = member.image.read() {
            let _ = Decoded::of(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_shards_are_errors(
        kind in 0usize..3,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        near_the_end in any::<bool>(),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(["a.parquet", "a.parquet", "a.tar"][kind]);
        let images: Vec<_> = (0..20).map(|i| Some(image(i))).collect();
        match kind {
            0 => write(&path, &HOW, &[&images, &images]),
            1 => write(&path, &How { dictionary: true, compression: Compression::LZ4_RAW, ..HOW }, &[&images]),
            _ => archive(&path, &[("a.pgm", &image(1)), ("a.cls", b"1"), (&"b".repeat(200), b"x")]),
        }
        let mut bytes = fs::read(&path).unwrap();
        for (index, value) in damage {
            // Where Parquet has its metadata.
            let from = if near_the_end { bytes.len() * 3 / 4 } else { 0 };
            let at = from + index.index(bytes.len() - from);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        exhaust(&path);
    }
}
