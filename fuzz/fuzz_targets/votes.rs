#![no_main]
//! A file of votes of any bytes is read or refused in one line.

use fer_train::data::Votes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match Votes::read(&fer_fuzz::file("votes.csv", bytes)) {
        Ok(votes) => assert_eq!(votes.sha256().len(), 64),
        Err(e) => assert!(!e.to_string().contains('\n')),
    }
});
