#![no_main]
//! A file of votes of any bytes is read or refused in one line.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("fer-fuzz-votes-{}.csv", std::process::id()));
    if std::fs::write(&file, bytes).is_err() {
        return;
    }
    match fer::data::Votes::read(&file) {
        Ok(votes) => assert_eq!(votes.sha256().len(), 64),
        Err(e) => assert!(!e.to_string().contains('\n')),
    }
});
