#![no_main]
//! An image file of any bytes gives pixels of the promised size or an error.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(pixels) = fer::images::decode(bytes) {
        assert_eq!(
            pixels.data.len(),
            pixels.width * pixels.height * pixels.channels
        );
    }
});
