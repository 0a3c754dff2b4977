//! Paths whose identities are known: the ids must follow them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::suppress;

const RATE: f64 = 30.0;
const SIDE: f32 = 80.0;

fn face([x, y]: [f32; 2], side: f32) -> Face {
    Face {
        x: x - side / 2.0,
        y: y - side / 2.0,
        w: side,
        h: side,
        score: 0.9,
        landmarks: [[x, y]; 5],
    }
}

/// A detector's trembling: up to 1.5 pixels, the same for the same person and frame.
fn tremble(person: usize, frame: usize) -> [f32; 2] {
    let noise = |salt: usize| {
        let mixed =
            (person * 7919 + frame * 104_729 + salt * 1_299_709).wrapping_mul(2_654_435_761);
        ((mixed >> 7) % 3001) as f32 / 1000.0 - 1.5
    };
    [noise(1), noise(2)]
}

/// A person: the center of the face at a time in seconds, and whether the detector sees it.
type Person<'a> = Box<dyn Fn(f64) -> ([f32; 2], bool) + 'a>;

/// Runs `seconds` of people and returns the ids that each had, in order, without repetition.
/// Faces that overlap are suppressed as the detector's are.
fn ids(people: &[Person], seconds: f64, every: usize) -> Vec<Vec<u64>> {
    let mut tracker = Tracker::default();
    let mut seen: BTreeMap<usize, Vec<u64>> = (0..people.len()).map(|p| (p, vec![])).collect();
    for frame in (0..(seconds * RATE) as usize).step_by(every) {
        let time = frame as f64 / RATE;
        let mut faces = Vec::new();
        for (person, path) in people.iter().enumerate() {
            let ([x, y], visible) = path(time);
            let [dx, dy] = tremble(person, frame);
            if visible {
                let mut face = face([x + dx, y + dy], SIDE);
                // Who it is, for the test alone. The first of two overlapping faces is in front.
                face.landmarks[0][0] = person as f32;
                face.score = 0.9 - 0.01 * person as f32;
                faces.push(face);
            }
        }
        let mut faces = suppress(faces);
        // The order of a detector's answer says nothing.
        if frame % 2 == 1 {
            faces.reverse();
        }
        for (face, id) in faces.iter().zip(tracker.detected(time, &faces)) {
            let ids = seen.get_mut(&(face.landmarks[0][0] as usize)).unwrap();
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        }
    }
    seen.into_values().collect()
}

fn line(from: [f32; 2], velocity: [f32; 2]) -> impl Fn(f64) -> [f32; 2] + Copy {
    move |t| {
        [
            from[0] + velocity[0] * t as f32,
            from[1] + velocity[1] * t as f32,
        ]
    }
}

/// A person who is always seen.
fn seen<'a>(path: impl Fn(f64) -> [f32; 2] + 'a) -> Person<'a> {
    Box::new(move |t| (path(t), true))
}

/// A person who is not seen for `length` seconds.
fn gap<'a>(path: impl Fn(f64) -> [f32; 2] + 'a, from: f64, length: f64) -> Person<'a> {
    Box::new(move |t| (path(t), !(from..from + length).contains(&t)))
}

#[test]
fn known_paths_keep_their_ids() {
    let still = line([900.0, 200.0], [0.0, 0.0]);
    let walks = line([50.0, 300.0], [220.0, 40.0]);
    let runs = line([50.0, 600.0], [600.0, 0.0]);
    let circles = |t: f64| {
        let (sin, cos) = (t * 1.5).sin_cos();
        [500.0 + 150.0 * cos as f32, 900.0 + 150.0 * sin as f32]
    };
    // Turns about while it is not seen.
    let turns = |t: f64| [400.0 + 200.0 * (1.5 - (t - 1.5).abs()) as f32, 100.0];
    let rows: Vec<(&str, Vec<Person>, usize)> = vec![
        ("still", vec![seen(still)], 1),
        ("three", vec![seen(still), seen(walks), seen(runs)], 1),
        ("circle", vec![seen(circles)], 1),
        ("every fifth frame", vec![seen(walks), seen(circles)], 5),
        ("fast, every fifth frame", vec![seen(runs), seen(still)], 5),
        ("gap of 0.3 s", vec![gap(walks, 1.0, 0.3), seen(still)], 1),
        (
            "gap of 0.95 s",
            vec![gap(walks, 1.0, 0.95), gap(still, 0.5, 0.95)],
            1,
        ),
        ("gap of 0.9 s on a circle", vec![gap(circles, 1.0, 0.9)], 1),
        ("turns in a gap", vec![gap(turns, 1.2, 0.8)], 1),
        (
            "gaps of all at once",
            vec![
                gap(walks, 1.0, 0.9),
                gap(still, 1.0, 0.9),
                gap(runs, 1.0, 0.9),
            ],
            1,
        ),
    ];
    let mut wrong = Vec::new();
    for (row, people, every) in rows {
        let found = ids(&people, 3.0, every);
        if found.iter().any(|ids| ids.len() != 1) {
            wrong.push(format!("{row}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_crossing_switches_at_most_one_identity() {
    let mut wrong = Vec::new();
    for (row, speed, dy) in [
        ("slow", 60.0, 0.0),
        ("walking", 150.0, 0.0),
        ("walking, one lower", 150.0, 25.0),
        ("fast", 400.0, 10.0),
    ] {
        for every in [1, 3, 5] {
            let middle = 300.0_f32;
            let right = seen(line([middle - speed * 1.5, 200.0], [speed, 0.0]));
            let left = seen(line([middle + speed * 1.5, 200.0 + dy], [-speed, 0.0]));
            let found = ids(&[right, left], 3.0, every);
            let switches: usize = found.iter().map(|ids| ids.len() - 1).sum();
            // One switch changes the id of each once.
            if switches > 2 || found.iter().any(|ids| ids.len() > 2) {
                wrong.push(format!("{row}, every {every}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_track_ends_after_its_memory_and_when_time_begins_anew() {
    let mut tracker = Tracker::new(TrackOptions { memory: 1.0 });
    let here = [face([100.0, 100.0], SIDE)];
    let mut step = |time: f64, faces: &[Face]| tracker.detected(time, faces);
    assert_eq!(step(10.0, &here), [1]);
    assert_eq!(step(10.5, &[]), [] as [u64; 0]);
    assert_eq!(step(11.0, &here), [1]);
    assert_eq!(step(12.1, &here), [2]);
    assert_eq!(step(0.0, &here), [3]);
    // The same time twice, as in damaged files, and no time at all.
    assert_eq!(step(0.0, &here), [3]);
    assert_eq!(step(f64::NAN, &here), [3]);
}

#[test]
fn another_person_is_another_track() {
    let mut tracker = Tracker::default();
    tracker.detected(0.0, &[face([100.0, 100.0], SIDE)]);
    let rows = [
        ("far away", face([400.0, 100.0], SIDE)),
        ("near, twice as large", face([165.0, 100.0], 2.1 * SIDE)),
    ];
    for (row, other) in rows {
        assert_ne!(tracker.clone().detected(0.1, &[other]), [1], "{row}");
    }
}

#[test]
fn between_detections_only_what_was_found_moves() {
    let mut tracker = Tracker::default();
    let at = |x| face([x, 50.0], SIDE);
    tracker.detected(0.0, &[at(100.0), at(500.0)]);
    tracker.detected(0.1, &[at(110.0), at(500.0)]);
    tracker.detected(0.2, &[at(120.0)]);
    let moved = tracker.moved(0.3);
    assert_eq!(moved.len(), 1);
    let (id, face) = moved[0];
    assert_eq!(id, 1);
    assert!((center(&face)[0] - 130.0).abs() < 0.01, "{face:?}");
    assert!((face.landmarks[0][0] - 130.0).abs() < 0.01, "{face:?}");
}

proptest! {
    /// Whatever is found, each face has one id, no two faces of a frame the same.
    #[test]
    fn ids_of_a_frame_differ(frames in prop::collection::vec(
        (-1.0..5.0f64, prop::collection::vec(prop::array::uniform3(-1e6..1e6f32), 0..8)), 0..12,
    )) {
        let mut tracker = Tracker::default();
        for (time, faces) in frames {
            let faces: Vec<Face> = faces.iter().map(|[x, y, s]| face([*x, *y], s.abs())).collect();
            let mut ids = tracker.detected(time, &faces);
            prop_assert_eq!(ids.len(), faces.len());
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), faces.len());
            prop_assert_eq!(tracker.moved(time + 0.1).len(), faces.len());
        }
    }
}
