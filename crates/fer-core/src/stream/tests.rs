use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::images::Pixels;
use crate::images::sources::Source;
use crate::testing::Fake;

/// `count` images, each with its own gray level, which identifies it. Every seventh item is not an
/// image.
fn images(folder: &std::path::Path, count: usize) -> Vec<Source> {
    let image = |i: usize| {
        let path: PathBuf = folder.join(format!("{i}.pgm"));
        let bytes = if i % 7 == 3 {
            b"no image".to_vec()
        } else {
            [b"P5 2 2 255\n", &[i as u8; 4][..]].concat()
        };
        std::fs::write(&path, bytes).unwrap();
        Source::File(path)
    };
    (0..count).map(image).collect()
}

fn gray(level: u8) -> Pixels {
    Pixels {
        width: 2,
        height: 2,
        channels: 1,
        data: vec![level; 4],
    }
}

fn options(batch_size: usize, workers: usize) -> StreamOptions {
    StreamOptions {
        batch_size: BatchSize::Fixed(batch_size),
        workers,
        max_wait: None,
    }
}

/// The name of each item and its probability of `light`.
type Lights = Vec<(String, Option<f32>)>;

fn lights(fake: Fake, sources: &[Source], batch_size: usize) -> (Lights, Result<(), StreamError>) {
    let session = fake.session();
    let mut records = Vec::new();
    let result = Stream::whole(&session, options(batch_size, 4)).run(sources, &mut |seen| {
        let name = seen.item.name();
        records.push((name, seen.prediction().ok().map(|p| p.probabilities[1])));
        Ok(())
    });
    (records, result)
}

#[test]
fn observations_keep_the_order_whatever_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let sources = images(folder.path(), 100);
    for (batch_size, fixed) in [(1, None), (3, None), (64, None), (1000, None), (8, Some(5))] {
        let fake = Fake::new(fixed);
        let batches = fake.batches.clone();
        let (records, result) = lights(fake, &sources, batch_size);
        result.unwrap();
        assert_eq!(records.len(), 100);
        for (i, (name, light)) in records.iter().enumerate() {
            assert_eq!(*name, sources[i].name());
            match light {
                Some(p) => assert!((p - i as f32 / 255.0).abs() < 1e-6, "image {i}: {p}"),
                None => assert_eq!(i % 7, 3),
            }
        }
        let batches = batches.lock().unwrap();
        assert!(
            batches
                .iter()
                .all(|n| fixed.map_or(*n <= batch_size, |f| *n == f)),
            "{batches:?}"
        );
    }
}

#[test]
fn an_engine_that_fails_ends_the_stream_after_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let sources = images(folder.path(), 50);
    let mut fake = Fake::new(None);
    fake.fails_on = Some((2, false));
    let (records, result) = lights(fake, &sources, 8);
    assert!(matches!(
        result,
        Err(StreamError::Session(SessionError::Engine(_)))
    ));
    assert!(
        (16..40).contains(&records.len()),
        "two batches and their errors: {}",
        records.len()
    );
}

#[test]
fn an_engine_that_panics_hangs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sources = images(folder.path(), 200);
    let mut fake = Fake::new(None);
    fake.fails_on = Some((0, true));
    let (_, result) = lights(fake, &sources, 2);
    assert!(matches!(
        result,
        Err(StreamError::Session(SessionError::Stopped { .. }))
    ));
}

#[test]
fn a_sink_that_fails_ends_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let sources = images(folder.path(), 50);
    let session = Fake::new(None).session();
    let mut seen = 0;
    let result = Stream::whole(&session, options(4, 3)).run(&sources, &mut |_| {
        seen += 1;
        if seen == 5 {
            Err(std::io::ErrorKind::BrokenPipe.into())
        } else {
            Ok(())
        }
    });
    assert!(matches!(result, Err(StreamError::Sink(_))));
    assert_eq!(seen, 5);
}

#[test]
fn no_items_no_batches() {
    let fake = Fake::new(None);
    let batches = fake.batches.clone();
    let (records, result) = lights(fake, &[], 8);
    result.unwrap();
    assert!(records.is_empty() && batches.lock().unwrap().is_empty());
}

#[test]
fn a_model_without_finite_outputs_gives_errors() {
    let session = Fake::new(None).session();
    let nan = session.classify(vec![f32::NAN; 4]).unwrap();
    assert!(Prediction::new(&nan).is_err());
}

/// An item with as many views as its number, of which every third can't be made.
struct Numbered(usize);

impl Item for Numbered {
    fn load(&self) -> Result<Pixels, ItemError> {
        match self.0 {
            13 => panic!("a reader panics, as the test wants"),
            _ => Ok(gray(self.0 as u8)),
        }
    }
}

struct Copies;

impl Locate<Numbered> for Copies {
    type Place = usize;

    fn locate(
        &self,
        item: &Numbered,
        pixels: Pixels,
        view: &mut dyn FnMut(usize, Result<Pixels, ItemError>),
    ) -> Result<(), ItemError> {
        let failed = |reason: &str| ItemError::View {
            reason: reason.into(),
        };
        if item.0 == 17 {
            return Err(failed("no views of 17"));
        }
        for place in 0..item.0 {
            let third = place % 3 == 2;
            let pixels = if third {
                Err(failed("each third"))
            } else {
                Ok(pixels.clone())
            };
            view(place, pixels);
        }
        Ok(())
    }
}

#[test]
fn a_picture_has_none_one_or_many_views() {
    for batch_size in [1, 4, 64] {
        let fake = Fake::new(None);
        let batches = fake.batches.clone();
        let session = fake.session();
        let stream = Stream {
            session: &session,
            locate: Copies,
            reduce: Reduce::Each,
            options: options(batch_size, 3),
        };
        let mut next = 0;
        stream
            .run((0..40).map(Numbered), &mut |seen| {
                let number = seen.item.0;
                assert_eq!(number, next);
                next += 1;
                match seen.outcome {
                    Err(e) => assert!(matches!(
                        (number, e),
                        (13, ItemError::Panicked { .. }) | (17, ItemError::View { .. })
                    )),
                    Ok(seen) => {
                        assert_eq!((seen.width, seen.height), (2, 2));
                        assert_eq!(seen.predictions.len(), number);
                        for (i, (place, prediction)) in seen.predictions.into_iter().enumerate() {
                            assert_eq!(place, i);
                            let light = prediction.ok().map(|p| p.probabilities[1]);
                            let wanted = (i % 3 != 2).then_some(number as f32 / 255.0);
                            let equal = match (light, wanted) {
                                (Some(light), Some(wanted)) => (light - wanted).abs() < 1e-6,
                                (light, wanted) => light == wanted,
                            };
                            assert!(equal, "view {i} of {number}: {light:?}");
                        }
                    }
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(next, 40);
        let batches = batches.lock().unwrap();
        let (last, full) = batches.split_last().unwrap();
        assert!(full.iter().all(|n| *n == batch_size), "{batches:?}");
        assert!(*last <= batch_size);
    }
}

#[test]
fn views_are_averaged() {
    struct Pair;
    impl Locate<Pixels> for Pair {
        type Place = &'static str;
        fn locate(
            &self,
            _: &Pixels,
            pixels: Pixels,
            view: &mut dyn FnMut(&'static str, Result<Pixels, ItemError>),
        ) -> Result<(), ItemError> {
            view("a", Ok(pixels));
            view("b", Ok(gray(255)));
            Ok(())
        }
    }
    let session = Fake::new(None).session();
    let stream = Stream {
        session: &session,
        locate: Pair,
        reduce: Reduce::Mean(2),
        options: options(3, 2),
    };
    let mut seen = Vec::new();
    stream
        .run([gray(0), gray(51)], &mut |o| {
            for (place, prediction) in o.outcome.unwrap().predictions {
                seen.push((place, prediction.unwrap().probabilities[1]));
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [("a", 0.5), ("a", 0.6)]);
}

/// Counts how many items are in memory at once.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new<'a>(now: &'a AtomicUsize, most: &'a AtomicUsize) -> Counted<'a> {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(count, Ordering::SeqCst);
        Counted(now)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Item for Counted<'_> {
    fn load(&self) -> Result<Pixels, ItemError> {
        Ok(gray(1))
    }
}

#[test]
fn items_are_drawn_as_there_is_room_for_them() {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let session = Fake::new(None).session();
    let (batch_size, workers) = (4, 3);
    let mut seen = 0;
    Stream::whole(&session, options(batch_size, workers))
        .run((0..400).map(|_| Counted::new(&now, &most)), &mut |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((seen, now.load(Ordering::SeqCst)), (400, 0));
    let most = most.load(Ordering::SeqCst);
    // Two batches ahead, one being put together, and what the workers hold.
    assert!(most <= 4 * batch_size + workers, "{most} items at once");
}

#[test]
fn a_live_source_is_not_kept_waiting_for_a_full_batch() {
    let session = Fake::new(None).session();
    let (frames, received) = channel::<Pixels>();
    let (records, seen) = channel();
    std::thread::scope(|scope| {
        let session = &session;
        scope.spawn(move || {
            let live = StreamOptions {
                max_wait: Some(Duration::from_millis(5)),
                ..options(64, 1)
            };
            let sink = &mut |o: Observation<Pixels, ()>| {
                let light = o.prediction().unwrap().probabilities[1];
                records
                    .send(light)
                    .map_err(|_| std::io::ErrorKind::BrokenPipe.into())
            };
            Stream::whole(session, live).run(received, sink)
        });
        for level in [0, 51, 255] {
            frames.send(gray(level)).unwrap();
            let light = seen.recv_timeout(Duration::from_secs(30));
            assert!((light.unwrap() - f32::from(level) / 255.0).abs() < 1e-6);
        }
        drop(frames);
    });
}

/// So many views of each picture, which all failed.
struct Views(usize);

impl Locate<Pixels> for Views {
    type Place = ();

    fn locate(
        &self,
        _: &Pixels,
        _: Pixels,
        view: &mut dyn FnMut((), Result<Pixels, ItemError>),
    ) -> Result<(), ItemError> {
        for _ in 0..self.0 {
            let reason = "none".into();
            view((), Err(ItemError::View { reason }));
        }
        Ok(())
    }
}

#[test]
fn more_views_than_fit_into_memory_are_an_error_of_their_picture() {
    let mut fake = Fake::new(None);
    // 192 MiB a view.
    (fake.spec.input.width, fake.spec.input.height) = (4096, 4096);
    fake.spec.input.channels = 3;
    let session = fake.session();
    for (count, fits) in [(0, true), (2, true), (3, false)] {
        let stream = Stream {
            session: &session,
            locate: Views(count),
            reduce: Reduce::Each,
            options: options(1, 1),
        };
        let mut seen = Vec::new();
        let items = [gray(0)].into_iter();
        stream
            .run(items, &mut |observation| {
                seen.push(observation.outcome.map(|seen| seen.predictions.len()));
                Ok(())
            })
            .unwrap();
        match &seen[..] {
            [Ok(views)] => assert!(fits && *views == count, "{count}"),
            [Err(ItemError::TooManyViews { views: 3, most: 2 })] => assert!(!fits),
            other => panic!("{count}: {other:?}"),
        }
    }
}
