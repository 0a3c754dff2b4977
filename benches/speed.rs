//! How long each step takes: decoding and preprocessing an image, each engine at batch 1 and 64,
//! and a whole folder.
//!
//! `cargo bench`. The engines' figures count images; a folder run's are for 256 images, beside the
//! model alone on as many. Ratios against other programs: `scripts/bench/peers.py`.

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

use std::path::PathBuf;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fer::classifier::Classifier;
use fer::images::sources;
use fer::kernels::allocator::Reuse;
use fer::ort::{Provider, ProviderOptions};
use fer::preprocess::Preprocessor;
use fer::runtime::Host;
use fer::session::{Session, SessionOptions};
use fer::stream::{Stream, StreamOptions};
use fer::{Backend, LoadOptions, ModelRef, load};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

const FOLDER_IMAGES: usize = 256;

fn main() {
    divan::main();
}

fn onnx_runtime() -> Backend {
    Backend::Ort {
        provider: Provider::Cpu,
        options: ProviderOptions::default(),
        library: None,
    }
}

/// The notebook model on an engine; `None`, said once a benchmark, where ONNX Runtime is absent.
fn notebook(backend: Backend) -> Option<Box<dyn Classifier>> {
    let options = LoadOptions {
        backend,
        ..LoadOptions::default()
    };
    ModelRef::find("notebook")
        .and_then(|model| load(&model, &options, &Host::from_env()))
        .map_err(|e| eprintln!("skipped: {e}"))
        .ok()
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[divan::bench(args = ["gray.jpg", "rgb420.jpg", "gray.png", "large.jpg"])]
fn decode_and_preprocess(bencher: Bencher, name: &str) {
    let Some(classifier) = notebook(Backend::Burn(Default::default())) else {
        return;
    };
    let (bytes, preprocessor) = (fixture(name), Preprocessor::new(&classifier.spec().input));
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let pixels = fer::images::decode(black_box(&bytes)).expect("the fixture is an image");
        preprocessor.tensor(pixels)
    });
}

fn engine(bencher: Bencher, backend: Backend, batch: usize) {
    let Some(mut classifier) = notebook(backend) else {
        return;
    };
    let input: Vec<f32> = (0..batch * classifier.spec().image_len())
        .map(|i| (i % 255) as f32 / 255.0)
        .collect();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        classifier
            .classify(black_box(&input))
            .expect("the model answers")
    });
}

#[divan::bench(args = [1, 64], sample_count = 20, sample_size = 1)]
fn burn(bencher: Bencher, batch: usize) {
    engine(bencher, Backend::Burn(Default::default()), batch);
}

#[divan::bench(args = [1, 64], sample_count = 20, sample_size = 1)]
fn ort(bencher: Bencher, batch: usize) {
    engine(bencher, onnx_runtime(), batch);
}

/// A folder of JPEGs through ONNX Runtime: at most 1.1 × `folder_model_alone`.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn folder_end_to_end(bencher: Bencher) {
    let Some(classifier) = notebook(onnx_runtime()) else {
        return;
    };
    let session = Session::start(classifier, SessionOptions::default()).expect("a thread");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for i in 0..FOLDER_IMAGES {
        std::fs::write(
            folder.path().join(format!("{i:03}.jpg")),
            fixture("gray.jpg"),
        )
        .expect("a writable folder");
    }
    let sources = sources::list(&[folder.path().into()]).list;
    bencher
        .counter(ItemsCount::new(FOLDER_IMAGES))
        .bench_local(|| {
            let stream = Stream::whole(&session, StreamOptions::default());
            let run = stream.run(&sources, &mut |seen| {
                black_box(seen);
                Ok(())
            });
            run.expect("the run ends");
        });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn folder_model_alone(bencher: Bencher) {
    let Some(mut classifier) = notebook(onnx_runtime()) else {
        return;
    };
    let input: Vec<f32> = (0..64 * classifier.spec().image_len())
        .map(|i| (i % 255) as f32 / 255.0)
        .collect();
    bencher
        .counter(ItemsCount::new(FOLDER_IMAGES))
        .bench_local(|| {
            for _ in 0..FOLDER_IMAGES / 64 {
                black_box(classifier.classify(&input).expect("the model answers"));
            }
        });
}
