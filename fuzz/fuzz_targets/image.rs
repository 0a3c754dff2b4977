#![no_main]
//! An image file of any bytes gives pixels of the promised size or an error.

libfuzzer_sys::fuzz_target!(init: fer_fuzz::let_caught_panics_pass(), |bytes: &[u8]| {
    if let Ok(pixels) = fer_core::images::decode(bytes) {
        let size = pixels.width * pixels.height * pixels.channels;
        assert_eq!(pixels.data.len(), size);
    }
});
