//! What is written is read; what is damaged is refused.

use proptest::prelude::*;

use super::write::{UNITS, crc};
use super::*;

fn written(size: [usize; 2], frames: &[(f64, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), size).unwrap();
    for (time, data) in frames {
        writer.frame(*time, data).unwrap();
    }
    writer.into_inner()
}

fn read(bytes: &[u8]) -> Result<Vec<(f64, Vec<u8>)>> {
    let mut reader = Reader::new(bytes)?;
    let (mut frames, mut data) = (Vec::new(), Vec::new());
    while let Some(time) = reader.next(&mut data)? {
        frames.push((time, data.clone()));
    }
    Ok(frames)
}

#[test]
fn checksums_are_those_of_the_standard() {
    assert_eq!(crc(b"123456789"), 0x89A1_897F);
}

#[test]
fn a_cut_off_stream_is_an_error_and_not_a_frame() {
    let frames = [(0.0, vec![1; 27]), (0.5, vec![2; 27])];
    let whole = written([3, 3], &frames);
    let mut ends = 0;
    for length in 0..whole.len() {
        match read(&whole[..length]) {
            Ok(frames) => {
                ends += 1;
                assert!(frames.len() < 2, "{length}");
            }
            Err(NutError::Io(_)) => {}
            Err(e) => panic!("{length}: {e}"),
        }
    }
    // Behind the headers, the first syncpoint, the first frame, the second syncpoint.
    assert_eq!(ends, 4);
}

#[test]
fn sizes_are_limited() {
    let size = |size| match read(&written(size, &[])) {
        Err(NutError::TooLarge { width, height }) => Some([width, height]),
        Err(NutError::Damaged(_)) => Some([0, 0]),
        _ => None,
    };
    assert_eq!(size([10_000, 10_000]), None);
    assert_eq!(size([10_000, 10_001]), Some([10_000, 10_001]));
    assert_eq!(size([1, 0]), Some([0, 0]));
}

#[test]
fn a_time_beyond_all_numbers_is_damage() {
    let most = u64::MAX >> 7;
    let stream = written([1, 1], &[]);
    let mut reader = Reader::new(&stream[..]).unwrap();
    reader.time_bases = vec![(most, 1), (1, most)];
    reader.stream.time_base = 1;
    // Twice `most`, the first bit of which says the first base.
    let time = [255, 255, 255, 255, 255, 255, 255, 255, 126];
    let error = reader.syncpoint(&mut Header(&time)).unwrap_err();
    assert!(
        error.to_string().ends_with("a time is too large"),
        "{error}"
    );
}

#[test]
fn short_times_and_elided_headers_are_completed() {
    let rows = [
        (5u64, 100i64, 7u32, 133i64),
        (100, 100, 7, 100),
        (128 + 7, 1000, 7, 7),
        (1, 0, 0, 0),
    ];
    for (coded, last, shift, expected) in rows {
        assert_eq!(
            full_pts(coded, last, shift),
            expected,
            "{coded} {last} {shift}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        times in prop::collection::vec(0u32..10_000_000, 0..5), fill in any::<u8>(),
    ) {
        let frame = |(i, units): (usize, u32)| {
            (f64::from(units) / UNITS, vec![fill.wrapping_add(i as u8); 12])
        };
        let frames: Vec<(f64, Vec<u8>)> = times.into_iter().enumerate().map(frame).collect();
        prop_assert_eq!(read(&written([2, 2], &frames)).unwrap(), frames);
    }

    /// No bytes make it panic or allocate more than there is.
    #[test]
    fn any_bytes_are_read_or_refused(
        at in 25usize..200, bytes in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut stream = written([2, 2], &[(0.0, vec![9; 12]), (1.0, vec![8; 12])]);
        let at = at.min(stream.len());
        let end = (at + bytes.len()).min(stream.len());
        stream.splice(at..end, bytes);
        let _ = read(&stream);
    }
}
