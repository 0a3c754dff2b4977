#![no_main]
//! A recipe of any text is read as what it is written as again, or refused in one line.

use fer_train::train::Config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Config::parse(text, "recipe") {
        Ok(config) => assert_eq!(
            config
                .to_toml()
                .and_then(|text| Config::parse(&text, "again")),
            Ok(config)
        ),
        Err(e) => assert!(!e.0.contains('\n')),
    }
});
