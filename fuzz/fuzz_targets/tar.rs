#![no_main]
//! An archive of any bytes gives pictures and labels, or errors.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fer_fuzz::shard(&fer_fuzz::file("shard.tar", bytes)));
