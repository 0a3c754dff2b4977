#![no_main]
//! A data set's CSV file of any bytes gives images of classes that there are, or an error; and so do
//! its images without the classes.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("fer-fuzz-{}.csv", std::process::id()));
    if std::fs::write(&file, bytes).is_err() {
        return;
    }
    if let Ok(catalog) = fer::data::Catalog::open(&file) {
        assert!(
            catalog
                .items
                .iter()
                .all(|item| usize::from(item.label) < catalog.classes.len())
        );
    }
    for image in fer::data::CsvImages::of(&file) {
        if let Ok(pixels) = image.pixels {
            assert_eq!(pixels.data.len(), pixels.width * pixels.height);
        }
    }
});
