#![no_main]
//! A decoder's output of any bytes gives frames or an error.

use fer_video::nut::Reader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut reader) = Reader::new(bytes) {
        let mut frame = Vec::new();
        while let Ok(Some(time)) = reader.next(&mut frame) {
            assert!(time.is_finite());
        }
    }
});
