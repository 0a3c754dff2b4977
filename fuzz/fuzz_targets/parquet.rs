#![no_main]
//! A Parquet file of any bytes gives pictures and labels, or errors.

libfuzzer_sys::fuzz_target!(init: fer_fuzz::let_caught_panics_pass(), |bytes: &[u8]| {
    fer_fuzz::shard(&fer_fuzz::file("shard.parquet", bytes));
});
