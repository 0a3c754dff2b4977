#![no_main]
//! A data set's CSV file of any bytes gives images of classes that there are, or an error; and so
//! do its images without the classes.

use fer_train::data::Catalog;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(catalog) = Catalog::open(&fer_fuzz::file("data.csv", bytes)) {
        let classes = catalog.classes.len();
        assert!(catalog.items.iter().all(|i| usize::from(i.label) < classes));
    }
    for image in fer::data::CsvImages::of(&file) {
        if let Ok(pixels) = image.pixels {
            assert_eq!(pixels.data.len(), pixels.width * pixels.height);
        }
    }
});
