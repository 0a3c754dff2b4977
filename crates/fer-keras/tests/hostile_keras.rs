//! Keras files as untrusted input: damaged, hostile or merely odd, they give a model or an error of
//! one line, never a panic, and never take more memory than a multiple of their size.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../../fer-core/tests/common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, System};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fer_keras::{ConvertOptions, convert_bytes};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Counts the bytes that are allocated now, and the most that were at once.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

/// What any file may take, however small: mostly the HDF5 reader's caches.
const ALLOWANCE: usize = 64 << 20;

/// What a file may take in proportion to its size.
const PROPORTION: usize = 64;

/// Converts a file; fails on a panic, a message of several lines, or too much memory. Returns
/// whether it could be converted.
fn convert(bytes: Vec<u8>) -> Result<(), String> {
    let _measuring = MEASURING.lock().unwrap_or_else(|e| e.into_inner());
    let size = bytes.len();
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = convert_bytes(
        bytes,
        "m",
        &ConvertOptions {
            labels: None,
            ..ConvertOptions::default()
        },
    );
    let took = MOST.load(Ordering::Relaxed).saturating_sub(before);
    assert!(
        took <= ALLOWANCE + PROPORTION * size,
        "{took} bytes for a file of {size}"
    );
    let error = result.map(|_| ()).map_err(|e| e.to_string());
    assert!(
        error
            .as_ref()
            .err()
            .is_none_or(|e| !e.contains('\n') && e.len() < 20_000),
        "{error:?}"
    );
    error
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(common::root().join("tests/golden/convert").join(name)).unwrap()
}

/// A `.keras` file of a configuration and the weights of `plain`.
fn archive(config: &Value) -> Vec<u8> {
    zipped(&[
        ("config.json", config.to_string().as_bytes()),
        ("metadata.json", br#"{"keras_version": "3.15.1"}"#),
        ("model.weights.h5", &golden("plain.k3.weights.h5")),
    ])
}

fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, part) in parts {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(*name, options).unwrap();
        zip.write_all(part).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn plain() -> Value {
    serde_json::from_slice(&golden("plain.k3.json")).unwrap()
}

/// The configuration of a model of operations.
fn operations(name: &str) -> Value {
    let file = common::root().join("tests/golden/operations").join(name);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
    serde_json::from_reader(archive.by_name("config.json").unwrap()).unwrap()
}

/// Puts `new` in the place of the value at a random path.
fn replace(value: &mut Value, steps: &[prop::sample::Index], new: Value) {
    let next = match (steps.split_first(), &mut *value) {
        (Some((step, rest)), Value::Object(map)) if !map.is_empty() => {
            let at = step.index(map.len());
            map.values_mut().nth(at).map(|v| (v, rest))
        }
        (Some((step, rest)), Value::Array(list)) if !list.is_empty() => {
            let at = step.index(list.len());
            list.get_mut(at).map(|v| (v, rest))
        }
        _ => None,
    };
    match next {
        Some((inner, rest)) => replace(inner, rest, new),
        None => *value = new,
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(0),
        json!(-1),
        json!(1),
        json!(2),
        json!(4_294_967_296u64),
        json!(u64::MAX),
        json!(1e308),
        json!(true),
        json!(""),
        json!("same"),
        json!("channels_first"),
        json!("Conv2D"),
        json!("Sequential"),
        json!([]),
        json!([0, 0]),
        json!([2, 3]),
        json!([1, 1_000_000_000]),
        json!({}),
        json!({"class_name": "InputLayer", "config": {"batch_shape": [null, 1, 1, 1]}}),
    ])
}

/// Steps into a configuration, so many.
fn steps(many: std::ops::Range<usize>) -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), many)
}

// PROPTEST_CASES=100000 looks harder.
proptest! {
    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(vec![
            "plain.k3.h5", "nested.k3.h5", "plain.k2.h5", "grouped.k2.h5", "plain.k3.keras",
            "rows.k3.keras",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = golden(file);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = convert(bytes);
    }

    #[test]
    fn damaged_weights_in_a_whole_archive_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut weights = golden("plain.k3.weights.h5");
        for (at, value) in changes {
            let at = at.index(weights.len());
            weights[at] = value;
        }
        let config = plain().to_string();
        let parts: [(&str, &[u8]); 3] = [
            ("config.json", config.as_bytes()),
            ("metadata.json", b"{}"),
            ("model.weights.h5", &weights),
        ];
        let _ = convert(zipped(&parts));
    }

    #[test]
    fn odd_configurations_never_panic(
        changes in prop::collection::vec((steps(1..7), odd_value()), 1..4),
    ) {
        let mut config = plain();
        for (steps, value) in changes {
            replace(&mut config, &steps, value);
        }
        let _ = convert(archive(&config));
    }

    #[test]
    fn odd_operations_never_panic(
        name in prop::sample::select(vec![
            "binary.k3.keras", "index.k3.keras", "matrix.k3.keras", "reduce.k3.keras",
            "shapes.k3.keras", "shapes.k2.keras",
        ]),
        changes in prop::collection::vec((steps(3..10), odd_value()), 1..4),
    ) {
        let mut config = operations(name);
        for (steps, value) in changes {
            replace(&mut config, &steps, value);
        }
        let _ = convert(archive(&config));
    }

    #[test]
    fn anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512), hdf5: bool) {
        let start: &[u8] = if hdf5 { b"\x89HDF\r\n\x1a\n" } else { b"PK\x03\x04" };
        let _ = convert([start, &bytes].concat());
    }
}

#[test]
fn the_undamaged_files_are_converted() {
    convert(archive(&plain())).unwrap();
    for file in [
        "plain.k3.h5",
        "plain.k2.h5",
        "plain.k3.keras",
        "mini_xception.k3.keras",
        "mini_xception.k2.h5",
    ] {
        convert(golden(file)).unwrap();
    }
}

/// A model of `layers` on an 8×8 gray image.
fn sequential(layers: &[Value]) -> Value {
    let input = json!({"batch_shape": [null, 8, 8, 1], "name": "in"});
    let mut all = vec![layer("InputLayer", input)];
    all.extend_from_slice(layers);
    json!({"class_name": "Sequential", "config": {"name": "s", "layers": all}})
}

fn layer(class: &str, config: Value) -> Value {
    json!({"class_name": class, "config": config})
}

/// A model that calls the one below it twice, `depth` times over: 2^depth calls in all.
fn explosion(depth: usize) -> Value {
    let mut inner = layer("Activation", json!({"activation": "relu"}));
    for level in 0..depth {
        let name = format!("m{level}");
        inner["config"]["name"] = json!("inner");
        inner["name"] = json!("inner");
        inner["inbound_nodes"] = json!([[["in", 0, 0]], [["inner", 0, 0]]]);
        let input = json!({"class_name": "InputLayer", "name": "in", "inbound_nodes": [],
            "config": {"batch_shape": [null, 8, 8, 1], "name": "in"}});
        inner = json!({"class_name": "Functional", "config": {"name": name,
            "layers": [input, inner], "input_layers": [["in", 0, 0]], "output_layers": [["inner", 1, 0]]}});
    }
    inner
}

#[test]
fn hostile_models_are_refused_with_a_word() {
    let circle = json!({"class_name": "Functional", "config": {"name": "f", "layers": [
        {"class_name": "InputLayer", "name": "in", "config": {"batch_shape": [null, 8, 8, 1]},
            "inbound_nodes": []},
        {"class_name": "Add", "name": "a", "config": {},
            "inbound_nodes": [[["in", 0, 0], ["b", 0, 0]]]},
        {"class_name": "Add", "name": "b", "config": {},
            "inbound_nodes": [[["a", 0, 0], ["in", 0, 0]]]},
    ], "input_layers": [["in", 0, 0]], "output_layers": [["b", 0, 0]]}});
    let mut lost = circle.clone();
    lost["config"]["output_layers"] = json!([["nowhere", 0, 0]]);
    let huge = |class: &str, config: Value| sequential(&[layer(class, config)]);
    let zeros = vec![0u8; 8 << 20];
    let config = plain().to_string();
    let bomb: [(&str, &[u8]); 3] = [
        ("config.json", config.as_bytes()),
        ("metadata.json", b"{}"),
        ("model.weights.h5", &zeros),
    ];
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (archive(&circle), "depend on each other"),
        (archive(&lost), "'nowhere' that does not exist"),
        (archive(&explosion(40)), "more than 20000 nodes"),
        (
            archive(&huge("ZeroPadding2D", json!({"padding": 1_000_000_000}))),
            "values for an image",
        ),
        (
            archive(&huge("ZeroPadding2D", json!({"padding": 9e14}))),
            "values for an image",
        ),
        (
            archive(&huge("UpSampling2D", json!({"size": 100_000}))),
            "values for an image",
        ),
        (
            archive(&huge("Resizing", json!({"height": 1u64 << 60, "width": 2}))),
            "too large for an image classifier",
        ),
        (
            archive(&huge(
                "CenterCrop",
                json!({"height": 9, "width": 1u64 << 62}),
            )),
            "too large for an image classifier",
        ),
        (
            archive(&huge(
                "Conv2DTranspose",
                json!({"filters": 1u64 << 40, "kernel_size": 1u64 << 40, "strides": 1u64 << 40}),
            )),
            "no dataset",
        ),
        (
            archive(&huge(
                "Conv2DTranspose",
                json!({"filters": 4, "kernel_size": 3, "strides": 2, "output_padding": 2}),
            )),
            "not smaller than its strides",
        ),
        (
            archive(&huge(
                "GroupNormalization",
                json!({"groups": 2, "scale": false, "center": false}),
            )),
            "do not divide",
        ),
        (
            archive(&huge(
                "MultiHeadAttention",
                json!({"num_heads": 1u64 << 40, "key_dim": 1u64 << 40}),
            )),
            "no dataset",
        ),
        (archive(&huge("Dot", json!({"axes": -1}))), "takes two"),
        (
            archive(&huge("MaxPooling2D", json!({"pool_size": 9}))),
            "smaller than its kernel",
        ),
        (
            archive(&huge("MaxPooling2D", json!({"pool_size": 0}))),
            "pool_size is 0",
        ),
        (
            archive(&huge("Cropping2D", json!({"cropping": 4}))),
            "leaves nothing",
        ),
        (
            archive(&huge("Reshape", json!({"target_shape": [-1, 0]}))),
            "does not have the size",
        ),
        (
            archive(&huge("Permute", json!({"dims": [1, 1, 2]}))),
            "not a permutation",
        ),
        (
            archive(&huge(
                "Conv2D",
                json!({"filters": 1u64 << 40, "kernel_size": 3}),
            )),
            "in its configuration",
        ),
        (
            archive(&huge("Dense", json!({"units": 3, "activation": "magic"}))),
            "magic",
        ),
        (archive(&sequential(&[])), "one value per class"),
        (
            archive(&json!({"class_name": "MyModel", "config": {}})),
            "MyModel",
        ),
        (archive(&json!([])), "names no class"),
        (
            archive(&sequential(&vec![layer("Dropout", json!({})); 20_000])),
            "the limit is 10000",
        ),
        (zipped(&bomb), "far too large"),
        (
            zipped(&[("config.json", b"{}".as_slice())]),
            "no Keras metadata.json",
        ),
        (b"\x89HDF\r\n\x1a\n".to_vec(), "cut off"),
        (golden("plain.k3.json"), "without weights"),
        (Vec::new(), "is empty"),
    ];
    let wrong = rows
        .into_iter()
        .enumerate()
        .filter_map(|(i, (bytes, word))| match convert(bytes) {
            Err(e) if e.contains(word) => None,
            other => Some(format!("row {i} should say '{word}': {other:?}")),
        });
    common::all_right(wrong.collect());
}
