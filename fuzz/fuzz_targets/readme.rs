#![no_main]
//! A data set's README.md of any bytes names classes or does not.

use fer_shards::labeled;

libfuzzer_sys::fuzz_target!(init: write_shard(), |bytes: &[u8]| {
    let set = fer_fuzz::folder();
    fer_fuzz::file("README.md", bytes);
    assert!(labeled(&set.join("shard.tar"), set).is_ok());
});

/// An image of class 0.
fn write_shard() {
    let mut shard = tar::Builder::new(Vec::new());
    for (name, content) in [("a.png", &b""[..]), ("a.cls", &b"0"[..])] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        let added = shard.append_data(&mut header, name, content);
        added.expect("a file in memory");
    }
    fer_fuzz::file(
        "shard.tar",
        &shard.into_inner().expect("an archive in memory"),
    );
}
